/** YuNet: decoding of what the network says, the network in any size, its import, and what it finds in photos. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { loadOtherDetector } from '../../src/attack/node.ts'
import { UsageError } from '../../src/cli/exit.ts'
import { type ImportOptions, importFile } from '../../src/cli/import-network.ts'
import { align112 } from '../../src/faces/alignment.ts'
import { cropFace } from '../../src/faces/crop.ts'
import { detectFaces, type Face, type MtcnnNetworks } from '../../src/faces/mtcnn.ts'
import type { Pixels } from '../../src/faces/pixels.ts'
import {
  decodeYunet,
  detectFacesYunet,
  type YunetNetworks,
  yunetColumns,
  yunetPlanes,
  yunetStrides,
} from '../../src/faces/yunet.ts'
import { graph } from '../../src/graph/index.ts'
import { readPhoto } from '../../src/images/index.ts'
import { mtcnnNetworks } from '../../src/models/mtcnn.ts'
import { recogniser } from '../../src/models/recognisers.ts'
import { isYunet, storeYunet, yunetInput, yunetNetworks, yunetRecorder } from '../../src/models/yunet.ts'
import { knownNetworks, loadWeights } from '../../src/weights/node.ts'
import { readOnnx } from '../../src/weights/onnx.ts'
import { loadOnnx } from '../../src/weights/onnx-store.ts'
import { OnnxError } from '../../src/weights/onnx-tensor.ts'
import { type ManifestEntry, type RecogniserEntry, type Weights, weightsOf } from '../../src/weights/registry.ts'
import { writeSafetensors } from '../../src/weights/safetensors.ts'
import { evaluate } from '../golden/case.ts'
import { lowkey, room } from '../support/cli.ts'
import { cosine, relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { type Constant, onnxFile, type WrittenModel } from '../support/onnx.ts'
import { random, uniform } from '../support/random.ts'
import { dataBeside, isAtHand } from '../support/scope.ts'

const gpu = await testGpu()

afterEach(() => vi.unstubAllEnvs())

/** Cells of an image, of all layers. */
const cellsOf = (height: number, width: number): number =>
  yunetStrides.reduce((sum, stride) => sum + (height / stride) * (width / stride), 0)

/** What a network says that sees nothing. */
const nothing = (height: number, width: number): Float32Array => new Float32Array(cellsOf(height, width) * yunetColumns)

/** A network that says the same of every image, and keeps the images. */
function network(say: (height: number, width: number) => Float32Array) {
  const seen: { image: Float32Array; height: number; width: number }[] = []
  const networks: YunetNetworks = {
    heads: async (image, height, width) => {
      seen.push({ image, height, width })
      return say(height, width)
    },
  }
  return { networks, seen }
}

const blank = (width: number, height: number): Pixels => ({ width, height, data: new Uint8Array(3 * width * height) })

