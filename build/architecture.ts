/**
 * The rules of docs/architecture.md that a script can check: imports point one way, no circles but those that the page names, one importer
 * of webgpu, no file too long. `npm run check` runs it; test/project/architecture.test.ts holds what it reads to the page.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const repository = resolve(fileURLToPath(new URL('..', import.meta.url)))

export interface Import {
  /** From src/ on, or a package. */
  to: string
  /** Gone when the types are. */
  type: boolean
}

/** What a source imports or exports from elsewhere. `file` is its path from src/ on. */
export function importsOf(file: string, source: string): Import[] {
  const statements = source.matchAll(/^(?:import|export)\b((?:(?!^(?:import|export)\b)[^'])*?)from '([^']+)'/gms)
  const dynamic = source.matchAll(/\bimport\('([^']+)'\)/g)
  return [
    ...Array.from(statements, ([, names, to]) => ({ to, type: /^\s+type\b/.test(names) })),
    ...Array.from(dynamic, ([, to]) => ({ to, type: false })),
  ].map(({ to, type }) => ({ to: to.startsWith('.') ? join(dirname(file), to).replaceAll('\\', '/') : to, type }))
}

/** The sources of a folder of the repository, by their paths in it. */
export function sourcesOf(folder: string): Map<string, string> {
  const root = join(repository, folder)
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).map((name) => name.replaceAll('\\', '/'))
  const files = names.filter((name) => name.endsWith('.ts') && !name.includes('node_modules/')).sort()
  return new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]))
}

/** Imports of all sources of a folder, by file. */
export const importsIn = (sources: ReadonlyMap<string, string>): Map<string, Import[]> =>
  new Map([...sources].map(([file, source]) => [file, importsOf(file, source)]))

/** The folder in src that a file is in; undefined for those beside the folders. */
export const folderOf = (file: string): string | undefined => (file.includes('/') ? file.split('/')[0] : undefined)

export interface Rooms {
  /** A folder may import those after it. */
  order: readonly string[]
  /** Folders that import nothing of the others but `pixels` and `files`. */
  leaves: readonly string[]
}

/** The folders as the page lists them. */
export function roomsOf(page: string): Rooms {
  const order = /^cli ─▶ .*$/m.exec(page)
  const leaves = /^(.*): leaves, which import nothing of the others but pixels and files$/m.exec(page)
  if (!order || !leaves) throw new Error('docs/architecture.md does not say which folder may import which')
  return { order: order[0].split(' ─▶ '), leaves: leaves[1].split(', ') }
}

type Imports = ReadonlyMap<string, readonly Import[]>

/** Imports that point the wrong way, a sentence each. */
export function wrongWays(imports: Imports, { order, leaves }: Rooms): string[] {
  return [...imports].flatMap(([file, each]) =>
    each.flatMap(({ to }) => {
      const [from, target] = [folderOf(file), folderOf(to)]
      if (!from || from === target || to.startsWith('..') || !imports.has(to)) return []
      const allowed =
        target === 'pixels' ||
        target === 'files' ||
        (order.includes(from) && (leaves.includes(target!) || order.indexOf(from) < order.indexOf(target!)))
      return allowed ? [] : [`src/${file} imports src/${to}: ${from} may not use ${target}`]
    }),
  )
}

/** Files whose imports lead back to them; types do not count. */
export function circular(imports: Imports): string[] {
  const circles = new Set<string>()
  const done = new Set<string>()
  const visit = (file: string, path: string[]) => {
    const at = path.indexOf(file)
    if (at >= 0) {
      for (const each of path.slice(at)) circles.add(each)
      return
    }
    if (done.has(file)) return
    for (const { to, type } of imports.get(file) ?? []) if (!type && imports.has(to)) visit(to, [...path, file])
    done.add(file)
  }
  for (const file of imports.keys()) visit(file, [])
  return [...circles].sort()
}

/** The convolutions are each other's gradients. */
export const CIRCLE = ['kernels/conv-transpose2d.ts', 'kernels/conv2d-weight-gradient.ts', 'kernels/conv2d.ts']

/** Files that import a package, types not counted. */
export const importersOf = (imports: Imports, name: string): string[] =>
  [...imports].filter(([, each]) => each.some(({ to, type }) => to === name && !type)).map(([file]) => file)

/** Lines that a file may have, by its folder. */
export const LONGEST: Readonly<Record<string, number>> = { src: 400, build: 400, bench: 400, examples: 400, test: 500 }

/** Files that are too long, a sentence each. */
export const tooLong = (folder: string, sources: ReadonlyMap<string, string>): string[] =>
  [...sources].flatMap(([file, source]) => {
    const lines = source.split('\n').length - 1
    return lines > LONGEST[folder] ? [`${folder}/${file} has ${lines} lines: at most ${LONGEST[folder]}`] : []
  })

/** All that breaks a rule, a sentence each. */
export function problems(): string[] {
  const imports = importsIn(sourcesOf('src'))
  const page = readFileSync(join(repository, 'docs/architecture.md'), 'utf8')
  const circle = circular(imports).filter((file) => !CIRCLE.includes(file))
  const webgpu = importersOf(imports, 'webgpu').filter((file) => file !== 'device/node.ts')
  return [
    ...wrongWays(imports, roomsOf(page)),
    ...circle.map((file) => `src/${file} imports itself, by way of others`),
    ...webgpu.map((file) => `src/${file} imports webgpu: device/node.ts is the only one that may`),
    ...Object.keys(LONGEST).flatMap((folder) => tooLong(folder, sourcesOf(folder))),
  ]
}

if (import.meta.main ?? process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = problems()
  for (const problem of found) console.error(problem)
  process.exitCode = found.length > 0 ? 1 : 0
}
