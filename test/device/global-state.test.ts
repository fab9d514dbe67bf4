/** There is no global state: what is kept belongs to a Gpu, and the program's environment is its own. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test, vi } from 'vitest'
import { acquire, listAdapters } from '../../src/device/node.ts'
import { compile, graph } from '../../src/graph/index.ts'
import { tanh } from '../../src/kernels/index.ts'

const source = resolve(import.meta.dirname, '../../src')

test('no module of the engine keeps things by device', () => {
  const folders = ['device', 'kernels', 'graph']
  const keepers = folders.flatMap((folder) =>
    readdirSync(join(source, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .filter((file) =>
        /^(?:export )?(?:const|let) .*new Weak(?:Map|Set)/m.test(readFileSync(join(source, folder, file), 'utf8')),
      )
      .map((file) => `${folder}/${file}`),
  )
  expect(keepers).toEqual([])
})

test('opening a device leaves the environment as it was, with or without XDG_RUNTIME_DIR', async () => {
  for (const folder of [undefined, '/tmp']) {
    vi.stubEnv('XDG_RUNTIME_DIR', folder)
    const before = { ...process.env }
    await listAdapters()
    const gpu = await acquire({ gpu: process.env.LOWKEY_GPU })
    gpu.destroy()
    expect({ ...process.env }).toEqual(before)
  }
  vi.unstubAllEnvs()
})

test('pipelines and choices are those of one device', async () => {
  const [a, b] = [await acquire({ gpu: process.env.LOWKEY_GPU }), await acquire({ gpu: process.env.LOWKEY_GPU })]
  try {
    const pipelines = (gpu: typeof a) => vi.spyOn(gpu.device, 'createComputePipelineAsync')
    const [ofA, ofB] = [pipelines(a), pipelines(b)]
    const record = () => ({ y: tanh(graph().input('x', [5])) })
    for (const gpu of [a, a, b]) (await compile(gpu, record())).destroy()
    expect(ofA).toHaveBeenCalledTimes(1)
    expect(ofB).toHaveBeenCalledTimes(1)
    a.tuning = new Map()
    expect(b.tuning).not.toBe(a.tuning)
  } finally {
    a.destroy()
    b.destroy()
  }
})
