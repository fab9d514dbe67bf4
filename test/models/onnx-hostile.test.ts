/** Files that were damaged or made to do harm: an OnnxError or a valid model, in little time and memory. */
import { describe, expect, test } from 'vitest'
import { graph } from '../../src/graph/index.ts'
import { onnxNetwork } from '../../src/models/onnx/network.ts'
import { recogniserFromOnnx } from '../../src/models/onnx/recogniser.ts'
import { readOnnx } from '../../src/weights/onnx.ts'
import { loadOnnx, storeOnnx } from '../../src/weights/onnx-store.ts'
import { OnnxError } from '../../src/weights/onnx-tensor.ts'
import { bytes, type Constant, node, onnxFile, tensor, text, value, type WrittenModel } from '../support/onnx.ts'
import { processorSeconds } from '../support/processor-time.ts'
import { random, uniform } from '../support/random.ts'

const floats = (seed: number, ...shape: number[]): Constant => [
  'float32',
  shape,
  [
    ...uniform(
      seed,
      shape.reduce((n, e) => n * e, 1),
    ),
  ],
]
const ints = (...values: number[]): Constant => ['int64', [values.length], values]

/** Small recognisers that between them use every part of the format and every family of operators. */
const models: Record<string, WrittenModel> = {
  convolutions: {
    inputs: { x: [1, 3, 6, 6] },
    nodes: [
      {
        op: 'Conv',
        name: 'first',
        inputs: 'x w b',
        outputs: 'a',
        attributes: { pads: [1, 1, 1, 1], strides: [2, 2], kernel_shape: [3, 3] },
      },
      { op: 'BatchNormalization', inputs: 'a s b s s', outputs: 'n', attributes: { epsilon: { f: 0.001 } } },
      { op: 'PRelu', inputs: 'n p', outputs: 'r' },
      { op: 'AveragePool', inputs: 'r', outputs: 'q', attributes: { kernel_shape: [2, 2], auto_pad: 'SAME_UPPER' } },
      { op: 'Flatten', inputs: 'q', outputs: 'f' },
      { op: 'Gemm', inputs: 'f m', attributes: { transB: 1, alpha: { f: 0.5 } } },
    ],
    constants: {
      w: floats(1, 2, 3, 3, 3),
      b: floats(2, 2),
      s: ['float32', [2], [1, 2]],
      p: floats(3, 2, 1, 1),
      m: floats(4, 3, 18),
    },
  },
  shapes: {
    opset: 13,
    inputs: { x: ['N', 3, 4, 4] },
    nodes: [
      {
        op: 'Resize',
        inputs: 'x _ scales',
        outputs: 'z',
        attributes: { mode: 'linear', coordinate_transformation_mode: 'asymmetric' },
      },
      { op: 'Shape', inputs: 'z', outputs: 'shape' },
      { op: 'Gather', inputs: 'shape zero', outputs: 'n' },
      { op: 'Unsqueeze', inputs: 'n axis', outputs: 'batch' },
      { op: 'Concat', inputs: 'batch rest', outputs: 'target', attributes: { axis: 0 } },
      { op: 'Reshape', inputs: 'z target', outputs: 'flat' },
      { op: 'Slice', inputs: 'flat starts ends axes steps', outputs: 'part' },
      { op: 'Pad', inputs: 'part pads value', outputs: 'padded' },
      { op: 'LpNormalization', inputs: 'padded', attributes: { axis: 1 } },
    ],
    constants: {
      scales: ['float32', [4], [1, 1, 2, 1.5]],
      zero: ['int64', [], [0]],
      axis: ints(0),
      rest: ints(-1),
      starts: ints(1),
      ends: ints(90),
      axes: ints(1),
      steps: ints(3),
      pads: ints(0, 1, 0, 2),
      value: ['float32', [], [0.5]],
    },
  },
}

/** Reads, imports and records a file as far as that goes; anything but success or OnnxError fails the test. */
function attempt(file: Uint8Array, what: string): 'read' | 'refused' {
  const start = processorSeconds()
  try {
    recogniserFromOnnx(file, { file: 'hostile.onnx', size: [6, 6] })
    return 'read'
  } catch (error) {
    expect(error, what).toBeInstanceOf(OnnxError)
    return 'refused'
  } finally {
    expect(processorSeconds() - start, what).toBeLessThan(10)
  }
}

