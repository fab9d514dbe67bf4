/** What esbuild does to the sources beyond translating them. */
import { readFile } from 'node:fs/promises'
import type { Plugin } from 'esbuild'

/**
 * Kernels as they are shipped, without what only tests and readers of the source need.
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

/** Leaves imports of other sources as they are, from the JavaScript beside: a module becomes a module. */
export const separateModules: Plugin = {
  name: 'separate-modules',
  setup(build) {
    build.onResolve({ filter: /^\.\.?\/.*\.ts$/ }, ({ kind, path }) =>
      kind === 'entry-point' ? undefined : { path: path.replace(/\.ts$/, '.js'), external: true },
    )
  },
}

/**
 * The cases of an operation (`cases: [ ... ]`, `cases: kinked(same)`, `cases: pairs`) and literal lists of them (`const poolCases: Case<A>[] =
 * [ ... ]`) become empty; bundlers then drop what only they used.
 */
function withoutCases(source: string): string {
  const start = /^(?:cases: (?:[\w.]+\(|\[|\w+(?=,$))|(?:export )?const \w*[cC]ases\b[^\n]*= \[)/gm
  let result = ''
  let from = 0
  for (let match = start.exec(source); match; match = start.exec(source)) {
    let end = start.lastIndex
    for (let depth = /[([]$/.test(match[0]) ? 1 : 0; depth > 0 && end < source.length; end++) {
      if ('([{'.includes(source[end])) depth++
      if (')]}'.includes(source[end])) depth--
    }
    result += `${source.slice(from, match.index)}${match[0].replace(/(?<=^cases: |= )[^=]*$/, '')}[]`
    from = end
    start.lastIndex = end
  }
  return result + source.slice(from)
}
