/** What reaches a browser: how large it is, that nothing of Node is in it, and how its GPU is opened. */
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { type BuildResult, build, type Metafile } from 'esbuild'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { acquire, NoAdapterError } from '../../src/device/browser.ts'
import * as kernels from '../../src/kernels/index.ts'
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
    kilobytes: gzipSync(contents, { level: 9 }).length / 1000,
    imports: imports.map(({ path }) => path),
    /** Modules of which something is in the bundle, from dist/ on. */
    inputs: Object.entries(inputs).flatMap(([path, { bytesInOutput }]) =>
      bytesInOutput > 0 ? [path.replace(/^.*lowkey-gpu\/dist\//, '')] : [],
    ),
  }
}

/** Operations of images and their likeness; the others are what networks and their training are made of. */
const IMAGES = ['affineWarp', 'gaussianBlur', 'lpipsDistance', 'resize', 'ssim']
const functions = Object.entries(kernels).flatMap(([name, value]) => (typeof value === 'function' ? [name] : []))
const networks = functions.filter((name) => !IMAGES.includes(name))

const core = (...names: string[]): string => `export { ${['graph', 'compile', 'grad', ...names]} } from 'lowkey-gpu'`
const browser = `export { acquire } from 'lowkey-gpu/browser'`

describe('bundles of the packed package for browsers, minified', () => {
  test('hold what is used, and are as large as docs/engine.md says', async () => {
    const sizes = {
      bare: await bundle(`${core()}\n${browser}`),
      matmul: await bundle(`${core('matmul')}\n${browser}`),
      conv2d: await bundle(`${core('conv2d')}\n${browser}`),
      networks: await bundle(`${core(...networks)}\n${browser}`),
      every: await bundle(`${core(...networks, ...IMAGES)}\n${browser}`),
    }
    const { bare, conv2d, every } = sizes
    console.log(
      `gzipped kB: ${Object.entries(sizes)
        .map(([name, { kilobytes }]) => `${name} ${kilobytes.toFixed(1)}`)
        .join(', ')}`,
    )
    const table = readFileSync('docs/engine.md', 'utf8').split('| imported | kB |')[1]
    const stated = Array.from(table.matchAll(/^\| .* \| (\d+) \|$/gm), ([, kB]) => Number(kB)).slice(0, 5)
    const measured = Object.values(sizes).map(({ kilobytes }) => kilobytes)
    for (const [i, kB] of measured.entries())
      expect(Math.abs(kB - stated[i]), `${kB} kB, not ${stated[i]}`).toBeLessThan(1)
    expect(every.imports).toEqual([])
    expect(every.text).not.toMatch(/["']node:/)
    expect(every.inputs.filter((path) => /wgpu-matrix|^(attack|faces|models|weights)\//.test(path))).toEqual([])
    expect(conv2d.inputs).toContain('kernels/conv2d.js')
    expect(conv2d.inputs.filter((path) => /ssim|resize|adam/.test(path))).toEqual([])
    expect(bare.inputs.filter((path) => /conv|matmul/.test(path))).toEqual([])
  })

  test('the whole library needs nothing of Node', async () => {
    const whole = await bundle(`export * from 'lowkey-gpu'\nexport * from 'lowkey-gpu/browser'`)
    const { kilobytes } = await bundle(`export * from 'lowkey-gpu'`, ['wgpu-matrix'])
    console.log(
      `engine, networks, detector and attack: ${whole.kilobytes.toFixed(1)} kB, ${kilobytes.toFixed(1)} kB without wgpu-matrix`,
    )
    expect(whole.imports).toEqual([])
    expect(whole.text).not.toMatch(/["']node:/)
    expect(whole.inputs.filter((path) => /node_modules/.test(path) && !/\/wgpu-matrix\//.test(path))).toEqual([])
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
