/** What a page loads of a bundle in pieces: those of `import()` come when they are needed. */
import { gzipSync } from 'node:zlib'
import { transform } from 'esbuild'

/** A file that rollup or Vite made. */
export interface Chunk {
  fileName: string
  code: string
  isEntry: boolean
  /** Files that it imports to begin with. */
  imports: string[]
}

export const kilobytes = (code: string | Uint8Array): number => gzipSync(code, { level: 9 }).length / 1000

/** Minified and gzipped kB of the entry with what it imports to begin with, and of all files. */
export async function loadOf(chunks: readonly Chunk[]): Promise<{ first: number; all: number }> {
  const sizes = new Map<string, number>()
  for (const { fileName, code } of chunks)
    sizes.set(fileName, kilobytes((await transform(code, { minify: true, format: 'esm', target: 'es2023' })).code))
  const first = new Set<string>()
  const load = (name: string): void => {
    if (first.has(name)) return
    first.add(name)
    for (const other of chunks.find(({ fileName }) => fileName === name)?.imports ?? []) load(other)
  }
  for (const { fileName, isEntry } of chunks) if (isEntry) load(fileName)
  const sum = (names: Iterable<string>): number => [...names].reduce((n, name) => n + (sizes.get(name) ?? 0), 0)
  return { first: sum(first), all: sum(sizes.keys()) }
}
