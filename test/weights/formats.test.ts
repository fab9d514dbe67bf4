import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { WeightsDamagedError, WeightsError } from '../../src/weights/errors.ts'
import { unpackFiles } from '../../src/weights/npm.ts'
import type { PackageSource } from '../../src/weights/registry.ts'
import { readTar, TarError } from '../../src/weights/tar.ts'
import { readTfjs, TfjsError } from '../../src/weights/tfjs.ts'
import { readTflite, TfliteError } from '../../src/weights/tflite.ts'

const text = (value: string) => new TextEncoder().encode(value)

/** Reads every truncation and every (or every `step`-th) flipped bit; anything but success or `Named` fails the test. */
function fuzz(bytes: Uint8Array, read: (bytes: Uint8Array) => void, Named: typeof WeightsError, step = 1) {
  const counts = { refused: 0, read: 0 }
  const attempt = (changed: Uint8Array, what: string) => {
    try {
      read(changed)
      counts.read++
    } catch (error) {
      expect(error, what).toBeInstanceOf(Named)
      counts.refused++
    }
  }
  for (let length = 0; length < bytes.length; length += step) attempt(bytes.slice(0, length), `cut to ${length}`)
  for (let bit = 0; bit < 8 * bytes.length; bit += step) {
    const changed = bytes.slice()
    changed[bit >> 3] ^= 1 << (bit & 7)
    attempt(changed, `bit ${bit}`)
  }
  return counts
}

