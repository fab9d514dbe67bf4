/** What a matrix product multiplies. */
import { broadcastShape } from '../broadcast.ts'
import { expectShape, formatShape, type Shape } from '../op.ts'

export interface MatmulArgs {
  /** a is [..,K,M] instead of [..,M,K]. */
  transposeA: boolean
  /** b is [..,N,K] instead of [..,K,N]. */
  transposeB: boolean
}

export interface Extents {
  batch: Shape
  m: number
  n: number
  k: number
}

/** Throws ShapeError where the matrices do not fit each other. */
export function extents({ transposeA, transposeB }: MatmulArgs, [a, b]: readonly Shape[]): Extents {
  expectShape(a.length >= 2 && b.length >= 2, `matmul: needs matrices, got ${formatShape(a)} and ${formatShape(b)}`)
  const [m, k] = transposeA ? [a.at(-1)!, a.at(-2)!] : [a.at(-2)!, a.at(-1)!]
  const [inner, n] = transposeB ? [b.at(-1)!, b.at(-2)!] : [b.at(-2)!, b.at(-1)!]
  expectShape(
    k === inner,
    `matmul: rows of ${k} do not fit columns of ${inner}: ${formatShape(a)}${transposeA ? '^T' : ''} by ${formatShape(b)}${transposeB ? '^T' : ''}`,
  )
  return { batch: broadcastShape([a.slice(0, -2), b.slice(0, -2)]), m, n, k }
}
