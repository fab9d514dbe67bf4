/** The transforms of Winograd's minimal filtering for 3x3 kernels, as matrices and as WGSL. */
import { range } from '../wgsl.ts'

/** F(out x out, 3x3): B^T, G and A^T of Lavin and Gray. */
export interface Transforms {
  /** Output pixels along one side of a tile; input pixels are two more. */
  out: number
  input: readonly (readonly number[])[]
  weights: readonly (readonly number[])[]
  output: readonly (readonly number[])[]
}

/**
 * The polynomials are interpolated at 0, ±a, ±b and infinity. The paper's ±1, ±2 lose two to seven times more of f32 than
 * these, with which the error is that of plain summation (bench/NOTES.md; for the choice of points see Barabasz et al., Error
 * Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks, 2020).
 */
const [A, B] = [Math.SQRT1_2, Math.SQRT2]
const [A2, B2] = [1 / 2, 2]

/** 6x6 input pixels give 4x4 output pixels with 36 multiplications a channel instead of 144. */
export const FOUR: Transforms = {
  out: 4,
  input: [
    [A2 * B2, 0, -(A2 + B2), 0, 1, 0],
    [0, -A * B2, -B2, A, 1, 0],
    [0, A * B2, -B2, -A, 1, 0],
    [0, -B * A2, -A2, B, 1, 0],
    [0, B * A2, -A2, -B, 1, 0],
    [0, A2 * B2, 0, -(A2 + B2), 0, 1],
  ],
  weights: [
    [1 / (A2 * B2), 0, 0],
    ...[A, -A].map((point) => [1, point, A2].map((power) => power / (2 * A2 * (A2 - B2)))),
    ...[B, -B].map((point) => [1, point, B2].map((power) => power / (2 * B2 * (B2 - A2)))),
    [0, 0, 1],
  ],
  output: [
    [1, 1, 1, 1, 1, 0],
    [0, A, -A, B, -B, 0],
    [0, A2, A2, B2, B2, 0],
    [0, A * A2, -A * A2, B * B2, -B * B2, 1],
  ],
}

/** 4x4 input pixels give 2x2 output pixels with 16 multiplications a channel instead of 36; points 0, ±1 and infinity. */
export const TWO: Transforms = {
  out: 2,
  input: [
    [1, 0, -1, 0],
    [0, 1, 1, 0],
    [0, -1, 1, 0],
    [0, 1, 0, -1],
  ],
  weights: [
    [1, 0, 0],
    [0.5, 0.5, 0.5],
    [0.5, -0.5, 0.5],
    [0, 0, 1],
  ],
  output: [
    [1, 1, 1, 0],
    [0, 1, -1, -1],
  ],
}

/** WGSL for matrix * x * matrix^T, where x is `x0`, `x1`, .. row by row; gives the elements' expressions row by row. */
export function sandwich(
  matrix: readonly (readonly number[])[],
  prefix: string,
): { lines: string[]; elements: string[] } {
  const n = matrix[0].length
  const combine = (row: readonly number[], operand: (i: number) => string): string =>
    row
      .flatMap((factor, i) => {
        if (factor === 0) return []
        const sign = factor < 0 ? '- ' : '+ '
        const size = Math.abs(factor)
        return [sign + (size === 1 ? operand(i) : `${size} * ${operand(i)}`)]
      })
      .join(' ')
      .replace(/^\+ /, '')
      .replace(/^- /, '-')
  const lines = matrix.flatMap((row, u) =>
    range(n).map((j) => `let ${prefix}${u}_${j} = ${combine(row, (i) => `x${i * n + j}`)};`),
  )
  return { lines, elements: matrix.flatMap((_, u) => matrix.map((row) => combine(row, (j) => `${prefix}${u}_${j}`))) }
}
