/**
 * `count` numbers uniform in ±`bound`, the same for the same seed on every machine: MurmurHash3's finaliser over a counter, 24 bits
 * of it, rounded once to float32.
 */
export function uniformNoise(seed: number, count: number, bound: number): Float32Array {
  const key = mix(Math.imul(seed, 0x9e3779b9) >>> 0)
  const noise = new Float32Array(count)
  for (let i = 0; i < count; i++) noise[i] = ((2 * (mix((key ^ i) >>> 0) >>> 8)) / 0x1000000 - 1) * bound
  return noise
}

/** MurmurHash3's finaliser of 32 bits, with or without a sign; the result has none. */
export function mix(value: number): number {
  let h = value
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
