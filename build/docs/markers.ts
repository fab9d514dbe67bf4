/** Generated parts of Markdown: what stands between `<!-- NAME -->` and `<!-- /NAME -->`, a part of a line or several lines. */

const BLOCK = /<!-- ([a-z][\w-]*) -->(.*?)<!-- \/\1 -->/gs

/**
 * The text with every generated part made anew. Parts that span lines are set off by line breaks.
 * @throws RangeError for a part that nothing makes, or whose end is missing
 */
export function filled(text: string, parts: Readonly<Record<string, () => string>>, file: string): string {
  const made = text.replace(BLOCK, (_, name: string, old: string) => {
    if (!Object.hasOwn(parts, name)) throw new RangeError(`${file}: nothing makes "${name}"`)
    const content = parts[name]()
    const line = old.startsWith('\n') ? '\n' : ''
    return `<!-- ${name} -->${line}${content}${line}<!-- /${name} -->`
  })
  const open = withoutGenerated(made).match(/<!-- \/?([a-z][\w-]*) -->/)
  if (open) throw new RangeError(`${file}: "${open[1]}" begins or ends alone`)
  return made
}

/** What is written by hand. */
export const withoutGenerated = (text: string): string => text.replace(BLOCK, '')

/** A Markdown table; cells with a | are escaped. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n')
}

/** The widest line of running text in Markdown. */
export const WIDTH = 110

/** What Markdown would take for a list, a heading or a quotation at the start of a line. */
const SPECIAL = /^(?:[-+*>]|#+|\d+[.)])$/

/** Text as lines of at most `WIDTH` characters, broken at spaces; a word that is longer stands alone. The first begins with `first`, others with `indent`. */
export function wrapped(text: string, width = WIDTH, indent = '', first = ''): string {
  const lines: string[] = []
  // A comment, code in a line, and a number with its unit are one word.
  const whole = text
    .replace(/<!--.*?-->|`[^`]*`/g, (part) => part.replaceAll(/\s+/g, GLUE))
    .replace(/(\d)\s+(?=(?:%|(?:s|ms|us|dB|GB|kB|MB|MiB|GiB|GFLOP|GFLOP\/s)(?![\w-])))/g, `$1${GLUE}`)
  for (const word of whole.split(/\s+/).filter(Boolean)) {
    const last = lines.at(-1)
    if (last !== undefined && (last.length + 1 + word.length <= width || SPECIAL.test(word)))
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push((lines.length > 0 ? indent : first) + word)
  }
  return lines.join('\n').replaceAll(GLUE, ' ')
}

/** Stands for a space that is no place to break a line. */
const GLUE = '\u0001'