describe('what the network says, as faces', () => {
  const [height, width] = [64, 96]
  /** Cells of 8 pixels are 12 x 8, of 16 are 6 x 4, of 32 are 3 x 2. */
  const firstCellOf = { 8: 0, 16: 96, 32: 120 }
  const face = [0.8, 0.5, 0.5, 0.25, Math.log(2), Math.log(3), ...[0, 0, 1, 0.5, 0.5, 1, -0.5, 2, 1, 2.25]]
  const say = (...cells: [cell: number, columns: readonly number[]][]) => {
    const rows = nothing(height, width)
    for (const [cell, columns] of cells) rows.set(columns, cell * yunetColumns)
    return rows
  }

  test.each([
    [8, 96 / 8 + 5, 5 * 8, 8],
    [16, 2 * (96 / 16) + 1, 16, 2 * 16],
    [32, 2, 64, 0],
  ] as const)('cells of %i pixels', (stride, cell, left, top) => {
    const [found, ...others] = decodeYunet(say([firstCellOf[stride] + cell, face]), height, width, 0.5)
    expect(others).toEqual([])
    expect(found.score).toBeCloseTo(Math.sqrt(0.8 * 0.5), 6)
    const at = (x: number, y: number) => [left + stride * x, top + stride * y]
    expect(found.landmarks).toEqual([at(0, 0), at(1, 0.5), at(0.5, 1), at(-0.5, 2), at(1, 2.25)])
    // 2 x 3 cells around the centre; the last pixel belongs to the box.
    const box = [...at(0.5 - 1, 0.25 - 1.5), ...at(0.5 + 1, 0.25 + 1.5).map((side) => side - 1)]
    for (const [k, side] of found.box.entries()) expect(side).toBeCloseTo(box[k], 4)
  })

  test('only those of the score asked for, whatever the probabilities are', () => {
    const scored = (cls: number, obj: number) => [cls, obj, ...face.slice(2)]
    const rows = say([0, scored(0.36, 1)], [20, scored(0.35, 1)], [40, scored(7, 0.49)], [60, scored(-3, -3)])
    rows[80 * yunetColumns] = Number.NaN
    const scores = (minScore: number) => decodeYunet(rows, height, width, minScore).map(({ score }) => score)
    expect(scores(0.595)).toHaveLength(2)
    expect(scores(0.59)[2]).toBeCloseTo(0.7, 6)
    expect(scores(0.69)).toHaveLength(1)
    expect(scores(0.71)).toEqual([])
  })

  test('refuses an answer of another length', () => {
    expect(() => decodeYunet(new Float32Array(5), height, width, 0.5)).toThrow(
      new RangeError('yunet: 5 numbers for 64x96 pixels, expected 2016'),
    )
  })
})

