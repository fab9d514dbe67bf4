/** Markdown with its paragraphs and list items wrapped one way; tables, code, headings and comments stay as they are. */
import { wrapped } from './markers.ts'

const ITEM = /^(\s*)([-*]|\d+\.) +(?=\S)/
const VERBATIM = /^\s*(?:\||#|>|<(?!!-- [\w-]+ -->\S)|!\[[^\]]*\]\([^)]*\)$|\[[^\]]+\]: )/

export function wrapMarkdown(text: string): string {
  const result: string[] = []
  /** The paragraph or item that is being read: the space before its first line and before the others, and its words. */
  let open: { first: string; indent: string; words: string[] } | undefined
  let fence = ''
  const end = () => {
    if (open) result.push(wrapped(open.words.join(' '), undefined, open.indent, open.first))
    open = undefined
  }
  for (const line of text.split('\n')) {
    const mark = line.match(/^\s*(```+|~~~+)/)?.[1]
    if (fence || mark) {
      end()
      result.push(line)
      if (!fence) fence = mark!
      else if (mark?.startsWith(fence)) fence = ''
    } else if (line.trim() === '' || VERBATIM.test(line)) {
      end()
      result.push(line)
    } else if (ITEM.test(line)) {
      end()
      const [start, first] = line.match(ITEM)!
      open = { first, indent: ' '.repeat(start.length), words: [line] }
    } else {
      const space = line.match(/^\s*/)![0]
      open ??= { first: space, indent: space, words: [] }
      open.words.push(line)
    }
  }
  end()
  return result.join('\n')
}
