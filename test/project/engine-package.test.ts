/** The engine's package as npm packs it, used as its users do. Where npm would install dependencies those of the repository are linked. */
import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { createPackageFromTarballData, checkPackage as typesOf } from '@arethetypeswrong/core'
import { build as esbuild } from 'esbuild'
import { publint } from 'publint'
import { rollup } from 'rollup'
import { build as vite } from 'vite'
import { afterAll, describe, expect, test } from 'vitest'
import * as library from '../../src/index.ts'
import { NoBrowserError, WEBGPU_SWITCHES } from '../support/browser.ts'
import { type Chunk, kilobytes, loadOf } from '../support/first-load.ts'
import { browserOrReason, serving } from '../support/page.ts'
import { everything } from '../support/scope.ts'

const repository = resolve(import.meta.dirname, '../..')
mkdirSync(join(repository, 'out'), { recursive: true })
const folder = mkdtempSync(join(repository, 'out/engine-package-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const run = (program: string, args: readonly string[], cwd = folder): string =>
  execFileSync(program, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

const source = join(folder, 'source')
run(process.execPath, [join(repository, 'build/engine.ts'), source], repository)
run('npm', ['pack', source, '--ignore-scripts'])
const tarball = join(folder, readdirSync(folder).find((name) => name.endsWith('.tgz'))!)
const installed = join(folder, 'node_modules/lowkey-gpu-engine')
mkdirSync(installed, { recursive: true })
run('tar', ['xzf', tarball, '--strip-components=1', '-C', installed])
for (const name of ['@webgpu/types', 'webgpu', '@types/node', 'undici-types']) {
  mkdirSync(join(folder, 'node_modules', name, '..'), { recursive: true })
  symlinkSync(join(repository, 'node_modules', name), join(folder, 'node_modules', name))
}
writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')

const filesOf = (path: string): string[] =>
  readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => statSync(join(path, name)).isFile())
const bytesOf = (path: string): number => filesOf(path).reduce((n, name) => n + statSync(join(path, name)).size, 0)
const place = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

/** The Node of this run, and the one on the path outside the repository where that is another. */
const nodes = [
  ...new Set([process.execPath, join(repository, 'node_modules/.bin/node'), '/usr/bin/node', '/usr/local/bin/node']),
]
  .flatMap((path) => {
    try {
      return [{ path, version: run(path, ['--version']).trim() }]
    } catch {
      return []
    }
  })
  .filter(({ version }, i, all) => all.findIndex((other) => other.version === version) === i)

const README = readFileSync(join(installed, 'README.md'), 'utf8')

describe('the package of the engine', () => {
  test('is small, and has nothing to download, build or run', () => {
    const files = filesOf(installed)
    const bytes = bytesOf(installed)
    console.log(`unpacked: ${files.length} files, ${bytes} bytes; packed: ${statSync(tarball).size} bytes`)
    expect(bytes).toBeLessThan(1e6)
    // What npm puts beside it: its one dependency, which has none.
    const types = join(folder, 'node_modules/@webgpu/types')
    expect(JSON.parse(readFileSync(join(types, 'package.json'), 'utf8')).dependencies ?? {}).toEqual({})
    const megabytes = (bytes + bytesOf(types)) / 1e6
    const stated = /\*\*([\d.]+) MB on the disk\*\*/.exec(readFileSync(join(repository, 'docs/engine.md'), 'utf8'))![1]
    expect(megabytes.toFixed(1), 'as docs/engine.md says').toBe(stated)
    expect(files.filter((name) => !/^(dist\/.*\.(js|d\.ts)|package\.json|README\.md|LICENSE)$/.test(name))).toEqual([])
    const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
    expect(manifest.scripts).toBeUndefined()
    expect(Object.keys(manifest.dependencies)).toEqual(['@webgpu/types'])
    expect(manifest.version).toBe(JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')).version)
  })

  test('has nothing that lowkey-gpu lacks', async () => {
    const engine = Object.keys(await import(join(installed, 'dist/engine.js')))
    expect(engine.filter((name) => !(name in library))).toEqual([])
    expect(engine).toEqual(expect.arrayContaining(['compile', 'grad', 'graph', 'matmul', 'pointwise', 'linearEntry']))
  })

  test('is what publint and attw want', async () => {
    const { messages } = await publint({ pkgDir: installed, pack: false })
    expect(messages).toEqual([])
    const found = await typesOf(createPackageFromTarballData(readFileSync(tarball)))
    // It has no CommonJS: `require` of Node takes modules. Resolution as before Node 16 knows no `exports`.
    const problems = 'problems' in found ? found.problems : [found]
    expect(
      problems.filter(
        (problem) => !('resolutionKind' in problem && /^node10$|^node16-cjs$/.test(problem.resolutionKind as string)),
      ),
    ).toEqual([])
  })
})

describe.skipIf(!everything)('programs', () => {
  const printed = 'Float32Array(4) [ 1, 2, 3, 4 ]'
  const program = /```js\n([\s\S]*?)```/.exec(README)![1]

  test.each(nodes)('of its README run on Node $version', ({ path }) => {
    expect(run(path, [place('readme.mjs', program)])).toContain(printed)
  })

  test.each(nodes)('can require it on Node $version', ({ path }) => {
    const file = place(
      'required.cjs',
      `const { graph, matmul } = require('lowkey-gpu-engine')
const g = graph()
console.log(matmul(g.input('a', [2, 3]), g.input('b', [3, 4])).shape)`,
    )
    expect(run(path, [file])).toContain('[ 2, 4 ]')
  })

  test.each(readdirSync(join(repository, 'examples/engine')))('examples/engine/%s runs', (name) => {
    const text = readFileSync(join(repository, 'examples/engine', name), 'utf8')
    const wanted = Array.from(text.matchAll(/^\/\/ prints: (.*)$/gm), ([, line]) => line)
    expect(wanted.length).toBeGreaterThan(0)
    for (const { path } of nodes) {
      const output = run(path, [place(name, text)])
      for (const line of wanted) expect(output).toContain(line)
    }
  })

  test.each([
    ['with the DOM', ['es2023', 'dom']],
    ['without the DOM', ['es2023']],
  ])('compile under strict TypeScript %s', (_, lib) => {
    place(
      'typed.ts',
      `import { compile, type Expression, graph, type Gpu, matmul, type Op, pointwise, type Tensor } from 'lowkey-gpu-engine'
const value: Expression = ['mul', 'x', ['sigmoid', 'x']]
export const op: Op<Readonly<Record<string, number>>> = pointwise('own', { inputs: ['x'], value })
export async function product(gpu: Gpu): Promise<Float32Array> {
  const g = graph()
  const a: Tensor = g.input('a', [2, 3])
  const plan = await compile(gpu, { y: matmul(a, g.constant([1, 2, 3], [3, 1])) }, { inputs: { a } })
  // @ts-expect-error there is no such input
  plan.write('b', [1])
  return (await plan.run({ a: [1, 2, 3, 4, 5, 6] })).y
}`,
    )
    const options = {
      strict: true,
      noEmit: true,
      module: 'nodenext',
      target: 'es2023',
      lib,
      types: [],
      skipLibCheck: true,
    }
    place('tsconfig.json', JSON.stringify({ compilerOptions: options, files: ['typed.ts'] }))
    const tsc = join(repository, 'node_modules/typescript/bin/tsc')
    expect(run(process.execPath, [tsc, '-p', 'tsconfig.json'])).toBe('')
    rmSync(join(folder, 'tsconfig.json'))
  })
})

describe.skipIf(!everything)('bundles', () => {
  const entry = (name: string): string =>
    place(
      `${name}.js`,
      `export { compile, grad, graph, ${name} } from 'lowkey-gpu-engine'\nexport { acquire } from 'lowkey-gpu-engine/browser'\n`,
    )
  test('by esbuild, rollup and Vite hold what is used', async () => {
    const sizes: Record<string, Record<string, number>> = {}
    const first: Record<string, Record<string, number>> = {}
    for (const name of ['matmul', 'conv2d']) {
      const input = entry(name)
      const bundled = await esbuild({ entryPoints: [input], bundle: true, minify: true, format: 'esm', write: false })
      const rolling = await rollup({
        input,
        onwarn() {}, // of the circle that docs/architecture.md names
        treeshake: { moduleSideEffects: false },
        plugins: [
          {
            name: 'packages',
            resolveId(id) {
              const file = { 'lowkey-gpu-engine': 'engine.js', 'lowkey-gpu-engine/browser': 'browser.js' }[id]
              return file ? { id: join(installed, 'dist', file), moduleSideEffects: false } : null
            },
          },
        ],
      })
      const byVite = async (pieces: boolean) => {
        const built = await vite({
          root: folder,
          logLevel: 'silent',
          configFile: false,
          build: {
            write: false,
            target: 'es2023',
            lib: { entry: input, formats: ['es'], fileName: name },
            minify: true,
            rolldownOptions: { output: { codeSplitting: pieces } },
          },
        })
        return (built as unknown as [Awaited<ReturnType<typeof rolling.generate>>])[0]
      }
      const made = [
        await rolling.generate({ format: 'es', inlineDynamicImports: true }),
        await byVite(false),
        await rolling.generate({ format: 'es' }),
        await byVite(true),
      ].map(({ output }) => output.flatMap((part): Chunk[] => (part.type === 'chunk' ? [part] : [])))
      expect(made.map(({ length }) => length > 1)).toEqual([false, false, true, true])
      const [rollupFile, viteFile, rollupPieces, vitePieces] = await Promise.all(made.map(loadOf))
      sizes[name] = {
        esbuild: kilobytes(bundled.outputFiles[0].contents),
        rollup: rollupFile.all,
        vite: viteFile.all,
      }
      first[name] = { rollup: rollupPieces.first, vite: vitePieces.first }
      for (const text of [bundled.outputFiles[0].text, ...made.flat().map(({ code }) => code)]) {
        expect(text).not.toMatch(/["']node:/)
        expect(text).not.toContain('lpips')
      }
    }
    console.log(`gzipped kB: in one file ${JSON.stringify(sizes)}, at first ${JSON.stringify(first)}`)
    for (const kB of Object.values(sizes.matmul)) expect(kB).toBeLessThan(37)
    for (const kB of Object.values(sizes.conv2d)) expect(kB).toBeLessThan(46)
    for (const kB of Object.values(first.matmul)) expect(kB).toBeLessThan(24)
    for (const kB of Object.values(first.conv2d)) expect(kB).toBeLessThan(25)
  })
})

const browser = everything ? await browserOrReason(WEBGPU_SWITCHES) : undefined
const unavailable = browser === undefined || browser instanceof NoBrowserError
afterAll(async () => {
  if (!unavailable) await browser.close()
})

describe.skipIf(unavailable)('in Chromium', () => {
  test('a page that Vite made of it computes, and loads kernels when it compiles', async () => {
    if (unavailable) return
    const input = place(
      'page.js',
      `import { compile, conv2d, grad, graph, matmul, mul, relu, reshape, sum } from 'lowkey-gpu-engine'
import { acquire } from 'lowkey-gpu-engine/browser'
const loaded = () => performance.getEntriesByType('resource').length
export async function run() {
  const gpu = await acquire()
  const g = graph()
  const x = g.input('x', [1, 1, 3, 3])
  const edges = relu(conv2d(x, g.constant([1, -1], [1, 1, 1, 2])))
  const loss = sum(mul(matmul(reshape(edges, [3, 2]), g.constant([1, 2], [2, 1])), 3))
  const before = loaded()
  const plan = await compile(gpu, { loss, dx: grad(loss, x) })
  const { loss: [value], dx } = await plan.run({ x: [3, 1, 2, 5, 4, 1, 0, 2, 1] })
  const pieces = loaded() - before
  gpu.destroy()
  return { value, dx: [...dx], pieces }
}
`,
    )
    const built = await vite({
      root: folder,
      logLevel: 'silent',
      configFile: false,
      build: { write: false, target: 'es2023', lib: { entry: input, formats: ['es'], fileName: 'page' }, minify: true },
    })
    const [{ output }] = built as unknown as [{ output: Chunk[] }]
    const text = (code: string) => new TextEncoder().encode(code)
    const html = `<!doctype html><meta charset="utf-8"><script type="module">
      window.opened = import('./page.js').then((page) => page.run())
    </script>`
    const host = await serving(
      new Map([['index.html', text(html)], ...output.map(({ fileName, code }) => [fileName, text(code)] as const)]),
    )
    const page = await browser.open(host.address)
    const found = await page.evaluate<{ value: number; dx: number[]; pieces: number }>('window.opened')
    await page.close()
    host.close()
    // Differences of neighbours: 2 -1, 1 3, -2 1.
    expect(found.value).toBe(3 * (2 + 7 + 2))
    expect(found.dx).toEqual([3, -3, 0, 3, 3, -6, 0, 6, -6])
    expect(found.pieces).toBeGreaterThan(1)
  })
})