describe('tflite', () => {
  type Field =
    | undefined
    | ['i8' | 'i32', number]
    | ['i32s', number[]]
    | ['bytes', Uint8Array]
    | ['table', Field[]]
    | ['tables', Field[][]]

  /** A FlatBuffer laid out from front to back: each table after its vtable, what it refers to behind it. */
  function flatBuffer(root: Field[], mark = 'TFL3'): Uint8Array {
    const bytes = [0, 0, 0, 0, ...text(mark)]
    const patch = (at: number, value: number) => {
      for (let i = 0; i < 4; i++) bytes[at + i] = (value >> (8 * i)) & 255
    }
    const push32 = (value: number) => patch(bytes.push(0, 0, 0, 0) - 4, value)
    const push0 = () => push32(0)
    const refer = (at: number, write: () => number) => patch(at, write() - at)
    const vector = (count: number, push: () => void) => {
      // TensorFlow aligns buffers to 16 bytes: the four of the length come before.
      while (bytes.length % 16 !== 12) bytes.push(0)
      const start = bytes.length
      push32(count)
      push()
      return start
    }
    function table(fields: Field[]): number {
      while (bytes.length % 4) bytes.push(0)
      const vtable = bytes.length
      const words = [4 + 2 * fields.length, 4 + 4 * fields.length, ...fields.map((field, i) => (field ? 4 + 4 * i : 0))]
      for (const word of words) bytes.push(word & 255, word >> 8)
      while (bytes.length % 4) bytes.push(0)
      const start = bytes.length
      push32(start - vtable)
      for (const field of fields) push32(field && (field[0] === 'i8' || field[0] === 'i32') ? field[1] : 0)
      fields.forEach((field, i) => {
        const at = start + 4 + 4 * i
        if (field?.[0] === 'table') refer(at, () => table(field[1]))
        if (field?.[0] === 'bytes') refer(at, () => vector(field[1].length, () => bytes.push(...field[1])))
        if (field?.[0] === 'i32s') refer(at, () => vector(field[1].length, () => field[1].forEach(push32)))
        if (field?.[0] === 'tables') {
          const list = vector(field[1].length, () => field[1].forEach(push0))
          patch(at, list - at)
          field[1].forEach((each, k) => {
            refer(list + 4 + 4 * k, () => table(each))
          })
        }
      })
      return start
    }
    patch(0, table(root))
    return Uint8Array.from(bytes)
  }

  const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer)
  const tensor = (name: string, shape: number[], buffer: number, type = 0): Field[] => [
    ['i32s', shape],
    ['i8', type],
    ['i32', buffer],
    ['bytes', text(name)],
  ]
  /** x [1,4,4,1] -> 2x2 convolution with stride 2 -> relu. Options: padding, stride w, stride h, activation, dilations. */
  function model(
    change: { options?: Field[]; code?: number; shape?: number[]; version?: number; operator?: number[] } = {},
  ) {
    const {
      options = [
        ['i8', 1],
        ['i32', 2],
        ['i32', 2],
      ],
      code = 3,
      shape = [1, 2, 2, 1],
      version = 3,
    } = change
    const graph: Field[] = [
      [
        'tables',
        [
          tensor('x', [1, 4, 4, 1], 0),
          tensor('w', shape, 1),
          tensor('b', [1], 2),
          tensor('y', [1, 2, 2, 1], 0),
          tensor('z', [1, 2, 2, 1], 0),
        ],
      ],
      ['i32s', [0]],
      ['i32s', [4]],
      [
        'tables',
        [
          [
            ['i32', 0],
            ['i32s', change.operator ?? [0, 1, 2]],
            ['i32s', [3]],
            ['i8', 1],
            ['table', options],
          ],
          [
            ['i32', 1],
            ['i32s', [3]],
            ['i32s', [4]],
          ],
        ],
      ],
    ]
    return flatBuffer([
      ['i32', version],
      ['tables', [[['i8', code]], [['i8', 19]]]],
      ['tables', [graph]],
      undefined,
      ['tables', [[], [['bytes', floats(1, 2, 3, 4)]], [['bytes', floats(0.5)]]]],
    ])
  }

  test('reads tensors with their constants, and operators with their wiring and options', () => {
    const graph = readTflite(model(), 'tiny.tflite')
    expect(graph.inputs).toEqual([0])
    expect(graph.outputs).toEqual([4])
    expect(graph.tensors.map(({ name }) => name)).toEqual(['x', 'w', 'b', 'y', 'z'])
    expect(graph.tensors[0]).toEqual({ name: 'x', shape: [1, 4, 4, 1], type: 'float32', data: undefined })
    expect(graph.tensors[1].data).toEqual(Float32Array.of(1, 2, 3, 4))
    expect(graph.tensors[2].data).toEqual(Float32Array.of(0.5))
    expect(graph.operators).toEqual([
      { kind: 'conv2d', padding: 'valid', strides: [2, 2], inputs: [0, 1, 2], outputs: [3] },
      { kind: 'relu', inputs: [3], outputs: [4] },
    ])
  })

  test.each([
    ['another mark', flatBuffer([], 'TFL2'), /no TFL3 mark/],
    ['another schema', model({ version: 2 }), /version 2/],
    ['an unknown operator', model({ code: 77 }), /operator 0 has code 77/],
    [
      'a fused activation',
      model({
        options: [
          ['i8', 1],
          ['i32', 2],
          ['i32', 2],
          ['i8', 1],
        ],
      }),
      /operator 0 \(conv2d\) has a fused/,
    ],
    ['dilation', model({ options: [['i8', 1], ['i32', 2], ['i32', 2], undefined, ['i32', 2]] }), /is dilated/],
    ['stride 0', model({ options: [['i8', 1]] }), /has strides \[0,0\]/],
    [
      'a padding that is neither',
      model({
        options: [
          ['i8', 2],
          ['i32', 1],
          ['i32', 1],
        ],
      }),
      /has padding 2/,
    ],
    [
      'a constant of another size',
      model({ shape: [1, 2, 2, 2] }),
      /tensor "w": shape \[1,2,2,2\] asks for 32 bytes, its buffer has 16/,
    ],
    ['a shape with a 0', model({ shape: [0, 2, 2, 1] }), /tensor "w": shape/],
    ['a tensor that is not there', model({ operator: [0, 1, 9] }), /refers to tensor 9/],
    ['a negative tensor', model({ operator: [0, 1, -1] }), /refers to tensor -1/],
  ])('refuses %s', (_, bytes, message) => {
    expect(() => readTflite(bytes, 'bad.tflite')).toThrow(TfliteError)
    expect(() => readTflite(bytes, 'bad.tflite')).toThrow(message)
  })

  test('answers truncation and flipped bits with a graph or a TfliteError', () => {
    const { refused, read } = fuzz(model(), (bytes) => readTflite(bytes, 'tiny'), TfliteError)
    expect(refused).toBeGreaterThan(1000)
    expect(read).toBeGreaterThan(0)
  })

  test('does not follow lists that overlap without end', () => {
    // 2000 operators that are all one and the same, which has 2000 inputs: 4 million reads from a file of 50 KB.
    const operator: Field[] = [undefined, ['i32s', new Array(2000).fill(0)]]
    const operators: Field[][] = [...Array.from({ length: 1999 }, (): Field[] => []), operator]
    const graph: Field[] = [
      ['tables', [tensor('x', [1], 0)]],
      ['i32s', [0]],
      ['i32s', [0]],
      ['tables', operators],
    ]
    const bytes = flatBuffer([['i32', 3], ['tables', [[['i8', 19]]]], ['tables', [graph]], undefined, ['tables', [[]]]])
    expect(() => readTflite(bytes, 'harmless')).not.toThrow()

    const view = new DataView(bytes.buffer)
    const follow = (at: number) => at + view.getUint32(at, true)
    const field = (table: number, index: number) =>
      table + view.getUint16(table - view.getInt32(table, true) + 4 + 2 * index, true)
    const list = follow(field(follow(follow(field(follow(0), 2)) + 4), 3))
    const last = follow(list + 4 + 4 * 1999)
    for (let at = list + 4; at < list + 4 + 4 * 1999; at += 4) view.setUint32(at, last - at, true)
    expect(() => readTflite(bytes, 'bomb')).toThrow(/bomb: its lists overlap/)
  })
})

