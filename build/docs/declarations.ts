/** Declaration files as the compiler writes them: what each exports, with its comment. */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export interface Declaration {
  name: string
  kind: 'class' | 'function' | 'const' | 'interface' | 'type' | 'enum'
  /** The comment's text without its frame; empty where there is none. */
  comment: string
  /** As TypeScript, without `export declare`. */
  code: string
  /** The declaration file, relative to the folder of all. */
  file: string
}

const STATEMENT = /^(?:export )?(?:declare )?(?:abstract )?(class|function|const|interface|type|enum) (\w+)/

/** Reads declaration files of one folder, each once. */
export class Declarations {
  private readonly folder: string
  private readonly read = new Map<string, { declared: Declaration[]; exported: Declaration[] }>()

  constructor(folder: string) {
    this.folder = folder
  }

  /** Everything that a file exports, in its order; overloads are declarations of one name. */
  exportsOf(file: string): Declaration[] {
    return this.parsed(file).exported
  }

  private parsed(file: string) {
    const known = this.read.get(file)
    if (known) return known
    const text = readFileSync(join(this.folder, file), 'utf8')
    const declared = statements(text).flatMap(({ comment, code }): Declaration[] => {
      const match = code.match(STATEMENT)
      if (!match) return []
      const shown = code.replace(/^export (?:declare )?/, '').replace(/^declare /, '')
      return [{ name: match[2], kind: match[1] as Declaration['kind'], comment, code: withoutPrivate(shown), file }]
    })
    const result = { declared, exported: [] as Declaration[] }
    this.read.set(file, result)
    for (const { code } of statements(text)) {
      const own = code.match(STATEMENT)
      if (own) {
        if (code.startsWith('export '))
          result.exported.push(declared.find((each) => code.includes(each.code.split('\n')[0]))!)
        continue
      }
      const from = code.match(/from ['"](\..*?)['"]/)?.[1]
      const target =
        from &&
        join(dirname(file), from)
          .replace(/\.ts$|\.js$/, '.d.ts')
          .replace('.d.d.ts', '.d.ts')
      if (/^export \*/.test(code) && target) result.exported.push(...this.exportsOf(target))
      const list = code.match(/^export (?:type )?\{(.*?)\}/s)?.[1]
      for (const item of list
        ?.split(',')
        .map((each) => each.trim())
        .filter(Boolean) ?? []) {
        const [, name, alias] = item.match(/^(?:type )?(\w+)(?: as (\w+))?$/)!
        const source = target ? this.exportsOf(target) : declared
        const found = source.filter((each) => each.name === name)
        if (found.length === 0) throw new Error(`${file}: ${name} is exported, and declared nowhere`)
        result.exported.push(...found.map((each) => (alias ? { ...each, name: alias } : each)))
      }
    }
    return result
  }
}

/** Statements of a file with the comments before them. */
function statements(text: string): { comment: string; code: string }[] {
  const found: { comment: string; code: string }[] = []
  let comment = ''
  let code: string[] = []
  let depth = 0
  let inComment = false
  for (const line of text.split('\n')) {
    if (code.length === 0) {
      if (inComment || line.startsWith('/**')) {
        comment = inComment ? `${comment}\n${line}` : line
        inComment = !line.includes('*/')
        continue
      }
      if (line.trim() === '' || line.startsWith('//')) continue
    }
    code.push(line)
    const bare = line.replace(/\/\*.*?\*\/|\/\/.*$|'(?:[^'\\]|\\.)*'|=>/g, '')
    for (const character of bare) depth += '{(['.includes(character) ? 1 : '})]'.includes(character) ? -1 : 0
    if (depth <= 0 && /[;}]\s*$/.test(line)) {
      found.push({ comment: textOf(comment), code: code.join('\n') })
      comment = ''
      code = []
      depth = 0
    }
  }
  return found
}

/** Text of a comment without its frame. */
const textOf = (comment: string): string =>
  comment
    .replace(/^\s*\/\*\*|\*\/\s*$/g, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, ''))
    .join('\n')
    .trim()

/** A class without what only it can use, and the comments of that. */
const withoutPrivate = (code: string): string =>
  code.replace(/(?:^ {4}\/\*\*(?:(?!\*\/).)*\*\/\n)?^ {4}(?:private |#).*;\n/gms, (part) =>
    part.split('\n').some((line) => /^ {4}(?:private |#)/.test(line)) ? lastOnly(part) : part,
  )

/** The pattern above may begin at an earlier member: only the private member itself, and its comment, goes. */
function lastOnly(part: string): string {
  const lines = part.split('\n')
  const kept: string[] = []
  let comment: string[] = []
  for (const line of lines) {
    if (/^ {4}(?:private |#)/.test(line)) comment = []
    else if (/^ {4}(?:\/\*\*| \*)/.test(line)) comment.push(line)
    else {
      kept.push(...comment, line)
      comment = []
    }
  }
  return kept.join('\n')
}
