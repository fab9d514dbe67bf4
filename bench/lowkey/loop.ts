/**
 * The published loop (signed steps, nothing of what this project adds) on one photo: what other engines are compared with, and what
 * precisions are compared on.
 */

import { matrixInput, recordObjective } from '../../src/attack/objective.ts'
import { type Preset, presets } from '../../src/attack/presets.ts'
import { faceRegion, samplingMatrix, softMask, wholePhoto } from '../../src/attack/region.ts'
import { workingPlanes } from '../../src/attack/resample.ts'
import type { Gpu } from '../../src/device/gpu.ts'
import { type Affine, alignmentOf } from '../../src/faces/alignment.ts'
import { detectFaces } from '../../src/faces/mtcnn.ts'
import { compile, graph, type HalfOptions, type Plan } from '../../src/graph/index.ts'
import { uniformNoise } from '../../src/graph/noise.ts'
import { mtcnnNetworks } from '../../src/models/mtcnn.ts'
import type { Recogniser } from '../../src/models/recognisers.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import type { Networks } from './configurations.ts'

/** The area that is worked on, with everything that the objective is told of it. Planes are [3,height,width] in 0..1. */
export interface Area {
  height: number
  width: number
  clean: Float32Array
  /** [height,width]; absent where the whole photo changes. */
  mask?: Float32Array
  /** Crop to area, by alignment. */
  matrices: ReadonlyMap<Recogniser['alignment'], Affine>
  start: Float32Array
  preset: Preset
}

/** The value of the objective and its gradient at the first change. */
export interface Gradient {
  objective: number
  gradient: Float32Array
}

/**
 * The area of the best face of a photo.
 * @throws Error where there is no face
 */
export async function areaOf(
  gpu: Gpu,
  { detector, surrogates }: Networks,
  photo: Pixels,
  area: Preset['area'],
): Promise<Area> {
  using mtcnn = await mtcnnNetworks(gpu, detector)
  const [face] = await detectFaces(mtcnn, photo)
  if (!face) throw new Error(`no face was found in a photo of ${photo.width}x${photo.height}`)
  const region =
    area === 'photo' ? wholePhoto(photo.width, photo.height) : faceRegion(photo.width, photo.height, face.landmarks)
  const mapOf = (alignment: Recogniser['alignment']) => alignmentOf(alignment, face.landmarks)
  const alignments = new Set(['arcface112' as const, ...surrogates.map(({ network }) => network.alignment)])
  const clean = workingPlanes(photo, region)
  const preset: Preset = { ...presets.paper, area }
  return {
    height: region.workHeight,
    width: region.workWidth,
    clean,
    mask: area === 'face' ? softMask(region, mapOf('arcface112')) : undefined,
    matrices: new Map([...alignments].map((alignment) => [alignment, samplingMatrix(region, mapOf(alignment))])),
    start: uniformNoise(1, clean.length, preset.noise),
    preset,
  }
}

/**
 * Compiles the loop's step and puts the area on the device.
 * @throws PlanMemoryError where the area does not fit the device
 */
export async function compileLoop(
  gpu: Gpu,
  { surrogates, lpips }: Networks,
  area: Area,
  halves: HalfOptions = {},
): Promise<Plan> {
  const shape = { height: area.height, width: area.width, faces: 1, grey: false }
  const recorded = recordObjective(
    graph(),
    { shape, surrogates, perceptual: lpips, preset: area.preset, masked: area.mask !== undefined },
    {
      half: halves.storage === 'f16',
    },
  )
  const { total, gradient, delta, nextDelta } = recorded
  const plan = await compile(gpu, { total, gradient }, { updates: [[delta, nextDelta]], ...halves })
  plan.write('clean', area.clean)
  plan.write('base', area.clean)
  if (area.mask) plan.write('mask', area.mask)
  for (const [alignment, matrix] of area.matrices) plan.write(matrixInput(alignment), Float32Array.from(matrix))
  return plan
}

/** What the plan computes at the first change. */
export async function gradientOf(plan: Plan, { start }: Area): Promise<Gradient> {
  plan.write('delta', start)
  plan.run()
  const [[objective], gradient] = await Promise.all([plan.read('total'), plan.read('gradient')])
  return { objective, gradient }
}

/** How far another gradient is from ours: the cosine of the two, and the relative difference of the objectives. */
export interface Likeness {
  cosine: number
  objectiveError: number
}

export function likenessOf(ours: Gradient, theirs: Gradient): Likeness {
  let [ab, aa, bb] = [0, 0, 0]
  for (const [i, a] of ours.gradient.entries()) {
    const b = theirs.gradient[i]
    ab += a * b
    aa += a * a
    bb += b * b
  }
  return { cosine: ab / Math.sqrt(aa * bb), objectiveError: Math.abs(theirs.objective / ours.objective - 1) }
}
