/**
 * Files made to do harm, thousands of them: whatever is changed in a file of weights, it is read or refused with a named error, soon, and
 * without much more memory than the file has. ONNX has a test of its own.
 */
import { deflateRawSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { recogniseNetwork, UnfitTensorsError } from '../../src/models/recognise.ts'
import { WeightsError } from '../../src/weights/errors.ts'
import { readWeightFile } from '../../src/weights/import.ts'
import { readNpy, readNpz } from '../../src/weights/npy.ts'
import type { StoredTensor } from '../../src/weights/numbers.ts'
import { readSafetensors, writeSafetensors } from '../../src/weights/safetensors.ts'
import { readTorch } from '../../src/weights/torch.ts'
import { processorSeconds } from '../support/processor-time.ts'
import { random } from '../support/random.ts'
import {
  ascii,
  type Bytes,
  call,
  dict,
  EMPTY_DICT,
  FALSE,
  global,
  int,
  ints,
  laughs,
  NONE,
  older,
  orderedDict,
  pickle,
  stateFile,
  storage,
  tensor,
  text,
  tuple,
  u16,
  u32,
  zipped,
} from '../support/torch-file.ts'

const weights = new Map([
  ['conv.weight', { shape: [4, 3, 3, 3], data: Float32Array.from({ length: 108 }, (_, i) => i / 7) }],
  ['conv.bias', { shape: [4], data: Float32Array.of(1, 2, 3, 4) }],
  ['scalar', { shape: [], data: Float32Array.of(5) }],
])

const npyHeader = "{'descr': '<f4', 'fortran_order': True, 'shape': (9, 12), }\n"
const npy = Uint8Array.from([
  ...[0x93, ...ascii('NUMPY'), 1, 0, ...u16(npyHeader.length), ...ascii(npyHeader)],
  ...new Uint8Array(Float32Array.from({ length: 108 }, (_, i) => i / 7).buffer),
])

const f4: Bytes = [
  ...call('numpy', 'dtype', tuple(text('f4'), FALSE, [0x88])),
  ...tuple(int(3), text('<'), NONE, NONE, NONE, int(-1), int(-1), int(0)),
  0x62,
]
const pickledArray = (shape: readonly number[], data: Uint8Array): Bytes => [
  ...call('numpy.core.multiarray', '_reconstruct', tuple(global('numpy', 'ndarray'), ints([0]), text('b'))),
  ...tuple(int(1), ints(shape), f4, FALSE, [0x42, ...u32(data.length), ...data]),
  0x62,
]
const objectHeader = "{'descr': '|O', 'fortran_order': False, 'shape': (), }\n"
const pickledNpy = Uint8Array.from([
  ...[0x93, ...ascii('NUMPY'), 1, 0, ...u16(objectHeader.length), ...ascii(objectHeader)],
  ...pickle(
    dict({ a: pickledArray([3, 9], new Uint8Array(108)), b: pickledArray([2], new Uint8Array(8)) }, EMPTY_DICT),
  ),
])

/** An archive with one deflated array. */
function npz(): Uint8Array {
  const packed = deflateRawSync(npy)
  const name = ascii('a.npy')
  const crc = 0 // wrong: mutations that get past the directory are found by it
  const common = [
    ...u16(0),
    ...u16(8),
    ...u32(0),
    ...u32(crc),
    ...u32(packed.length),
    ...u32(npy.length),
    ...u16(5),
    ...u16(0),
  ]
  const local = [...u32(0x04034b50), ...u16(20), ...common, ...name, ...packed]
  const central = [
    ...u32(0x02014b50),
    ...u16(20),
    ...u16(20),
    ...common,
    ...u16(0),
    ...u16(0),
    ...u16(0),
    ...u32(0),
    ...u32(0),
    ...name,
  ]
  const end = [
    ...u32(0x06054b50),
    ...u32(0),
    ...u16(1),
    ...u16(1),
    ...u32(central.length),
    ...u32(local.length),
    ...u16(0),
  ]
  return Uint8Array.from([...local, ...central, ...end])
}

const MUTATIONS = 3000

/** Changed copies of a file: bits, bytes, numbers of four bytes, pieces cut out, doubled or moved, ends cut off. */
function* mutations(bytes: Uint8Array, seed: number): Generator<Uint8Array> {
  const next = random(seed)
  const below = (limit: number) => Math.floor(next() * limit)
  const telling = [0, 1, 0x7f, 0x80, 0xff]
  for (let i = 0; i < MUTATIONS; i++) {
    let changed = bytes.slice()
    const times = 1 + below(3)
    for (let k = 0; k < times && changed.length > 8; k++) {
      const at = below(changed.length - 4)
      const length = 1 + below(Math.min(64, changed.length - at))
      const kind = below(7)
      if (kind === 0) changed[at] ^= 1 << below(8)
      else if (kind === 1) changed[at] = telling[below(telling.length)]
      else if (kind === 2) changed[at] = below(256)
      else if (kind === 3)
        new DataView(changed.buffer).setUint32(at, [0x7fffffff, 0xffffffff, 0x80000000, 1 << below(32)][below(4)], true)
      else if (kind === 4) changed = Uint8Array.from([...changed.subarray(0, at), ...changed.subarray(at + length)])
      else if (kind === 5) changed = Uint8Array.from([...changed.subarray(0, at + length), ...changed.subarray(at)])
      else changed = changed.slice(0, at)
    }
    yield changed
  }
}

type Read = (bytes: Uint8Array) => ReadonlyMap<string, StoredTensor> | Promise<ReadonlyMap<string, StoredTensor>>

const formats: [name: string, file: Uint8Array, read: Read][] = [
  ["PyTorch's zip archive", stateFile(weights), (b) => readTorch(b, 'f')],
  ["PyTorch's older container", stateFile(weights, older), (b) => readTorch(b, 'f')],
  ['safetensors', writeSafetensors(weights, { a: 'b' }, 'f'), (b) => readSafetensors(b, 'f').tensors],
  ['safetensors of halves', writeSafetensors(halved(), {}, 'f'), (b) => readSafetensors(b, 'f').tensors],
  ['npy', npy, (b) => readNpy(b, 'f')],
  ['npy of a dictionary', pickledNpy, (b) => readNpy(b, 'f')],
  ['npz', npz(), (b) => readNpz(b, 'f')],
  ['any of them', stateFile(weights), async (b) => (await readWeightFile(b, 'f', async () => undefined)).tensors],
]

function halved() {
  return new Map([...weights].map(([name, tensor]) => [name, { ...tensor, dtype: 'F16' as const }]))
}

describe.each(formats)('%s', (name, file, read) => {
  test(`${MUTATIONS} changed files are read or refused, soon and in little memory`, async () => {
    let refused = 0
    let slowest = 0
    for (const changed of mutations(file, name.length)) {
      const began = processorSeconds()
      try {
        const tensors = await read(changed)
        // Decoded numbers take at most four times their bytes (halves and I8 do not; BOOL as bytes).
        let held = 0
        for (const { data } of tensors.values()) held += data.byteLength
        expect(held).toBeLessThanOrEqual(4 * changed.length)
      } catch (error) {
        if (!(error instanceof WeightsError)) throw error
        expect(error.message.length).toBeLessThan(5000)
        refused++
      }
      slowest = Math.max(slowest, processorSeconds() - began)
    }
    expect(slowest).toBeLessThan(5)
    expect(refused).toBeGreaterThan(MUTATIONS / 10)
  })
})

describe('pickles that call', () => {
  const calls: [string, Bytes][] = [
    ['os.system', call('os', 'system', tuple(text('touch /tmp/harm')))],
    ['posix.system', call('posix', 'system', tuple(text('touch /tmp/harm')))],
    ['nt.system', call('nt', 'system', tuple(text('calc')))],
    ['subprocess.Popen', call('subprocess', 'Popen', tuple(text('sh')))],
    ['builtins.eval', call('builtins', 'eval', tuple(text('1')))],
    ['__builtin__.exec', call('__builtin__', 'exec', tuple(text('1')))],
    ['builtins.getattr', call('builtins', 'getattr', tuple(text('a'), text('b')))],
    ['torch.load', call('torch', 'load', tuple(text('x')))],
    ['torch.hub.load', call('torch.hub', 'load', tuple(text('x')))],
    ['runpy._run_code', call('runpy', '_run_code', tuple(text('x')))],
    ['constructor.constructor', call('constructor', 'constructor', tuple(text('return process')))],
    ['__proto__.polluted', call('__proto__', 'polluted', tuple(text('x')))],
    ['process.exit', call('process', 'exit', tuple(int(1)))],
  ]

  test.each(calls)('%s are refused by name in every container', (name, program) => {
    const expected = new RegExp(`refers to ${name.replaceAll('.', '\\.')}`)
    for (const container of [older, zipped]) {
      expect(() => readTorch(container(dict({ w: program }, EMPTY_DICT), []), 'f')).toThrow(expected)
    }
    const bytes = Uint8Array.from([
      ...[0x93, ...ascii('NUMPY'), 1, 0, ...u16(objectHeader.length), ...ascii(objectHeader)],
      ...pickle(program),
    ])
    expect(() => readNpy(bytes, 'f')).toThrow(expected)
    // STACK_GLOBAL, of protocol 4.
    const [module, attribute] = [name.slice(0, name.lastIndexOf('.')), name.slice(name.lastIndexOf('.') + 1)]
    const later = [...text(module), ...text(attribute), 0x93]
    expect(() => readTorch(zipped(dict({ w: later }, EMPTY_DICT), []), 'f')).toThrow(expected)
  })
})

describe("PyTorch's files that ask for too much", () => {
  const a = storage('0', new Float32Array(10_000))

  test('thousands of transposed views of one storage', () => {
    const view = tensor(a, [100, 100], [1, 100])
    const items = Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`w${i}`, view]))
    for (const container of [older, zipped]) {
      expect(() => readTorch(container(dict(items), [a]), 'f')).toThrow(/much larger than the file/)
    }
    // A few are what real files have.
    const few = Object.fromEntries(Array.from({ length: 3 }, (_, i) => [`w${i}`, view]))
    expect(readTorch(zipped(dict(few), [a]), 'f').size).toBe(3)
  })

  test('absurd shapes', () => {
    for (const shape of [[2 ** 31 - 1, 2 ** 31 - 1, 2 ** 31 - 1], [10_001], [-1]]) {
      expect(() => readTorch(zipped(dict({ w: tensor(a, shape) }), [a]), 'f')).toThrow(WeightsError)
    }
  })

  test('millions of objects out of single bytes', () => {
    const steps = Uint8Array.from({ length: 3_000_000 }, () => 0x7d)
    const head = Uint8Array.from([0x80, 2])
    const bytes = new Uint8Array(head.length + steps.length)
    bytes.set(head)
    bytes.set(steps, head.length)
    expect(() => readTorch(bytes, 'f')).toThrow(/longer than that of any network/)
  })

  test('names and values that would be printed without end', () => {
    // As text it would be 2^40 characters long.
    const doubled = laughs([0x5d], 2, 40)
    const magic = pickle([0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19])
    expect(() => readTorch(Uint8Array.from([...magic, ...pickle(doubled)]), 'f')).toThrow(/has version \(a object\)/)
    const long = 'x'.repeat(1_000_000)
    try {
      readTorch(zipped(dict({ w: global(long, 'y') }, EMPTY_DICT), []), 'f')
      expect.unreachable()
    } catch (error) {
      expect(error).toBeInstanceOf(WeightsError)
      expect((error as Error).message.length).toBeLessThan(500)
    }
  })

  test('calls of what builds tensors with anything else', () => {
    const rebuild = (...args: Bytes[]) => call('torch._utils', '_rebuild_tensor_v2', tuple(...args))
    const programs = [
      rebuild(orderedDict, int(0), ints([1]), ints([1])),
      rebuild(text('0'), int(0), ints([1]), ints([1])),
      rebuild(),
      call('torch._utils', '_rebuild_parameter', tuple(orderedDict)),
      call('collections', 'OrderedDict', tuple(tuple(int(1)))),
    ]
    for (const program of programs) {
      expect(() => readTorch(zipped(dict({ w: program }, EMPTY_DICT), []), 'f')).toThrow(WeightsError)
    }
  })
})

