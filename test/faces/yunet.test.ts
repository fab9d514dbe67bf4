/** YuNet: decoding of what the network says, photos of any size, and the network itself. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  decodeYunet,
  detectFacesYunet,
  type YunetNetworks,
  yunetColumns,
  yunetPlanes,
  yunetStrides,
} from '../../src/faces/yunet.ts'
import { yunetNetworks } from '../../src/models/yunet.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import { loadWeights } from '../../src/weights/node.ts'
import { relmax } from '../support/compare.ts'
import { uniform } from '../support/random.ts'
import { blank, gpu, HEADS, small, stored } from '../support/yunet.ts'

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
    const pixels: Pixels = { ...photo, rgb: Uint8Array.from(photo.data) }
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
      const [r, g, b] = pixels.rgb.subarray(3 * (40 * y + x))
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

type Head = keyof typeof HEADS

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
