/** numpy's files: arrays, pickled dictionaries of them, and archives. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { recogniseNetwork } from '../../src/models/recognise.ts'
import { WeightsError } from '../../src/weights/errors.ts'
import { loadWeights } from '../../src/weights/node.ts'
import { NpyError, readNpy, readNpz } from '../../src/weights/npy.ts'
import { PickleError } from '../../src/weights/pickle.ts'
import { unpackZip, ZipError } from '../../src/weights/zip.ts'
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
  laughs,
  NONE,
  PERSISTENT,
  pickle,
  text,
  tuple,
  u16,
  u32,
  zip,
} from '../support/torch-file.ts'

/** A file with a header as it is written. */
function withHeader(header: string, data: Bytes | Uint8Array = [], version = 1): Uint8Array {
  const length = version === 1 ? u16(header.length) : u32(header.length)
  return Uint8Array.from([0x93, ...ascii('NUMPY'), version, 0, ...length, ...ascii(header), ...data])
}

const headerOf = (descr: string, shape: string, fortran = false) =>
  `{'descr': '${descr}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': ${shape}, }   \n`

const bytesOf = (array: ArrayBufferView): Uint8Array => new Uint8Array(array.buffer as ArrayBuffer)

const only = (bytes: Uint8Array) => {
  const found = readNpy(bytes, 'a.npy')
  expect([...found.keys()]).toEqual([''])
  const { dtype, shape, data } = found.get('')!
  return [dtype, shape, Array.from(data as Float32Array)]
}

describe('an array', () => {
  test.each([
    ['<f4', Float32Array.of(1, -2), 'F32', [1, -2]],
    ['<f8', Float64Array.of(0.1, -2), 'F64', [Math.fround(0.1), -2]],
    ['<f2', Uint16Array.of(0x3c00, 0xc000), 'F16', [1, -2]],
    ['<i8', BigInt64Array.of(2n ** 60n, -1n), 'I64', [2n ** 60n, -1n]],
    ['<i4', Int32Array.of(1, -1), 'I32', [1, -1]],
    ['<i2', Int16Array.of(1, -1), 'I16', [1, -1]],
    ['|i1', Int8Array.of(1, -1), 'I8', [1, -1]],
    ['|u1', Uint8Array.of(1, 255), 'U8', [1, 255]],
    ['|b1', Uint8Array.of(0, 1), 'BOOL', [0, 1]],
  ])('of %s', (descr, array, dtype, values) => {
    const file = withHeader(headerOf(descr, '(2,)'), bytesOf(array))
    // It may start anywhere in memory.
    for (let shift = 0; shift < 4; shift++) {
      const moved = new Uint8Array(file.length + shift)
      moved.set(file, shift)
      expect(only(moved.subarray(shift))).toEqual([dtype, [2], values])
    }
  })

  test('in every version of the format, also as Python 2 wrote it', () => {
    const data = bytesOf(Float32Array.of(1, 2))
    for (const version of [1, 2, 3]) {
      expect(only(withHeader(headerOf('<f4', '(2, 1)'), data, version))).toEqual(['F32', [2, 1], [1, 2]])
    }
    expect(only(withHeader(headerOf('<f4', '(1L, 2L)'), data))).toEqual(['F32', [1, 2], [1, 2]])
  })

  test('without dimensions, without elements', () => {
    expect(only(withHeader(headerOf('<f4', '()'), bytesOf(Float32Array.of(5))))).toEqual(['F32', [], [5]])
    expect(only(withHeader(headerOf('<f4', '(0, 3)')))).toEqual(['F32', [0, 3], []])
  })

  test("in Fortran's order becomes one in C's", () => {
    const data = bytesOf(Float32Array.from({ length: 24 }, (_, i) => i))
    const [, , values] = only(withHeader(headerOf('<f4', '(2, 3, 4)', true), data))
    const expected: number[] = []
    for (let i = 0; i < 2; i++) for (let j = 0; j < 3; j++) for (let k = 0; k < 4; k++) expected.push(i + 2 * j + 6 * k)
    expect(values).toEqual(expected)
  })

  test.each([
    ['another file', Uint8Array.from(ascii('GIF89a....')), /is no \.npy file/],
    ['version 4', withHeader(headerOf('<f4', '()'), [0, 0, 0, 0], 4), /has version 4/],
    ['a header that is cut off', withHeader(headerOf('<f4', '()')).subarray(0, 40), /ends inside its header/],
    ['a header without end', Uint8Array.from([0x93, ...ascii('NUMPY'), 2, 0, ...u32(0x7fffffff)]), /claims a header/],
    ['big-endian numbers', withHeader(headerOf('>f4', '(1,)'), [0, 0, 0, 0]), /big-endian/],
    ['complex numbers', withHeader(headerOf('<c8', '(1,)'), new Uint8Array(8)), /holds <c8; arrays of f8, f4/],
    ['texts', withHeader(headerOf('<U3', '(1,)'), new Uint8Array(12)), /holds <U3/],
    ['a name of JavaScript', withHeader(headerOf('<constructor', '(1,)'), [0]), /holds <constructor/],
    ['code in its header', withHeader("{'descr': __import__('os').system('true')}\n"), /its header is not one of/],
    ['a structured type', withHeader("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (), }\n"), /header/],
    ['a negative extent', withHeader(headerOf('<f4', '(-1,)'), [0, 0, 0, 0]), /its header is not one of/],
    ['nonsense in its shape', withHeader(headerOf('<f4', '(1, , 2)'), [0, 0, 0, 0]), /its shape .* is no list/],
    ['2^53 elements', withHeader(headerOf('<f4', '(94906267, 94906267)')), /larger than any file/],
    ['endless elements', withHeader(headerOf('<f4', `(${'9'.repeat(400)},)`)), /larger than any file/],
    ['too many dimensions', withHeader(headerOf('<f4', '(1,1,1,1,1,1,1,1,1)'), [0, 0, 0, 0]), /9 dimensions/],
    ['too few bytes', withHeader(headerOf('<f4', '(2,)'), new Uint8Array(7)), /takes 8 bytes, not 7/],
    ['too many bytes', withHeader(headerOf('<f4', '(2,)'), new Uint8Array(9)), /takes 8 bytes, not 9/],
  ])('%s is refused', (_, bytes, message) => {
    expect(() => readNpy(bytes, 'a.npy')).toThrow(NpyError)
    expect(() => readNpy(bytes, 'a.npy')).toThrow(message)
    expect(() => readNpy(bytes, 'a.npy')).toThrow(/^a\.npy: /)
  })
})

