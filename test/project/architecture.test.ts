/** docs/architecture.md says what is so: which folder imports which, and what needs Node. */
import { readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { join, resolve } from 'node:path'
import { build, type Metafile } from 'esbuild'
import { describe, expect, test } from 'vitest'
import {
  CIRCLE,
  circular,
  folderOf,
  importersOf,
  importsIn,
  importsOf,
  LONGEST,
  problems,
  roomsOf,
  sourcesOf,
  tooLong,
  wrongWays,
} from '../../build/architecture.ts'

const repository = resolve(import.meta.dirname, '../..')
const text = readFileSync(join(repository, 'docs/architecture.md'), 'utf8')
const sources = sourcesOf('src')
const files = [...sources.keys()]
const imports = importsIn(sources)

describe('imports', () => {
  const { order, leaves } = roomsOf(text)

  test('are seen: every folder is on the page, and most files import something', () => {
    const folders = [...new Set(files.flatMap((file) => folderOf(file) ?? []))].sort()
    expect([...order, ...leaves].sort()).toEqual(folders)
    expect([...imports.values()].filter((each) => each.length > 0).length).toBeGreaterThan(0.8 * files.length)
  })

  test('point one way', () => {
    expect(wrongWays(imports, { order, leaves })).toEqual([])
  })

  test('of the leaves are by the folders that the page names, and the last two import nothing of the others', () => {
    const across = [...imports].flatMap(([file, each]) =>
      each.flatMap(({ to }) => {
        const [from, target] = [folderOf(file), folderOf(to)]
        return from && target && from !== target && imports.has(to) ? [{ from, target }] : []
      }),
    )
    for (const leaf of leaves) {
      const named = new RegExp(`\`${leaf}\` is used by ([^.;]*)[.;]`).exec(text)?.[1]
      const users = Array.from(named?.matchAll(/\w+/g) ?? [], ([name]) => name)
      const found = across.filter(({ target }) => target === leaf).map(({ from }) => from)
      expect(users.toSorted(), leaf).toEqual([...new Set(found)].sort())
    }
    expect(across.filter(({ from }) => ['pixels', 'files'].includes(from))).toEqual([])
  })

  test('that point the other way are found', () => {
    const changed = new Map(imports)
    changed.set('kernels/op.ts', importsOf('kernels/op.ts', "import { graph } from '../graph/index.ts'\n"))
    changed.set('faces/boxes.ts', importsOf('faces/boxes.ts', "import type { Shape } from '../kernels/op.ts'\n"))
    changed.set('images/read.ts', importsOf('images/read.ts', "import { folder } from '../files/folders.ts'\n"))
    changed.set('files/folders.ts', [])
    expect(wrongWays(changed, { order, leaves })).toEqual([
      'src/faces/boxes.ts imports src/kernels/op.ts: faces may not use kernels',
      'src/kernels/op.ts imports src/graph/index.ts: kernels may not use graph',
    ])
  })

  test('make no circles but the one that the page names', () => {
    expect(circular(imports)).toEqual(CIRCLE)
    for (const name of ['conv2d', 'convTranspose2d', 'conv2dWeightGradient']) expect(text).toContain(`\`${name}\``)
  })

  test('of webgpu are in one file', () => {
    expect(importersOf(imports, 'webgpu')).toEqual(['device/node.ts'])
  })
})

describe('files', () => {
  test('are no longer than they may be, and nothing else breaks a rule', () => {
    expect(problems()).toEqual([])
    const long = new Map([['long.ts', '\n'.repeat(401)]])
    expect(tooLong('src', long)).toEqual(['src/long.ts has 401 lines: at most 400'])
    expect(tooLong('test', long)).toEqual([])
    expect(Object.keys(LONGEST)).toContain('src')
  })

  test('of src are in the folders that the page describes, and each folder has its row', () => {
    const rows = Array.from(text.matchAll(/^\| `src\/(\w+)` +\|/gm), ([, folder]) => folder)
    expect(rows.sort()).toEqual([...new Set(files.flatMap((file) => folderOf(file) ?? []))].sort())
    // Files that the page names are there.
    for (const [, name] of text.matchAll(/`(?:src\/)?((?!src\/|test\/|build\/)\w[\w-]*(?:\/[\w-]+)+\.ts)`/g))
      expect(files, name).toContain(name)
  })
})

describe('what needs Node', () => {
  const paragraph = /What needs Node:.*?\n\n/s.exec(text)![0]
  const listed = Array.from(paragraph.matchAll(/`([\w/.-]+)`/g), ([, name]) => name).filter((name) =>
    files.some((file) => file === name || file.startsWith(`${name}/`)),
  )
  const isListed = (file: string) => listed.some((name) => file === name || file.startsWith(`${name}/`))

  /** Sources as a browser would get them; modules of Node in it are errors. */
  const bundled = (entries: string[]): Promise<{ metafile: Metafile }> =>
    build({
      stdin: {
        contents: entries.map((file, i) => `export * as m${i} from './src/${file}'`).join('\n'),
        resolveDir: repository,
      },
      bundle: true,
      write: false,
      metafile: true,
      platform: 'browser',
      format: 'esm',
      target: 'es2023',
      logLevel: 'silent',
    })

  test('is all on the page: the rest can be bundled for a browser', async () => {
    const { metafile } = await bundled(files.filter((file) => !isListed(file)))
    const packages = Object.keys(metafile.inputs).filter((path) => path.includes('node_modules'))
    // The page bundles its own: the JPEG encoder and the zip writer.
    expect(packages.filter((path) => !/wgpu-matrix|@jsquash\/jpeg|fflate/.test(path))).toEqual([])
    expect(Object.keys(metafile.inputs).length).toBeGreaterThan(130)
  })

  test('needs it: each by what it imports itself, or by what that does', () => {
    const isNode = (name: string) => name.startsWith('node:') || builtinModules.includes(name) || name === 'sharp'
    const needs = (file: string, seen = new Set<string>()): boolean => {
      if (seen.has(file)) return false
      seen.add(file)
      return (imports.get(file) ?? []).some(({ to, type }) => !type && (isNode(to) || needs(to, seen)))
    }
    const without = listed.filter((name) => !files.some((f) => (f === name || f.startsWith(`${name}/`)) && needs(f)))
    expect(without).toEqual([])
    expect(listed.length).toBeGreaterThan(15)
  })
})
