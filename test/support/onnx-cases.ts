/**
 * Small models for what ONNX' own test cases do not show: older and newer versions of operators, attributes in combination. What they
 * give is in onnx-expected.json, as onnxruntime computes it.
 */

import type { Constant, WrittenModel } from './onnx.ts'
import { uniform } from './random.ts'

export interface OnnxCase {
  model: WrittenModel
  /** Every model has one input x, which is drawn from this range; -1 to 1 unless told. */
  range?: readonly [low: number, high: number]
}

const image = [2, 3, 7, 6]
/** Values that differ, for weights. */
const weights = (seed: number, ...shape: number[]) =>
  [
    'float32',
    shape,
    [
      ...uniform(
        seed,
        shape.reduce((n, extent) => n * extent, 1),
      ),
    ],
  ] as const
const ints = (...values: number[]) => ['int64', [values.length], values] as const
const scalar = (value: number) => ['float32', [], [value]] as const

type Node = WrittenModel['nodes'][number]

/** The shape of x and the operators' version, where they are not the usual ones, and constants, which are the node's further inputs. */
interface Around {
  shape?: readonly number[]
  opset?: number
  [constant: string]: Constant | readonly number[] | number | undefined
}

/** A model of one node. */
function one(op: string, attributes: Node['attributes'] = {}, around: Around = {}): OnnxCase {
  const { shape = image, opset, ...further } = around
  const constants = further as Record<string, Constant>
  const inputs = ['x', ...Object.keys(constants)].join(' ')
  return { model: { opset, inputs: { x: shape }, nodes: [{ op, inputs, attributes }], constants } }
}

const channels = { s: weights(2, 3), b: weights(3, 3), m: weights(4, 3), v: ['float32', [3], [0.5, 1, 2]] } as const

