/** What `npm test` leaves to `npm run test:all`. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Kernel, Op, Target } from '../../src/kernels/op.ts'
import type { Case } from '../operations/check.ts'

/** Whether everything runs (LOWKEY_TEST_ALL=1, `npm run test:all`), or what is needed to see each part work once (`npm test`). */
export const everything = process.env.LOWKEY_TEST_ALL === '1'

/** Of cases that differ in little, all in the long run, every fourth in the short one. */
export const someOf = <T>(cases: readonly T[]): readonly T[] =>
  everything ? cases : cases.filter((_, k) => k % 4 === 0)

/** At the end of the names of tests that are skipped without it. */
export const LONG = everything ? '' : ' (long: npm run test:all)'

/**
 * The cases of an operation with the kernels to try on each: all that the target is offered, or each kernel once, on the cheapest
 * case that has it. A view, which has no kernels, has its cases.
 *
 * @param tried names of kernels that need not be tried again; those that now are, are added
 */
export async function kernelsToTry<C extends Case<unknown>>(
  op: Op<unknown>,
  cases: readonly C[],
  target: Target,
  tried: Set<string> = new Set(),
): Promise<[c: C, kernels: readonly Kernel[]][]> {
  const offered: [C, readonly Kernel[]][] = []
  for (const c of cases) offered.push([c, op.view ? [] : await op.kernels(c.args, c.shapes, target)])
  if (everything || op.view) return offered
  const cost = ([{ args, shapes }]: [C, unknown]) => op.cost(args, shapes).flop
  return offered
    .toSorted((a, b) => cost(a) - cost(b))
    .map(([c, kernels]): [C, readonly Kernel[]] => {
      const others = kernels.filter(({ variant }) => !tried.has(variant))
      for (const { variant } of others) tried.add(variant)
      return [c, others]
    })
    .filter(([, kernels]) => kernels.length > 0)
}

/** A file or folder of the data beside the clone (photos of people, weights of others), which is never part of it. */
export const dataBeside = (path: string): string => join(import.meta.dirname, '../../../shared/data', path)

/** Whether a test may use data beside the clone: it is there, and everything runs. The short run is the same in every clone. */
export const isAtHand = (path: string): boolean => everything && existsSync(path)
