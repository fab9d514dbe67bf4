/**
 * The objective of LowKey (Cherepanova et al., ICLR 2021) as one graph:
 *
 *     L(x') = mean over (recogniser, branch, 512) of |F(b(x')) - F(x)|^2  -  c_sim * [LPIPS(A x, A x') + LPIPS(x, x')] / 2
 *
 * with F the normalised sum of a recogniser's embeddings of the aligned face and its mirror image, b the blurred and the plain
 * branch, A the face crop. All branches, mirror images and faces are one batch of each recogniser, and recognisers of one
 * architecture are one network (models/ensemble.ts).
 *
 * Where LPIPS looks at the crop alone (`lpipsOf`), its term is LPIPS(A x, A x').
 *
 * With drawn views, F(b(x')) is of one view of x' instead, another one in each step: a quarter of the arithmetic, and as much protection.
 *
 * Of a person's later photos, features are also driven away from those of the earlier ones as they were protected (apart.ts), up to the same
 * limit.
 */
import type { Graph, GraphTensor } from '../graph/index.ts'
import {
  add,
  affine,
  affineWarp,
  averagePool2d,
  clip,
  concat,
  flip,
  gaussianBlur,
  mul,
  normalize,
  reshape,
  slice,
  square,
  sub,
  sum,
} from '../kernels/index.ts'
import type { Shape, Tensor } from '../kernels/op.ts'
import { ensembleWeights } from '../models/ensemble.ts'
import type { NetworkWeights } from '../models/layers.ts'
import { type LpipsTrunk, lpipsDistances, lpipsTaps } from '../models/lpips.ts'
import type { Recogniser } from '../models/recognisers.ts'
import { recordAscent } from './ascent.ts'
import type { Population } from './directions.ts'
import { FEATURE_DIVISOR, type Preset } from './presets.ts'

/** A recogniser with its weights. */
export interface Surrogate {
  network: Recogniser
  weights: NetworkWeights
  /** How its embeddings of many people are spread, from which directions for photos are drawn. */
  population?: Population
}

/** The LPIPS network that keeps the change small. */
export interface Perceptual {
  weights: NetworkWeights
  trunk: LpipsTrunk
}

export interface ObjectiveShape {
  /** Pixels of the area worked on. */
  height: number
  width: number
  /** Faces in it that share the objective. */
  faces: number
  /** The change is the same in all three channels, so that a grey photo stays grey. */
  grey: boolean
  /** Protected faces that each face is driven away from, at most; none unless told. */
  slots?: number
  /** Samples a side whose mean a crop's pixel is (`cropSamples`); 1 unless told. */
  samples?: number
}

/** Shape of the change: one plane for grey photos, else three. */
export const changeShape = ({ height, width, grey }: Omit<ObjectiveShape, 'faces'>): Shape => [
  1,
  grey ? 1 : 3,
  height,
  width,
]

/** The graph's named inputs and outputs. Images are [1,3,height,width], RGB in 0..1. */
export interface Objective {
  /** Outputs: the objective and its parts (scalars), and its gradient with respect to `delta`. */
  total: Tensor
  feature: Tensor
  lpips: Tensor
  gradient: Tensor
  /** Features of the clean photo, [faces,embedding] of each surrogate: what the features of x' are driven away from. */
  targets: readonly Tensor[]
  /** The protected area: base + mask * delta. */
  image: Tensor
  /** State of the ascent and its next value. */
  delta: GraphTensor
  nextDelta: Tensor
}

export interface RecordOptions {
  /** Surrogates of one architecture are recorded as one network (unless told not to); the value is the same, buffers are larger. */
  stacked?: boolean
  /** The plan will keep tensors in f16: gradients are scaled on their way. */
  half?: boolean
}

/** Name of the input that holds the [faces,6] sampling matrices (crop to area) of an alignment. */
export const matrixInput = (alignment: Recogniser['alignment']): string => `sampling.${alignment}`

const nameOf = (stack: readonly Surrogate[]): string => stack.map(({ network }) => network.id).join('+')

/** Name of the input with the matrices [faces,6] of the view that is drawn for a stack of surrogates in each step. */
export const viewInput = (stack: readonly Surrogate[]): string => `view.${nameOf(stack)}`

/** Name of the input [1] that says how much of that view is the blurred photo: 0 or 1. Only where the preset has a blur. */
export const blurredInput = (stack: readonly Surrogate[]): string => `blurred.${nameOf(stack)}`

/** Name of the input with the directions [faces E,embedding] of a stack of E surrogates, face after face, members after one another. */
export const directionInput = (stack: readonly Surrogate[]): string => `direction.${nameOf(stack)}`

/**
 * Name of the input with the protected features [faces E,slots,embedding] that a stack of E surrogates is to see no likeness with. Rows of
 * zeros are empty: they give no gradient.
 */
export const apartInput = (stack: readonly Surrogate[]): string => `apart.${nameOf(stack)}`