describe.each(Object.entries(models))('mutations of a file with %s', (_, model) => {
  const file = onnxFile(model)
  const tally = (attempts: Iterable<'read' | 'refused'>) => {
    const counts = { read: 0, refused: 0 }
    for (const outcome of attempts) counts[outcome]++
    return counts
  }

  test('is a recogniser as it is', () => expect(attempt(file, 'whole')).toBe('read'))

  test('cut short anywhere', () => {
    const counts = tally(
      Array.from({ length: file.length }, (_, length) => attempt(file.slice(0, length), `cut to ${length}`)),
    )
    expect(counts).toEqual({ read: 0, refused: file.length })
  })

  test('with every third bit flipped', () => {
    const counts = tally(
      Array.from({ length: Math.floor((8 * file.length) / 3) }, (_, i) => {
        const bit = 3 * i
        const changed = file.slice()
        changed[bit >> 3] ^= 1 << (bit & 7)
        return attempt(changed, `bit ${bit}`)
      }),
    )
    // Most of a file are weights and names, of which any will do.
    expect(counts.read).toBeGreaterThan(200)
    expect(counts.refused).toBeGreaterThan(200)
  })

  test('with parts copied, moved, dropped and overwritten', () => {
    const next = random(11)
    const below = (n: number) => Math.floor(next() * n)
    const counts = tally(
      Array.from({ length: 3000 }, (_, i) => {
        let changed = file
        for (let k = 0; k <= below(3); k++) {
          const [from, to, length] = [below(changed.length), below(changed.length), 1 + below(24)]
          const part = changed.slice(from, from + length)
          const kept = next() < 0.5 ? changed.slice(to) : changed.slice(to + length)
          const filled = next() < 0.3 ? part.map(() => below(256)) : part
          changed = Uint8Array.from([...changed.slice(0, to), ...filled, ...kept])
        }
        return attempt(changed, `splice ${i}`)
      }),
    )
    expect(counts.refused).toBeGreaterThan(1000)
  })

  test('with numbers of the stored graph changed', () => {
    const { tensors, metadata } = storeOnnx(readOnnx(file, 'm'), ['y'])
    const next = random(13)
    let refused = 0
    for (let i = 0; i < 1000; i++) {
      const letters = [...metadata.onnx]
      for (let k = 0; k < 2; k++)
        letters[Math.floor(next() * letters.length)] = '0123456789[]{}",-abc'[Math.floor(next() * 20)]
      const source = {
        metadata: { onnx: letters.join('') },
        tensor: (name: string) => tensors.get(name) ?? { shape: [], data: new Float32Array(1) },
      }
      try {
        const network = onnxNetwork(loadOnnx(source, 'm'))
        const g = graph()
        network.build(
          g.input(
            'x',
            model.inputs.x.map((extent) => (typeof extent === 'number' ? extent : 1)),
          ),
        )
      } catch (error) {
        expect(error, letters.join('')).toBeInstanceOf(OnnxError)
        refused++
      }
    }
    expect(refused).toBeGreaterThan(500)
  })
})

