/** PyTorch's files: what torch.save writes is read, and nothing else is. Files are made here, byte by byte. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { WeightsError } from '../../src/weights/errors.ts'
import { PickleError } from '../../src/weights/pickle.ts'
import { readTorch, TorchFileError } from '../../src/weights/torch.ts'
import { readZip, ZipError } from '../../src/weights/zip.ts'
import { dataBeside, isAtHand } from '../support/scope.ts'
import {
  ascii,
  BUILD,
  type Bytes,
  call,
  dict,
  EMPTY_DICT,
  EMPTY_TUPLE,
  FALSE,
  global,
  int,
  ints,
  MARK,
  NONE,
  older,
  orderedDict,
  PERSISTENT,
  pickle,
  REDUCE,
  storage,
  type TestStorage,
  tensor,
  text,
  tuple,
  u16,
  zip,
  zipped,
} from '../support/torch-file.ts'

const parameter = (of: Bytes): Bytes => call('torch._utils', '_rebuild_parameter', tuple(of, FALSE, orderedDict))

const containers = [
  ['the older container', older],
  ['the zip container', zipped],
] as const

const plain = (bytes: Uint8Array) =>
  [...readTorch(bytes, 'net.pth')].map(([name, { dtype, shape, data }]) => [
    name,
    dtype,
    shape,
    Array.from(data as Float32Array),
  ])

describe.each(containers)('%s', (_, container) => {
  const a = storage('11', [1, 2, 3, 4, 5, 6])

  test('a state dictionary: names in order, shapes, numbers', () => {
    const b = storage('12', [7, 8])
    const contents = [...dict({ 'conv.weight': tensor(a, [2, 3]), 'conv.bias': tensor(b, [2]) })]
    // state_dict() notes the versions of its modules in an attribute.
    const noted = [...contents, ...dict({ _metadata: orderedDict }, EMPTY_DICT), ...BUILD]
    expect(plain(container(noted, [a, b]))).toEqual([
      ['conv.weight', 'F32', [2, 3], [1, 2, 3, 4, 5, 6]],
      ['conv.bias', 'F32', [2], [7, 8]],
    ])
  })

  test('tensors that share a storage, with offsets, strides, no dimensions, no elements', () => {
    const contents = dict({
      part: tensor(a, [2], undefined, 3),
      transposed: tensor(a, [3, 2], [1, 3]),
      scalar: tensor(a, [], [], 5),
      empty: tensor(a, [0, 3]),
    })
    expect(plain(container(contents, [a]))).toEqual([
      ['part', 'F32', [2], [4, 5]],
      ['transposed', 'F32', [3, 2], [1, 4, 2, 5, 3, 6]],
      ['scalar', 'F32', [], [6]],
      ['empty', 'F32', [0, 3], []],
    ])
  })

  test('a checkpoint: nested names are joined, what is no tensor is left out', () => {
    const contents = dict(
      {
        epoch: int(7),
        note: text('good'),
        nothing: NONE,
        state_dict: dict({ 'fc.weight': parameter(tensor(a, [6])) }),
      },
      EMPTY_DICT,
    )
    expect(plain(container(contents, [a]))).toEqual([['state_dict.fc.weight', 'F32', [6], [1, 2, 3, 4, 5, 6]]])
  })

  test('every type of number', () => {
    const of = (type: string, array: ArrayBufferView & { length: number }): TestStorage => ({
      type,
      key: type,
      bytes: new Uint8Array(array.buffer as ArrayBuffer),
      count: array.length,
    })
    const storages = [
      of('DoubleStorage', Float64Array.of(0.1, -2)),
      of('HalfStorage', Uint16Array.of(0x3c00, 0xc000)),
      of('BFloat16Storage', Uint16Array.of(0x3f80, 0xc000)),
      of('LongStorage', BigInt64Array.of(2n ** 60n, -1n)),
      of('IntStorage', Int32Array.of(1, -1)),
      of('ShortStorage', Int16Array.of(1, -1)),
      of('CharStorage', Int8Array.of(1, -1)),
      of('ByteStorage', Uint8Array.of(1, 255)),
      of('BoolStorage', Uint8Array.of(0, 1)),
    ]
    const found = readTorch(
      container(dict(Object.fromEntries(storages.map((s) => [s.key, tensor(s, [2])]))), storages),
      'f',
    )
    const numbers = (key: string) => found.get(key)?.data
    expect(numbers('DoubleStorage')).toEqual(Float32Array.of(0.1, -2))
    expect(numbers('HalfStorage')).toEqual(Float32Array.of(1, -2))
    expect(numbers('BFloat16Storage')).toEqual(Float32Array.of(1, -2))
    expect(numbers('LongStorage')).toEqual(BigInt64Array.of(2n ** 60n, -1n))
    expect(numbers('IntStorage')).toEqual(Int32Array.of(1, -1))
    expect(numbers('ShortStorage')).toEqual(Int16Array.of(1, -1))
    expect(numbers('CharStorage')).toEqual(Int8Array.of(1, -1))
    expect(numbers('ByteStorage')).toEqual(Uint8Array.of(1, 255))
    expect(numbers('BoolStorage')).toEqual(Uint8Array.of(0, 1))
    expect([...found.values()].map(({ dtype }) => dtype)).toEqual([
      'F64',
      'F16',
      'BF16',
      'I64',
      'I32',
      'I16',
      'I8',
      'U8',
      'BOOL',
    ])
  })

  test('it may start anywhere in memory', () => {
    const file = container(dict({ w: tensor(a, [6]) }), [a])
    for (let shift = 1; shift < 4; shift++) {
      const moved = new Uint8Array(file.length + shift)
      moved.set(file, shift)
      expect(plain(moved.subarray(shift))).toEqual([['w', 'F32', [6], [1, 2, 3, 4, 5, 6]]])
    }
  })

  test.each([
    ['code', call('os', 'system', tuple(text('true'))), /refers to os\.system; only files of weights/],
    [
      'a whole module',
      call('torch.nn.modules.conv', 'Conv2d', EMPTY_TUPLE),
      /refers to torch\.nn\.modules\.conv\.Conv2d/,
    ],
    ['a name of JavaScript', global('constructor', 'constructor'), /refers to constructor\.constructor/],
    ['an unknown storage', global('torch', 'QInt8Storage'), /refers to torch\.QInt8Storage/],
    ['strides beyond the storage', tensor(a, [2, 3], [4, 1]), /shape \[2,3\], strides \[4,1\] from 0 does not fit/],
    ['an offset beyond the storage', tensor(a, [1], [1], 6), /does not fit its storage of 6/],
    ['more elements than the storage has', tensor(a, [1000, 1000], [0, 0]), /does not fit its storage of 6/],
    ['shape and strides of different lengths', tensor(a, [2, 3], [1]), /does not fit/],
    ['a negative offset', tensor(a, [1], [1], -1), /describes a tensor in a way/],
    [
      'a tensor on no storage',
      call('torch._utils', '_rebuild_tensor_v2', tuple(NONE, int(0), ints([1]), ints([1]))),
      /describes a tensor/,
    ],
    [
      'a part of a storage',
      [
        ...tuple(text('storage'), global('torch', 'FloatStorage'), text('11'), text('cpu'), int(6), ints([0, 1])),
        ...PERSISTENT,
      ],
      /part of another/,
    ],
  ] as const)('%s is refused', (_, contents, message) => {
    const file = container(dict({ w: contents }, EMPTY_DICT), [a])
    expect(() => readTorch(file, 'net.pth')).toThrow(TorchFileError)
    expect(() => readTorch(file, 'net.pth')).toThrow(message)
    expect(() => readTorch(file, 'net.pth')).toThrow(/^net\.pth: /)
  })

  test('a file without tensors is refused', () => {
    expect(() => readTorch(container(dict({ epoch: int(1) }), []), 'f')).toThrow(/holds no tensors/)
  })

  test('two tensors of one name are refused', () => {
    const contents = dict({ 'a.b': tensor(a, [6]), a: dict({ b: tensor(a, [6]) }) })
    expect(() => readTorch(container(contents, [a]), 'f')).toThrow(/two tensors named "a\.b"/)
  })

  test('a list that contains itself is refused', () => {
    const endless = [0x5d, 0x71, 0, 0x68, 0, 0x61]
    expect(() => readTorch(container(endless, []), 'f')).toThrow(/nested deeper/)
  })

  test('a file that was cut short is refused, wherever', () => {
    const file = container(dict({ w: tensor(a, [2, 3]) }), [a])
    for (let length = 0; length < file.length; length++) {
      expect(() => readTorch(file.subarray(0, length), 'f'), `${length} bytes`).toThrow(WeightsError)
    }
  })

  test('opcodes that weights do not need are refused', () => {
    // INST, OBJ, NEWOBJ, EXT1, PERSID: they make or find objects.
    for (const opcode of [0x69, 0x6f, 0x81, 0x82, 0x50]) {
      expect(() => readTorch(container([opcode, 0, 0], []), 'f')).toThrow(PickleError)
    }
  })
})

describe('the older container', () => {
  const a = storage('1', [1, 2])

  test('trailing bytes are refused', () => {
    const file = older(dict({ w: tensor(a, [2]) }), [a])
    expect(() => readTorch(Uint8Array.from([...file, 0]), 'f')).toThrow(/goes on after its last storage/)
  })

  test('a storage that is listed but not described is refused, and the other way round', () => {
    const contents = dict({ w: tensor(a, [2]) })
    expect(() => readTorch(older(contents, []), 'f')).toThrow(/describes 1 storages and lists others/)
    expect(() => readTorch(older(contents, [storage('2', [1, 2])]), 'f')).toThrow(
      /lists storage 2, which it does not describe/,
    )
  })

  test('another pickle is refused', () => {
    expect(() => readTorch(Uint8Array.from(pickle(int(5))), 'f')).toThrow(/magic number/)
    expect(() => readTorch(Uint8Array.from(ascii('GIF89a')), 'f')).toThrow(/is no PyTorch file/)
  })

  test("Python 2's OrderedDict, with its items as an argument", () => {
    const items = [0x5d, ...MARK, ...[0x5d, ...MARK, ...text('w'), ...tensor(a, [2]), 0x65], 0x65]
    const contents = [...global('collections', 'OrderedDict'), ...items, 0x85, ...REDUCE]
    expect(plain(older(contents, [a]))).toEqual([['w', 'F32', [2], [1, 2]]])
  })
})

describe('the zip container', () => {
  const a = storage('0', [1, 2])
  const contents = dict({ w: tensor(a, [2]) })

  test('one block of bytes under two types', () => {
    const bytes = { ...a, type: 'IntStorage' }
    const both = dict({ f: tensor(a, [2]), i: tensor(bytes, [2]) })
    const found = readTorch(zipped(both, [a]), 'f')
    expect(Array.from(found.get('f')!.data as Float32Array)).toEqual([1, 2])
    expect(Array.from(found.get('i')!.data as Int32Array)).toEqual([0x3f800000, 0x40000000])
  })

  test('a missing storage, one of another length, big-endian numbers, no data.pkl are refused', () => {
    expect(() => readTorch(zipped(contents, []), 'f')).toThrow(/storage 0 should hold 2 numbers \(F32\); 0 bytes/)
    expect(() => readTorch(zipped(contents, [{ ...a, bytes: a.bytes.subarray(4) }]), 'f')).toThrow(/4 bytes are there/)
    const big = { 'net/byteorder': Uint8Array.from(ascii('big')) }
    expect(() => readTorch(zipped(contents, [a], big), 'f')).toThrow(/big-endian/)
    const little = { 'net/byteorder': Uint8Array.from(ascii('little')) }
    expect(readTorch(zipped(contents, [a], little), 'f').size).toBe(1)
    expect(() => readTorch(zip({ 'model.onnx': new Uint8Array(3) }), 'f')).toThrow(/no data\.pkl/)
  })

  test('archives that are compressed, encrypted or damaged are refused', () => {
    const entries = { 'net/data.pkl': new Uint8Array(4) }
    expect(() => readZip(zip(entries, { method: 8 }), 'f')).toThrow(/is compressed/)
    expect(() => readZip(zip(entries, { flags: 1 }), 'f')).toThrow(/is encrypted/)
    const damaged = zip(entries)
    damaged[0] = 0
    expect(() => readZip(damaged, 'f')).toThrow(ZipError)
    expect(() => readTorch(Uint8Array.from([0x50, 0x4b, 3, 4]), 'f')).toThrow(ZipError)
  })

  test('a comment at the end does not matter', () => {
    const file = zip({ a: Uint8Array.of(1, 2, 3) })
    const comment = Uint8Array.from([...file.subarray(0, -2), ...u16(5), ...ascii('hello')])
    expect(readZip(comment, 'f').get('a')).toEqual(Uint8Array.of(1, 2, 3))
  })
})

const data = dataBeside('weights')

describe.skipIf(!isAtHand(data))('files that others wrote', () => {
  const open = (name: string) => readTorch(readFileSync(join(data, name)), name)

  test("LPIPS' lin layers (Python 2)", () => {
    const found = open('lpips/v0.1-alex.pth')
    expect([...found.keys()]).toEqual([0, 1, 2, 3, 4].map((k) => `lin${k}.model.1.weight`))
    expect([...found.values()].map(({ shape }) => shape[1])).toEqual([64, 192, 384, 256, 256])
    for (const { data } of found.values()) expect((data as Float32Array).every((v) => v >= 0 && v < 10)).toBe(true)
  })

  test('a trunk and a checkpoint with counters of 64 bits', () => {
    expect(open('lpips/squeeze.backbone.pth').get('3.squeeze.weight')?.shape).toEqual([16, 64, 1, 1])
    const net = open('mobilefacenet-foamliu/mobilefacenet.pt')
    expect(net.size).toBe(307)
    const counter = net.get('conv1.1.num_batches_tracked')
    expect([counter?.dtype, counter?.shape, counter?.data]).toEqual(['I64', [], BigInt64Array.of(297260n)])
  })
})
