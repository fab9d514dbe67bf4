/** The pipeline of MTCNN: with scripted networks, and with plain ones on the golden photos. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import type { ScoredBox } from '../../src/faces/boxes.ts'
import {
  detectFaces,
  locateFaces,
  type MtcnnNetworks,
  proposeFaces,
  pyramidScales,
  refineFaces,
  smallestFace,
  writePlanes,
} from '../../src/faces/mtcnn.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import { readSafetensors } from '../../src/weights/safetensors.ts'
import {
  box,
  detectorCases,
  expectClose,
  goldenCases,
  landmarksOf,
  numbers,
  pixels,
  rows,
} from '../support/detections.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

const weightsFile = join(root, 'weights/mtcnn.safetensors')

/** None of the tensors here is of 64-bit integers. */
type Tensors = ReadonlyMap<string, { shape: readonly number[]; data: ArrayLike<number> & Iterable<number> }>

const read = (file: string): Tensors => readSafetensors(readFileSync(file), file).tensors as Tensors

/** Networks that answer what a test says, and keep what they were asked. */
function scripted(answers: {
  /** Cells of the first pyramid level with a face: x, y in the map and four offsets. */
  cells?: [x: number, y: number, ...offsets: number[]][]
  rnet?: (count: number) => { probability: number[]; offsets: number[] }
  onet?: (count: number) => { probability: number[]; offsets: number[]; landmarks: number[] }
}) {
  const asked = { pnet: [] as [number, number][], rnet: [] as Float32Array[], onet: [] as Float32Array[] }
  const networks: MtcnnNetworks = {
    async pnet(input, height, width) {
      expect(input.length).toBe(3 * height * width)
      const first = asked.pnet.push([width, height]) === 1
      const map = { height: Math.ceil((height - 2) / 2) - 4, width: Math.ceil((width - 2) / 2) - 4 }
      const cells = map.height * map.width
      const probability = new Float32Array(cells).fill(0.1)
      const offsets = new Float32Array(4 * cells)
      for (const [x, y, ...shifts] of first ? (answers.cells ?? []) : []) {
        probability[y * map.width + x] = 0.9
        shifts.forEach((shift, k) => {
          offsets[k * cells + y * map.width + x] = shift
        })
      }
      return { probability, offsets, ...map }
    },
    async rnet(crops, count) {
      asked.rnet.push(crops)
      const { probability, offsets } = answers.rnet!(count)
      return { probability: Float32Array.from(probability), offsets: Float32Array.from(offsets) }
    },
    async onet(crops, count) {
      asked.onet.push(crops)
      const { probability, offsets, landmarks } = answers.onet!(count)
      return {
        probability: Float32Array.from(probability),
        offsets: Float32Array.from(offsets),
        landmarks: Float32Array.from(landmarks),
      }
    },
  }
  return { networks, asked }
}