describe('a photo', () => {
  test('is given as planes B, G, R in 0..255, black beyond its borders', async () => {
    const photo = { ...blank(40, 30), data: uniform(1, 3600, 0, 256).map(Math.floor) }
    const pixels: Pixels = { ...photo, data: Uint8Array.from(photo.data) }
    const { networks, seen } = network(nothing)
    expect(await detectFacesYunet(networks, pixels)).toEqual([])
    const [{ image, height, width }] = seen
    expect([seen.length, height, width]).toEqual([1, 32, 64])
    expect(image).toEqual(yunetPlanes(pixels, 32, 64))
    for (const [x, y] of [
      [0, 0],
      [39, 0],
      [7, 29],
    ]) {
      const [r, g, b] = pixels.data.subarray(3 * (40 * y + x))
      expect([0, 1, 2].map((plane) => image[plane * 2048 + 64 * y + x])).toEqual([b, g, r])
    }
    const outside = [0, 1, 2].flatMap((plane) => [image[plane * 2048 + 40], image[plane * 2048 + 30 * 64]])
    expect(outside).toEqual([0, 0, 0, 0, 0, 0])
  })

  test('is reduced where it is large, and its faces are enlarged to it', async () => {
    const face = [1, 1, 0, 0, Math.log(4), Math.log(2), ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]
    const say = (height: number, width: number) => {
      const rows = nothing(height, width)
      // The cell at x 80, y 16, of 8 pixels.
      rows.set(face, ((2 * width) / 8 + 10) * yunetColumns)
      return rows
    }
    const { networks, seen } = network(say)
    const [found] = await detectFacesYunet(networks, blank(1500, 990), { longestSide: 500 })
    expect(seen[0]).toMatchObject({ height: 352, width: 512 })
    const close = (got: readonly number[], wanted: readonly number[]) =>
      got.forEach((value, k) => {
        expect(value).toBeCloseTo(wanted[k], 4)
      })
    close(found.box, [3 * (80 - 16), 3 * (16 - 8), 3 * (80 + 16) - 1, 3 * (16 + 8) - 1])
    for (const [k, point] of found.landmarks.entries())
      close(point, [3 * (80 + 8 * (2 * k + 1)), 3 * (16 + 8 * (2 * k + 2))])
    await detectFacesYunet(networks, blank(1500, 990))
    await detectFacesYunet(networks, blank(4000, 1))
    expect(seen.slice(1).map(({ height, width }) => [height, width])).toEqual([
      [448, 640],
      [32, 640],
    ])
  })

  test('of faces that overlap the better one stays, best first', async () => {
    const at = (score: number, shift: number) => [
      score,
      score,
      shift,
      0,
      Math.log(8),
      Math.log(8),
      ...Array(10).fill(0),
    ]
    const say = (height: number, width: number) => {
      const rows = nothing(height, width)
      // Squares of 64 pixels: the second is 8 pixels to the right of the first (overlap 7/9), the third 48 (1/7).
      for (const [cell, columns] of [
        [8, at(0.8, 0)],
        [9, at(0.9, 0)],
        [15, at(0.7, -1)],
      ] as const)
        rows.set(columns, cell * yunetColumns)
      return rows
    }
    const faces = await detectFacesYunet(network(say).networks, blank(128, 64))
    expect(faces.map(({ score }) => score.toFixed(3))).toEqual(['0.900', '0.700'])
    const few = await detectFacesYunet(network(say).networks, blank(128, 64), { minScore: 0.75 })
    expect(few).toHaveLength(1)
  })

  test('and options that make no sense are refused', async () => {
    const { networks } = network(nothing)
    const wrong = network(() => new Float32Array(3)).networks
    await expect(detectFacesYunet(networks, { ...blank(40, 30), width: 41 })).rejects.toThrow(
      /detectFacesYunet: 41x30 RGB needs/,
    )
    await expect(detectFacesYunet(networks, blank(9, 9), { longestSide: 31 })).rejects.toThrow(/longestSide is 31;/)
    await expect(detectFacesYunet(networks, blank(9, 9), { longestSide: Number.NaN })).rejects.toThrow(RangeError)
    await expect(detectFacesYunet(networks, blank(9, 9), { minScore: 0 })).rejects.toThrow(/minScore is 0;/)
    await expect(detectFacesYunet(wrong, blank(9, 9))).rejects.toThrow(/3 numbers for 32x32 pixels, expected 336/)
  })
})

const HEADS = { cls: 1, obj: 1, bbox: 4, kps: 10 }
type Head = keyof typeof HEADS
const headNames = yunetStrides.flatMap((stride) => Object.keys(HEADS).map((head) => `${head}_${stride}`))

/** A network of YuNet's outputs that takes a moment: every head is a 1x1 convolution of the means of the cells. */
function small({ input = ['batch', 3, 'height', 'width'] as readonly (number | string)[], seed = 1 } = {}) {
  const nodes: WrittenModel['nodes'][number][] = []
  const constants: Record<string, Constant> = {}
  for (const [k, stride] of yunetStrides.entries()) {
    const side = k === 0 ? stride : 2
    const attributes = { kernel_shape: [side, side], strides: [side, side] }
    nodes.push({ op: 'AveragePool', inputs: k === 0 ? 'input' : `p${stride / 2}`, outputs: `p${stride}`, attributes })
    for (const [head, columns] of Object.entries(HEADS)) {
      const [key, name] = [seed++, `${head}_${stride}`]
      constants[`w_${name}`] = ['float32', [columns, 3, 1, 1], [...uniform(key, 3 * columns, -0.01, 0.01)]]
      constants[`s_${columns}`] = ['int64', [3], [0, -1, columns]]
      const isProbability = columns === 1
      nodes.push(
        { op: 'Conv', inputs: `p${stride} w_${name}`, outputs: `c_${name}` },
        { op: 'Transpose', inputs: `c_${name}`, outputs: `t_${name}`, attributes: { perm: [0, 2, 3, 1] } },
        { op: 'Reshape', inputs: `t_${name} s_${columns}`, outputs: isProbability ? `r_${name}` : name },
      )
      if (isProbability) nodes.push({ op: 'Sigmoid', inputs: `r_${name}`, outputs: name })
    }
  }
  return { inputs: { input }, nodes, constants, outputs: headNames.join(' ') } satisfies WrittenModel
}