export const onnxCases: Readonly<Record<string, OnnxCase>> = {
  'Conv, uneven pads, stride, dilation': one(
    'Conv',
    { pads: [2, 0, 1, 3], strides: [2, 1], dilations: [1, 2] },
    { w: weights(1, 4, 3, 3, 2), b: weights(2, 4) },
  ),
  'Conv, groups, SAME_LOWER': one(
    'Conv',
    { auto_pad: 'SAME_LOWER', group: 3, kernel_shape: [2, 4], strides: [2, 3] },
    { w: weights(1, 6, 1, 2, 4) },
  ),
  'Conv, SAME_UPPER': one('Conv', { auto_pad: 'SAME_UPPER', strides: [3, 2] }, { w: weights(1, 2, 3, 4, 3) }),
  'Conv, VALID, of a signal': one(
    'Conv',
    { auto_pad: 'VALID', strides: [2] },
    { shape: [2, 3, 9], w: weights(1, 2, 3, 4) },
  ),
  'Conv and BatchNormalization': {
    model: {
      inputs: { x: image },
      nodes: [
        { op: 'Conv', inputs: 'x w c', outputs: 'z', attributes: { pads: [1, 1, 1, 1] } },
        { op: 'BatchNormalization', inputs: 'z s b m v', attributes: { epsilon: { f: 0.001 } } },
      ],
      constants: { w: weights(1, 3, 3, 3, 3), c: weights(7, 3), ...channels },
    },
  },
  'Conv and BatchNormalization, without a bias': {
    model: {
      opset: 9,
      inputs: { x: image },
      nodes: [
        { op: 'Conv', inputs: 'x w', outputs: 'z' },
        { op: 'BatchNormalization', inputs: 'z s b m v', attributes: { momentum: { f: 0.5 } } },
      ],
      constants: { w: weights(1, 3, 3, 3, 3), ...channels },
    },
  },
  'BatchNormalization of what is used twice': {
    model: {
      inputs: { x: image },
      nodes: [
        { op: 'Conv', inputs: 'x w', outputs: 'z' },
        { op: 'BatchNormalization', inputs: 'z s b m v', outputs: 'n' },
        { op: 'Add', inputs: 'n z' },
      ],
      constants: { w: weights(1, 3, 3, 1, 1), ...channels },
    },
  },
  'BatchNormalization, version 7, of vectors': one('BatchNormalization', {}, { shape: [4, 3], opset: 7, ...channels }),
  'ConvTranspose, output padding': one(
    'ConvTranspose',
    { strides: [2, 3], output_padding: [1, 2], pads: [1, 0, 0, 2] },
    { w: weights(1, 3, 2, 3, 3), b: weights(2, 2) },
  ),
  'ConvTranspose, SAME_UPPER': one(
    'ConvTranspose',
    { strides: [2, 2], auto_pad: 'SAME_UPPER' },
    { w: weights(1, 3, 2, 3, 3) },
  ),
  'ConvTranspose, SAME_LOWER': one(
    'ConvTranspose',
    { strides: [2, 2], auto_pad: 'SAME_LOWER' },
    { w: weights(1, 3, 2, 3, 3) },
  ),
  'ConvTranspose, output_shape': one(
    'ConvTranspose',
    { strides: [2, 2], output_shape: [13, 12] },
    { w: weights(1, 3, 1, 3, 3) },
  ),
  'ConvTranspose, groups, dilation': one(
    'ConvTranspose',
    { group: 3, dilations: [2, 1], pads: [1, 1, 1, 1] },
    { w: weights(1, 3, 2, 2, 3) },
  ),
  'PRelu, a slope a channel': one('PRelu', {}, { s: weights(1, 3, 1, 1) }),
  'PRelu, one slope': one('PRelu', {}, { opset: 7, s: weights(1, 1) }),
  LeakyRelu: one('LeakyRelu', { alpha: { f: 0.3 } }, {}),
  'Clip, version 6': one('Clip', { min: { f: -0.25 }, max: { f: 0.5 } }, { opset: 10 }),
  'Clip, version 6, above': one('Clip', { max: { f: 0.5 } }, { opset: 7 }),
  'Clip, version 13': one('Clip', {}, { low: scalar(-0.5), high: scalar(0.25) }),
  HardSigmoid: one('HardSigmoid', { alpha: { f: 0.5 }, beta: { f: 0.4 } }),
  HardSwish: { ...one('HardSwish'), range: [-4, 4] },
  'Softmax, version 11, over all axes from 1 on': one('Softmax', {}, { opset: 11 }),
  'Softmax, version 11, axis 2': one('Softmax', { axis: 2 }, { opset: 12 }),
  'Softmax, version 13, axis 1': one('Softmax', { axis: 1 }, { opset: 13 }),
  'LogSoftmax, version 11': one('LogSoftmax', { axis: 3 }, { opset: 11 }),
  'LogSoftmax, version 13': one('LogSoftmax', { axis: -2 }, { opset: 13 }),
  'Pow, whole exponents': one('Pow', {}, { shape: [2, 6], e: ['float32', [6], [0, 1, 2, 3, -1, -2]] }),
  'Pow, integers as exponents': one('Pow', {}, { shape: [2, 3], e: ['int32', [], [4]] }),
  'Pow, GeM': { ...one('Pow', {}, { e: ['float32', [1], [2.7]] }), range: [0.1, 1] },
  'Gemm, transposed, scaled, a column': one(
    'Gemm',
    { transA: 1, alpha: { f: 0.5 }, beta: { f: 2 } },
    { shape: [5, 4], w: weights(1, 5, 3), c: weights(2, 4, 1) },
  ),
  'Gemm, version 7': one('Gemm', { transB: 1 }, { shape: [5, 4], opset: 7, w: weights(1, 3, 4), c: weights(2, 3) }),
  'Gemm, without C': one('Gemm', {}, { shape: [5, 4], w: weights(1, 4, 3) }),
  'MatMul, vectors': one('MatMul', {}, { shape: [2, 3, 4], w: weights(1, 4) }),
  'MatMul, a batch by a matrix': one('MatMul', {}, { shape: [2, 3, 4, 5], w: weights(1, 5, 3) }),
  'MatMul, batches': one('MatMul', {}, { shape: [2, 1, 3, 4], w: weights(1, 3, 4, 2) }),
  'MaxPool, uneven pads': one('MaxPool', { kernel_shape: [3, 2], pads: [0, 1, 2, 0], strides: [2, 1] }),
  'MaxPool, ceil mode, uneven pads': one('MaxPool', {
    kernel_shape: [3, 3],
    pads: [1, 0, 0, 1],
    strides: [2, 2],
    ceil_mode: 1,
  }),
  'MaxPool, dilation': one('MaxPool', { kernel_shape: [2, 3], dilations: [3, 2], strides: [2, 1], pads: [0, 1, 1, 0] }),
  'MaxPool, SAME_LOWER': one('MaxPool', { kernel_shape: [2, 4], strides: [2, 3], auto_pad: 'SAME_LOWER' }),
  'AveragePool, uneven pads': one('AveragePool', { kernel_shape: [3, 2], pads: [0, 1, 2, 0], strides: [2, 1] }),
  'AveragePool, uneven pads, counted': one('AveragePool', {
    kernel_shape: [3, 2],
    pads: [0, 1, 2, 0],
    strides: [2, 1],
    count_include_pad: 1,
  }),
  'AveragePool, even pads, version 7': one(
    'AveragePool',
    { kernel_shape: [3, 3], pads: [1, 1, 1, 1], strides: [2, 2] },
    { opset: 7 },
  ),
  'AveragePool, SAME_UPPER': one('AveragePool', { kernel_shape: [2, 4], strides: [2, 3], auto_pad: 'SAME_UPPER' }),
  'AveragePool, dilation': one(
    'AveragePool',
    { kernel_shape: [2, 3], dilations: [2, 2], pads: [1, 2, 0, 1] },
    { opset: 19 },
  ),
  'AveragePool of a signal': one(
    'AveragePool',
    { kernel_shape: [3], strides: [2], pads: [1, 0] },
    { shape: [2, 3, 8] },
  ),
  'GlobalAveragePool of a signal': one('GlobalAveragePool', {}, { shape: [2, 3, 8] }),
  'ReduceMean, axes as an attribute': one('ReduceMean', { axes: [2, -1], keepdims: 0 }),
  'ReduceMean, axes as an input': one('ReduceMean', { keepdims: 0 }, { opset: 18, axes: ints(-1, 1) }),
  'ReduceSum, axes as an input': one('ReduceSum', {}, { opset: 13, axes: ints(1) }),
  'ReduceSum, version 11': one('ReduceSum', { axes: [0, 2] }, { opset: 11 }),
  'ReduceL2, version 18': one('ReduceL2', {}, { opset: 18, axes: ints(1) }),
  'ReduceL2, all axes': one('ReduceL2', { keepdims: 0 }, { opset: 13 }),
  'ReduceMax, version 20': one('ReduceMax', {}, { opset: 20, axes: ints(2) }),
  ReduceSumSquare: one('ReduceSumSquare', { axes: [1] }),
  ReduceL1: one('ReduceL1', { axes: [3], keepdims: 0 }),
  'LpNormalization, order 2': one('LpNormalization', { axis: 1 }),
  'LpNormalization, order 1': one('LpNormalization', { axis: -1, p: 1 }),
  'LpNormalization, the last axis': one('LpNormalization', {}, { shape: [3, 8] }),
  'Flatten, axis -1': one('Flatten', { axis: -1 }),
  'Flatten, behind all axes': one('Flatten', { axis: 4 }),
  'Reshape, 0 and -1': one('Reshape', {}, { s: ints(0, -1, 7) }),
  'Squeeze, version 11': one('Squeeze', { axes: [-1, 1] }, { shape: [2, 1, 3, 1], opset: 11 }),
  'Squeeze, version 13': one('Squeeze', {}, { shape: [2, 1, 3, 1], axes: ints(1) }),
  'Unsqueeze, version 11': one('Unsqueeze', { axes: [0, -1] }, { shape: [2, 3], opset: 11 }),
  'Unsqueeze, version 13': one('Unsqueeze', {}, { shape: [2, 3], axes: ints(3, 1) }),
  Transpose: one('Transpose', { perm: [0, 3, 1, 2] }),
  Expand: one('Expand', {}, { shape: [3, 1], s: ints(2, 1, 4) }),
  'Slice, version 9': one('Slice', { starts: [1, -3], ends: [3, 1000], axes: [1, 3] }, { opset: 9 }),
  'Slice, steps': one('Slice', {}, { starts: ints(0, 5), ends: ints(7, -1000), axes: ints(2, 3), steps: ints(3, -2) }),
  'Slice, from behind': one('Slice', {}, { starts: ints(-1), ends: ints(-8), axes: ints(2), steps: ints(-1) }),
  'Split, version 11': {
    model: {
      opset: 11,
      inputs: { x: image },
      nodes: [
        { op: 'Split', inputs: 'x', outputs: 'a b', attributes: { axis: 2, split: [2, 5] } },
        { op: 'ReduceMean', inputs: 'a', outputs: 'm', attributes: { axes: [2] } },
        { op: 'Mul', inputs: 'b m' },
      ],
    },
  },
  'Split, version 18': {
    model: {
      opset: 18,
      inputs: { x: image },
      nodes: [{ op: 'Split', inputs: 'x', outputs: 'a b', attributes: { axis: 2, num_outputs: 2 } }],
      outputs: 'b a',
    },
  },
  Concat: {
    model: {
      inputs: { x: image },
      nodes: [{ op: 'Concat', inputs: 'x w x', attributes: { axis: -2 } }],
      constants: { w: weights(1, 2, 3, 1, 6) },
    },
  },
  'Gather, one element': one('Gather', { axis: 2 }, { i: ['int64', [], [-2]] }),
  'Gather, a table': one('Gather', { axis: 1 }, { i: ['int64', [2, 2], [0, 1, 2, 1]] }),
  'Pad, version 2': one('Pad', { pads: [0, 0, 1, 2, 0, 0, 0, 1], value: { f: 0.5 } }, { opset: 10 }),
  'Pad, negative': one('Pad', {}, { opset: 11, pads: ints(0, 0, -1, 2, 0, 0, 1, -2) }),
  'Pad, reflect': one('Pad', { mode: 'reflect' }, { opset: 11, pads: ints(0, 0, 2, 1, 0, 0, 0, 3) }),
  'Pad, edge': one('Pad', { mode: 'edge' }, { pads: ints(0, 1, 2, 0, 0, 0, 1, 3) }),
  'Pad, axes': one('Pad', {}, { opset: 18, pads: ints(1, 0, 0, 2), value: scalar(-1), axes: ints(-1, 1) }),
  'Resize, version 10': one('Resize', { mode: 'linear' }, { opset: 10, scales: ['float32', [4], [1, 1, 2, 1.5]] }),
  'Resize, half pixels': one(
    'Resize',
    { mode: 'linear' },
    { roi: ['float32', [0], []], scales: ['float32', [0], []], sizes: ints(2, 3, 4, 11) },
  ),
  'Resize, PyTorch half pixels, to one': one(
    'Resize',
    { mode: 'linear', coordinate_transformation_mode: 'pytorch_half_pixel' },
    { roi: ['float32', [0], []], scales: ['float32', [0], []], sizes: ints(2, 3, 1, 3) },
  ),
  'Resize, corners': one(
    'Resize',
    { mode: 'linear', coordinate_transformation_mode: 'align_corners' },
    { roi: ['float32', [0], []], scales: ['float32', [0], []], sizes: ints(2, 3, 5, 13) },
  ),
  'Resize, asymmetric, nearest, floor': one(
    'Resize',
    { coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' },
    { roi: ['float32', [0], []], scales: ['float32', [4], [1, 1, 2, 2]] },
  ),
  'Resize, nearest, half pixels': one(
    'Resize',
    {},
    { roi: ['float32', [0], []], scales: ['float32', [0], []], sizes: ints(2, 3, 5, 14) },
  ),
  'Resize, cubic': one(
    'Resize',
    { mode: 'cubic', cubic_coeff_a: { f: -0.75 } },
    { roi: ['float32', [0], []], scales: ['float32', [0], []], sizes: ints(2, 3, 12, 5) },
  ),
  'Resize, cubic, other parameter, outside excluded': one(
    'Resize',
    { mode: 'cubic', cubic_coeff_a: { f: -0.5 }, exclude_outside: 1 },
    { roi: ['float32', [0], []], scales: ['float32', [4], [1, 1, 2, 2]] },
  ),
  'Resize, axes': one(
    'Resize',
    { mode: 'linear', axes: [2, 3], coordinate_transformation_mode: 'asymmetric' },
    { opset: 18, roi: ['float32', [0], []], scales: ['float32', [2], [2, 0.5]] },
  ),
  'Resize, symmetric half pixels': one(
    'Resize',
    { mode: 'linear', coordinate_transformation_mode: 'half_pixel_symmetric' },
    { opset: 19, roi: ['float32', [0], []], scales: ['float32', [4], [1, 1, 1.3, 0.8]] },
  ),
  'Upsample, version 9': one('Upsample', { mode: 'nearest' }, { opset: 9, scales: ['float32', [4], [1, 1, 2, 3]] }),
  'Upsample, version 7': one('Upsample', { mode: 'linear', scales: { fs: [1, 1, 2, 2] } }, { opset: 7 }),
  'Dropout, version 7': one('Dropout', { ratio: { f: 0.3 } }, { opset: 7 }),
  'Max and Min': {
    model: {
      inputs: { x: image },
      nodes: [
        { op: 'Max', inputs: 'x a', outputs: 'm' },
        { op: 'Min', inputs: 'm b c' },
      ],
      constants: {
        a: weights(1, 3, 1, 1),
        b: ['float32', [], [0.7]],
        c: ['float32', [6], [0.5, 0.6, 0.7, 0.8, 0.9, 1]],
      },
    },
  },
  'operators of one number': {
    model: {
      inputs: { x: image },
      nodes: [
        { op: 'Abs', inputs: 'x', outputs: 'abs' },
        { op: 'Exp', inputs: 'abs', outputs: 'exp' },
        { op: 'Reciprocal', inputs: 'exp', outputs: 'reciprocal' },
        { op: 'Log', inputs: 'exp', outputs: 'log' },
        { op: 'Neg', inputs: 'log', outputs: 'neg' },
        { op: 'Tanh', inputs: 'neg', outputs: 'tanh' },
        { op: 'Sigmoid', inputs: 'x', outputs: 'sigmoid' },
        { op: 'Sum', inputs: 'reciprocal tanh sigmoid', outputs: 'sum' },
        { op: 'Sub', inputs: 'sum x', outputs: 'sub' },
        { op: 'Relu', inputs: 'sub', outputs: 'relu' },
        { op: 'Identity', inputs: 'relu' },
      ],
    },
  },
  GlobalMaxPool: one('GlobalMaxPool'),
  'numbers from shapes': {
    model: {
      opset: 15,
      inputs: { x: image },
      nodes: [
        { op: 'Shape', inputs: 'x', outputs: 's' },
        { op: 'Slice', inputs: 's one two', outputs: 'c' },
        { op: 'Gather', inputs: 's zero', outputs: 'n' },
        { op: 'Unsqueeze', inputs: 'n zeros', outputs: 'batch' },
        { op: 'Mul', inputs: 'c two', outputs: 'double' },
        { op: 'Div', inputs: 'double two', outputs: 'half' },
        { op: 'Concat', inputs: 'batch half minus', outputs: 'shape', attributes: { axis: 0 } },
        { op: 'Reshape', inputs: 'x shape', outputs: 'rows' },
        { op: 'Cast', inputs: 'c', outputs: 'f', attributes: { to: 1 } },
        { op: 'Sqrt', inputs: 'f', outputs: 'root' },
        { op: 'Div', inputs: 'rows root', outputs: 'scaled' },
        { op: 'ConstantOfShape', inputs: 'one', outputs: 'ones', attributes: { value: { t: ['float32', [1], [2]] } } },
        { op: 'Add', inputs: 'scaled ones' },
      ],
      constants: { one: ints(1), two: ints(2), zero: ['int64', [], [0]], zeros: ints(0), minus: ints(-1) },
    },
  },
}