describe('small files that ask for much', () => {
  const image = { x: [1, 3, 32, 32] }
  const many = (count: number, make: (k: number) => number[]) => Array.from({ length: count }, (_, k) => make(k)).flat()

  test.each<[string, Uint8Array, RegExp]>([
    [
      'a constant of a terabyte',
      onnxFile({
        inputs: image,
        nodes: [
          { op: 'ConstantOfShape', inputs: 's', outputs: 'c' },
          { op: 'Add', inputs: 'x c' },
        ],
        constants: { s: ints(2 ** 20, 2 ** 18) },
      }),
      /asks for 274877906944 numbers/,
    ],
    [
      'thousands of constants of a megabyte',
      onnxFile({
        inputs: image,
        nodes: [
          ...Array.from({ length: 5000 }, (_, k) => ({ op: 'ConstantOfShape', inputs: 's', outputs: `c${k}` })),
          { op: 'Sum', inputs: `x ${Array.from({ length: 5000 }, (_, k) => `c${k}`).join(' ')}` },
        ],
        constants: { s: ints(2 ** 18) },
      }),
      /too much to compute beforehand/,
    ],
    [
      'a range without end',
      onnxFile({
        inputs: image,
        nodes: [
          { op: 'Range', inputs: 'a b c', outputs: 'r' },
          { op: 'Add', inputs: 'x r' },
        ],
        constants: { a: ['float32', [], [0]], b: ['float32', [], [1]], c: ['float32', [], [1e-30]] },
      }),
      /too much to compute beforehand/,
    ],
    [
      'a range by zero',
      onnxFile({
        inputs: image,
        nodes: [
          { op: 'Range', inputs: 'a a a', outputs: 'r' },
          { op: 'Add', inputs: 'x r' },
        ],
        constants: { a: ['float32', [], [0]] },
      }),
      /would count from 0 to 0 by 0/,
    ],
    [
      'a window of 2^30 pixels',
      onnxFile({
        inputs: image,
        nodes: [
          { op: 'AveragePool', inputs: 'x', attributes: { kernel_shape: [2 ** 30, 1], pads: [2 ** 30, 0, 0, 1] } },
        ],
      }),
      /must be 1 to 4096/,
    ],
    [
      'large windows',
      onnxFile({
        inputs: image,
        nodes: [
          {
            op: 'AveragePool',
            inputs: 'x',
            attributes: { kernel_shape: [4096, 4096], pads: [4096, 4096, 4096, 4095] },
          },
        ],
      }),
      /too much to compute beforehand/,
    ],
    [
      'dilated windows',
      onnxFile({
        inputs: image,
        nodes: [
          {
            op: 'MaxPool',
            inputs: 'x',
            attributes: { kernel_shape: [4096, 1], dilations: [2, 1], pads: [4096, 0, 4096, 0] },
          },
        ],
      }),
      /more than 256 pixels a side/,
    ],
    [
      'a row of enlargements',
      onnxFile({
        inputs: image,
        nodes: Array.from({ length: 40 }, (_, k) => ({
          op: 'Resize',
          inputs: `${k === 0 ? 'x' : `z${k}`} _ s`,
          outputs: k === 39 ? 'y' : `z${k + 1}`,
        })),
        constants: { s: ['float32', [4], [1, 1, 4, 4]] },
      }),
      /too much to compute beforehand/,
    ],
    [
      'a million axes',
      onnxFile({
        opset: 11,
        inputs: image,
        nodes: [{ op: 'Unsqueeze', inputs: 'x', attributes: { axes: Array.from({ length: 1e5 }, (_, k) => k) } }],
      }),
      /makes 100004 axes; 8 are the most/,
    ],
    [
      'a million extents',
      onnxFile({
        inputs: image,
        nodes: [{ op: 'Reshape', inputs: 'x s' }],
        constants: { s: ['int64', [1e5], Array<number>(1e5).fill(1)] },
      }),
      /is \[100000\], not a short list/,
    ],
    [
      'many nodes that read a long list',
      onnxFile({
        inputs: image,
        nodes: [
          ...Array.from({ length: 3000 }, (_, k) => ({ op: 'Gather', inputs: 'd i', outputs: `g${k}` })),
          { op: 'Sum', inputs: Array.from({ length: 3000 }, (_, k) => `g${k}`).join(' '), outputs: 'g' },
          { op: 'Reshape', inputs: 'x g' },
        ],
        constants: { d: ints(1), i: ['int64', [50_000], Array<number>(50_000).fill(0)] },
      }),
      /too much to compute beforehand/,
    ],
  ])('%s', (_, file, problem) => {
    const before = process.memoryUsage()
    const start = processorSeconds()
    expect(() => recogniserFromOnnx(file, { file: 'm.onnx' })).toThrow(problem)
    expect(processorSeconds() - start).toBeLessThan(10)
    const after = process.memoryUsage()
    expect(after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed).toBeLessThan(300e6)
  })

  test('thousands of nodes, outputs and constants, some in cycles, take little time', () => {
    const count = 10_000
    const graphOf = (...parts: number[][]) => onnxFile({ inputs: image, nodes: [], outputs: '', further: parts.flat() })
    const chain = many(count, (k) =>
      bytes(1, node({ op: 'Relu', inputs: k === 0 ? 'x' : `v${k - 1}`, outputs: `v${k}` })),
    )
    const outputs = many(count, (k) => bytes(12, value(`v${k}`, [])))
    const backwards = many(count, (k) =>
      bytes(1, node({ op: 'Relu', inputs: k === count - 1 ? 'x' : `v${k + 1}`, outputs: `v${k}` })),
    )
    const hub = many(count, (k) => bytes(1, node({ op: 'Neg', inputs: 'x', outputs: `v${k}` })))
    const constants = many(count, (k) => bytes(5, tensor(`w${k}`, ['float32', [], [1]])))
    const start = processorSeconds()
    expect(readOnnx(graphOf(chain, outputs), 'm').outputs.length).toBe(count)
    expect(readOnnx(graphOf(backwards, bytes(12, value('v0', []))), 'm').nodes.length).toBe(count)
    expect(readOnnx(graphOf(constants, bytes(12, value('w0', []))), 'm').constants.size).toBe(count)
    const network = onnxNetwork(readOnnx(graphOf(hub, outputs), 'm'))
    const g = graph()
    expect(network.record(g, new Map([['x', g.input('x', [1, 3, 32, 32])]])).size).toBe(count)
    const cycle = [
      ...chain,
      ...bytes(1, node({ op: 'Add', inputs: `a v${count - 1}`, outputs: 'b' })),
      ...bytes(1, node({ op: 'Neg', inputs: 'b', outputs: 'a' })),
      ...bytes(12, text(1, 'b')),
    ]
    expect(() => readOnnx(graphOf(cycle), 'm')).toThrow(/the graph has a cycle/)
    expect(processorSeconds() - start).toBeLessThan(60)
  })
})
