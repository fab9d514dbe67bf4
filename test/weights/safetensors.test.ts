import { describe, expect, test } from 'vitest'
import { decodeFloat16, readSafetensors, SafetensorsError, writeSafetensors } from '../../src/weights/safetensors.ts'

/** A file from a header as it is written and the bytes after it. */
function fileOf(header: unknown, data: Uint8Array | number = 0, pad = 0): Uint8Array {
  const json = new TextEncoder().encode(
    (typeof header === 'string' ? header : JSON.stringify(header)) + ' '.repeat(pad),
  )
  const body = typeof data === 'number' ? new Uint8Array(data) : data
  const bytes = new Uint8Array(8 + json.length + body.length)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true)
  bytes.set(json, 8)
  bytes.set(body, 8 + json.length)
  return bytes
}

const entry = (dtype: string, shape: unknown, begin: number, end: number) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
})

const sample = writeSafetensors(
  new Map([
    ['conv.weight', { shape: [2, 1, 2, 2], data: Float32Array.of(1, -2, 3.5, 0, -0, 1e-40, 3.4e38, -7) }],
    ['conv.bias', { shape: [2], data: Float32Array.of(0.1, -0.2) }],
    ['scalar', { shape: [], data: Float32Array.of(42) }],
  ]),
  { network: 'sample' },
  'sample.safetensors',
)

