/** Operators of ONNX: values against onnxruntime's and ONNX' own, gradients against central differences, refusals by name. */
import { existsSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { describe, expect, test } from 'vitest'
import { compile, grad, graph } from '../../src/graph/index.ts'
import { add, mul, reshape, sum } from '../../src/kernels/index.ts'
import { elements, type Tensor } from '../../src/kernels/op.ts'
import { onnxNetwork } from '../../src/models/onnx/network.ts'
import { operators } from '../../src/models/onnx/operators.ts'
import { isKnown, type OnnxValue } from '../../src/models/onnx/values.ts'
import { readOnnx } from '../../src/weights/onnx.ts'
import { OnnxError } from '../../src/weights/onnx-tensor.ts'
import { relmax } from '../support/compare.ts'
import { findCases, runCase } from '../support/conformance.ts'
import { testGpu } from '../support/gpu.ts'
import { type Constant, onnxFile, type WrittenModel, type WrittenNode } from '../support/onnx.ts'
import { onnxCases } from '../support/onnx-cases.ts'
import { random, uniform } from '../support/random.ts'
import { referenceFunction } from '../support/reference.ts'

/**
 * What onnxruntime 1.30 (CPU, f32, without optimisations) gives for the models of onnx-cases.ts: of every output its shape and,
 * row-major, every k-th value, where k is the number of values by 24, rounded up.
 */
const onnxExpected: Readonly<
  Record<string, readonly (readonly [shape: readonly number[], values: readonly number[]])[]>
> = JSON.parse(readFileSync('test/support/onnx-expected.json', 'utf8'))

const gpu = await testGpu()

/** Records a model of one input x, which gets the shape that the model says. */
function record(model: WrittenModel) {
  const network = onnxNetwork(readOnnx(onnxFile(model), 'case.onnx'))
  const g = graph()
  const x = g.input('x', model.inputs.x as number[])
  return { g, x, outputs: network.record(g, new Map<string, OnnxValue>([['x', x]])) }
}

const tensorsOf = (outputs: ReadonlyMap<string, OnnxValue>): Record<string, Tensor> => {
  const tensors: Record<string, Tensor> = {}
  for (const [name, value] of outputs) if (!isKnown(value)) tensors[name] = value
  return tensors
}

describe('operators give what onnxruntime gives', () => {
  test.each(Object.entries(onnxCases))('%s', async (name, { model, range: [low, high] = [-1, 1] }) => {
    const { x, outputs } = record(model)
    const tensors = tensorsOf(outputs)
    using plan = await compile(gpu, tensors, { poison: true })
    plan.write('x', uniform(100, elements(x.shape), low, high))
    plan.run()
    const names = Object.keys(tensors)
    expect(names.length).toBe(onnxExpected[name].length)
    for (const [k, output] of names.entries()) {
      const [shape, values] = onnxExpected[name][k]
      expect(tensors[output].shape).toEqual(shape)
      const every = Math.ceil(elements(shape) / 24)
      const got = (await plan.read(output)).filter((_, i) => i % every === 0)
      // Expected values have six digits.
      expect(relmax(got, values)).toBeLessThan(1e-5)
    }
  })

  test('each has an expectation', () => {
    expect(Object.keys(onnxExpected).sort()).toEqual(Object.keys(onnxCases).sort())
  })
})

describe('gradients agree with central differences', () => {
  test.each(Object.entries(onnxCases))('%s', async (_, { model, range: [low, high] = [-1, 1] }) => {
    const { g, x, outputs } = record(model)
    const loss = Object.values(tensorsOf(outputs))
      .map((y, k) => reshape(sum(mul(y, g.constant(uniform(200 + k, elements(y.shape)), y.shape, 'v'))), []))
      .reduce(add)
    using plan = await compile(gpu, { dx: grad(loss, x) }, { poison: true })
    const values = uniform(100, elements(x.shape), low, high)
    if (plan.has('x')) plan.write('x', values)
    plan.run()
    const got = await plan.read('dx')

    const lossOf = referenceFunction([loss], { x: values }, ['x'])
    const pick = random(7)
    const places = Array.from({ length: 8 }, () => Math.floor(pick() * got.length))
    const slopes = places.map((at) => {
      const shifted = (by: number) => {
        const moved = Float64Array.from(values)
        moved[at] += by
        return lossOf({ x: moved })[0][0]
      }
      const h = 1e-4
      return (shifted(h) - shifted(-h)) / (2 * h)
    })
    const largest = got.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
    places.forEach((at, i) => {
      expect(Math.abs(got[at] - slopes[i]) / largest).toBeLessThan(1e-4)
    })
  })
})

describe("ONNX' own test cases", () => {
  const folder = '/usr/share/libonnx-testdata/data'
  const isInstalled = existsSync(folder)
  test.skipIf(!isInstalled)('of the operators that are claimed pass', async () => {
    const counts = { passed: 0, skipped: 0 }
    const failed: string[] = []
    for (const path of findCases(folder)) {
      const outcome = await runCase(gpu, path)
      if (outcome.state === 'failed') failed.push(`${basename(path)}: ${outcome.problem}`)
      else counts[outcome.state]++
    }
    expect(failed).toEqual([])
    // A release has hundreds of them: where fewer pass, it is because something is refused that should not be.
    expect(counts.passed).toBeGreaterThan(400)
  })
})

describe('constants are computed beforehand', () => {
  const run = (nodes: readonly WrittenNode[], constants: Record<string, Constant>, opset = 17): OnnxValue => {
    const { outputs } = record({ opset, inputs: { x: [2, 3, 4, 5] }, nodes, constants })
    return outputs.get('y')!
  }
  const valuesOf = (value: OnnxValue) => {
    if (!isKnown(value)) throw new Error(`${value.name} is computed on the GPU`)
    return { type: value.type, shape: [...value.shape], data: [...value.data] }
  }
  const ints = (...values: number[]): Constant => ['int64', [values.length], values]

  test.each<[string, WrittenNode, Record<string, Constant>, ReturnType<typeof valuesOf>]>([
    ['Shape', { op: 'Shape', inputs: 'x' }, {}, { type: 'int64', shape: [4], data: [2, 3, 4, 5] }],
    [
      'Shape, a part',
      { op: 'Shape', inputs: 'x', attributes: { start: -3, end: -1 } },
      {},
      { type: 'int64', shape: [2], data: [3, 4] },
    ],
    [
      'integer division',
      { op: 'Div', inputs: 'a b' },
      { a: ints(7, -7), b: ints(2) },
      { type: 'int64', shape: [2], data: [3, -3] },
    ],
    [
      'bytes that wrap around',
      { op: 'Add', inputs: 'a b' },
      { a: ['uint8', [1], [250]], b: ['uint8', [1], [10]] },
      { type: 'uint8', shape: [1], data: [4] },
    ],
    [
      'Range',
      { op: 'Range', inputs: 'a b c' },
      { a: ['int32', [], [10]], b: ['int32', [], [4]], c: ['int32', [], [-3]] },
      { type: 'int32', shape: [2], data: [10, 7] },
    ],
    [
      'Cast to integers',
      { op: 'Cast', inputs: 'a', attributes: { to: 7 } },
      { a: ['float32', [2], [2.75, -2.75]] },
      { type: 'int64', shape: [2], data: [2, -2] },
    ],
    [
      'Cast to bool',
      { op: 'Cast', inputs: 'a', attributes: { to: 9 } },
      { a: ints(0, 5) },
      { type: 'bool', shape: [2], data: [0, 1] },
    ],
    [
      'Gather',
      { op: 'Gather', inputs: 'a b' },
      { a: ints(5, 6, 7), b: ['int64', [1, 2], [-1, 0]] },
      { type: 'int64', shape: [1, 2], data: [7, 5] },
    ],
    [
      'Concat',
      { op: 'Concat', inputs: 'a b', attributes: { axis: 0 } },
      { a: ints(5), b: ints(6, 7) },
      { type: 'int64', shape: [3], data: [5, 6, 7] },
    ],
    [
      'Slice backwards',
      { op: 'Slice', inputs: 'a s e z t' },
      { a: ints(1, 2, 3, 4), s: ints(-1), e: ints(-9), z: ints(0), t: ints(-2) },
      { type: 'int64', shape: [2], data: [4, 2] },
    ],
    [
      'Slice of nothing',
      { op: 'Slice', inputs: 'a s e' },
      { a: ints(1, 2), s: ints(2), e: ints(1) },
      { type: 'int64', shape: [0], data: [] },
    ],
    ['Squeeze', { op: 'Squeeze', inputs: 'a' }, { a: ['int64', [1, 1], [3]] }, { type: 'int64', shape: [], data: [3] }],
    [
      'Floor',
      { op: 'Floor', inputs: 'a' },
      { a: ['float32', [1], [-1.5]] },
      { type: 'float32', shape: [1], data: [-2] },
    ],
    ['Max', { op: 'Max', inputs: 'a b a' }, { a: ints(1, 5), b: ints(3) }, { type: 'int64', shape: [2], data: [3, 5] }],
  ])('%s', (_, node, constants, expected) => {
    expect(valuesOf(run([node], constants))).toEqual(expected)
  })

  test('also where they follow from the shape of what depends on the image', () => {
    const nodes = [
      { op: 'Relu', inputs: 'x', outputs: 'r' },
      { op: 'Shape', inputs: 'r', outputs: 's' },
      { op: 'Gather', inputs: 's i' },
    ]
    expect(valuesOf(run(nodes, { i: ints(3, 0) })).data).toEqual([5, 2])
  })

  test('floats that are many are left to the GPU, and still become constants', () => {
    const many: Constant = ['float32', [2 ** 17], [...new Float32Array(2 ** 17)]]
    const value = run([{ op: 'Add', inputs: 'a a' }], { a: many })
    expect(isKnown(value)).toBe(false)
    expect((value as unknown as { rate: string }).rate).toBe('constant')
  })
})

describe('what cannot be computed is refused with the name of the node', () => {
  const ints = (...values: number[]): Constant => ['int64', [values.length], values]
  const filter: Constant = ['float32', [1, 3, 3, 3], [...uniform(1, 27)]]
  type Refusal = [
    what: string,
    node: Omit<WrittenNode, 'name'>,
    problem: RegExp,
    constants?: Record<string, Constant>,
    opset?: number,
  ]
  test.each<Refusal>([
    [
      'an unknown operator',
      { op: 'Einsum', inputs: 'x' },
      /^case\.onnx: node "odd" \(Einsum\): the operator Einsum is not supported$/,
    ],
    [
      "another's operator",
      { op: 'Relu', domain: 'com.microsoft', inputs: 'x' },
      /the operator Relu of "com\.microsoft" is not supported/,
    ],
    [
      'an attribute that is not known',
      { op: 'Relu', inputs: 'x', attributes: { alpha: { f: 1 } } },
      /its attribute "alpha" is not known in version 17/,
    ],
    [
      'an attribute of another kind',
      { op: 'LeakyRelu', inputs: 'x', attributes: { alpha: 1 } },
      /its attribute "alpha" is of kind int, not float/,
    ],
    ['too many inputs', { op: 'Relu', inputs: 'x x' }, /has 2 inputs; Relu takes 1/],
    ['too few inputs', { op: 'Conv', inputs: 'x' }, /has 1 inputs; Conv takes 2 to 3/],
    ['an old version', { op: 'Add', inputs: 'x x' }, /is of version 6, which is not understood; 7 to 21 are/, {}, 6],
    ['a new version', { op: 'Relu', inputs: 'x' }, /is of version 22, which is not understood/, {}, 22],
    [
      'filters that do not fit',
      { op: 'Conv', inputs: 'x w' },
      /conv2d.*2 input channels.*\(x \[1,2,6,6\], w \[1,3,3,3\]\)/,
      { w: filter },
    ],
    [
      'a kernel_shape that lies',
      { op: 'Conv', inputs: 'x w', attributes: { kernel_shape: [5, 5] } },
      /has weights of \[3,3\] and kernel_shape \[5,5\]/,
      { w: filter },
    ],
    [
      'three axes',
      { op: 'MaxPool', inputs: 'x5', attributes: { kernel_shape: [2, 2, 2] } },
      /only signals \[N,C,L\] and images \[N,C,H,W\] are supported, not \[1,2,1,6,6\]/,
    ],
    [
      'indices of a pool',
      { op: 'MaxPool', inputs: 'x', outputs: 'y i', attributes: { kernel_shape: [2, 2] } },
      /gives indices/,
    ],
    [
      'a window that is too large',
      { op: 'AveragePool', inputs: 'x', attributes: { kernel_shape: [9, 9] } },
      /does not fit/,
    ],
    [
      'training',
      { op: 'BatchNormalization', inputs: 'x s s s s', attributes: { training_mode: 1 } },
      /is in training mode/,
      { s: ['float32', [2], [1, 1]] },
    ],
    [
      'bounds that depend on the image',
      { op: 'Clip', inputs: 'x x' },
      /its input 1 "x" depends on the image: it must be a constant/,
    ],
    [
      'integers on the GPU',
      { op: 'Conv', inputs: 'x w' },
      /takes "w" of type int64: only floats are computed on the GPU/,
      { w: ints(1) },
    ],
    [
      'integers made of the image',
      { op: 'Cast', inputs: 'x', attributes: { to: 7 } },
      /makes int64 of what depends on the image/,
    ],
    ['a type that is not known', { op: 'Cast', inputs: 'x', attributes: { to: 8 } }, /makes elements of type 8/],
    ['rounding of what depends on the image', { op: 'Floor', inputs: 'x' }, /only computed of constants/],
    [
      'crops',
      { op: 'Resize', inputs: 'x _ s', attributes: { coordinate_transformation_mode: 'tf_crop_and_resize' } },
      /coordinate_transformation_mode "tf_crop_and_resize" is not supported, only half_pixel/,
      { s: ['float32', [4], [1, 1, 2, 2]] },
    ],
    [
      'antialias',
      { op: 'Resize', inputs: 'x _ s', attributes: { antialias: 1, mode: 'linear' } },
      /antialias, which is not supported/,
      { s: ['float32', [4], [1, 1, 0.5, 0.5]] },
      18,
    ],
    [
      'aspect ratios',
      { op: 'Resize', inputs: 'x _ _ s', attributes: { keep_aspect_ratio_policy: 'not_larger' } },
      /keep_aspect_ratio_policy "not_larger" is not supported/,
      { s: ints(1, 2, 3, 4) },
      18,
    ],
    ['scales and sizes', { op: 'Resize', inputs: 'x' }, /needs either scales or sizes/],
    [
      'wrapped pads',
      { op: 'Pad', inputs: 'x p', attributes: { mode: 'wrap' } },
      /mode "wrap" is not supported, only constant, reflect, edge/,
      { p: ints(0, 0, 1, 1, 0, 0, 1, 1) },
      19,
    ],
    [
      'an axis that is not there',
      { op: 'Softmax', inputs: 'x', attributes: { axis: 4 } },
      /there is no axis 4 among 4/,
    ],
    ['an axis twice', { op: 'ReduceMean', inputs: 'x', attributes: { axes: [1, -3] } }, /names an axis twice/],
    [
      'a Reshape that does not fit',
      { op: 'Reshape', inputs: 'x s' },
      /cannot give 72 elements the shape \[-1,7\]/,
      { s: ints(-1, 7) },
    ],
    [
      'a Reshape with two unknowns',
      { op: 'Reshape', inputs: 'x s' },
      /is given the shape \[-1,-1\]/,
      { s: ints(-1, -1) },
    ],
    [
      'shapes that do not broadcast',
      { op: 'Mul', inputs: 'x w' },
      /do not broadcast.*\(x \[1,2,6,6\], w \[5\]\)/,
      { w: ['float32', [5], [1, 2, 3, 4, 5]] },
    ],
    ['a Slice of nothing', { op: 'Slice', inputs: 'x s e' }, /takes nothing of axis 0/, { s: ints(5), e: ints(9) }],
    [
      'indices beyond the end',
      { op: 'Gather', inputs: 'x i', attributes: { axis: 1 } },
      /takes element 2 of 2/,
      { i: ints(2) },
    ],
    [
      'integers divided by zero',
      { op: 'Div', inputs: 'a b' },
      /divides an integer by zero/,
      { a: ints(1), b: ints(0) },
    ],
  ])('%s', (_, node, problem, constants = {}, opset = 17) => {
    const attempt = () => {
      const file = onnxFile({
        opset,
        inputs: { x: [1, 2, 6, 6], x5: [1, 2, 1, 6, 6] },
        nodes: [{ name: 'odd', ...node }],
        outputs: node.outputs ?? 'y',
        constants,
      })
      const network = onnxNetwork(readOnnx(file, 'case.onnx'))
      const g = graph()
      network.record(g, new Map(network.inputs.map(({ name, shape }) => [name, g.input(name, shape as number[])])))
    }
    expect(attempt).toThrow(problem)
    expect(attempt).toThrow(expect.objectContaining({ name: 'OnnxError', file: 'case.onnx', node: 'odd' }))
  })

  test('an operator that is not needed is none', () => {
    const nodes = [
      { op: 'Relu', inputs: 'x' },
      { op: 'Einsum', inputs: 'x', outputs: 'z' },
    ]
    const { outputs } = record({ inputs: { x: [1, 2] }, nodes })
    expect([...outputs.keys()]).toEqual(['y'])
  })

  test('names all unknown operators at once', () => {
    const nodes = [
      { op: 'Erf', inputs: 'x', outputs: 'a' },
      { op: 'Einsum', inputs: 'a' },
    ]
    expect(() => record({ inputs: { x: [1] }, nodes })).toThrow(
      /the node of "a" \(Erf\): the operator Erf is not supported, nor are Einsum/,
    )
  })

  test('inputs that are missing, of another shape, or no floats', () => {
    const model = readOnnx(
      onnxFile({ inputs: { a: [1, 3], b: ['N', 3] }, nodes: [{ op: 'Add', inputs: 'a b' }] }),
      'case.onnx',
    )
    const network = onnxNetwork(model)
    const g = graph()
    const [a, b] = [g.input('a', [1, 3]), g.input('b', [7, 4])]
    expect(() => network.record(g, new Map([['a', a]]))).toThrow(/takes an input "b", which is not given/)
    expect(() =>
      network.record(
        g,
        new Map([
          ['a', a],
          ['b', b],
        ]),
      ),
    ).toThrow(/takes an input "b" of \[N,3\], not \[7,4\]/)
    expect(() => network.build(a)).toThrow(/has 2 inputs and 1 outputs/)
    expect(() => onnxNetwork(model, { outputs: ['c'] })).toThrow(/has no value "c"/)
    expect(() => onnxNetwork(model, { outputs: ['c'] })).toThrow(OnnxError)
  })

  test('every operator has a case here', () => {
    const used = new Set(Object.values(onnxCases).flatMap(({ model }) => model.nodes.map(({ op }) => op)))
    // These are computed beforehand only, which is shown above.
    expect([...operators.keys()].filter((op) => !used.has(op)).sort()).toEqual(['Ceil', 'Floor', 'Range'])
  })
})
