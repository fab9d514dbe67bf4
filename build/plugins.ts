/** What esbuild does to the sources beyond translating them. */
import { readFile } from 'node:fs/promises'
import type { Plugin } from 'esbuild'

/**
 * Kernels as they are shipped, without what only readers of the source need: drops lines that are only a `//` comment, and indentation.
 * Bundlers leave template strings alone, and both mean nothing in WGSL nor in TypeScript.
 */
export const compactKernels: Plugin = {
  name: 'compact-kernels',
  setup(build) {
    build.onLoad({ filter: /[\\/]src[\\/]kernels[\\/].*\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8')
      const bare = source.replaceAll(/^[ \t]*\/\/.*\n/gm, '').replaceAll(/^[ \t]+/gm, '')
      return { contents: bare, loader: 'ts' }
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
