/** `d_*`: the detector's networks, the resize before them, and the whole detection with alignment and crops. */
import { expect } from 'vitest'
import type { Gpu } from '../../src/device/gpu.ts'
import { type Affine, align112, type Landmarks } from '../../src/faces/alignment.ts'
import type { ScoredBox } from '../../src/faces/boxes.ts'
import { detectFaces, type MtcnnNetworks, proposeFaces, pyramidScales, refineFaces } from '../../src/faces/mtcnn.ts'
import { affineWarp } from '../../src/kernels/index.ts'
import { mtcnnNetworks, onet, pnet, rnet } from '../../src/models/mtcnn.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import { resize } from '../../src/pixels/resize.ts'
import { loadWeights } from '../../src/weights/node.ts'
import { relmax } from '../support/compare.ts'
import { evaluate, type Family, type GoldenCase, type Part } from './case.ts'
import { expectEmbedding } from './compare.ts'
import { samplingMatrix } from './geometry.ts'

/** An 8-bit tensor [height,width,3]. */
function pixels(golden: GoldenCase, name: string): Pixels {
  const [height, width] = golden.shape(name)
  return { width, height, rgb: golden.bytes(name) }
}

/** The three networks by themselves, as graphs; `in_u8` is NCHW. */
export const nets: Family = {
  takes: (name) => name === 'd_mtcnn_nets',
  parts: (golden) =>
    Object.entries({ pnet, rnet, onet }).map(([name, record]): Part => {
      const answers: Record<string, string> = { probability: 'prob', offsets: 'offset' }
      if (name === 'onet') answers.landmarks = 'landmark'
      return {
        name,
        tensors: [`${name}.in_u8`, ...Object.values(answers).map((answer) => `${name}.${answer}`)],
        async check(gpu) {
          const weights = await loadWeights('mtcnn')
          const data = Float32Array.from(golden.bytes(`${name}.in_u8`), (v) => (v - 127.5) * 0.0078125)
          const x = { shape: golden.shape(`${name}.in_u8`), data }
          const got = await evaluate(gpu, { x }, ({ x }) => ({ ...record(x, weights) }))
          for (const [output, answer] of Object.entries(answers)) {
            expectEmbedding(got[output], golden.numbers(`${name}.${answer}`))
          }
        },
      }
    }),
}

/** `pil_WxH` is the resized `src`; `NAME_WxH` the resized `NAME`. */
export const pyramid: Family = {
  takes: (name) => name === 'd_pil_resize',
  parts: (golden) =>
    golden.tensors.flatMap((name): Part[] => {
      const match = /^(.+)_(\d+)x(\d+)$/.exec(name)
      if (!match) return []
      const source = match[1] === 'pil' ? 'src' : match[1]
      return [
        {
          name,
          tensors: [source, name],
          check() {
            const { rgb: data } = resize(pixels(golden, source), Number(match[2]), Number(match[3]))
            const [got, want] = golden.pair(name, data)
            expect(got.length).toBe(want.length)
            expect(got.reduce((worst, v, i) => Math.max(worst, Math.abs(v - want[i])), 0)).toBeLessThanOrEqual(1)
          },
        },
      ]
    }),
}

/** Rows of a tensor [n,width] as plain numbers. */
function rows(values: Float32Array, width: number): number[][] {
  return Array.from({ length: values.length / width }, (_, i) =>
    Array.from(values.subarray(i * width, (i + 1) * width)),
  )
}

/**
 * Every golden row (x1, y1, x2, y2, score, whatever else) has a row of its own among those found, with all coordinates within
 * `pixels`. Their order may differ where scores all but tie. Returns the largest difference.
 */
function expectRows(found: readonly number[][], golden: readonly number[][], pixels: number, score: number): number {
  expect(found.length).toBe(golden.length)
  const left = [...found]
  let largest = 0
  for (const row of golden) {
    const distance = (other: readonly number[]) =>
      Math.max(...row.map((v, k) => (k === 4 ? 0 : Math.abs(v - other[k]))))
    const nearest = left.reduce((best, other) => (distance(other) < distance(best) ? other : best))
    left.splice(left.indexOf(nearest), 1)
    expect(distance(nearest), `golden ${row}, nearest ${nearest}`).toBeLessThan(pixels)
    expect(Math.abs(nearest[4] - row[4])).toBeLessThan(score)
    largest = Math.max(largest, distance(nearest))
  }
  return largest
}