describe('tfjs', () => {
  const scale = 0.0005260649557207145
  const manifest = [
    {
      paths: ['a', 'b'],
      weights: [
        { name: 'w', shape: [2, 2], dtype: 'float32', quantization: { dtype: 'uint8', scale, min: -0.07 } },
        { name: 'v', shape: [2], dtype: 'float32' },
      ],
    },
  ]
  const values = new Uint8Array(Float32Array.of(1.5, -8).buffer)
  const bytes = Uint8Array.of(0, 1, 128, 255, ...values)
  const shards = new Map([
    ['a', bytes.subarray(0, 5)],
    ['b', bytes.subarray(5)],
  ])
  const read = (json: unknown, files: Map<string, Uint8Array> = shards) =>
    readTfjs(text(JSON.stringify(json)), files, 'm.json')
  const changed = (change: object) => [
    { ...manifest[0], weights: [{ ...manifest[0].weights[0], ...change }, manifest[0].weights[1]] },
  ]

  test('joins shards and dequantises with one rounding', () => {
    const tensors = read(manifest)
    expect(tensors.get('w')).toEqual({
      shape: [2, 2],
      data: Float32Array.of(-0.07, scale - 0.07, 128 * scale - 0.07, 255 * scale - 0.07),
    })
    expect(tensors.get('v')).toEqual({ shape: [2], data: Float32Array.of(1.5, -8) })
  })

  test.each([
    ['an object', {}, /not a list of groups/],
    ['a group without paths', [{ weights: [] }], /without a list of paths/],
    ['a missing shard', [{ ...manifest[0], paths: ['a', 'c'] }], /names shard c/],
    ['a shard twice', [manifest[0], { paths: ['b'], weights: [] }], /shard twice/],
    ['a tensor twice', changed({ name: 'v' }), /"v" twice/],
    [
      'bytes left over',
      [{ ...manifest[0], weights: manifest[0].weights.slice(0, 1) }],
      /take 4 bytes, the shards have 12/,
    ],
    ['too few bytes', changed({ shape: [3, 2] }), /tensor "v" \[2\] takes 8 bytes, its shards have 6 left/],
    ['an enormous shape', changed({ shape: [2 ** 50, 2 ** 50] }), /tensor "w" .* takes/],
    ['a shape with 0', changed({ shape: [0] }), /tensor "w": shape/],
    ['another dtype', changed({ dtype: 'int32' }), /tensor "w": dtype "int32"/],
    ['another quantisation', changed({ quantization: { dtype: 'uint16', scale: 1, min: 0 } }), /quantised to "uint16"/],
    ['a scale that is text', changed({ quantization: { dtype: 'uint8', scale: '1', min: 0 } }), /no finite scale/],
    ['a tensor without a name', changed({ name: undefined }), /without a name/],
  ])('refuses %s', (_, json, message) => {
    expect(() => read(json)).toThrow(TfjsError)
    expect(() => read(json)).toThrow(message)
  })

  test('answers truncation and flipped bits of the manifest with tensors or a TfjsError', () => {
    const { refused } = fuzz(text(JSON.stringify(manifest)), (json) => readTfjs(json, shards, 'm.json'), TfjsError)
    expect(refused).toBeGreaterThan(500)
  })
})