const modelOf = (model: WrittenModel) => readOnnx(onnxFile(model), 'small.onnx')

/** A network as it is loaded. */
function stored(model: WrittenModel): Weights {
  const { tensors, metadata } = storeYunet(modelOf(model))
  const entry = { id: 'small', file: 'small.safetensors', architecture: 'yunet' } as ManifestEntry
  return weightsOf(entry, writeSafetensors(tensors, { ...metadata }, entry.file), entry.file)
}

/** What `small` says of one cell. */
function expected({ constants }: ReturnType<typeof small>, image: Float32Array, [height, width]: number[]) {
  return (stride: number, row: number, column: number): number[] => {
    const means = [0, 1, 2].map((plane) => {
      let sum = 0
      for (let y = 0; y < stride; y++)
        for (let x = 0; x < stride; x++) sum += image[(plane * height + row * stride + y) * width + column * stride + x]
      return sum / stride ** 2
    })
    return (Object.keys(HEADS) as Head[]).flatMap((head) => {
      const weights = constants[`w_${head}_${stride}`][2]
      const values = Array.from({ length: HEADS[head] }, (_, k) =>
        means.reduce((sum, mean, plane) => sum + mean * weights[3 * k + plane], 0),
      )
      return HEADS[head] === 1 ? values.map((value) => 1 / (1 + Math.exp(-value))) : values
    })
  }
}

describe('the network', () => {
  const model = small()

  test('gives a row for each cell, of images of any size', async () => {
    using networks = await yunetNetworks(gpu, stored(model))
    for (const [height, width] of [
      [64, 96],
      [32, 32],
      [96, 64],
    ]) {
      const image = uniform(7, 3 * height * width, 0, 255)
      const rows = await networks.heads(image, height, width)
      expect(rows.length).toBe(cellsOf(height, width) * yunetColumns)
      const wanted = expected(model, image, [height, width])
      let cell = 0
      for (const stride of yunetStrides)
        for (let row = 0; row < height / stride; row++)
          for (let column = 0; column < width / stride; column++, cell++) {
            const got = rows.subarray(cell * yunetColumns, (cell + 1) * yunetColumns)
            expect(relmax(got, wanted(stride, row, column)), `${stride}: ${row}, ${column}`).toBeLessThan(1e-5)
          }
    }
  })

  test('keeps calls apart that overlap', async () => {
    using networks = await yunetNetworks(gpu, stored(model))
    const images = [1, 2, 3].map((seed) => uniform(seed, 3 * 32 * 64, 0, 255))
    const alone = []
    for (const image of images) alone.push(await networks.heads(image, 32, 64))
    const together = await Promise.all(images.map((image) => networks.heads(image, 32, 64)))
    expect(together).toEqual(alone)
    expect(relmax(alone[0], alone[1])).toBeGreaterThan(0.1)
  })

  test('refuses sides that are no multiples of 32, and an image of another length', async () => {
    using networks = await yunetNetworks(gpu, stored(model))
    await expect(networks.heads(new Float32Array(3 * 32 * 40), 32, 40)).rejects.toThrow(
      /yunet: an image of 40x32 pixels; both sides must be multiples of 32/,
    )
    await expect(networks.heads(new Float32Array(0), 0, 32)).rejects.toThrow(/multiples of 32/)
    await expect(networks.heads(new Float32Array(5), 32, 32)).rejects.toThrow(/5/)
  })

  test('is made of the weights of a YuNet alone', async () => {
    await expect(yunetNetworks(gpu, await loadWeights('mtcnn'))).rejects.toThrow(
      /mtcnn\.safetensors: holds no ONNX graph/,
    )
    await expect(yunetNetworks(gpu, await loadWeights('faceplugin'))).rejects.toThrow(
      /faceplugin\.safetensors: .*"cls_8"/,
    )
  })
})

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