const fixture = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'))

/** Written by numpy 2.4: {'conv.weight': f4 [2,3], 'conv.bias': f2 [2]}. */
const dictionary = fixture(
  'k05VTVBZAQB2AHsnZGVzY3InOiAnfE8nLCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoKSwgfSAgICAgICAgICAgICAgICAgICAg' +
    'ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAqABJVEAQAAAAAAAIwWbnVtcHkuX2NvcmUubXVsdGlhcnJheZSMDF9y' +
    'ZWNvbnN0cnVjdJSTlIwFbnVtcHmUjAduZGFycmF5lJOUSwCFlEMBYpSHlFKUKEsBKWgDjAVkdHlwZZSTlIwCTziUiYiHlFKUKEsDjAF8lE5OTkr/' +
    '////Sv////9LP3SUYoldlH2UKIwLY29udi53ZWlnaHSUaAJoBUsAhZRoB4eUUpQoSwFLAksDhpRoC4wCZjSUiYiHlFKUKEsDjAE8lE5OTkr/////' +
    'Sv////9LAHSUYolDGAAAAAAAAIA/AAAAQAAAQEAAAIBAAACgQJR0lGKMCWNvbnYuYmlhc5RoAmgFSwCFlGgHh5RSlChLAUsChZRoC4wCZjKUiYiH' +
    'lFKUKEsDaBtOTk5K/////0r/////SwB0lGKJQwQAPADAlHSUYnVhdJRiLg==',
)
/** The same: {'net': {'w': f4 [2,3] in Fortran's order, 'list': [i8 [], b1 [2]]}, 'epoch': 3}. */
const nested = fixture(
  'k05VTVBZAQB2AHsnZGVzY3InOiAnfE8nLCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoKSwgfSAgICAgICAgICAgICAgICAgICAg' +
    'ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAqABJWQAQAAAAAAAIwWbnVtcHkuX2NvcmUubXVsdGlhcnJheZSMDF9y' +
    'ZWNvbnN0cnVjdJSTlIwFbnVtcHmUjAduZGFycmF5lJOUSwCFlEMBYpSHlFKUKEsBKWgDjAVkdHlwZZSTlIwCTziUiYiHlFKUKEsDjAF8lE5OTkr/' +
    '////Sv////9LP3SUYoldlH2UKIwDbmV0lH2UKIwBd5RoAmgFSwCFlGgHh5RSlChLAUsCSwOGlGgLjAJmNJSJiIeUUpQoSwOMATyUTk5OSv////9K' +
    '/////0sAdJRiiEMYAAAAAAAAQEAAAIA/AACAQAAAAEAAAKBAlHSUYowEbGlzdJRdlChoAmgFSwCFlGgHh5RSlChLASloC4wCaTiUiYiHlFKUKEsD' +
    'aB1OTk5K/////0r/////SwB0lGKJQwgFAAAAAAAAAJR0lGJoAmgFSwCFlGgHh5RSlChLAUsChZRoC4wCYjGUiYiHlFKUKEsDaA9OTk5K/////0r/' +
    '////SwB0lGKJQwIBAJR0lGJldYwFZXBvY2iUSwN1YXSUYi4=',
)
/** numpy.savez of 'a.weight' (f4 [2,3]) and 'n' (i8 []). */
const stored = fixture(
  'UEsDBC0AAAAAAAAAIQBP6QAq//////////8MABQAYS53ZWlnaHQubnB5AQAQAJgAAAAAAAAAmAAAAAAAAACTTlVNUFkBAHYAeydkZXNjcic6ICc8' +
    'ZjQnLCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoMiwgMyksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg' +
    'ICAgICAgICAgICAgICAgICAgICAgCgAAAAAAAIA/AAAAQAAAQEAAAIBAAACgQFBLAwQtAAAAAAAAACEAI7jwbP//////////BQAUAG4ubnB5AQAQ' +
    'AIgAAAAAAAAAiAAAAAAAAACTTlVNUFkBAHYAeydkZXNjcic6ICc8aTgnLCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoKSwgfSAg' +
    'ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgCgcAAAAAAAAAUEsBAi0DLQAAAAAAAAAh' +
    'AE/pACqYAAAAmAAAAAwAAAAAAAAAAAAAAIABAAAAAGEud2VpZ2h0Lm5weVBLAQItAy0AAAAAAAAAIQAjuPBsiAAAAIgAAAAFAAAAAAAAAAAAAACA' +
    'AdYAAABuLm5weVBLBQYAAAAAAgACAG0AAACVAQAAAAA=',
)
/** numpy.savez_compressed of 'a.weight' (f4 [16,16], all 0) and 'b' (f4 [3,2], a transposed view). */
const compressed = fixture(
  'UEsDBC0AAAAIAAAAIQD1GyJ5//////////8MABQAYS53ZWlnaHQubnB5AQAQAIAEAAAAAAAAUAAAAAAAAACb7BfqGxDJyFDGUK2eklqcXKRupaBu' +
    'k2airqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RqGZjoKhmaaOgq1CmQCLoZRMApGwYgFAFBLAwQtAAAACAAAACEAGlXuaf//////////' +
    'BQAUAGIubnB5AQAQAJgAAAAAAAAAVAAAAAAAAACb7BfqGxDJyFDGUK2eklqcXKRupaBuk2airqOgnpZfVFKUmBefX5SSChIPKSpNBQoXZyQWpAK5' +
    'GsY6CkaaOgq1CuQDLgYwaLAHEg5ABMQNQLzAAQBQSwECLQMtAAAACAAAACEA9RsieVAAAACABAAADAAAAAAAAAAAAAAAgAEAAAAAYS53ZWlnaHQu' +
    'bnB5UEsBAi0DLQAAAAgAAAAhABpV7mlUAAAAmAAAAAUAAAAAAAAAAAAAAIABjgAAAGIubnB5UEsFBgAAAAACAAIAbQAAABkBAAAAAA==',
)

