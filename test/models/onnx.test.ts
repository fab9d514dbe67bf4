/** The reader: what is written comes back, and what breaks a rule is refused by name. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { readOnnx, readOnnxTensor } from '../../src/weights/onnx.ts'
import { filesBeside } from '../../src/weights/onnx-node.ts'
import { OnnxError } from '../../src/weights/onnx-tensor.ts'
import {
  bytes,
  type Constant,
  modelFile,
  node,
  number,
  onnxFile,
  tensor,
  text,
  value,
  varint,
} from '../support/onnx.ts'

const message = (fields: number[]) => Uint8Array.from(fields)
const readTensor = (fields: number[]) => readOnnxTensor(message(fields), 't.pb').tensor

/** One Relu between x and y, with further fields of the graph. */
const small = (further: number[] = []) =>
  onnxFile({ inputs: { x: [1, 3] }, nodes: [{ op: 'Relu', inputs: 'x' }], further })

describe('tensors', () => {
  const values: readonly (readonly [Constant, readonly number[]])[] = [
    [
      ['float32', [2], [1.5, -3.25]],
      [1.5, -3.25],
    ],
    [['float64', [1], [0.1]], [0.1]],
    [
      ['float16', [3], [0x3c00, 0xc100, 0x0001]],
      [1, -2.5, 2 ** -24],
    ],
    [
      ['bfloat16', [2], [0x3f80, 0xc020]],
      [1, -2.5],
    ],
    [
      ['int8', [2], [-128, 127]],
      [-128, 127],
    ],
    [
      ['uint8', [2], [0, 255]],
      [0, 255],
    ],
    [
      ['int16', [2], [-32768, 32767]],
      [-32768, 32767],
    ],
    [['uint16', [1], [65535]], [65535]],
    [['int32', [1], [-(2 ** 31)]], [-(2 ** 31)]],
    [['uint32', [1], [2 ** 32 - 1]], [2 ** 32 - 1]],
    [
      ['int64', [2], [-5, 2 ** 53]],
      [-5, 2 ** 53],
    ],
    [['uint64', [1], [2 ** 60]], [2 ** 60]],
    [
      ['bool', [2], [0, 1]],
      [0, 1],
    ],
  ]
  test.each(values)('raw %j', (constant, expected) => {
    const { type, shape, data } = readTensor(tensor('t', constant))
    expect({ type, shape, data: [...data] }).toEqual({ type: constant[0], shape: constant[1], data: [...expected] })
  })

  test('reads raw data that begin anywhere', () => {
    for (const name of ['', 'a', 'ab', 'abc']) {
      const all = [...bytes(1, [0]), ...tensor(name, ['float64', [1], [0.1]])]
      expect(readOnnxTensor(message(all.slice(3)), 't.pb').tensor.data).toEqual(Float64Array.of(0.1))
    }
  })

  /** Lists of values: packed into one field, or a field each. */
  const packed = (id: number, list: number[]) =>
    bytes(
      id,
      list.flatMap((v) => varint(v)),
    )
  test.each<[string, number[], readonly number[]]>([
    ['packed int64', [...number(2, 7), ...packed(7, [1, -1, 2 ** 40])], [1, -1, 2 ** 40]],
    ['int64 one by one', [...number(2, 7), ...[1, -1, 7].flatMap((v) => number(7, v))], [1, -1, 7]],
    ['int32', [...number(2, 6), ...packed(5, [-2, 0, 5])], [-2, 0, 5]],
    ['halves as integers', [...number(2, 10), ...packed(5, [0x3c00, 0xc100, 0])], [1, -2.5, 0]],
    ['bools as integers', [...number(2, 9), ...packed(5, [0, 1, 2])], [0, 1, 1]],
    ['uint64', [...number(2, 13), ...packed(11, [0, 1, -1])], [0, 1, 2 ** 64]],
    ['floats', [...number(2, 1), ...bytes(4, new Uint8Array(Float32Array.of(1, 2, -3.5).buffer))], [1, 2, -3.5]],
    ['doubles', [...number(2, 11), ...bytes(10, new Uint8Array(Float64Array.of(1, 2, 0.1).buffer))], [1, 2, 0.1]],
  ])('reads %s', (_, fields, expected) => {
    expect([...readTensor([...number(1, 3), ...fields]).data]).toEqual(expected)
  })

  test('reads floats one by one', () => {
    const one = (v: number) => [4 * 8 + 5, ...new Uint8Array(Float32Array.of(v).buffer)]
    expect([...readTensor([...number(1, 2), ...number(2, 1), ...one(0.5), ...one(-2)]).data]).toEqual([0.5, -2])
  })

  test.each<[string, number[], RegExp]>([
    ['a negative extent', [...number(1, -1), ...number(2, 1)], /has an axis of -1 elements/],
    ['2^53 elements', [...number(1, 2 ** 53), ...number(2, 1)], /has an axis of 9007199254740992 elements/],
    ['a number of more than 64 bits', [16, ...Array<number>(9).fill(255), 2], /a number of more than 64 bits/],
    ['a number of more than ten bytes', [16, ...Array<number>(10).fill(255), 1], /a number of more than ten bytes/],
    [
      'nine axes',
      [
        ...Array(9)
          .fill(0)
          .flatMap(() => number(1, 1)),
        ...number(2, 1),
      ],
      /more than 8 axes/,
    ],
    [
      'a huge product',
      [
        ...Array(8)
          .fill(0)
          .flatMap(() => number(1, 2 ** 30)),
        ...number(2, 1),
        ...bytes(9, [0]),
      ],
      /needs 1\.76\d+e\+72 values/,
    ],
    ['text', [...number(2, 8), ...bytes(6, [65])], /elements of type 8/],
    ['complex numbers', number(2, 14), /elements of type 14/],
    ['no type', number(1, 1), /elements of type 0/],
    [
      'too few bytes',
      [...number(1, 2), ...number(2, 1), ...bytes(9, [0, 0, 0, 0])],
      /shape \[2\] needs 2 values of type float32, it has 1/,
    ],
    ['half a number', [...number(1, 1), ...number(2, 1), ...bytes(9, [0, 0])], /it has 0\.5/],
    ['raw data twice', [...number(2, 1), ...bytes(9, [0, 0, 0, 0]), ...bytes(9, [0, 0, 0, 0])], /raw data twice/],
    [
      'values of another type',
      [...number(1, 1), ...number(2, 1), ...bytes(7, [1])],
      /type float32 and has values in field 7/,
    ],
    [
      'raw data and values',
      [...number(1, 1), ...number(2, 7), ...bytes(7, [1]), ...bytes(9, Array(8).fill(0))],
      /values in field 7/,
    ],
    ['a float as bytes', [...number(2, 1), ...bytes(8, [0xff])], /not UTF-8/],
    [
      'a list that ends within a number',
      [...number(1, 1), ...number(2, 1), ...bytes(4, [0, 0])],
      /ends within a number/,
    ],
    ['a varint that does not end', [...number(2, 7), ...bytes(7, [0x80])], /cut short in the middle of a number/],
    ['a wrong wire type', [...bytes(2, [1])], /field 2 holds bytes instead of a varint/],
    ['a group', [2 * 8 + 3], /field 2 is of wire type 3/],
    ['field number 0', [0, 0], /field of number 0/],
    ['a length beyond the end', [9 * 8 + 2, 100, 0], /field 9 claims 100 bytes where 1 are left/],
  ])('refuses %s', (_, fields, problem) => {
    expect(() => readTensor(fields)).toThrow(problem)
    expect(() => readTensor(fields)).toThrow(OnnxError)
  })
})

