/** Every operator of ONNX that is understood. One line a family. */
import { activations } from './activations.ts'
import { arithmetic } from './arithmetic.ts'
import type { Operator } from './call.ts'
import { convolutions } from './convolution.ts'
import { layout } from './layout.ts'
import { matrices } from './matrices.ts'
import { normalisations } from './normalisation.ts'
import { pieces } from './pieces.ts'
import { pooling } from './pooling.ts'
import { reductions } from './reductions.ts'
import { resizing } from './resizing.ts'
import { shapes } from './shapes.ts'

export const operators: ReadonlyMap<string, Operator> = new Map(
  [
    convolutions,
    matrices,
    normalisations,
    activations,
    arithmetic,
    pooling,
    reductions,
    layout,
    pieces,
    resizing,
    shapes,
  ].flatMap((family) => Object.entries(family)),
)