describe('safetensors', () => {
  test('reads what it wrote: names in order, shapes, exact numbers, metadata', () => {
    const { tensors, metadata } = readSafetensors(sample, 'sample.safetensors')
    expect([...tensors.keys()]).toEqual(['conv.weight', 'conv.bias', 'scalar'])
    expect(tensors.get('conv.weight')?.shape).toEqual([2, 1, 2, 2])
    expect(tensors.get('conv.weight')?.data).toEqual(Float32Array.of(1, -2, 3.5, 0, -0, 1e-40, 3.4e38, -7))
    expect(tensors.get('scalar')?.data).toEqual(Float32Array.of(42))
    expect(metadata).toEqual({ network: 'sample' })
  })

  test('starts the data at a multiple of 8, as the format asks', () => {
    expect(Number(new DataView(sample.buffer).getBigUint64(0, true)) % 8).toBe(0)
  })

  test('reads every type, also where nothing is aligned', () => {
    const data = new Uint8Array(3 + 8 + 4 + 4)
    const view = new DataView(data.buffer)
    data.set([7, 8, 255], 0)
    view.setFloat32(3, 1.5, true)
    view.setFloat32(7, -2.25, true)
    view.setInt32(11, -123456, true)
    view.setUint16(15, 0x3c00, true)
    view.setUint16(17, 0xc100, true)
    const header = {
      u: entry('U8', [3], 0, 3),
      f: entry('F32', [2, 1], 3, 11),
      i: entry('I32', [1], 11, 15),
      h: entry('F16', [2], 15, 19),
    }
    for (let pad = 0; pad < 4; pad++) {
      // A Buffer, because its slice() is a view and not the copy that an unaligned tensor needs.
      const { tensors } = readSafetensors(Buffer.from(fileOf(header, data, pad)), 'mixed')
      expect([...(tensors.get('u')?.data ?? [])]).toEqual([7, 8, 255])
      expect(tensors.get('f')?.data).toEqual(Float32Array.of(1.5, -2.25))
      expect(tensors.get('i')?.data).toEqual(Int32Array.of(-123456))
      expect(tensors.get('h')?.data).toEqual(Float32Array.of(1, -2.5))
    }
  })

  test('decodes all 65536 halves', () => {
    const decoded = decodeFloat16(Uint16Array.from({ length: 65536 }, (_, i) => i))
    for (let i = 0; i < 65536; i++) {
      const [sign, exponent, fraction] = [i >> 15 ? -1 : 1, (i >> 10) & 31, i & 1023]
      const normal = sign * 2 ** (exponent - 15) * (1 + fraction / 1024)
      const special = fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
      const expected = exponent === 0 ? sign * 2 ** -14 * (fraction / 1024) : exponent === 31 ? special : normal
      if (!Object.is(decoded[i], expected)) expect(decoded[i], `half ${i}`).toBe(expected)
    }
  })

  test.each([
    ['nothing', new Uint8Array(0), /0 bytes long/],
    ['a header longer than the file', fileOf({}, 0).with(0, 200), /200 bytes, the file has 2 left/],
    ['a header of 2^63 bytes', fileOf({}, 0).with(7, 128), /the limit is/],
    ['no JSON', fileOf('{"a":', 0), /is not JSON/],
    ['bytes that are no UTF-8', fileOf('{"a": 1}').with(10, 0xff), /is not JSON/],
    ['a list', fileOf('[]'), /not a JSON object/],
    ['a name twice', fileOf(`{"a":${JSON.stringify(entry('U8', [1], 0, 1))},"a":{}}`, 1), /"a" occurs twice/],
    ['a name twice, once escaped', fileOf('{"\\u0061":1, "x":{"q":"\\"a\\":{"}, "a" : 1}'), /"a" occurs twice/],
    [
      'a field twice',
      fileOf('{"x":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}}', 1),
      /"shape" occurs twice/,
    ],
    ['metadata of numbers', fileOf({ __metadata__: { a: 1 } }), /__metadata__/],
    ['an unknown type', fileOf({ w: entry('F8', [1], 0, 1) }, 1), /tensor "w": dtype "F8"/],
    ['a type from the prototype', fileOf({ w: entry('toString', [1], 0, 1) }, 1), /tensor "w": dtype/],
    ['an unknown field', fileOf({ w: { ...entry('U8', [1], 0, 1), note: '' } }, 1), /tensor "w": .*"note"/],
    ['a fractional shape', fileOf({ w: entry('U8', [1.5], 0, 1) }, 1), /tensor "w": shape \[1.5\]/],
    ['a negative shape', fileOf({ w: entry('U8', [-1], 0, 1) }, 1), /tensor "w": shape/],
    ['a shape of text', fileOf({ w: entry('U8', '1', 0, 1) }, 1), /tensor "w": shape/],
    ['an enormous shape', fileOf({ w: entry('F32', [2 ** 40, 2 ** 40], 0, 4) }, 4), /tensor "w": F32 of shape/],
    ['nine dimensions', fileOf({ w: entry('U8', [1, 1, 1, 1, 1, 1, 1, 1, 1], 0, 1) }, 1), /9 dimensions/],
    [
      'offsets beyond the end',
      fileOf({ w: entry('U8', [4], 0, 4) }, 3),
      /tensor "w": data_offsets \[0,4\] lie outside/,
    ],
    ['offsets the wrong way round', fileOf({ w: entry('U8', [1], 2, 1) }, 3), /tensor "w": data_offsets/],
    [
      'three offsets',
      fileOf({ w: { dtype: 'U8', shape: [1], data_offsets: [0, 1, 1] } }, 1),
      /tensor "w": data_offsets/,
    ],
    [
      'a size that does not fit',
      fileOf({ w: entry('F32', [2], 0, 4) }, 4),
      /tensor "w": .*8 bytes, data_offsets give 4/,
    ],
    ['an overlap', fileOf({ a: entry('U8', [2], 0, 2), b: entry('U8', [2], 1, 3) }, 3), /tensor "b": .*overlap/],
    ['a hole', fileOf({ a: entry('U8', [1], 0, 1), b: entry('U8', [1], 2, 3) }, 3), /tensor "b": bytes 1\.\.2/],
    ['bytes left over', fileOf({ a: entry('U8', [1], 0, 1) }, 3), /take 1 bytes, the file holds 3/],
    ['an entry that is null', fileOf({ w: null }), /tensor "w": its entry/],
  ])('refuses %s', (_, bytes, message) => {
    const read = () => readSafetensors(bytes, 'bad.safetensors')
    expect(read).toThrow(SafetensorsError)
    expect(read).toThrow(/^bad\.safetensors: /)
    expect(read).toThrow(message)
  })

  test('refuses the file cut short at every length', () => {
    for (let length = 0; length < sample.length; length++) {
      expect(() => readSafetensors(sample.subarray(0, length), 'cut'), `${length} bytes`).toThrow(SafetensorsError)
    }
  })

  test('answers every flipped bit of the header with a file or with a SafetensorsError', () => {
    const headerEnd = 8 + Number(new DataView(sample.buffer).getBigUint64(0, true))
    let refused = 0
    for (let bit = 0; bit < 8 * headerEnd; bit++) {
      const bytes = sample.slice()
      bytes[bit >> 3] ^= 1 << (bit & 7)
      try {
        readSafetensors(bytes, 'flipped')
      } catch (error) {
        expect(error, `bit ${bit}`).toBeInstanceOf(SafetensorsError)
        refused++
      }
    }
    // Only flips inside names, metadata, padding, or 'U8' and equal-sized types can go unnoticed.
    expect(refused).toBeGreaterThan(headerEnd * 4)
  })

  test('will not write data that does not fit its shape', () => {
    const wrong = new Map([['w', { shape: [3], data: new Float32Array(2) }]])
    expect(() => writeSafetensors(wrong, {}, 'out')).toThrow(/out: tensor "w": shape \[3\] asks for 3 numbers, not 2/)
  })
})
