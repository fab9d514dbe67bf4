/** Numbers as files of weights store them: little endian, of these types. */

/** By the names of safetensors. */
export type NumberType = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U8' | 'BOOL'

/** What they are given as: floats of every width as f32 (F64 is rounded), integers as they are. */
export type Numbers = Float32Array | BigInt64Array | Int32Array | Int16Array | Int8Array | Uint8Array

/** A tensor as a file holds it. */
export interface StoredTensor {
  /** The type it was stored in. */
  readonly dtype: NumberType
  readonly shape: readonly number[]
  /** In C order. */
  readonly data: Numbers
}

/** Bytes of a number, and how numbers are made of bytes that begin where their width asks for. */
const TYPES: Record<NumberType, { bytes: number; decode: (b: ArrayBuffer, at: number, count: number) => Numbers }> = {
  F64: { bytes: 8, decode: (b, at, n) => Float32Array.from(new Float64Array(b, at, n)) },
  F32: { bytes: 4, decode: (b, at, n) => new Float32Array(b, at, n) },
  F16: { bytes: 2, decode: (b, at, n) => decodeFloat16(new Uint16Array(b, at, n)) },
  BF16: { bytes: 2, decode: (b, at, n) => decodeBfloat16(new Uint16Array(b, at, n)) },
  I64: { bytes: 8, decode: (b, at, n) => new BigInt64Array(b, at, n) },
  I32: { bytes: 4, decode: (b, at, n) => new Int32Array(b, at, n) },
  I16: { bytes: 2, decode: (b, at, n) => new Int16Array(b, at, n) },
  I8: { bytes: 1, decode: (b, at, n) => new Int8Array(b, at, n) },
  U8: { bytes: 1, decode: (b, at, n) => new Uint8Array(b, at, n) },
  BOOL: { bytes: 1, decode: (b, at, n) => new Uint8Array(b, at, n) },
}

export const numberTypes = Object.keys(TYPES) as readonly NumberType[]

export const isNumberType = (name: unknown): name is NumberType =>
  typeof name === 'string' && Object.hasOwn(TYPES, name)

/** Bytes of one number. */
export const bytesOf = (type: NumberType): number => TYPES[type].bytes

/** The numbers that `bytes` hold, whose length is a multiple of their width: a view where that is possible, else a copy. */
export function decodeNumbers(type: NumberType, bytes: Uint8Array): Numbers {
  const { bytes: width, decode } = TYPES[type]
  // Typed arrays need an aligned start, which no format promises: a copy has one. (Not slice(): Node's Buffer gives a view for
  // that.)
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes)
  return decode(buffer as ArrayBuffer, byteOffset, byteLength / width)
}

/** IEEE 754 binary16 to binary32, exact for every value (subnormals, infinities and NaN included). */
export function decodeFloat16(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const bits = new Uint32Array(halves.length)
  const floats = new Float32Array(bits.buffer)
  for (let i = 0; i < halves.length; i++) {
    const sign = (halves[i] & 0x8000) << 16
    const exponent = (halves[i] >> 10) & 31
    const fraction = halves[i] & 0x3ff
    if (exponent === 0) floats[i] = (sign === 0 ? 1 : -1) * fraction * 2 ** -24
    else bits[i] = sign | ((exponent === 31 ? 255 : exponent + 112) << 23) | (fraction << 13)
  }
  return floats
}

/** IEEE 754 binary32 to binary16, rounded to nearest, ties to even. From 65520 on it is infinity; NaN stays NaN. */
export function encodeFloat16(floats: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(floats.buffer, floats.byteOffset, floats.length)
  const halves = new Uint16Array(floats.length)
  for (let i = 0; i < floats.length; i++) {
    const sign = (bits[i] >>> 16) & 0x8000
    const magnitude = bits[i] & 0x7fffffff
    if (magnitude > 0x7f800000) halves[i] = sign | 0x7e00
    else if (magnitude >= 0x477ff000) halves[i] = sign | 0x7c00
    // Below 2^-14 halves are multiples of 2^-24.
    else if (magnitude < 0x38800000) halves[i] = sign | roundToEven(Math.abs(floats[i]) * 2 ** 24)
    else halves[i] = sign | ((magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000) >>> 13)
  }
  return halves
}

function roundToEven(value: number): number {
  const below = Math.floor(value)
  const rest = value - below
  return below + (rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? 1 : 0)
}

/** The upper halves of f32 numbers. */
function decodeBfloat16(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const words = Uint32Array.from(halves, (half) => half << 16)
  return new Float32Array(words.buffer)
}

/**
 * A strided view of `numbers` in C order: a view where they lie that way already, else a copy.
 * @param offset element at which the view begins; it and the strides, in elements, stay inside `numbers`
 */
export function inOrder(
  numbers: Numbers,
  offset: number,
  shape: readonly number[],
  strides: readonly number[],
): Numbers {
  const count = shape.reduce((n, extent) => n * extent, 1)
  if (isOrdered(shape, strides)) return numbers.subarray(offset, offset + count)
  const data = numbers.slice(0, count)
  for (let i = 0; i < count; i++) {
    let rest = i
    let at = offset
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += (rest % shape[axis]) * strides[axis]
      rest = Math.floor(rest / shape[axis])
    }
    data[i] = numbers[at]
  }
  return data
}

/** Whether a view with these strides lies in C order, without gaps. */
export function isOrdered(shape: readonly number[], strides: readonly number[]): boolean {
  let step = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== step) return false
    step *= shape[axis]
  }
  return true
}
