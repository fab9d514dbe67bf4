/**
 * A file's name as messages show it: control characters and line breaks, which could rewrite a terminal or fake a line, and the marks that
 * turn the direction of text are written as `\x1b` and `\u202e`. For what programs read (paths on a pipe, `--json`) it is not meant.
 */
export function shown(name: string): string {
  return name.replace(/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (character) => {
    const code = character.codePointAt(0)!.toString(16)
    return code.length > 2 ? `\\u${code.padStart(4, '0')}` : `\\x${code.padStart(2, '0')}`
  })
}