/** The part of a preset that the graph depends on. */
export type ObjectivePreset = Pick<
  Preset,
  | 'stepSize'
  | 'lpipsWeight'
  | 'lpipsOf'
  | 'blur'
  | 'softness'
  | 'chroma'
  | 'decay'
  | 'drawn'
  | 'centred'
  | 'towards'
  | 'awayLimit'
  | 'apart'
>

/** What is attacked, and how. */
export interface ObjectiveParts {
  shape: ObjectiveShape
  surrogates: readonly Surrogate[]
  perceptual: Perceptual
  preset: ObjectivePreset
  /** The change is multiplied by a mask. */
  masked: boolean
}

/**
 * Records the objective. Inputs: `clean` (the area of the original photo), `base` (what the changes are added to: the original
 * unless faces overlap) and, where `masked`, `mask` [1,1,height,width] in 0..1, all fixed; the matrices of every
 * alignment in use; and the state `delta`. The crop of LPIPS is ArcFace's 112x112, whatever the surrogates use.
 */
export function recordObjective(
  g: Graph,
  { shape, surrogates, perceptual, preset, masked }: ObjectiveParts,
  { stacked = true, half = false }: RecordOptions = {},
): Objective {
  const { weights: lpipsWeights, trunk } = perceptual
  const { height, width, faces, slots = 0 } = shape
  const image = [1, 3, height, width]
  const clean = g.fixed('clean', image)
  const base = g.fixed('base', image)
  const delta = g.input('delta', changeShape(shape))
  const x = add(base, masked ? mul(delta, g.fixed('mask', [1, 1, height, width])) : delta)
  const blurred = preset.blur ? gaussianBlur(x, preset.blur) : undefined

  const matrices = new Map<string, GraphTensor>()
  const { samples = 1 } = shape
  const cropped = (photo: Tensor, matrix: Tensor, size: number): Tensor => {
    if (samples === 1) return affineWarp(photo, matrix, { size: [size, size] })
    const side = samples * size
    const finer = [1, 1, samples, 1, 1, samples].map((part) => part / samples)
    const between = mul(matrix, g.constant(Float32Array.from(finer), [1, 6], 'finer'))
    return averagePool2d(affineWarp(photo, between, { size: [side, side] }), { kernel: samples })
  }
  const crop = (photo: Tensor, alignment: Recogniser['alignment'], size: number): Tensor => {
    const name = matrixInput(alignment)
    let matrix = matrices.get(name)
    if (!matrix) matrices.set(name, (matrix = g.fixed(name, [faces, 6])))
    return cropped(photo, matrix, size)
  }

  const published = blurred ? [blurred, x] : [x]
  const drawnView = (stack: readonly Surrogate[]): Tensor => {
    const { size } = stack[0].network
    let photo = x
    if (blurred) {
      const part = g.input(blurredInput(stack), [1])
      photo = add(mul(part, blurred), mul(affine(part, -1, 1), x))
    }
    return cropped(photo, g.input(viewInput(stack), [faces, 6]), size)
  }
  const views = preset.drawn ? 1 : published.length
  const forViews = (rows: Tensor) => joined(Array.from({ length: views }, () => rows))
  /** Half of what |f - o|^2 of all unit features f and o lacks: cosines, as far as the limit of the distance lets them count. */
  const likeness = (features: Tensor, stack: readonly Surrogate[]): Tensor => {
    const [rows, length] = features.shape
    const others = forViews(g.input(apartInput(stack), [rows / views, slots, length]))
    const cosines = sum(mul(reshape(features, [rows, 1, length]), others), [2])
    return sum(preset.awayLimit ? clip(cosines, 1 - preset.awayLimit / 2, 2) : cosines)
  }
  const targets = new Map<Surrogate, Tensor>()
  const terms = stacksOf(surrogates, stacked).map((stack) => {
    const [{ network }] = stack
    const { alignment, size } = network
    const placed = (rows: Tensor) => (isCentred(stack, preset) ? fromMean(g, rows, stack) : rows)
    const target = placed(embedFlipped(crop(clean, alignment, size), stack))
    const length = target.shape[1]
    const perFace = reshape(target, [faces, stack.length * length])
    for (const [k, surrogate] of stack.entries()) {
      targets.set(surrogate, slice(perFace, 1, k * length, (k + 1) * length))
    }
    const crops = () => published.map((photo) => crop(photo, alignment, size))
    const seen = preset.drawn ? embedOnce(drawnView(stack), stack) : embedFlipped(joined(crops()), stack)
    const features = placed(seen)
    // The published formula divides by |F(x)|, which is 1: features are normalised.
    const distances = sum(square(sub(features, forViews(target))), [1])
    const repelled = sum(preset.awayLimit ? clip(distances, 0, preset.awayLimit) : distances)
    const away = slots > 0 ? sub(repelled, affine(likeness(features, stack), 2 * preset.apart, 0)) : repelled
    if (!isDirected(stack, preset)) return away
    const direction = withoutPart(g.fixed(directionInput(stack), [faces * stack.length, length]), target)
    const towards = sum(square(sub(features, forViews(direction))))
    return sub(away, affine(towards, preset.towards, 0))
  })
  const feature = affine(terms.reduce(add), 1 / (surrogates.length * views * FEATURE_DIVISOR), 0)

  // Cut out before the scope begins, whose name would become part of the matrices'.
  const crops = [crop(clean, 'arcface112', 112), crop(x, 'arcface112', 112)] as const
  const lpips = g.scope('lpips', () => {
    const distance = (a: Tensor, b: Tensor) =>
      lpipsDistances(lpipsTaps(a, lpipsWeights, trunk), lpipsTaps(b, lpipsWeights, trunk), lpipsWeights)
        .map((layer) => sum(layer))
        .reduce(add)
    if (preset.lpipsOf === 'crop') return distance(...crops)
    return affine(add(distance(...crops), distance(clean, x)), 0.5, 0)
  })
  const ascent = recordAscent(g, delta, reshape(feature, [1]), reshape(lpips, [1]), preset, half)
  return {
    ...ascent,
    feature,
    lpips,
    targets: surrogates.map((surrogate) => targets.get(surrogate)!),
    image: x,
    delta,
  }
}

