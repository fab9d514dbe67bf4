/** YuNet as a file that users bring: whole, damaged, imported. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { loadOtherDetector } from '../../src/attack/node.ts'
import { UsageError } from '../../src/cli/exit.ts'
import { type ImportOptions, importFile } from '../../src/cli/weights/import-file.ts'
import { detectFacesYunet } from '../../src/faces/yunet.ts'
import { graph } from '../../src/graph/index.ts'
import { isYunet, storeYunet, yunetInput, yunetNetworks, yunetRecorder } from '../../src/models/yunet.ts'
import { knownNetworks } from '../../src/weights/node.ts'
import { readOnnx } from '../../src/weights/onnx.ts'
import { loadOnnx } from '../../src/weights/onnx-store.ts'
import { OnnxError } from '../../src/weights/onnx-tensor.ts'
import { lowkey, room } from '../support/cli.ts'
import { onnxFile, type WrittenModel } from '../support/onnx.ts'
import { random, uniform } from '../support/random.ts'
import { blank, gpu, headNames, modelOf, small, stored } from '../support/yunet.ts'

afterEach(() => vi.unstubAllEnvs())

describe('a file', () => {
  test('is a YuNet if it gives what a YuNet gives', () => {
    expect(isYunet(modelOf(small()))).toBe(true)
    const { outputs, ...rest } = small()
    expect(isYunet(modelOf({ ...rest, outputs: `input ${outputs}` }))).toBe(true)
    expect(isYunet(modelOf({ ...rest, outputs: outputs.replace('kps_32', 't_kps_32') }))).toBe(false)
  })

  test('brings its constants and its graph; what else is in it stays out', () => {
    const model = small()
    const { tensors, metadata, parameters } = storeYunet(
      modelOf({
        ...model,
        nodes: [...model.nodes, { op: 'Mul', inputs: 'p8 other', outputs: 'more' }],
        constants: { ...model.constants, other: ['float32', [1], [2]] },
        outputs: `more ${model.outputs}`,
      }),
    )
    expect(parameters).toBe(3 * 3 * 16)
    expect([...tensors.keys()].sort()).toEqual(headNames.map((name) => `w_${name}`).sort())
    expect(JSON.parse(metadata.onnx).outputs.map(({ name }: { name: string }) => name)).toEqual(headNames)
  })

  test('that was written for images of one size takes any', async () => {
    using networks = await yunetNetworks(gpu, stored(small({ input: [1, 3, 320, 320] })))
    using free = await yunetNetworks(gpu, stored(small()))
    const image = uniform(3, 3 * 64 * 96, 0, 255)
    expect(await networks.heads(image, 64, 96)).toEqual(await free.heads(image, 64, 96))
  })

  test.each<[string, (model: ReturnType<typeof small>) => WrittenModel, RegExp]>([
    [
      'of grey images',
      (model) => ({ ...model, inputs: { input: [1, 1, 64, 64] } }),
      /does not take one image of three colours/,
    ],
    ['of a list', (model) => ({ ...model, inputs: { input: [3] } }), /does not take one image of three colours/],
    [
      'of two images',
      (model) => ({
        ...model,
        inputs: { ...model.inputs, second: [1, 3, 64, 64] },
      }),
      /does not take one image/,
    ],
    [
      'whose cells are larger',
      (model) => ({
        ...model,
        nodes: model.nodes.map((node) =>
          node.outputs === 'p16' ? { ...node, attributes: { kernel_shape: [4, 4], strides: [4, 4] } } : node,
        ),
      }),
      /is no YuNet: of an image of 96x64 pixels "cls_16" is \[1,6,1\], not \[1,24,1\]/,
    ],
    [
      'with landmarks of one number',
      (model) => ({
        ...model,
        constants: {
          ...model.constants,
          s_10: ['int64', [3], [0, -1, 5]],
        },
      }),
      /"kps_8" is \[1,192,5\], not \[1,96,10\]/,
    ],
    [
      'with a size inside',
      (model) => ({ ...model, constants: { ...model.constants, s_4: ['int64', [3], [1, 96, 4]] } }),
      /the node of "bbox_16" \(Reshape\): .*\[1,4,6,4\] has 96 elements, \[1,96,4\] has 384/,
    ],
    [
      'that says the same of every image',
      (model) => ({
        ...model,
        nodes: model.nodes.filter(({ outputs }) => outputs !== 'bbox_32'),
        constants: { ...model.constants, bbox_32: ['float32', [1, 6, 4], Array<number>(24).fill(0)] },
      }),
      /is no YuNet: .*"bbox_32" is \[1,6,4\]/,
    ],
    [
      'with numbers that are none',
      (model) => ({
        ...model,
        constants: { ...model.constants, w_obj_8: ['float32', [1, 3, 1, 1], [1, Number.POSITIVE_INFINITY, 1]] },
      }),
      /a constant "w_obj_8" with numbers that are not finite/,
    ],
    [
      'of an operator that is not computed here',
      (model) => ({
        ...model,
        nodes: model.nodes.map((node) => (node.outputs === 'cls_8' ? { ...node, op: 'Hardmax' } : node)),
      }),
      /the operator Hardmax is not supported/,
    ],
  ])('%s is refused', (_, change, problem) => {
    const attempt = () => storeYunet(modelOf(change(small())))
    expect(attempt).toThrow(problem)
    expect(attempt).toThrow(OnnxError)
    expect(attempt).toThrow(/^small\.onnx: /)
  })
})

describe('files that were damaged', () => {
  /** Reads, stores and records a file as far as that goes; anything but success or OnnxError fails the test. */
  function attempt(file: Uint8Array, what: string): boolean {
    const start = performance.now()
    try {
      const model = readOnnx(file, 'hostile.onnx')
      if (isYunet(model)) storeYunet(model)
      return true
    } catch (error) {
      expect(error, what).toBeInstanceOf(OnnxError)
      return false
    } finally {
      expect(performance.now() - start, what).toBeLessThan(2000)
    }
  }
  const file = onnxFile(small())

  test('are refused or read, cut or changed anywhere', () => {
    expect(attempt(file, 'whole')).toBe(true)
    for (let length = 0; length < file.length; length += 7)
      expect(attempt(file.slice(0, length), `cut ${length}`)).toBe(false)
    const next = random(5)
    let refused = 0
    for (let i = 0; i < 600; i++) {
      const changed = file.slice()
      for (let k = 0; k < 3; k++) changed[Math.floor(next() * file.length)] ^= 1 << Math.floor(8 * next())
      if (!attempt(changed, `change ${i}`)) refused++
    }
    expect(refused).toBeGreaterThan(150)
    expect(refused).toBeLessThan(600)
  })

  test('also where the graph is changed after it was stored', () => {
    const { tensors, metadata } = storeYunet(modelOf(small()))
    const next = random(6)
    let refused = 0
    for (let i = 0; i < 300; i++) {
      const letters = [...metadata.onnx]
      for (let k = 0; k < 3; k++)
        letters[Math.floor(next() * letters.length)] = '0123456789[]{}",-abc'[Math.floor(next() * 20)]
      const source = {
        metadata: { onnx: letters.join('') },
        tensor: (name: string) => tensors.get(name) ?? { shape: [], data: new Float32Array(1) },
      }
      try {
        const record = yunetRecorder(loadOnnx(source, 'stored'))
        record(graph().input('x', [1, 3, 64, 64]))
      } catch (error) {
        expect(error, letters.join('')).toBeInstanceOf(OnnxError)
        refused++
      }
    }
    expect(refused).toBeGreaterThan(150)
  })
})