const plain = (found: ReadonlyMap<string, { dtype: string; shape: readonly number[]; data: ArrayLike<unknown> }>) =>
  [...found].map(([name, { dtype, shape, data }]) => [name, dtype, shape, Array.from(data)])

/** A pickle of numpy's, in a file. */
const pickled = (...program: Bytes[]): Uint8Array => withHeader(headerOf('|O', '()'), pickle(...program))

/** numpy.dtype(code) with its byte order. */
const typeOf = (code: string, order = '<'): Bytes => [
  ...call('numpy', 'dtype', tuple(text(code), FALSE, [0x88])),
  ...tuple(int(3), text(order), NONE, NONE, NONE, int(-1), int(-1), int(0)),
  ...BUILD,
]
const emptyArray: Bytes = call(
  'numpy.core.multiarray',
  '_reconstruct',
  tuple(global('numpy', 'ndarray'), ints([0]), text('b')),
)
/** BINBYTES, which is of protocol 3. */
const binary = (bytes: Bytes): Bytes => [0x42, ...u32(bytes.length), ...bytes]
const array = (shape: readonly number[], type: Bytes, data: Bytes): Bytes => [
  ...emptyArray,
  ...tuple(int(1), ints(shape), type, FALSE, data),
  ...BUILD,
]
const zeros = (count: number): Bytes => binary(new Array<number>(count).fill(0))

