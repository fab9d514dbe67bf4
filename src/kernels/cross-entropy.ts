/** The loss of classification: how improbable the right classes are under the softmax of the logits. */
import { type Dispatch, elements, expectShape, f32, formatShape, type Op, type Shape, type Tensor, u32 } from './op.ts'
import { LINEAR, laneReduction, laneSum, rowEntry, rowGrid } from './wgsl.ts'

type NoArgs = Record<never, never>

/**
 * The mean over the batch of -log(softmax(logits)[label]), a scalar.
 * @param logits [N,K], any finite numbers
 * @param labels [N], the right classes as whole numbers 0 to K-1; others give a meaningless loss
 * @throws ShapeError where the shapes do not fit.
 */
export const crossEntropy = (logits: Tensor, labels: Tensor): Tensor =>
  logits.recorder.apply(crossEntropyOp, [logits, labels], {})

/** Throws ShapeError unless `logits` is [N,K] and `labels` [N]. */
export function expectLabels(name: string, input: string, logits: Shape, labels: Shape): void {
  expectShape(logits.length === 2, `${name}: ${input} ${formatShape(logits)} is not [N,K]`)
  expectShape(
    labels.length === 1 && labels[0] === logits[0],
    `${name}: labels ${formatShape(labels)} has not one class for each row of ${input} ${formatShape(logits)}`,
  )
}

/** A row's largest logit `top`, and the logarithm `logTotal` of the sum of exp(logit - top). */
const declareLogSum = `${laneReduction('largest', 'f32', (a, b) => `max(${a}, ${b})`)}${laneSum('sum')}`
const logSum = `  let begin = row * p.classes;
  let end = begin + p.classes;
  var own = logits[begin];
  for (var at = begin + lane; at < end; at += ${LINEAR}u) { own = max(own, logits[at]); }
  let top = largest(lane, own);
  var part = 0.0;
  for (var at = begin + lane; at < end; at += ${LINEAR}u) { part += exp(logits[at] - top); }
  let logTotal = log(sum(lane, part));
  let right = begin + u32(labels[row]);`

const rowParams = ([rows, classes]: Shape) => ({ rows: u32(rows), classes: u32(classes) })

export const crossEntropyOp: Op<NoArgs> = {
  name: 'cross_entropy',
  inputs: ['logits', 'labels'],
  shape(_, [logits, labels]) {
    expectLabels('cross_entropy', 'logits', logits, labels)
    return []
  },
  cost: (_, [logits]) => ({ flop: 12 * elements(logits), bytes: 4 * elements(logits) }),
  kernels(_, [logits]) {
    const rows: Dispatch = {
      label: 'cross_entropy',
      code: `${declareLogSum}
${rowEntry(`${logSum}
  if (lane == 0u) { losses[row] = logTotal + top - logits[right]; }`)}`,
      reads: [
        { name: 'logits', buffer: 0 },
        { name: 'labels', buffer: 1 },
      ],
      writes: [{ name: 'losses', buffer: 'scratch0' }],
      params: rowParams(logits),
      workgroups: rowGrid(logits[0]),
    }
    const mean: Dispatch = {
      label: 'cross_entropy.mean',
      code: `${laneSum('sum')}
${rowEntry(`  var part = 0.0;
  for (var k = lane; k < p.count; k += ${LINEAR}u) { part += losses[k]; }
  let total = sum(lane, part);
  if (lane == 0u) { y[row] = total / f32(p.count); }`)}`,
      reads: [{ name: 'losses', buffer: 'scratch0' }],
      writes: [{ name: 'y', buffer: 'output' }],
      params: { rows: u32(1), count: u32(logits[0]) },
      workgroups: rowGrid(1),
    }
    return [{ variant: 'rows', dispatches: [rows, mean], scratch: [logits[0]] }]
  },
  backward: ({ inputs: [logits, labels], gradient, wanted }) => [
    wanted[0] ? logits.recorder.apply(crossEntropyGradientOp, [logits, labels, gradient], {}) : undefined,
  ],
}

/** (softmax(logits) - 1 at the label) dy / N. */
export const crossEntropyGradientOp: Op<NoArgs> = {
  name: 'cross_entropy.dlogits',
  inputs: ['logits', 'labels', 'dy'],
  shape: (_, [logits]) => logits,
  cost: (_, [logits]) => ({ flop: 22 * elements(logits), bytes: 8 * elements(logits) }),
  kernels: (_, [logits]) => [
    {
      variant: 'rows',
      dispatches: [
        {
          label: 'cross_entropy.dlogits',
          code: `${declareLogSum}
${rowEntry(`${logSum}
  let scale = dy[0] * p.share;
  for (var at = begin + lane; at < end; at += ${LINEAR}u) {
    dx[at] = scale * (exp(logits[at] - top - logTotal) - select(0.0, 1.0, at == right));
  }`)}`,
          reads: [
            { name: 'logits', buffer: 0 },
            { name: 'labels', buffer: 1 },
            { name: 'dy', buffer: 2 },
          ],
          writes: [{ name: 'dx', buffer: 'output' }],
          params: { ...rowParams(logits), share: f32(1 / logits[0]) },
          workgroups: rowGrid(logits[0]),
        },
      ],
    },
  ],
}