/** Whether the features of a stack are drawn towards a direction, which takes the population of each of its networks. */
export const isDirected = (stack: readonly Surrogate[], { towards }: Pick<Preset, 'towards'>): boolean =>
  towards > 0 && stack.every(({ population }) => population !== undefined)

/** Whether the features of a stack are taken relative to the population's mean, which takes that of each of its networks. */
export const isCentred = (stack: readonly Surrogate[], { centred }: Pick<Preset, 'centred'>): boolean =>
  centred && stack.every(({ population }) => population !== undefined)

/**
 * Unit rows [n E,length] as unit rows from the means of the E populations. Where strangers are alike (dlib: cosine .84), raw distances span
 * little, and such a recogniser weighs little beside others.
 */
function fromMean(g: Graph, rows: Tensor, stack: readonly Surrogate[]): Tensor {
  const length = rows.shape[1]
  const means = new Float32Array(stack.length * length)
  for (const [k, { population }] of stack.entries()) means.set(population!.mean, k * length)
  const perFace = reshape(rows, [rows.shape[0] / stack.length, stack.length * length])
  const moved = sub(perFace, g.constant(means, [1, stack.length * length], 'mean'))
  return normalize(reshape(moved, rows.shape))
}

/** Unit rows [n,length] of `a` after their part along the unit rows of `b` is taken away. */
function withoutPart(a: Tensor, b: Tensor): Tensor {
  const along = sum(mul(a, b), [1])
  return normalize(sub(a, mul(b, along)))
}

/** Surrogates that are recorded as one network: those of one architecture that see the same crops. */
export function stacksOf(surrogates: readonly Surrogate[], stacked: boolean): Surrogate[][] {
  if (!stacked) return surrogates.map((surrogate) => [surrogate])
  const found: Surrogate[][] = []
  for (const surrogate of surrogates) {
    const { architecture, size, alignment } = surrogate.network
    const stack = found.find(
      ([{ network }]) =>
        architecture !== undefined &&
        network.architecture === architecture &&
        network.size === size &&
        network.alignment === alignment,
    )
    if (stack) stack.push(surrogate)
    else found.push([surrogate])
  }
  return found
}

/**
 * F: crops [n,3,s,s] to normalised sums of the embeddings of crop and mirror image, one batch of 2n. Rows [n E,embedding] of a stack
 * of E are crop after crop, those of its members after one another.
 */
function embedFlipped(crops: Tensor, stack: readonly Surrogate[]): Tensor {
  const n = crops.shape[0]
  const embeddings = embed(concat([crops, flip(crops, 3)], 0), stack)
  return unitRows(add(slice(embeddings, 0, 0, n), slice(embeddings, 0, n, 2 * n)), stack)
}

/** The same of the crops alone. */
const embedOnce = (crops: Tensor, stack: readonly Surrogate[]): Tensor => unitRows(embed(crops, stack), stack)

const embed = (crops: Tensor, stack: readonly Surrogate[]): Tensor =>
  stack[0].network.build(crops, ensembleWeights(stack.map((surrogate) => surrogate.weights)))

/** [n,E embedding] as unit rows [n E,embedding]. */
const unitRows = (x: Tensor, stack: readonly Surrogate[]): Tensor =>
  normalize(reshape(x, [x.shape[0] * stack.length, x.shape[1] / stack.length]))

/** Batches one after another. */
const joined = (batches: readonly Tensor[]): Tensor => (batches.length === 1 ? batches[0] : concat(batches, 0))