describe('the pipeline', () => {
  test('planes are red, green, blue in -1..1, written where asked', () => {
    const target = new Float32Array(8).fill(9)
    writePlanes({ width: 2, height: 1, rgb: Uint8Array.of(0, 255, 127, 128, 64, 1) }, target, 1)
    const level = (value: number) => (value - 127.5) / 128
    expect(Array.from(target)).toEqual([9, ...[0, 128, 255, 64, 127, 1].map(level), 9])
  })

  const white: Pixels = { width: 100, height: 80, rgb: new Uint8Array(3 * 100 * 80).fill(255) }

  test('the pyramid starts with the smallest face and ends at 12 pixels', () => {
    const scales = pyramidScales(250, 180, 20)
    expect(scales[0]).toBe(0.6)
    scales.forEach((scale, level) => {
      expect(scale).toBeCloseTo(0.6 * (707 / 1000) ** level, 12)
      expect(180 * scale).toBeGreaterThan(12)
    })
    expect(180 * scales.at(-1)! * (707 / 1000)).toBeLessThanOrEqual(12)
    expect(pyramidScales(20, 500, 20)).toEqual([])
    for (const minFace of [11.9, 0, -20, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => pyramidScales(250, 250, minFace)).toThrow(RangeError)
    }
  })

  test('large photos look for larger faces, so that the first level stays at 1.2 megapixels', () => {
    expect(smallestFace(250, 250)).toBe(20)
    expect(smallestFace(2000, 1600)).toBe(20)
    for (const [width, height] of [
      [4000, 3000],
      [3000, 4000],
      [8192, 6144],
      [20000, 300],
    ]) {
      const first = pyramidScales(width, height, smallestFace(width, height))[0]
      expect(width * height * first * first).toBeLessThanOrEqual(1.2e6 * (1 + 1e-12))
      expect(width * height * first * first).toBeGreaterThan(1.1e6)
    }
    expect(Math.round(smallestFace(4000, 3000))).toBe(38)
  })

  test('without a candidate there is no face, and the later networks are not asked', async () => {
    const { networks, asked } = scripted({})
    expect(await detectFaces(networks, white)).toEqual([])
    expect(asked.pnet).toEqual([
      [60, 48],
      [43, 34],
      [30, 24],
      [22, 17],
    ])
    expect(asked.rnet.length + asked.onet.length).toBe(0)
    expect(await detectFaces(networks, { width: 15, height: 15, rgb: new Uint8Array(675) })).toEqual([])
  })

  test('minFace sets the first level', async () => {
    const { networks, asked } = scripted({})
    await detectFaces(networks, white, { minFace: 40 })
    expect(asked.pnet).toEqual([
      [30, 24],
      [22, 17],
    ])
    await expect(detectFaces(networks, white, { minFace: 5 })).rejects.toThrow('minFace is 5')
  })

  test('a candidate over the border is padded with black, then lives on clipped', async () => {
    // Cell (0, 0) is the box 2..22 (21 wide, rounded from 1.67 and 21.67); moved left by a box it is -19..1.
    const { networks, asked } = scripted({
      cells: [[0, 0, -1, 0, -1, 0]],
      rnet: () => ({ probability: [0.95], offsets: [0, 0, 0, 0] }),
      onet: () => ({ probability: [0.99], offsets: [0, 0, 0.5, 0], landmarks: [0, 0.5, 1, 0, 1, 0, 0, 0.5, 1, 1] }),
    })
    const proposed = await proposeFaces(networks, white, pyramidScales(100, 80, 20))
    expect(proposed.map(({ x1, y1, x2, y2 }) => [x1, y1, x2, y2])).toEqual([[-19, 2, 1, 22]])
    const refined = await refineFaces(networks, white, proposed)
    // 19 of 21 columns are black: the left of the crop is -127.5/128, its right end white.
    expect(asked.rnet[0].length).toBe(3 * 24 * 24)
    expect(asked.rnet[0][0]).toBe(-127.5 / 128)
    expect(asked.rnet[0][23]).toBe(127.5 / 128)
    // Clipped to 0..1, that is 2x21; its square about the same centre reaches from -9.5 to 10.5, rounded to even.
    expect(refined.map(({ x1, y1, x2, y2 }) => [x1, y1, x2, y2])).toEqual([[-10, 2, 10, 22]])
    const [face] = await locateFaces(networks, white, refined)
    // The third stage sees 0..10 (11 wide) after clipping; the right side then moves by half of that.
    expect(face.box).toEqual([0, 2, 15.5, 22])
    expect(face.landmarks).toEqual([
      [0, 2],
      [5.5, 2],
      [11, 12.5],
      [0, 23],
      [11, 23],
    ])
    expect(face.score).toBeCloseTo(0.99, 6)
  })

  test('candidates outside the photo, or not numbers, are left out; the rest of a stage goes in one call', async () => {
    const { networks, asked } = scripted({
      cells: [
        [0, 0, -3, 0, -3, 0],
        [8, 0, Number.NaN, 0, 0, 0],
        [0, 10, 0, 0, 0, 0],
        [12, 10, 0, 0, 0, 0],
      ],
      rnet: (count) => ({ probability: [0.71, 0.7], offsets: Array(4 * count).fill(0) }),
      onet: () => ({ probability: [0.8], offsets: Array(4).fill(0), landmarks: Array(10).fill(0) }),
    })
    expect(await detectFaces(networks, white)).toEqual([])
    expect(asked.rnet.map((crops) => crops.length)).toEqual([2 * 3 * 24 * 24])
    // Of probability .71 and .7 only the first is above .7, and the third stage's .8 is not above .8.
    expect(asked.onet.map((crops) => crops.length)).toEqual([3 * 48 * 48])
  })

  test('a box inside that of a better face is the same face; faces come best first', async () => {
    // The third stage stretches 8..28 to 8..57, over 35..55: 42% of the union, but all of the smaller.
    const { networks } = scripted({
      rnet: () => ({ probability: [0.75, 0.8, 0.9], offsets: Array(12).fill(0) }),
      onet: () => ({
        probability: [0.95, 0.94, 0.96],
        offsets: [0, 0, 29 / 21, 0, ...Array(8).fill(0)],
        landmarks: Array(30).fill(0),
      }),
    })
    const proposed = [box(8, 18, 28, 38), box(35, 18, 55, 38), box(55, 18, 75, 38)]
    const refined = await refineFaces(networks, white, proposed)
    expect(refined.map(({ x1 }) => x1)).toEqual([55, 35, 8])
    const faces = await locateFaces(networks, white, refined.reverse())
    expect(faces.map((face) => face.box[0])).toEqual([55, 8])
    expect(faces.map((face) => face.score)).toEqual([0.96, 0.95].map(Math.fround))
    expect(faces[1].box[2]).toBeCloseTo(57, 5)
  })

  test('an answer of the wrong length and an image of the wrong length are errors', async () => {
    const cells: [number, number, ...number[]][] = [[5, 5, 0, 0, 0, 0]]
    const short = scripted({ cells, rnet: () => ({ probability: [0.9], offsets: [0, 0, 0] }) })
    await expect(detectFaces(short.networks, white)).rejects.toThrow('rnet: offsets holds 3 values, expected 4')
    const { networks } = scripted({})
    await expect(detectFaces(networks, { ...white, height: 81 })).rejects.toThrow(
      'detectFaces: 100x81 RGB needs 24300 bytes (3 a pixel), rgb holds 24000',
    )
  })
})