describe('weights import', () => {
  const run = (cwd: string, ...args: string[]) =>
    lowkey(['weights', 'import', ...args], { cwd, env: { LOWKEY_HOME: join(cwd, 'home') } })

  test('takes a YuNet for a detector, which is then the other one', async () => {
    const cwd = room('yunet')
    writeFileSync(join(cwd, 'face finder.onnx'), onnxFile(small()))
    const { code, stderr, created } = await run(cwd, 'face finder.onnx', '--json')
    expect(stderr).toMatch(
      /face finder\.onnx: YuNet, a detector of faces, 144 parameters; a graph of ONNX, images of any size/,
    )
    expect(stderr).toMatch(/`lowkey-gpu evaluate` finds and aligns faces with it a second time/)
    expect([code, created]).toEqual([0, ['home/weights/face-finder.json', 'home/weights/face-finder.safetensors']])
    const entry = JSON.parse(readFileSync(join(cwd, 'home/weights/face-finder.json'), 'utf8'))
    expect(entry).toMatchObject({ role: 'detector', architecture: 'yunet', title: 'YuNet', input: yunetInput })
    vi.stubEnv('LOWKEY_HOME', join(cwd, 'home'))
    const other = await loadOtherDetector(await knownNetworks())
    expect(other?.id).toBe('face-finder')
    using networks = await yunetNetworks(gpu, other!)
    expect(await detectFacesYunet(networks, blank(50, 40), { minScore: 0.9 })).toEqual([])
  })

  test('without one there is no other detector', async () => {
    vi.stubEnv('LOWKEY_HOME', room('empty'))
    expect(await loadOtherDetector(await knownNetworks())).toBeUndefined()
  })

  test('refuses options that are for recognisers, and a file that only looks like one', async () => {
    const cwd = room('yunet-refused')
    writeFileSync(join(cwd, 'y.onnx'), onnxFile(small()))
    vi.stubEnv('LOWKEY_HOME', join(cwd, 'home'))
    const attempt = (options: Partial<ImportOptions>) =>
      importFile(join(cwd, 'y.onnx'), { f16: 'auto', overwrite: false, ...options })
    const wrong: Partial<ImportOptions>[] = [
      { colours: 'RGB' },
      { size: [320, 320] },
      { output: 'cls_8' },
      { std: [1, 1, 2] },
    ]
    for (const options of wrong)
      await expect(attempt(options)).rejects.toThrow(/are for recognisers; y\.onnx is YuNet, a detector/)
    await expect(attempt({ threshold: 0.3 })).rejects.toThrow(
      /--threshold and --alignment are for recognisers; this is YuNet/,
    )
    await expect(attempt({ prefix: 'net' })).rejects.toThrow(UsageError)
    writeFileSync(join(cwd, 'grey.onnx'), onnxFile(small({ input: [1, 1, 64, 64] })))
    const grey = await run(cwd, 'grey.onnx')
    expect([grey.code, grey.created]).toEqual([5, []])
    expect(grey.stderr).toMatch(/grey\.onnx: gives what YuNet gives, but does not take one image of three colours/)
  })
})