/** One ustar member: header and padded content. */
function member(path: string, content: Uint8Array, type = '0', prefix = ''): Uint8Array {
  const block = new Uint8Array(512 + Math.ceil(content.length / 512) * 512)
  const put = (value: string, at: number) => block.set(text(value), at)
  put(path, 0)
  put('0000644\0', 100)
  put(`${content.length.toString(8).padStart(11, '0')}\0`, 124)
  put('        ', 148)
  put(type, 156)
  put('ustar\x0000', 257)
  put(prefix, 345)
  const sum = block.subarray(0, 512).reduce((total, byte) => total + byte, 0)
  put(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  block.set(content, 512)
  return block
}
const join = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]))
const end = new Uint8Array(1024)

describe('tar', () => {
  const pax = (record: string) => text(`${record.length + String(record.length + 3).length + 2} ${record}\n`)
  const archive = join(
    member('package/a.bin', Uint8Array.of(1, 2, 3)),
    member('package/dir/', new Uint8Array(0), '5'),
    member('x', pax('path=package/long/name.bin'), 'x'),
    member('package/short', text('long')),
    member('b.bin', new Uint8Array(600).fill(9), '0', 'package/prefix'),
    end,
  )

  test('takes out files by name, whatever way the name is stored', () => {
    const found = readTar(archive, ['package/a.bin', 'package/long/name.bin', 'package/prefix/b.bin'], 'x.tgz')
    expect(found.get('package/a.bin')).toEqual(Uint8Array.of(1, 2, 3))
    expect(found.get('package/long/name.bin')).toEqual(text('long'))
    expect(found.get('package/prefix/b.bin')).toEqual(new Uint8Array(600).fill(9))
  })

  test.each([
    ['a missing file', archive, 'package/none', /x\.tgz: has no file package\/none/],
    ['a folder as a file', archive, 'package/dir/', /has no file/],
    ['a file twice', join(member('package/a', end), member('package/a', end)), 'package/a', /holds package\/a twice/],
    ['a cut header', archive.subarray(0, 1100), 'package/a.bin', /ends inside the header at byte 1024/],
    ['a cut file', archive.subarray(0, 514), 'package/a.bin', /ends inside the file at byte 0/],
    ['a changed header', archive.with(3, 0x41), 'package/a.bin', /header at byte 0 is damaged/],
    ['a pax record without a length', join(member('x', text('path=y\n'), 'x'), end), 'y', /damaged pax header/],
    ['a pax record that is too long', join(member('x', text('99 path=y\n'), 'x'), end), 'y', /damaged pax header/],
    ['a pax record of length 0', join(member('x', text('0 path=y\n'), 'x'), end), 'y', /damaged pax header/],
  ])('refuses %s', (_, bytes, path, message) => {
    expect(() => readTar(bytes, [path], 'x.tgz')).toThrow(TarError)
    expect(() => readTar(bytes, [path], 'x.tgz')).toThrow(message)
  })

  test('answers truncation and flipped bits with the file or a TarError', () => {
    const { refused } = fuzz(archive, (bytes) => readTar(bytes, ['package/long/name.bin'], 'x'), TarError, 3)
    expect(refused).toBeGreaterThan(500)
  })
})

describe('a tarball of npm', () => {
  const content = text('the network')
  const tarball = gzipSync(join(member('package/m/net.bin', content), end))
  const source: PackageSource = {
    kind: 'npm',
    package: 'some-net',
    version: '1.0.0',
    integrity: '',
    tarballBytes: tarball.length,
    licence: 'MIT',
    files: [
      { path: 'package/m/net.bin', bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') },
    ],
  }

  test('gives its files by base name, checked', async () => {
    expect((await unpackFiles(source, tarball)).get('net.bin')).toEqual(content)
  })

  test('is refused when a file in it is another one, or when it is no gzip', async () => {
    const other = { ...source, files: [{ ...source.files[0], sha256: '0'.repeat(64) }] }
    await expect(unpackFiles(other, tarball)).rejects.toThrow(WeightsDamagedError)
    await expect(unpackFiles(other, tarball)).rejects.toThrow(/some-net@1\.0\.0\/package\/m\/net\.bin: is 11 bytes/)
    await expect(unpackFiles(source, text('not gzip'))).rejects.toThrow(/some-net@1\.0\.0: cannot be unpacked/)
    await expect(unpackFiles(source, tarball.subarray(0, 40))).rejects.toThrow(WeightsError)
  })
})
