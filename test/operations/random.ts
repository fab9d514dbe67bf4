/** The operations of src/kernels/random.ts in float64, and their cases. */
import { elements } from '../../src/kernels/op.ts'
import { randomOp } from '../../src/kernels/random.ts'
import { check } from './check.ts'

/** The hash `pcg` of Jarzynski and Olano (JCGT 2020) in words of 32 bits. */
function hash(word: number): number {
  const state = (Math.imul(word, 747796405) + 2891336453) >>> 0
  const mixed = Math.imul(((state >>> ((state >>> 28) + 4)) ^ state) >>> 0, 277803737) >>> 0
  return ((mixed >>> 22) ^ mixed) >>> 0
}

export const randomCheck = check(randomOp, {
  reference: ({ shape, seed }, [[counter]]) =>
    Float64Array.from({ length: elements(shape) }, (_, i) => {
      const stream = hash((counter + hash(seed >>> 0)) >>> 0)
      return (hash((i + stream) >>> 0) >>> 8) / 2 ** 24
    }),
  cases: [
    { shapes: [[]], args: { shape: [3, 5, 7], seed: 1 }, fill: [Float32Array.of(12)] },
    { shapes: [[]], args: { shape: [64], seed: 4294967295 }, fill: [Float32Array.of(0)] },
  ],
})
