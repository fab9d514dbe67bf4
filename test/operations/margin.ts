/** The operations of src/kernels/margin.ts in float64, and their cases. */
import { arcFaceGradientOp, arcFaceOp, cosFaceOp, FLOOR, type MarginArgs, turn } from '../../src/kernels/margin.ts'
import { type Case, check } from './check.ts'

const cases = (margin: number): Case<MarginArgs>[] => [
  { shapes: [[3, 10], [3]], args: { scale: 64, margin }, fill: ['symmetric', Float32Array.of(7, 0, 9)] },
  { shapes: [[1, 1], [1]], args: { scale: 64, margin }, fill: ['positive', Float32Array.of(0)] },
  // Right classes on both sides of pi - margin, and close to it.
  {
    shapes: [[4, 3], [4]],
    args: { scale: 30, margin },
    fill: [
      Float32Array.of(-0.95, 0.1, -0.9, 0.5, -0.87, -0.98, 0.2, 0.8, 0, -0.885, 0.3, -0.5),
      Float32Array.of(0, 1, 1, 0),
    ],
  },
]

export const arcFaceCheck = check(arcFaceOp, {
  reference: ({ scale, margin }, [cosines, labels], [[, classes]]) =>
    cosines.map((cosine, i) => {
      if (i % classes !== labels[Math.floor(i / classes)]) return scale * cosine
      const theta = Math.acos(cosine)
      return scale * (cosine > turn(margin) ? Math.cos(theta + margin) : cosine - Math.sin(margin) * margin)
    }),
  cases: cases(0.5),
})

export const arcFaceGradientCheck = check(arcFaceGradientOp, {
  reference: ({ scale, margin }, [cosines, labels, dy], [[, classes]]) =>
    cosines.map((cosine, i) => {
      const slope =
        i % classes === labels[Math.floor(i / classes)] && cosine > turn(margin)
          ? Math.cos(margin) + (Math.sin(margin) * cosine) / Math.sqrt(Math.max(1 - cosine ** 2, FLOOR))
          : 1
      return scale * dy[i] * slope
    }),
  cases: [
    {
      shapes: [[2, 5], [2], [2, 5]],
      args: { scale: 64, margin: 0.5 },
      fill: ['symmetric', Float32Array.of(4, 1), 'symmetric'],
    },
    {
      shapes: [[3, 1], [3], [3, 1]],
      args: { scale: 64, margin: 0.5 },
      fill: [Float32Array.of(1, -1, 0.999), new Float32Array(3), 'positive'],
    },
  ],
})

export const cosFaceCheck = check(cosFaceOp, {
  reference: ({ scale, margin }, [cosines, labels], [[, classes]]) =>
    cosines.map((cosine, i) => scale * (cosine - (i % classes === labels[Math.floor(i / classes)] ? margin : 0))),
  cases: cases(0.35),
})
