/** What reaches a browser: how large it is, that nothing of Node is in it, and how its GPU is opened. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type BuildResult, build, type Metafile } from 'esbuild'
import { rollup } from 'rollup'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { acquire, NoAdapterError } from '../../src/device/browser.ts'
import * as kernels from '../../src/kernels/index.ts'
import { type Chunk, kilobytes, loadOf } from '../support/first-load.ts'
import { installPackage } from '../support/package.ts'

const { folder, files } = installPackage()

/** A minified bundle of the package for browsers, as a page's author makes it. A module of Node in it is an error of the bundler. */
async function bundle(source: string, external: string[] = []) {
  const result: BuildResult<{ write: false; metafile: true }> = await build({
    stdin: { contents: source, resolveDir: folder },
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'esm',
    target: 'es2023',
    write: false,
    metafile: true,
    external,
    logLevel: 'silent',
  })
  const [{ contents, text }] = result.outputFiles
  const [{ imports, inputs }]: Metafile['outputs'][string][] = Object.values(result.metafile.outputs)
  return {
    text,
    kilobytes: kilobytes(contents),
    imports: imports.map(({ path }) => path),
    /** Modules of which something is in the bundle, from dist/ on, and how much of each. */
    bytes: new Map(
      Object.entries(inputs).flatMap(([path, { bytesInOutput }]): [string, number][] =>
        bytesInOutput > 0 ? [[path.replace(/^.*lowkey-gpu\/dist\//, ''), bytesInOutput]] : [],
      ),
    ),
  }
}

/** The same bundle in pieces, as rollup and Vite make it: kB that a page loads to begin with. */
async function firstLoad(source: string): Promise<number> {
  const places: Record<string, string> = { 'lowkey-gpu': 'index.js', 'lowkey-gpu/browser': 'browser.js' }
  const bundle = await rollup({
    input: 'page',
    external: ['wgpu-matrix'],
    onwarn() {}, // of the circle that docs/architecture.md names
    plugins: [
      {
        name: 'package',
        resolveId(id) {
          if (id === 'page') return id
          const place = places[id]
          return place ? { id: join(folder, 'node_modules/lowkey-gpu/dist', place), moduleSideEffects: false } : null
        },
        load: (id) => (id === 'page' ? source : null),
      },
    ],
    treeshake: { moduleSideEffects: (id) => id === 'page' },
  })
  const { output } = await bundle.generate({ format: 'es' })
  await bundle.close()
  return (await loadOf(output.filter((part) => part.type === 'chunk') as Chunk[])).first
}

/** Operations of images and their likeness; the others are what networks and their training are made of. */
const IMAGES = ['affineWarp', 'gaussianBlur', 'lpipsDistance', 'resize', 'ssim']
const functions = Object.entries(kernels).flatMap(([name, value]) => (typeof value === 'function' ? [name] : []))
const networks = functions.filter((name) => !IMAGES.includes(name))

/** What the engine's modules are, as the table of docs/engine.md has them. */
const PARTS: readonly RegExp[] = [
  /^(browser|device\/(browser|flags|gpu))\.js$/,
  /^graph\/(graph|numbers|hash|gradient|index)\.js$/,
  /^kernels\/(broadcast|elementwise|expression|fused|pointwise)\.js$/,
  /^kernels\/(op|reduce|reshape|wgsl)\.js$/,
  /^graph\/(calls|compile|half-tensors|limits|lower|memory|pipelines)\.js$/,
  /^graph\/(fuse|fused-kernel)\.js$/,
  /^graph\/(guards|plan)\.js$/,
  /^(graph\/(noise|tune)|device\/stopwatch)\.js$/,
  /^kernels\/(matmul|gemm\/.*)\.js$/,
]

const core = (...names: string[]): string => `export { ${['graph', 'compile', 'grad', ...names]} } from 'lowkey-gpu'`
const browser = `export { acquire } from 'lowkey-gpu/browser'`

describe('bundles of the packed package for browsers, minified', () => {
  test('hold what is used, and are as large as docs/engine.md says', async () => {
    const sources = [[], ['matmul'], ['conv2d'], networks, [...networks, ...IMAGES]].map(
      (names) => `${core(...names)}\n${browser}`,
    )
    const bundles = await Promise.all(sources.map((source) => bundle(source)))
    const [bare, matmul, conv2d, , every] = bundles
    const measured: number[][] = []
    for (const [i, source] of sources.entries()) measured.push([await firstLoad(source), bundles[i].kilobytes])
    console.log(
      `gzipped kB, at first and in one file: ${measured.map((row) => row.map((kB) => kB.toFixed(1)).join(' '))}`,
    )
    const table = readFileSync('docs/engine.md', 'utf8').split('| imported | at first | in one file |')[1]
    const rows = Array.from(table.matchAll(/^\| .* \| (\d+) \| (\d+) \|$/gm), ([, ...row]) => row.map(Number))
    expect(rows.length).toBe(measured.length)
    for (const [i, row] of measured.entries())
      for (const [k, kB] of row.entries())
        expect(Math.abs(kB - rows[i][k]), `${kB} kB, not ${rows[i][k]}`).toBeLessThan(1)
    const parts = Array.from(
      readFileSync('docs/engine.md', 'utf8')
        .split('| part | kB |')[1]
        .matchAll(/^\| .* \| ([\d.]+) \|$/gm),
      ([, kB]) => Number(kB),
    ).slice(0, PARTS.length)
    const shares = PARTS.map((part) => {
      const found = [...matmul.bytes].filter(([path]) => part.test(path))
      return found.reduce((sum, [, bytes]) => sum + bytes, 0) / 1000
    })
    console.log(`of the bundle with matmul, kB before gzip: ${shares.map((kB) => kB.toFixed(1)).join(' ')}`)
    for (const [i, kB] of shares.entries()) expect(Math.abs(kB - parts[i]), `${PARTS[i]}`).toBeLessThan(0.3)
    expect([...matmul.bytes.keys()].filter((path) => !PARTS.some((part) => part.test(path)))).toEqual([])
    expect(every.imports).toEqual([])
    expect(every.text).not.toMatch(/["']node:/)
    expect([...every.bytes.keys()].filter((path) => /wgpu-matrix|^(attack|faces|models|weights)\//.test(path))).toEqual(
      [],
    )
    expect([...conv2d.bytes.keys()]).toContain('kernels/conv2d.js')
    expect([...conv2d.bytes.keys()].filter((path) => /ssim|resize|adam/.test(path))).toEqual([])
    expect([...bare.bytes.keys()].filter((path) => /conv|matmul/.test(path))).toEqual([])
  })

  test('the whole library needs nothing of Node', async () => {
    const whole = await bundle(`export * from 'lowkey-gpu'\nexport * from 'lowkey-gpu/browser'`)
    const { kilobytes } = await bundle(`export * from 'lowkey-gpu'`, ['wgpu-matrix'])
    console.log(
      `engine, networks, detector and attack: ${whole.kilobytes.toFixed(1)} kB, ${kilobytes.toFixed(1)} kB without wgpu-matrix`,
    )
    expect(whole.imports).toEqual([])
    expect(whole.text).not.toMatch(/["']node:/)
    expect(
      [...whole.bytes.keys()].filter((path) => /node_modules/.test(path) && !/\/wgpu-matrix\//.test(path)),
    ).toEqual([])
  })

  test('what needs Node is refused there', async () => {
    await expect(bundle(`export * from 'lowkey-gpu/node'`)).rejects.toThrow('Could not resolve "node:')
  })
})

test('the package has the modules of the library, and what they declare', () => {
  const paths = files.map(({ path }) => path)
  const js = paths.filter((path) => /^dist\/.*\.js$/.test(path) && path !== 'dist/cli.js')
  expect(js).toContain('dist/kernels/matmul.js')
  expect(js.filter((path) => path.startsWith('dist/cli/'))).toEqual([])
  for (const entry of ['index', 'node', 'browser']) expect(paths).toContain(`dist/${entry}.d.ts`)
  const megabytes = files.reduce((n, { size }) => n + size, 0) / 1e6
  console.log(`without weights: ${files.length} files, ${megabytes.toFixed(1)} MB`)
  expect(megabytes).toBeLessThan(4)
})

describe('acquire in a browser', () => {
  afterEach(() => {
    vi.unstubAllGlobals()
  })

  test('opens a device with the limits of the adapter that navigator.gpu gives', async () => {
    const device = Object.assign(new EventTarget(), { lost: new Promise(() => {}), destroy: vi.fn() })
    const requestDevice = vi.fn(async () => device)
    const adapter = {
      limits: { maxStorageBufferBindingSize: 2 ** 27, maxBufferSize: 2 ** 28 },
      features: new Set(['shader-f16']),
      info: { vendor: 'someone', architecture: '', device: '', description: 'a test' },
      requestDevice,
    }
    const requestAdapter = vi.fn(async () => adapter)
    vi.stubGlobal('navigator', { gpu: { requestAdapter } })
    const gpu = await acquire({ powerPreference: 'low-power' })
    expect(requestAdapter).toHaveBeenCalledWith({ powerPreference: 'low-power' })
    expect(requestDevice).toHaveBeenCalledWith(
      expect.objectContaining({
        requiredFeatures: ['shader-f16'],
        requiredLimits: { maxStorageBufferBindingSize: 2 ** 27, maxBufferSize: 2 ** 28 },
      }),
    )
    expect(gpu.capabilities).toMatchObject({ description: 'a test', f16: true, maxBindingBytes: 2 ** 27 })
    gpu.destroy()
    expect(device.destroy).toHaveBeenCalledOnce()
  })

  test('says why there is none', async () => {
    vi.stubGlobal('navigator', {})
    await expect(acquire()).rejects.toThrow(NoAdapterError)
    await expect(acquire()).rejects.toThrow('there is no navigator.gpu')
    vi.stubGlobal('navigator', { gpu: { requestAdapter: async () => null } })
    await expect(acquire()).rejects.toThrow('the browser offers no WebGPU adapter')
  })
})