describe('pickled dictionaries', () => {
  test('that numpy wrote', () => {
    expect(plain(readNpy(dictionary, 'd.npy'))).toEqual([
      ['conv.weight', 'F32', [2, 3], [0, 1, 2, 3, 4, 5]],
      ['conv.bias', 'F16', [2], [1, -2]],
    ])
    expect(plain(readNpy(nested, 'd.npy'))).toEqual([
      ['net.w', 'F32', [2, 3], [0, 1, 2, 3, 4, 5]],
      ['net.list.0', 'I64', [], [5n]],
      ['net.list.1', 'BOOL', [2], [1, 0]],
    ])
  })

  test('of Python 2, whose bytes are texts', () => {
    const float = [0x3f, 0x80, 0xbf, 0x80].toReversed()
    const old = array([2], typeOf('f4'), [0x55, 8, ...float, ...float])
    const [[, , , values]] = plain(readNpy(pickled(dict({ w: old }, EMPTY_DICT)), 'd.npy'))
    const expected = new Float32Array(Uint8Array.from([...float, ...float]).buffer)
    expect(values).toEqual(Array.from(expected))
  })

  test('a single array, not in a dictionary', () => {
    expect(plain(readNpy(pickled(array([2], typeOf('u1', '|'), binary([7, 8]))), 'd'))).toEqual([
      ['', 'U8', [2], [7, 8]],
    ])
  })

  test.each([
    ['os.system', call('os', 'system', tuple(text('true'))), /refers to os\.system; only arrays/],
    ['posix.system', call('posix', 'system', tuple(text('true'))), /refers to posix\.system/],
    ['eval', call('builtins', 'eval', tuple(text('1'))), /refers to builtins\.eval/],
    ['a name of JavaScript', global('constructor', 'constructor'), /refers to constructor\.constructor/],
    ["numpy's own loader", call('numpy', 'load', tuple(text('x'))), /refers to numpy\.load/],
    ['an encoding that is none', call('_codecs', 'encode', tuple(text('a'), text('rot13'))), /encodes a text/],
    ['an object outside', [...text('x'), ...PERSISTENT], /outside of it/],
    ['an array of nothing', call('numpy.core.multiarray', '_reconstruct', tuple(NONE)), /makes an array/],
    ['a type that is no name', call('numpy', 'dtype', tuple(int(4))), /names a type/],
    [
      'a structured type',
      // Its state has names and fields.
      [
        ...call('numpy', 'dtype', tuple(text('V4'))),
        ...tuple(int(3), text('|'), NONE, tuple(text('a')), NONE),
        ...BUILD,
      ],
      /describes the type V4 in a way/,
    ],
    ['too few bytes', array([3], typeOf('f4'), zeros(8)), /has 8 bytes instead/],
    ['a text instead of numbers', array([1], typeOf('f4'), text('abcd☺')), /text where the numbers/],
    ['no numbers', array([1], typeOf('f4'), NONE), /has none instead/],
    ['a negative extent', array([-1], typeOf('f4'), zeros(4)), /describes an array/],
    ['2^62 elements', array([2 ** 31 - 1, 2 ** 31 - 1, 2], typeOf('f4'), zeros(4)), /larger than any file/],
    ['objects that are missing', array([2], typeOf('O8', '|'), [0x5d]), /lacks objects/],
    ['an unknown type', array([1], typeOf('c8'), zeros(8)), /holds <c8/],
    ['a half-made array', [...emptyArray, ...tuple(int(1)), ...BUILD], /describes an array/],
    ['a half-made type', [...call('numpy', 'dtype', tuple(text('f4'))), ...NONE, ...BUILD], /describes the type/],
  ])('%s is refused', (_, program, message) => {
    expect(() => readNpy(pickled(dict({ w: program }, EMPTY_DICT)), 'd.npy')).toThrow(WeightsError)
    expect(() => readNpy(pickled(dict({ w: program }, EMPTY_DICT)), 'd.npy')).toThrow(message)
  })

  test('arrays that share their bytes, to become more than the file, are refused', () => {
    // The bytes are memorised and every array takes them again.
    const first = array([1000], typeOf('f4'), [...zeros(4000), 0x71, 9])
    const again = array([1000], typeOf('f4'), [0x68, 9])
    const items = Object.fromEntries([['a', first], ...Array.from({ length: 99 }, (_, i) => [`b${i}`, again])])
    expect(() => readNpy(pickled(dict(items, EMPTY_DICT)), 'd')).toThrow(/arrays are larger than the file/)
  })

  test('what contains itself, or others a million times, is refused', () => {
    const itself = [0x5d, 0x71, 0, 0x68, 0, 0x61]
    expect(() => readNpy(pickled(itself), 'd')).toThrow(/nested deeper/)
    const lists = laughs(array([1], typeOf('u1', '|'), binary([1])), 10, 7)
    expect(() => readNpy(pickled(lists), 'd')).toThrow(/two arrays|nested deeper/)
  })

  test('a pickle of millions of steps is refused before it fills the memory', () => {
    const steps = new Uint8Array(3_000_000).fill(0x7d)
    const file = Uint8Array.from([...withHeader(headerOf('|O', '()'), [0x80, 2])])
    const bytes = new Uint8Array(file.length + steps.length)
    bytes.set(file)
    bytes.set(steps, file.length)
    expect(() => readNpy(bytes, 'd')).toThrow(/longer than that of any network/)
  })

  test('nothing in it, something after it', () => {
    expect(() => readNpy(pickled(EMPTY_DICT), 'd')).toThrow(/holds no arrays/)
    expect(() => readNpy(pickled(EMPTY_TUPLE), 'd')).toThrow(/holds no arrays/)
    expect(() => readNpy(Uint8Array.from([...dictionary, 0]), 'd')).toThrow(/goes on after its pickle/)
    expect(() => readNpy(pickled([0x93]), 'd')).toThrow(PickleError)
  })
})

