/** Kernels as they are shipped: without what only tests and readers of the source need. */
import { readFile } from 'node:fs/promises'
import type { Plugin } from 'esbuild'

/**
 * Drops lines that are only a `//` comment, and indentation, from the sources of kernels: bundlers leave template strings alone, and both
 * mean nothing in WGSL nor in TypeScript. Drops the test cases of operations too.
 */
export const compactKernels: Plugin = {
  name: 'compact-kernels',
  setup(build) {
    build.onLoad({ filter: /[\\/]src[\\/]kernels[\\/].*\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8')
      const bare = source.replaceAll(/^[ \t]*\/\/.*\n/gm, '').replaceAll(/^[ \t]+/gm, '')
      return { contents: withoutCases(bare), loader: 'ts' }
    })
  },
}

/** Literal lists of cases, as a property (`cases: [`) or a constant (`const poolCases: Case<A>[] = [`), become empty. */
function withoutCases(source: string): string {
  const start = /^(?:cases: |(?:export )?const \w*[cC]ases\b[^\n]*= )\[/gm
  let result = ''
  let from = 0
  for (let match = start.exec(source); match; match = start.exec(source)) {
    const open = start.lastIndex - 1
    let depth = 0
    let end = open
    do {
      if (source[end] === '[') depth++
      if (source[end] === ']') depth--
      end++
    } while (depth > 0 && end < source.length)
    result += `${source.slice(from, open)}[]`
    from = end
    start.lastIndex = end
  }
  return result + source.slice(from)
}
