/** Seeded numbers in [0, 1) for tests (mulberry32): the same on every machine. */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** `count` numbers in [low, high), as float32. */
export function uniform(seed: number, count: number, low = -1, high = 1): Float32Array {
  const next = random(seed)
  return Float32Array.from({ length: count }, () => low + (high - low) * next())
}