describe('safetensors', () => {
  const file = (header: unknown, data = 0) => {
    const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header))
    const bytes = new Uint8Array(8 + json.length + data)
    new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true)
    bytes.set(json, 8)
    return bytes
  }
  const entry = (shape: unknown, begin: number, end: number) => ({ dtype: 'F32', shape, data_offsets: [begin, end] })

  test.each([
    ['overlapping tensors', file({ a: entry([2], 0, 8), b: entry([2], 4, 12) }, 12), /overlap/],
    ['one piece of bytes under two names', file({ a: entry([2], 0, 8), b: entry([2], 0, 8) }, 8), /overlap/],
    ['a hole', file({ a: entry([1], 0, 4), b: entry([1], 8, 12) }, 12), /belong to no tensor/],
    ['a negative extent', file({ a: entry([-1], 0, 4) }, 4), /is not a list of whole numbers/],
    ['2^53 elements', file({ a: entry([2 ** 53, 1], 0, 4) }, 4), /is not a list of whole numbers/],
    ['2^106 elements', file({ a: entry([2 ** 53 - 1, 2 ** 53 - 1], 0, 4) }, 4), /takes .* bytes/],
    ['half an element', file({ a: entry([0.5], 0, 2) }, 2), /is not a list of whole numbers/],
    [
      'a name twice',
      file(
        '{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}',
        4,
      ),
      /occurs twice/,
    ],
    ['a header of brackets', file('['.repeat(1_000_000)), /not JSON/],
    ['a header beyond the file', new Uint8Array([255, 255, 255, 0, 0, 0, 0, 0]), /header claims/],
  ])('%s is refused', (_, bytes, message) => {
    expect(() => readSafetensors(bytes, 'f')).toThrow(WeightsError)
    expect(() => readSafetensors(bytes, 'f')).toThrow(message)
  })
})

describe('names', () => {
  test('of a billion units, of JavaScript, of nothing', () => {
    const one = { dtype: 'F32' as const, shape: [1], data: Float32Array.of(1) }
    for (const name of ['__proto__', 'constructor', '', 'body.999999999.res_layer.1.weight', 'a'.repeat(100_000)]) {
      expect(() => recogniseNetwork(new Map([[name, one]]), 'f')).toThrow(WeightsError)
    }
    const many = new Map([
      ['input_layer.0.weight', one],
      ['body.999.res_layer.1.weight', one],
      ['body.0.res_layer.1.weight', one],
    ])
    expect(() => recogniseNetwork(many, 'f', { as: 'ir-50' })).toThrow(UnfitTensorsError)
    expect(() => recogniseNetwork(many, 'f')).toThrow(WeightsError)
  })
})
