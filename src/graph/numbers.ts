/** Numbers as callers have them, as the f32 that the GPU takes. */

/** Numbers for a tensor, in row-major order: any typed array but those of BigInt, a plain array, or a number for a tensor of one element. */
export type Numbers = ArrayLike<number> | number

/**
 * The numbers as f32: the same array where it holds f32 already, else a copy, rounded where it holds more digits.
 * @param where what an error begins with
 * @throws TypeError for what is no array of numbers, with its place; RangeError for a number beyond f32 (3.4e38) and for a whole number
 * out of an array of integers that f32 cannot hold exactly (beyond 2^24).
 */
export function floatsOf(data: Numbers, where: string): Float32Array {
  if (typeof data === 'number') return Float32Array.of(inRange(data, where, ''))
  const kind = kindOf(data)
  if (kind === 'Float32Array') {
    const floats = data as Float32Array
    // WebGPU refuses memory that threads share.
    const shared = typeof SharedArrayBuffer !== 'undefined' && floats.buffer instanceof SharedArrayBuffer
    return shared ? floats.slice() : floats
  }
  const plain = kind === 'Array'
  if (!plain && !/^(Float|Uint|Int)\d+(Clamped)?Array$/.test(kind)) {
    throw new TypeError(`${where}: takes an array of numbers, got ${described(data, kind)}`)
  }
  const floats = new Float32Array(data.length)
  const whole = !plain && !kind.startsWith('Float')
  for (let i = 0; i < data.length; i++) {
    const value = data[i]
    if (typeof value !== 'number') {
      const hint = typeof value === 'object' && value !== null ? '; give the numbers in one flat array, row by row' : ''
      throw new TypeError(`${where}: element ${i} is ${described(value, kindOf(value))}, not a number${hint}`)
    }
    floats[i] = inRange(value, where, ` (element ${i})`)
    if (whole && floats[i] !== value) {
      throw new RangeError(
        `${where}: ${value} (element ${i}) cannot be held exactly in f32; whole numbers can up to 2^24`,
      )
    }
  }
  return floats
}

function inRange(value: number, where: string, at: string): number {
  if (Number.isFinite(value) && !Number.isFinite(Math.fround(value))) {
    throw new RangeError(`${where}: ${value}${at} is beyond f32, which ends at 3.4e38`)
  }
  return value
}

/** Name of an object's class, also of one that another realm (a frame, a test's context) made. */
const kindOf = (value: unknown): string => Object.prototype.toString.call(value).slice(8, -1)

function described(value: unknown, kind: string): string {
  if (value === null || typeof value === 'undefined') return String(value)
  return typeof value === 'object' ? `an object (${kind})` : `a ${typeof value}`
}
