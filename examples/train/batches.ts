/** Batches of faces in random order, shifted and mirrored; the same for the same seed. */
import { uniformNoise } from 'lowkey-gpu'
import { type Face, SIDE } from './people.ts'

export interface Batch {
  /** [batch,3,112,112] */
  faces: Float32Array
  /** [batch] */
  labels: Float32Array
}

/** Numbers in ±bound, others with every call. */
export type Random = (count: number, bound: number) => Float32Array

/** Numbers that are the same for the same seed. */
export function seeded(seed: number): Random {
  let calls = 0
  return (count, bound) => uniformNoise(seed * 65537 + calls++, count, bound)
}

const PIXELS = 3 * SIDE * SIDE

/** Faces are shifted by up to so many pixels. */
const SHIFT = 4

/** Batches without end, in arrays that are used again; each face is shifted and mirrored at random. */
export function* batchesOf(known: readonly Face[], batch: number, random: Random): Generator<Batch, never> {
  const order = shuffled(known.length, random)
  const faces = new Float32Array(batch * PIXELS)
  const labels = new Float32Array(batch)
  for (;;) {
    const numbers = random(3 * batch, 1)
    for (let i = 0; i < batch; i++) {
      const { planes, person } = known[order.next().value]
      const [dx, dy, mirror] = numbers.subarray(3 * i)
      place(planes, faces, i * PIXELS, Math.round(dx * SHIFT), Math.round(dy * SHIFT), mirror > 0)
      labels[i] = person
    }
    yield { faces, labels }
  }
}

/** Indices 0 to count-1, every one once before any comes again, in an order that is new each time. */
function* shuffled(count: number, random: Random): Generator<number, never> {
  for (;;) {
    const keys = random(count, 1)
    yield* Array.from(keys.keys()).sort((a, b) => keys[a] - keys[b])
  }
}

/** Copies a face, shifted by whole pixels (its border repeated) and mirrored where asked for. */
function place(
  planes: Float32Array,
  target: Float32Array,
  at: number,
  dx: number,
  dy: number,
  mirrored: boolean,
): void {
  const inside = (v: number): number => Math.min(SIDE - 1, Math.max(0, v))
  let to = at
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < SIDE; y++) {
      const row = (c * SIDE + inside(y + dy)) * SIDE
      for (let x = 0; x < SIDE; x++) target[to++] = planes[row + inside((mirrored ? SIDE - 1 - x : x) + dx)]
    }
  }
}