describe('models', () => {
  test('reads nodes, attributes of every kind, constants, inputs and outputs', () => {
    const file = onnxFile({
      opset: 13,
      inputs: { x: ['N', 3, 0] },
      nodes: [
        { op: 'Constant', inputs: '', outputs: 'a', attributes: { value_ints: [1, -2] } },
        { op: 'Constant', inputs: '', outputs: 'b', attributes: { value_float: { f: 0.5 } } },
        { op: 'Constant', inputs: '', outputs: 'c', attributes: { value: { t: ['int32', [1], [7]] } } },
        { op: 'Constant', inputs: '', outputs: 'd', attributes: { value_int: -7 } },
        { op: 'Constant', inputs: '', outputs: 'e', attributes: { value_floats: { fs: [1.5, 2.5] } } },
        {
          op: 'Odd',
          name: 'first',
          inputs: 'x _ a w',
          outputs: 'y _ z',
          attributes: {
            i: -3,
            f: { f: 1.5 },
            s: 'text',
            is: [1, 2],
            fs: { fs: [0.25] },
            t: { t: ['float32', [], [9]] },
          },
        },
      ],
      outputs: 'y',
      constants: { w: ['float32', [1, 2], [1, 2]] },
    })
    const model = readOnnx(file, 'odd.onnx')
    expect(model.opset).toBe(13)
    expect(model.inputs).toEqual([{ name: 'x', type: 'float32', shape: ['N', 3, ''] }])
    expect(model.outputs.map(({ name }) => name)).toEqual(['y'])
    expect([...model.constants].map(([name, { type, shape, data }]) => [name, type, shape, [...data]])).toEqual([
      ['a', 'int64', [2], [1, -2]],
      ['b', 'float32', [], [0.5]],
      ['c', 'int32', [1], [7]],
      ['d', 'int64', [], [-7]],
      ['e', 'float32', [2], [1.5, 2.5]],
      ['w', 'float32', [1, 2], [1, 2]],
    ])
    const [odd] = model.nodes
    expect(odd).toMatchObject({
      name: 'first',
      op: 'Odd',
      domain: '',
      inputs: ['x', '', 'a', 'w'],
      outputs: ['y', '', 'z'],
    })
    const attributes = Object.fromEntries([...odd.attributes].map(([name, { kind, value }]) => [name, [kind, value]]))
    expect(attributes).toMatchObject({
      i: ['int', -3],
      f: ['float', 1.5],
      s: ['string', 'text'],
      is: ['ints', [1, 2]],
      fs: ['floats', [0.25]],
      t: ['tensor', { type: 'float32', shape: [] }],
    })
  })

  test('does not count an input that a constant defines, as old files have it', () => {
    const file = onnxFile({
      irVersion: 3,
      inputs: { x: [1], w: [1] },
      nodes: [{ op: 'Add', inputs: 'x w' }],
      constants: { w: ['float32', [1], [1]] },
    })
    expect(readOnnx(file, 'm').inputs.map(({ name }) => name)).toEqual(['x'])
  })

  test('keeps the order of the file where it is one of computation, and makes one where it is not', () => {
    const nodes = [
      { op: 'Relu', inputs: 'x', outputs: 'a' },
      { op: 'Sqrt', inputs: 'x', outputs: 'b' },
      { op: 'Neg', inputs: 'a', outputs: 'c' },
      { op: 'Add', inputs: 'b c', outputs: 'y' },
    ]
    const order = (list: typeof nodes) =>
      readOnnx(onnxFile({ inputs: { x: [1] }, nodes: list }), 'm').nodes.map(({ op }) => op)
    expect(order(nodes)).toEqual(['Relu', 'Sqrt', 'Neg', 'Add'])
    expect(order(nodes.toReversed())).toEqual(['Sqrt', 'Relu', 'Neg', 'Add'])
  })

  test('takes ai.onnx for the domain that has no name', () => {
    const sets = [
      ...bytes(8, [...text(1, 'ai.onnx'), ...number(2, 12)]),
      ...bytes(8, [...text(1, 'other'), ...number(2, 99)]),
    ]
    const file = Uint8Array.from([
      ...modelFile([
        ...bytes(1, node({ op: 'Relu', inputs: 'x', domain: 'ai.onnx' })),
        ...bytes(11, value('x', [1])),
        ...bytes(12, value('y', [1])),
      ]).slice(0, -6),
      ...sets,
    ])
    const model = readOnnx(file, 'm')
    expect(model.opset).toBe(12)
    expect(model.nodes[0].domain).toBe('')
  })

  const graphOf = (...nodes: Parameters<typeof node>[0][]) => onnxFile({ inputs: { x: [1] }, nodes })
  test.each<[string, Uint8Array, RegExp]>([
    [
      'a cycle',
      graphOf(
        { op: 'Add', name: 'n', inputs: 'x b', outputs: 'a' },
        { op: 'Relu', inputs: 'a', outputs: 'b' },
        { op: 'Neg', inputs: 'b' },
      ),
      /node "n" \(Add\): waits for its own output: the graph has a cycle/,
    ],
    [
      'a node that takes its own output',
      graphOf({ op: 'Add', inputs: 'x y' }),
      /the node of "y" \(Add\): waits for its own output/,
    ],
    [
      'two nodes of one output',
      graphOf({ op: 'Relu', inputs: 'x' }, { op: 'Neg', inputs: 'x' }),
      /the node of "y" \(Neg\): defines "y", which is defined already/,
    ],
    [
      'an output that is an input',
      graphOf({ op: 'Relu', inputs: 'x', outputs: 'x' }),
      /defines "x", which is defined already/,
    ],
    [
      'two nodes of one name',
      graphOf({ op: 'Relu', name: 'n', inputs: 'x', outputs: 'a' }, { op: 'Neg', name: 'n', inputs: 'a' }),
      /node "n" \(Neg\): there is another node of that name/,
    ],
    [
      'an input that nothing defines',
      graphOf({ op: 'Add', inputs: 'x nothing' }),
      /takes "nothing", which nothing defines/,
    ],
    [
      'an output that nothing defines',
      graphOf({ op: 'Relu', inputs: 'x', outputs: 'z' }),
      /has an output "y", which nothing defines/,
    ],
    ['a node without outputs', graphOf({ op: 'Relu', inputs: 'x', outputs: '_' }), /has no output/],
    ['a node without an operator', graphOf({ op: '', inputs: 'x' }), /without an operator/],
    [
      'a constant twice',
      small([...bytes(5, tensor('w', ['float32', [], [1]])), ...bytes(5, tensor('w', ['float32', [], [1]]))]),
      /defines "w" twice/,
    ],
    ['a constant without a name', small(bytes(5, tensor('', ['float32', [], [1]]))), /a constant without a name/],
    [
      'an input twice',
      onnxFile({ inputs: { x: [1] }, nodes: [{ op: 'Relu', inputs: 'x' }], further: bytes(11, value('x', [1])) }),
      /defines "x" twice/,
    ],
    [
      'an output twice',
      onnxFile({ inputs: { x: [1] }, nodes: [{ op: 'Relu', inputs: 'x' }], outputs: 'y y' }),
      /two outputs "y"/,
    ],
    ['no output', onnxFile({ inputs: { x: [1] }, nodes: [], outputs: '' }), /has no output/],
    ['a sparse constant', small(bytes(15, [])), /sparse constant/],
    [
      'a Constant that is text',
      graphOf({ op: 'Constant', inputs: '', attributes: { value_string: 'a' } }),
      /the node of "y" \(Constant\): cannot be read: it holds "value_string"/,
    ],
    ['a Constant that is nothing', graphOf({ op: 'Constant', inputs: '' }), /it holds nothing/],
    [
      'an attribute twice',
      small(
        bytes(1, [
          ...node({ op: 'Relu', inputs: 'x', outputs: 'z', attributes: { a: 1 } }),
          ...bytes(5, [...text(1, 'a'), ...number(3, 1)]),
        ]),
      ),
      /two attributes "a"/,
    ],
    [
      'an attribute of two kinds',
      small(
        bytes(1, [
          ...node({ op: 'Relu', inputs: 'x', outputs: 'z' }),
          ...bytes(5, [...text(1, 'a'), ...number(3, 1), ...text(4, 's')]),
        ]),
      ),
      /attribute "a" of two kinds/,
    ],
    [
      'an attribute of another kind than it says',
      small(
        bytes(1, [
          ...node({ op: 'Relu', inputs: 'x', outputs: 'z' }),
          ...bytes(5, [...text(1, 'a'), ...number(3, 1), ...number(20, 1)]),
        ]),
      ),
      /attribute "a" of type 1/,
    ],
    [
      'a negative extent of an input',
      onnxFile({ inputs: { x: [1] }, nodes: [{ op: 'Relu', inputs: 'x' }], further: bytes(11, value('z', [-1])) }),
      /axis of -1/,
    ],
    [
      'an old format',
      onnxFile({ inputs: { x: [1] }, nodes: [{ op: 'Relu', inputs: 'x' }], irVersion: 2 }),
      /version 2 of the ONNX format/,
    ],
    [
      'a format of the future',
      onnxFile({ inputs: { x: [1] }, nodes: [{ op: 'Relu', inputs: 'x' }], irVersion: 14 }),
      /version 14 of the ONNX format/,
    ],
    ['two graphs', Uint8Array.from([...small(), ...bytes(7, [])]), /two graphs/],
    ['two versions of the operators', Uint8Array.from([...small(), ...bytes(8, number(2, 9))]), /two versions/],
    ['no version of the operators', small().slice(0, -6), /does not say which version/],
    ['no graph', message([...number(1, 8), ...bytes(8, number(2, 9))]), /has no graph/],
    ['an empty file', new Uint8Array(), /version 0 of the ONNX format/],
    ['a picture', message([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]), /^m\.onnx: /],
  ])('refuses %s', (_, file, problem) => {
    expect(() => readOnnx(file, 'm.onnx')).toThrow(problem)
    expect(() => readOnnx(file, 'm.onnx')).toThrow(OnnxError)
  })

  test('names file and node in its errors', () => {
    const file = graphOf({ op: 'Add', name: 'sum', inputs: 'x nothing' })
    expect(() => readOnnx(file, 'net.onnx')).toThrow(expect.objectContaining({ file: 'net.onnx', node: 'sum' }))
  })
})