const shared = dataBeside('')
const original = join(shared, 'weights/yunet/yunet_n_dynamic.onnx')

/** What OpenCV 5.0's FaceDetectorYN finds with the same file: x, y, width and height of the box, landmarks as x, y, score. */
const openCv: Record<string, readonly number[]> = {
  'astronaut.png': [
    ...[178.11292, 64.95203, 91.36104, 111.414696, 203.351071, 103.620926, 247.521027, 104.447746],
    ...[224.104034, 127.688805, 203.96225, 143.137466, 242.913147, 143.671875, 0.9356303],
  ],
  'lfw/Abdullah_Gul/Abdullah_Gul_0001.jpg': [
    ...[93.49994, 65.90107, 90.08335, 123.43266, 108.616608, 112.275414, 150.098755, 111.563522],
    ...[123.34169, 135.034744, 112.850441, 155.052246, 148.717514, 154.169449, 0.9298311],
  ],
}

describe.skipIf(!isAtHand(original))('the authors’ file', () => {
  // Not in the body, which runs where the tests are skipped too.
  let yunet: YunetNetworks
  let mtcnn: MtcnnNetworks
  let parameters: number
  beforeAll(async () => {
    const stored = storeYunet(readOnnx(readFileSync(original), 'yunet.onnx'))
    const entry = { id: 'yunet', file: 'yunet.safetensors' } as ManifestEntry
    const file = writeSafetensors(stored.tensors, { ...stored.metadata }, entry.file)
    parameters = stored.parameters
    yunet = await yunetNetworks(gpu, weightsOf(entry, file, entry.file))
    mtcnn = await mtcnnNetworks(gpu, await loadWeights('mtcnn'))
  })

  const photoOf = async (name: string): Promise<Pixels> => {
    const { width, height, rgb } = await readPhoto(join(shared, 'photos', name))
    return { width, height, data: rgb }
  }

  /** The faces that both find, MTCNN's and YuNet's in pairs. */
  async function pairs(photo: Pixels): Promise<[Face, Face][]> {
    const others = await detectFacesYunet(yunet, photo)
    return (await detectFaces(mtcnn, photo)).map((face): [Face, Face] => {
      const other = others.find(({ box: [x1, y1, x2, y2] }) => {
        const [x, y] = face.landmarks[2]
        return x > x1 && x < x2 && y > y1 && y < y2
      })
      expect(other, `a face at ${face.box}`).toBeDefined()
      return [face, other!]
    })
  }

  test('is imported', () => expect(parameters).toBe(73_848))

  test.each(Object.keys(openCv))('finds the face of %s where OpenCV does', async (name) => {
    const [face, ...others] = await detectFacesYunet(yunet, await photoOf(name))
    expect(others).toEqual([])
    const [x1, y1, x2, y2] = face.box
    const got = [x1, y1, x2 - x1 + 1, y2 - y1 + 1, ...face.landmarks.flat(), face.score]
    for (const [k, value] of openCv[name].entries()) expect(Math.abs(got[k] - value), `${k}`).toBeLessThan(1e-3)
  })

  test.each([
    ['astronaut.png', 1],
    ['highres/two_people.jpg', 2],
    ['highres/multiface.jpg', 6],
  ])('has every landmark of %s near MTCNN’s', async (name, count) => {
    const found = await pairs(await photoOf(name))
    expect(found.length).toBe(count)
    for (const [face, other] of found) {
      const [left, right] = face.landmarks
      const eyes = Math.hypot(left[0] - right[0], left[1] - right[1])
      const distances = face.landmarks.map(([x, y], k) =>
        Math.hypot(x - other.landmarks[k][0], y - other.landmarks[k][1]),
      )
      // Left and right, or two of the points exchanged, would be far beyond.
      expect(Math.max(...distances) / eyes).toBeLessThan(0.3)
      expect(distances.reduce((sum, d) => sum + d, 0) / 5 / eyes).toBeLessThan(0.2)
    }
  })

  test('aligns faces so that a recogniser knows them', async () => {
    const sirius = await loadWeights('sirius')
    const { build, threshold } = recogniser(sirius.entry as RecogniserEntry)
    const photos = await Promise.all(['multiface', 'img5', 'img6'].map((name) => photoOf(`highres/${name}.jpg`)))
    const crops: Float32Array[] = []
    for (const photo of photos)
      for (const both of await pairs(photo))
        for (const { landmarks } of both) crops.push(cropFace(photo, align112(landmarks), 112))
    const data = Float32Array.from(crops.flatMap((crop) => [...crop]))
    const { y } = await evaluate(gpu, { x: { shape: [crops.length, 3, 112, 112], data } }, ({ x }) => ({
      y: build(x, sirius),
    }))
    const embedding = (k: number) => y.slice((k * y.length) / crops.length, ((k + 1) * y.length) / crops.length)
    // Six people, then one in two photos; MTCNN's crop and YuNet's of each face.
    expect(crops.length).toBe(16)
    for (let face = 0; face < 8; face++)
      expect(cosine(embedding(2 * face), embedding(2 * face + 1)), `face ${face}`).toBeGreaterThan(threshold + 0.2)
    expect(cosine(embedding(12), embedding(15))).toBeGreaterThan(threshold)
    expect(cosine(embedding(13), embedding(15))).toBeGreaterThan(threshold)
    for (let a = 0; a < 7; a++)
      for (let b = 0; b < a; b++)
        expect(cosine(embedding(2 * a + 1), embedding(2 * b + 1)), `${a}, ${b}`).toBeLessThan(threshold)
  })

  test('finds a face of a tenth and of a twenty-fifth of the photo', async () => {
    const face = await photoOf('lfw/Abdullah_Gul/Abdullah_Gul_0001.jpg')
    for (const [width, height] of [
      [1000, 1200],
      [3000, 2000],
    ]) {
      const photo = { width, height, data: new Uint8Array(3 * width * height).fill(120) }
      // 250x250 pixels with a face of 90 x 123.
      for (let y = 0; y < 250; y++)
        photo.data.set(face.data.subarray(750 * y, 750 * (y + 1)), 3 * ((y + 333) * width + 444))
      const found = await detectFacesYunet(yunet, photo)
      expect(found.length, `${width}x${height}`).toBe(1)
      const [x, y] = found[0].landmarks[2]
      expect(Math.hypot(x - 444 - 123, y - 333 - 135)).toBeLessThan(8)
    }
  })
})

describe.skipIf(!isAtHand(original))('weights import of the authors’ file', () => {
  test('in half precision too', async () => {
    const cwd = room('yunet-original')
    copyFileSync(original, join(cwd, 'yunet_n_dynamic.onnx'))
    const { code } = await lowkey(['weights', 'import', 'yunet_n_dynamic.onnx', '--f16', 'yes'], {
      cwd,
      env: { LOWKEY_HOME: join(cwd, 'home') },
    })
    expect(code).toBe(0)
    vi.stubEnv('LOWKEY_HOME', join(cwd, 'home'))
    const weights = await loadOtherDetector(await knownNetworks())
    using networks = await yunetNetworks(gpu, weights!)
    const { width, height, rgb } = await readPhoto(join(shared, 'photos/astronaut.png'))
    const [face] = await detectFacesYunet(networks, { width, height, data: rgb })
    const wanted = openCv['astronaut.png']
    for (const [k, value] of face.landmarks.flat().entries()) expect(Math.abs(value - wanted[4 + k])).toBeLessThan(0.5)
  })
})
