/** What reaches a browser: how large it is, that nothing of Node is in it, and how its GPU is opened. */
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { compactKernels } from '../build/compact-kernels.ts'
import { acquire, NoAdapterError } from '../src/device/browser.ts'
import * as kernels from '../src/kernels/index.ts'

/** A minified bundle for browsers. A module of Node in it is an error of the bundler. */
async function bundle(source: string, external: string[] = []) {
  const { outputFiles, metafile } = await build({
    stdin: { contents: source, resolveDir: `${import.meta.dirname}/..`, loader: 'ts' },
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'esm',
    target: 'es2023',
    write: false,
    metafile: true,
    external,
    logLevel: 'silent',
    plugins: [compactKernels],
  })
  const [{ contents, text }] = outputFiles
  const [{ imports, inputs }] = Object.values(metafile.outputs)
  return {
    text,
    kilobytes: gzipSync(contents, { level: 9 }).length / 1000,
    imports: imports.map(({ path }) => path),
    inputs: Object.keys(inputs),
  }
}

/** Operations of images and their likeness; the others are what networks and their training are made of. */
const IMAGES = ['affineWarp', 'gaussianBlur', 'lpipsDistance', 'resize', 'ssim']
const networks = Object.keys(kernels).filter((name) => !IMAGES.includes(name) && !/^operations$|Ops?$/.test(name))

const core = (...names: string[]): string =>
  `export { ${['graph', 'compile', 'grad', ...names]} } from './src/index.ts'`
const browser = `export { acquire } from './src/browser.ts'`

describe('bundles for browsers, minified', () => {
  test('the engine stays under 60 kB gzipped', async () => {
    const bare = await bundle(`${core()}\n${browser}`)
    const engine = await bundle(`${core(...networks)}\n${browser}`)
    const every = await bundle(`${core(...networks, ...IMAGES)}\n${browser}`)
    console.log(
      `gzipped: graph, compile, grad and acquire ${bare.kilobytes.toFixed(1)} kB, with the operations of networks ` +
        `${engine.kilobytes.toFixed(1)} kB, with every operation ${every.kilobytes.toFixed(1)} kB`,
    )
    expect(bare.kilobytes).toBeLessThan(20)
    expect(engine.kilobytes).toBeLessThan(60)
    expect(every.kilobytes).toBeLessThan(60)
    expect(every.imports).toEqual([])
    expect(every.text).not.toMatch(/["']node:/)
    expect(every.inputs.filter((path) => /wgpu-matrix|src\/(attack|faces|models|weights)\//.test(path))).toEqual([])
  })

  test('of the operations only those that are used come along', async () => {
    const { inputs, kilobytes } = await bundle(core('conv2d'))
    console.log(`gzipped: graph, compile, grad and conv2d ${kilobytes.toFixed(1)} kB`)
    expect(kilobytes).toBeLessThan(40)
    expect(inputs).toContain('src/kernels/conv2d.ts')
    expect(inputs.filter((path) => /ssim|resize|adam/.test(path))).toEqual([])
    expect((await bundle(core())).inputs).not.toContain('src/kernels/conv2d.ts')
  })

  test('the whole library needs nothing of Node', async () => {
    const whole = await bundle(`export * from './src/index.ts'\nexport * from './src/browser.ts'`)
    const { kilobytes } = await bundle(`export * from './src/index.ts'`, ['wgpu-matrix'])
    console.log(
      `engine, networks, detector and attack: ${whole.kilobytes.toFixed(1)} kB, ${kilobytes.toFixed(1)} kB without wgpu-matrix`,
    )
    expect(whole.imports).toEqual([])
    expect(whole.text).not.toMatch(/["']node:/)
    expect(whole.inputs.filter((path) => /node_modules/.test(path) && !/\/wgpu-matrix\//.test(path))).toEqual([])
  })

  test('what needs Node is refused there', async () => {
    await expect(bundle(`export * from './src/node.ts'`)).rejects.toThrow('Could not resolve "node:')
  })
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