describe('archives', () => {
  test('that numpy wrote, stored and compressed', async () => {
    expect(plain(await readNpz(stored, 'a.npz'))).toEqual([
      ['a.weight', 'F32', [2, 3], [0, 1, 2, 3, 4, 5]],
      ['n', 'I64', [], [7n]],
    ])
    expect(plain(await readNpz(compressed, 'a.npz'))).toEqual([
      ['a.weight', 'F32', [16, 16], new Array(256).fill(0)],
      ['b', 'F32', [3, 2], [0, 3, 1, 4, 2, 5]],
    ])
  })

  /** An archive as numpy's, with checksums. */
  const archive = async (entries: Readonly<Record<string, Uint8Array>>): Promise<Uint8Array> => {
    const bytes = zip(entries)
    const view = new DataView(bytes.buffer)
    let at = view.getUint32(bytes.length - 6, true)
    const { crc32 } = await import('node:zlib')
    for (const content of Object.values(entries)) {
      view.setUint32(at + 16, crc32(content), true)
      at += 46 + view.getUint16(at + 28, true)
    }
    return bytes
  }

  test('names of dictionaries come before those in them', async () => {
    const file = await archive({ 'net.npy': dictionary })
    expect([...(await readNpz(file, 'a')).keys()]).toEqual(['net.conv.weight', 'net.conv.bias'])
  })

  test('other entries, none, and two arrays of one name are refused', async () => {
    await expect(readNpz(await archive({ 'a.txt': Uint8Array.of(1) }), 'a.npz')).rejects.toThrow(/holds a\.txt/)
    await expect(readNpz(await archive({}), 'a.npz')).rejects.toThrow(/holds no arrays/)
    const two = await archive({ 'net.npy': dictionary, 'net.conv.bias.npy': withHeader(headerOf('|u1', '(1,)'), [1]) })
    await expect(readNpz(two, 'a.npz')).rejects.toThrow(/two arrays named "net\.conv\.bias"/)
  })

  test('every flipped bit of an array is found by its checksum', async () => {
    for (let bit = 8 * 62; bit < 8 * 200; bit += 3) {
      const changed = stored.slice()
      changed[bit >> 3] ^= 1 << (bit & 7)
      await expect(readNpz(changed, 'a.npz'), `bit ${bit}`).rejects.toThrow(WeightsError)
    }
  })

  /** Where an entry of the directory has its packed and its unpacked size. */
  const sizesOf = (bytes: Uint8Array, entry: number): number => {
    const view = new DataView(bytes.buffer)
    let at = view.getUint32(bytes.length - 6, true)
    for (let i = 0; i < entry; i++) at += 46 + view.getUint16(at + 28, true)
    return at + 20
  }

  test('bombs are refused before they are unpacked', async () => {
    const bomb = compressed.slice()
    new DataView(bomb.buffer).setUint32(sizesOf(bomb, 0) + 4, 0xfffffffe, true)
    await expect(unpackZip(bomb, 'a.npz')).rejects.toThrow(/claims to unpack to 4294967294 bytes, out of 80/)
    // More than is said comes out, and less.
    for (const size of [1151, 1153]) {
      const lie = compressed.slice()
      new DataView(lie.buffer).setUint32(sizesOf(lie, 0) + 4, size, true)
      await expect(unpackZip(lie, 'a.npz')).rejects.toThrow(/a\.weight\.npy is damaged/)
    }
    const garbage = compressed.slice()
    garbage.fill(0xff, 70, 100)
    await expect(unpackZip(garbage, 'a.npz')).rejects.toThrow(ZipError)
  })

  test('entries that share bytes are refused', async () => {
    const bytes = await archive({ 'a.npy': new Uint8Array(100), 'b.npy': new Uint8Array(100) })
    const view = new DataView(bytes.buffer)
    // The second entry of the directory points to the first file.
    const second = sizesOf(bytes, 1) - 20
    view.setUint32(second + 42, 0, true)
    await expect(unpackZip(bytes, 'a.npz')).rejects.toThrow(/lies in the bytes of another entry/)
  })

  test('other ways of compression are refused', async () => {
    const bytes = zip({ 'a.npy': new Uint8Array(9) }, { method: 12 })
    await expect(unpackZip(bytes, 'a.npz')).rejects.toThrow(/compressed in a way \(12\)/)
  })
})

const mtcnn = dataBeside('weights/mtcnn')

describe.skipIf(!isAtHand(mtcnn))("MTCNN's files", () => {
  test.each(['pnet', 'rnet', 'onet'])('%s is, bit for bit, what is embedded', async (net) => {
    const file = `${net}.npy`
    const { architecture, tensors } = recogniseNetwork(readNpy(readFileSync(join(mtcnn, file)), file), file)
    expect(architecture.id).toBe(`mtcnn-${net}`)
    const embedded = await loadWeights('mtcnn')
    expect(
      embedded
        .names()
        .filter((name) => name.startsWith(net))
        .sort(),
    ).toEqual([...tensors.keys()].sort())
    for (const [name, { shape, data }] of tensors) {
      expect(Buffer.from(data.buffer, data.byteOffset, data.byteLength), name).toEqual(
        Buffer.from(Uint8Array.from(new Uint8Array(Float32Array.from(embedded.tensor(name, shape).data).buffer))),
      )
    }
  })
})
