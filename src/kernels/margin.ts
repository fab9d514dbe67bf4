/** Margin heads of face recognition: logits whose right class must win by a margin. */
import { expectLabels } from './cross-entropy.ts'
import { affine } from './elementwise.ts'
import { elements, f32, type Kernel, type Op, type Shape, type Tensor, u32 } from './op.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

export interface MarginArgs {
  /** Factor on all cosines; 64 in both papers. */
  scale: number
  /** What the right class loses: an angle in radians (ArcFace, 0.5), or a cosine (CosFace, 0.35). */
  margin: number
}

/**
 * ArcFace (Deng et al., CVPR 2019): scale * cos(theta + margin) for the right class, scale * cos(theta) for the others. Where
 * theta + margin would pass pi, cos(theta) - margin sin(margin) takes its place, which keeps falling.
 * @param cosines [N,K], between the embeddings and the classes' centres, -1 to 1
 * @param labels [N], the right classes as whole numbers 0 to K-1
 * @returns logits [N,K], for `crossEntropy`
 * @throws ShapeError where the shapes do not fit; RangeError unless margin is 0 to pi.
 */
export function arcFace(
  cosines: Tensor,
  labels: Tensor,
  { scale = 64, margin = 0.5 }: Partial<MarginArgs> = {},
): Tensor {
  if (!(margin >= 0 && margin <= Math.PI))
    throw new RangeError(`arcFace: the margin ${margin} is no angle from 0 to pi`)
  return cosines.recorder.apply(arcFaceOp, [cosines, labels], { scale, margin })
}

/**
 * CosFace (Wang et al., CVPR 2018): scale * (cos(theta) - margin) for the right class, scale * cos(theta) for the others.
 * @param cosines [N,K], between the embeddings and the classes' centres, -1 to 1
 * @param labels [N], the right classes as whole numbers 0 to K-1
 * @returns logits [N,K], for `crossEntropy`
 * @throws ShapeError where the shapes do not fit.
 */
export const cosFace = (
  cosines: Tensor,
  labels: Tensor,
  { scale = 64, margin = 0.35 }: Partial<MarginArgs> = {},
): Tensor => cosines.recorder.apply(cosFaceOp, [cosines, labels], { scale, margin })

/** Cosine beyond which theta + margin passes pi. */
export const turn = (margin: number): number => Math.cos(Math.PI - margin)

/**
 * Least 1 - cosine^2 in the gradient, which is infinite at +-1. The next f32 below 1 gives 1.2e-7, so no other cosine is
 * affected.
 */
export const FLOOR = 1e-7

export const arcFaceOp: Op<MarginArgs> = {
  name: 'arc_face',
  inputs: ['cosines', 'labels'],
  shape(_, [cosines, labels]) {
    expectLabels('arc_face', 'cosines', cosines, labels)
    return cosines
  },
  cost: (_, [cosines]) => ({ flop: 2 * elements(cosines), bytes: 8 * elements(cosines) }),
  kernels: (args, [cosines]) => [
    marginKernel(
      'arc_face',
      args,
      cosines,
      `select(
    cosine - p.sinMargin * p.margin,
    cosine * p.cosMargin - sqrt(max((1.0 - cosine) * (1.0 + cosine), 0.0)) * p.sinMargin,
    cosine > p.turn)`,
      'p.scale * select(cosine, own, right)',
    ),
  ],
  backward: ({ args, inputs: [cosines, labels], gradient, wanted }) => [
    wanted[0] ? cosines.recorder.apply(arcFaceGradientOp, [cosines, labels, gradient], args) : undefined,
  ],
}

export const arcFaceGradientOp: Op<MarginArgs> = {
  name: 'arc_face.dcosines',
  inputs: ['cosines', 'labels', 'dy'],
  shape: (_, [cosines]) => cosines,
  cost: (_, [cosines]) => ({ flop: 3 * elements(cosines), bytes: 12 * elements(cosines) }),
  kernels: (args, [cosines]) => [
    marginKernel(
      'arc_face.dcosines',
      args,
      cosines,
      `select(
    1.0,
    p.cosMargin + p.sinMargin * cosine / sqrt(max((1.0 - cosine) * (1.0 + cosine), ${FLOOR})),
    cosine > p.turn)`,
      'p.scale * dy[i] * select(1.0, own, right)',
      2,
    ),
  ],
}

export const cosFaceOp: Op<MarginArgs> = {
  name: 'cos_face',
  inputs: ['cosines', 'labels'],
  shape(_, [cosines, labels]) {
    expectLabels('cos_face', 'cosines', cosines, labels)
    return cosines
  },
  cost: (_, [cosines]) => ({ flop: 2 * elements(cosines), bytes: 8 * elements(cosines) }),
  kernels: ({ scale, margin }, [cosines]) => [
    marginKernel('cos_face', { scale, margin }, cosines, 'cosine - p.margin', 'p.scale * select(cosine, own, right)'),
  ],
  backward: ({ args: { scale }, gradient, wanted }) => [wanted[0] ? affine(gradient, scale, 0) : undefined],
}

/** `own` is computed of a `cosine`; `value` also knows whether its class is the `right` one. */
function marginKernel(
  label: string,
  { scale, margin }: MarginArgs,
  cosines: Shape,
  own: string,
  value: string,
  gradient?: number,
): Kernel {
  const count = elements(cosines)
  return {
    variant: 'element',
    dispatches: [
      {
        label,
        code: linearEntry(`  if (i >= p.count) { return; }
  let cosine = cosines[i];
  let row = i / p.classes;
  let right = i - row * p.classes == u32(labels[row]);
  let own = ${own};
  y[i] = ${value};`),
        reads: [
          { name: 'cosines', buffer: 0 },
          { name: 'labels', buffer: 1 },
          ...(gradient === undefined ? [] : [{ name: 'dy', buffer: gradient }]),
        ],
        writes: [{ name: 'y', buffer: 'output' }],
        params: {
          count: u32(count),
          classes: u32(cosines[1]),
          scale: f32(scale),
          margin: f32(margin),
          cosMargin: f32(Math.cos(margin)),
          sinMargin: f32(Math.sin(margin)),
          turn: f32(turn(margin)),
        },
        workgroups: linearGrid(count),
      },
    ],
  }
}
