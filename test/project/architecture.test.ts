/** docs/architecture.md says what is so: which folder imports which, and what needs Node. */
import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { build, type Metafile } from 'esbuild'
import { describe, expect, test } from 'vitest'

const repository = resolve(import.meta.dirname, '../..')
const text = readFileSync(join(repository, 'docs/architecture.md'), 'utf8')
const files = readdirSync(join(repository, 'src'), { recursive: true, encoding: 'utf8' })
  .map((file) => file.replaceAll('\\', '/'))
  .filter((file) => file.endsWith('.ts'))

interface Import {
  /** From src/ on, or a package. */
  to: string
  /** Gone when the types are. */
  type: boolean
}

/** What a source imports or exports from elsewhere. */
function importsOf(file: string): Import[] {
  const source = readFileSync(join(repository, 'src', file), 'utf8')
  const statements = source.matchAll(/^(?:import|export)\b((?:(?!^(?:import|export)\b)[^'])*?)from '([^']+)'/gms)
  const dynamic = source.matchAll(/\bimport\('([^']+)'\)/g)
  return [
    ...Array.from(statements, ([, names, to]) => ({ to, type: /^\s+type\b/.test(names) })),
    ...Array.from(dynamic, ([, to]) => ({ to, type: false })),
  ].map(({ to, type }) => ({ to: to.startsWith('.') ? join(dirname(file), to).replaceAll('\\', '/') : to, type }))
}
const imports = new Map(files.map((file) => [file, importsOf(file)]))
const folderOf = (file: string): string | undefined => (file.includes('/') ? file.split('/')[0] : undefined)

describe('imports', () => {
  const order = /^cli ─▶ .*$/m.exec(text)![0].split(' ─▶ ')
  const leaves = /^(.*): leaves, which import nothing of the others but files$/m.exec(text)![1].split(', ')

  test('are seen: every folder is on the page, and most files import something', () => {
    const folders = [...new Set(files.flatMap((file) => folderOf(file) ?? []))].sort()
    expect([...order, ...leaves].sort()).toEqual(folders)
    expect([...imports.values()].filter((each) => each.length > 0).length).toBeGreaterThan(0.8 * files.length)
  })

  test('point one way', () => {
    const wrong = [...imports].flatMap(([file, each]) =>
      each.flatMap(({ to }) => {
        const [from, target] = [folderOf(file), folderOf(to)]
        if (!from || from === target || to.startsWith('..') || !imports.has(to)) return []
        const allowed =
          target === 'files' ||
          (order.includes(from) && (leaves.includes(target!) || order.indexOf(from) < order.indexOf(target!)))
        return allowed ? [] : [`${file} imports ${to}`]
      }),
    )
    expect(wrong).toEqual([])
  })

  test('make no circles but the one that the page names', () => {
    const circles = new Set<string>()
    const done = new Set<string>()
    const visit = (file: string, path: string[]) => {
      const at = path.indexOf(file)
      if (at >= 0) return void circles.add(path.slice(at).sort().join(' '))
      if (done.has(file)) return
      for (const { to, type } of imports.get(file) ?? []) if (!type && imports.has(to)) visit(to, [...path, file])
      done.add(file)
    }
    for (const file of files) visit(file, [])
    const inCircles = new Set([...circles].flatMap((circle) => circle.split(' ')))
    expect([...inCircles].sort()).toEqual([
      'kernels/conv-transpose2d.ts',
      'kernels/conv2d-weight-gradient.ts',
      'kernels/conv2d.ts',
    ])
  })

  test('of webgpu are in one file', () => {
    const users = [...imports].filter(([, each]) => each.some(({ to, type }) => to === 'webgpu' && !type))
    expect(users.map(([file]) => file)).toEqual(['device/node.ts'])
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