describe('constants outside the file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lowkey-onnx-'))
  afterAll(() => rmSync(folder, { recursive: true }))

  const entry = (key: string, content: string) => bytes(13, [...text(1, key), ...text(2, content)])
  const model = (location: string, further: number[] = [], location1 = number(14, 1)) =>
    onnxFile({
      inputs: { x: [2] },
      nodes: [{ op: 'Add', inputs: 'x w' }],
      further: bytes(5, [
        ...number(1, 2),
        ...number(2, 1),
        ...text(8, 'w'),
        ...entry('location', location),
        ...further,
        ...location1,
      ]),
    })
  const data = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer)
  const read = (file: Uint8Array) =>
    readOnnx(file, 'm.onnx', (location) => (location === 'a.data' || location === 'd/b.data' ? data : undefined))

  test('are taken from where the model says', () => {
    const w = (file: Uint8Array) => [...read(file).constants.get('w')!.data]
    expect(w(model('a.data'))).toEqual([1, 2])
    expect(w(model('a.data', [...entry('offset', '8'), ...entry('length', '8')]))).toEqual([3, 4])
    expect(w(model('d/b.data', [...entry('offset', '4'), ...entry('checksum', 'abc')]))).toEqual([2, 3])
  })

  test.each(['../a.data', 'd/../../a.data', '/etc/passwd', 'C:\\a', 'a\\b', '', '.', './a.data', 'a//b', '..', 'a\0b'])(
    'are not looked for at "%s"',
    (location) => {
      const asked: string[] = []
      const attempt = () =>
        readOnnx(model(location), 'm.onnx', (name) => {
          asked.push(name)
          return data
        })
      expect(attempt).toThrow(/tensor "w" keeps its data in .*no file beside the model/)
      expect(asked).toEqual([])
    },
  )

  test.each<[string, Uint8Array, RegExp]>([
    [
      'a file that is not there',
      model('c.data'),
      /keeps its data in "c\.data", which is not there: put it beside the model/,
    ],
    ['bytes beyond the end', model('a.data', entry('offset', '12')), /needs bytes 12\.\.20 of "a\.data", which has 16/],
    ['another length than the shape', model('a.data', entry('length', '4')), /needs 8 bytes, its external data has 4/],
    ['a negative offset', model('a.data', entry('offset', '-8')), /has "-8" as offset/],
    ['an offset that is no number', model('a.data', entry('offset', '1e3')), /has "1e3" as offset/],
    ['two places', model('a.data', entry('location', 'b')), /says twice what "location"/],
    ['another kind of place', model('a.data', [], number(14, 2)), /keeps its data at location 2/],
  ])('refuses %s', (_, file, problem) => {
    expect(() => read(file)).toThrow(problem)
    expect(() => read(file)).toThrow(OnnxError)
  })

  test('are read from the folder of the model, and never from elsewhere', () => {
    const own = join(folder, 'own')
    mkdirSync(join(own, 'd'), { recursive: true })
    writeFileSync(join(folder, 'secret'), data)
    writeFileSync(join(own, 'd', 'b.data'), data)
    symlinkSync(join(folder, 'secret'), join(own, 'link'))
    writeFileSync(join(own, 'm.onnx'), model('d/b.data'))
    writeFileSync(join(own, 'evil.onnx'), model('link'))
    const open = (name: string) => readOnnx(readFileSync(join(own, name)), name, filesBeside(join(own, name)))
    expect([...open('m.onnx').constants.get('w')!.data]).toEqual([1, 2])
    expect(() => open('evil.onnx')).toThrow(/"link", which is not there/)
    expect(filesBeside(join(own, 'm.onnx'))('d')).toBeUndefined()
  })
})