/** Planes [channels, height, width] in the plain networks below. */
interface Maps {
  channels: number
  height: number
  width: number
  data: Float32Array
}

/** MTCNN's three networks as plain loops, so that the pipeline is judged apart from the GPU. */
function plainNetworks(tensors: Tensors): MtcnnNetworks {
  const tensor = (name: string) => {
    const found = tensors.get(name)
    if (!found) throw new Error(`${weightsFile} has no tensor ${name}; it has ${[...tensors.keys()].join(', ')}`)
    return { shape: found.shape, data: Float32Array.from(found.data) }
  }

  const convolve = (x: Maps, name: string): Maps => {
    const { shape, data: weight } = tensor(`${name}.weight`)
    const bias = tensor(`${name}.bias`).data
    const [channels, , k] = shape
    const [height, width] = [x.height - k + 1, x.width - k + 1]
    const data = new Float32Array(channels * height * width)
    const plane = new Float64Array(height * width)
    for (let o = 0, w = 0; o < channels; o++) {
      plane.fill(bias[o])
      for (let i = 0; i < x.channels; i++) {
        for (let ky = 0; ky < k; ky++) {
          for (let kx = 0; kx < k; kx++) {
            const value = weight[w++]
            for (let y = 0; y < height; y++) {
              const from = (i * x.height + y + ky) * x.width + kx
              for (let column = 0; column < width; column++) plane[y * width + column] += value * x.data[from + column]
            }
          }
        }
      }
      data.set(plane, o * height * width)
    }
    return { channels, height, width, data }
  }

  const prelu = (x: Maps, name: string): Maps => {
    const slope = tensor(`${name}.weight`).data
    const size = x.height * x.width
    return { ...x, data: x.data.map((v, i) => (v > 0 ? v : v * slope[Math.floor(i / size)])) }
  }

  /** Stride 2, with a window cut off at the lower and right border ("ceil"). */
  const pool = (x: Maps, k: number): Maps => {
    const [height, width] = [Math.ceil((x.height - k) / 2) + 1, Math.ceil((x.width - k) / 2) + 1]
    const data = new Float32Array(x.channels * height * width).fill(Number.NEGATIVE_INFINITY)
    for (let c = 0, to = 0; c < x.channels; c++) {
      for (let y = 0; y < height; y++) {
        for (let column = 0; column < width; column++, to++) {
          for (let v = 2 * y; v < Math.min(2 * y + k, x.height); v++) {
            for (let u = 2 * column; u < Math.min(2 * column + k, x.width); u++) {
              data[to] = Math.max(data[to], x.data[(c * x.height + v) * x.width + u])
            }
          }
        }
      }
    }
    return { channels: x.channels, height, width, data }
  }

  const linear = (x: Float32Array, name: string): Float32Array => {
    const weight = tensor(`${name}.weight`).data
    return tensor(`${name}.bias`).data.map((start, o) =>
      x.reduce((sum, v, i) => sum + v * weight[o * x.length + i], start),
    )
  }

  const face = (none: number, some: number) => 1 / (1 + Math.exp(none - some))
  const block = (x: Maps, network: string, n: number) =>
    prelu(convolve(x, `${network}.conv${n}`), `${network}.prelu${n}`)
  const dense = (x: Float32Array, network: string, n: number) => {
    const y = linear(x, `${network}.conv${n}`)
    return prelu({ channels: y.length, height: 1, width: 1, data: y }, `${network}.prelu${n}`).data
  }
  const perCrop = (crops: Float32Array, count: number, size: number, width: number, run: (x: Maps) => number[]) => {
    const values = Array.from({ length: count }, (_, n) => {
      const data = crops.subarray(n * 3 * size * size, (n + 1) * 3 * size * size)
      return run({ channels: 3, height: size, width: size, data })
    })
    const column = (from: number, to: number) => Float32Array.from(values.flatMap((row) => row.slice(from, to)))
    return { probability: column(0, 1), offsets: column(1, 5), landmarks: column(5, width) }
  }

  return {
    async pnet(input, height, width) {
      const first = pool(block({ channels: 3, height, width, data: input }, 'pnet', 1), 2)
      const last = block(block(first, 'pnet', 2), 'pnet', 3)
      const scores = convolve(last, 'pnet.conv4_1')
      const cells = scores.height * scores.width
      return {
        probability: Float32Array.from({ length: cells }, (_, i) => face(scores.data[i], scores.data[cells + i])),
        offsets: convolve(last, 'pnet.conv4_2').data,
        height: scores.height,
        width: scores.width,
      }
    },
    async rnet(crops, count) {
      return perCrop(crops, count, 24, 5, (x) => {
        const maps = block(pool(block(pool(block(x, 'rnet', 1), 3), 'rnet', 2), 3), 'rnet', 3)
        const y = dense(maps.data, 'rnet', 4)
        const [none, some] = linear(y, 'rnet.conv5_1')
        return [face(none, some), ...linear(y, 'rnet.conv5_2')]
      })
    },
    async onet(crops, count) {
      return perCrop(crops, count, 48, 15, (x) => {
        const half = pool(block(pool(block(x, 'onet', 1), 3), 'onet', 2), 3)
        const maps = block(pool(block(half, 'onet', 3), 2), 'onet', 4)
        const y = dense(maps.data, 'onet', 5)
        const [none, some] = linear(y, 'onet.conv6_1')
        return [face(none, some), ...linear(y, 'onet.conv6_2'), ...linear(y, 'onet.conv6_3')]
      })
    },
  }
}