const asRow = ({ x1, y1, x2, y2, score }: ScoredBox): number[] => [x1, y1, x2, y2, score]

/** x0..x4, y0..y4 as five points. */
const points = (row: readonly number[]): Landmarks =>
  [0, 1, 2, 3, 4].map((k) => [row[k], row[k + 5]]) as unknown as Landmarks

/** Levels of the pyramid as the index lists them. */
interface Level {
  size: number[]
  map: number[]
  above: number
}

/** The networks with a note of every level that the P-Net is shown. */
function noting(networks: MtcnnNetworks, levels: Level[]): MtcnnNetworks {
  return {
    rnet: networks.rnet,
    onet: networks.onet,
    async pnet(input, height, width) {
      const map = await networks.pnet(input, height, width)
      const above = map.probability.filter((probability) => probability > Math.fround(0.6)).length
      levels.push({ size: [width, height], map: [map.height, map.width], above })
      return map
    },
  }
}

/** The golden detections look for faces from this size on, in pixels, whatever the photo's size. */
const MIN_FACE = 20

async function checkDetection(gpu: Gpu, golden: GoldenCase): Promise<void> {
  const image = pixels(golden, 'image')
  using networks = await mtcnnNetworks(gpu, await loadWeights('mtcnn'))
  const scales = pyramidScales(image.width, image.height, MIN_FACE)
  expect(relmax(scales, golden.entry.scales as number[])).toBeLessThan(1e-12)
  const levels: Level[] = []
  const proposed = await proposeFaces(noting(networks, levels), image, scales)
  expect(levels).toEqual(golden.entry.pnet)
  // Sides are rounded to whole pixels: one that is a hair from a half may go the other way, and later stages see another crop.
  const stage1 = expectRows(proposed.map(asRow), rows(golden.numbers('stage1'), 5), 1.01, 1e-4)
  const refined = await refineFaces(networks, image, proposed)
  const stage2 = expectRows(refined.map(asRow), rows(golden.numbers('stage2'), 5), 1.01, 1e-3)
  const identical = stage1 === 0 && stage2 === 0

  const faces = await detectFaces(networks, image, { minFace: MIN_FACE })
  const landmarks = rows(golden.numbers('landmarks'), 10)
  const boxes = rows(golden.numbers('boxes'), 5)
  expectRows(
    faces.map((face) => [...face.box, face.score, ...face.landmarks.flat()]),
    boxes.map((box, i) => [...box, ...points(landmarks[i]).flat()]),
    identical ? 0.01 : 1,
    1e-3,
  )
}

/** Alignment and crops, from the golden landmarks so that nothing before them counts. */
async function checkCrops(gpu: Gpu, golden: GoldenCase): Promise<void> {
  const image = pixels(golden, 'image')
  const maps = rows(golden.numbers('landmarks'), 10).map((row) => align112(points(row)))
  // The index holds the matrices in full precision, as three numbers a row.
  const matrices = (golden.entry.M as number[][][]).map((m) => m.flat() as Affine)
  expect(relmax(maps.flat(), golden.numbers('M'))).toBeLessThan(1e-5)
  const pixelCount = image.width * image.height
  const planes = Float32Array.from(
    image.rgb,
    (_, i) => image.rgb[3 * (i % pixelCount) + Math.floor(i / pixelCount)] / 255,
  )
  const x = { shape: [1, 3, image.height, image.width], data: planes }
  const size = 3 * 112 * 112
  const crops = new Float32Array(matrices.length * size)
  for (const [i, map] of matrices.entries()) {
    const { y } = await evaluate(gpu, { x }, ({ x }) => ({
      y: affineWarp(x, samplingMatrix(x, map), { size: [112, 112] }),
    }))
    crops.set(y, i * size)
  }
  expect(relmax(...golden.pair('crops', crops))).toBeLessThan(1e-5)
}

export const detection: Family = {
  takes: (name, entry) => name.startsWith('d_mtcnn_') && entry.scales !== undefined,
  parts: (golden) => [
    {
      name: 'pyramid, candidates, boxes, landmarks',
      tensors: ['image', 'stage1', 'stage2', 'boxes', 'landmarks'],
      check: (gpu) => checkDetection(gpu, golden),
    },
    { name: 'alignment and crops', tensors: ['M', 'crops'], check: (gpu) => checkCrops(gpu, golden) },
  ],
}