describe.skipIf(!existsSync(weightsFile))('the pipeline on the golden photos, with plain networks', () => {
  /** Pairs every golden row with a found row of the same coordinates (order is free: scores may all but tie). */
  const expectSameRows = (
    found: readonly number[][],
    golden: readonly number[][],
    tolerance: number,
    score: number,
  ) => {
    expect(found.length).toBe(golden.length)
    const left = [...found]
    let largest = 0
    for (const row of golden) {
      const difference = (other: readonly number[]) =>
        Math.max(...row.map((v, i) => (i === 4 ? 0 : Math.abs(v - other[i]))))
      left.sort((a, b) => difference(a) - difference(b))
      const nearest = left.shift()!
      largest = Math.max(largest, difference(nearest))
      expect(difference(nearest), `golden ${row}, nearest ${nearest}`).toBeLessThanOrEqual(tolerance)
      expect(Math.abs(nearest[4] - row[4])).toBeLessThan(score)
    }
    return largest
  }
  const asRow = ({ x1, y1, x2, y2, score }: ScoredBox) => [x1, y1, x2, y2, score]

  test.each(detectorCases)('$name: pyramid, candidates of each stage, faces, landmarks', async ({ golden }) => {
    const image = pixels(golden, 'image')
    const networks = plainNetworks(read(weightsFile))
    const levels: { size: number[]; map: number[]; above: number }[] = []
    const watched: MtcnnNetworks = {
      ...networks,
      async pnet(input, height, width) {
        const map = await networks.pnet(input, height, width)
        const above = map.probability.filter((score) => score > 0.6).length
        levels.push({ size: [width, height], map: [map.height, map.width], above })
        return map
      },
    }
    const scales = pyramidScales(image.width, image.height, smallestFace(image.width, image.height))
    expectClose(scales, golden.entry.scales as number[], 1e-12)
    const proposed = await proposeFaces(watched, image, scales)
    expect(levels).toEqual(golden.entry.pnet)
    // A square's side a hair from a half may round the other way: one pixel, and the stages after it see another crop.
    const stage1 = expectSameRows(proposed.map(asRow), rows(numbers(golden, 'stage1'), 5), 1, 1e-4)
    const refined = await refineFaces(networks, image, proposed)
    const stage2 = expectSameRows(refined.map(asRow), rows(numbers(golden, 'stage2'), 5), 1, 1e-3)
    const faces = await locateFaces(networks, image, refined)
    const tolerance = stage1 === 0 && stage2 === 0 ? 0.01 : 1
    const withLandmarks = rows(numbers(golden, 'boxes'), 5).map((row, face) => [
      ...row,
      ...landmarksOf(rows(numbers(golden, 'landmarks'), 10)[face]).flat(),
    ])
    expectSameRows(
      faces.map((face) => [...face.box, face.score, ...face.landmarks.flat()]),
      withLandmarks,
      tolerance,
      1e-3,
    )
  })

  const networkCases = goldenCases.filter(({ golden }) => golden.tensors.includes('pnet.in_u8'))
  test.each(networkCases)('$name: the plain networks themselves', async ({ golden }) => {
    const networks = plainNetworks(read(weightsFile))
    const input = (name: string) => Float32Array.from(golden.bytes(`${name}.in_u8`), (v) => (v - 127.5) * 0.0078125)
    const [, , height, width] = golden.shape('pnet.in_u8')
    const p = await networks.pnet(input('pnet'), height, width)
    expectClose(Array.from(p.probability), numbers(golden, 'pnet.prob').slice(p.height * p.width), 1e-4)
    expectClose(Array.from(p.offsets), numbers(golden, 'pnet.offset'), 1e-4)
    const faceOf = (name: string) => rows(numbers(golden, name), 2).map(([, some]) => some)
    const r = await networks.rnet(input('rnet'), golden.shape('rnet.in_u8')[0])
    expectClose(Array.from(r.probability), faceOf('rnet.prob'), 1e-4)
    expectClose(Array.from(r.offsets), numbers(golden, 'rnet.offset'), 1e-4)
    const o = await networks.onet(input('onet'), golden.shape('onet.in_u8')[0])
    expectClose(Array.from(o.probability), faceOf('onet.prob'), 1e-4)
    expectClose(Array.from(o.offsets), numbers(golden, 'onet.offset'), 1e-4)
    expectClose(Array.from(o.landmarks), numbers(golden, 'onet.landmark'), 1e-4)
  })
})
