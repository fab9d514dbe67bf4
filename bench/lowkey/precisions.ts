/** The published loop's step at every precision that the adapter offers. */
import type { Gpu } from '../../src/device/gpu.ts'
import type { HalfOptions } from '../../src/graph/index.ts'
import type { Configuration } from './configurations.ts'
import { areaOf, compileLoop, gradientOf, type Likeness, likenessOf } from './loop.ts'
import { type Budget, timeSteps } from './measure.ts'
import type { Spread } from './timing.ts'

export const PRECISIONS: readonly Required<HalfOptions>[] = [
  { products: 'f32', storage: 'f32' },
  { products: 'f16', storage: 'f32' },
  { products: 'f16', storage: 'f16' },
]

export interface PrecisionRow extends Likeness, Required<HalfOptions> {
  msPerStep: number
  msPerStepSpread: Spread
  planMiB: number
}

/** A row each, f32 first; gradients are compared with its. f32 alone where the adapter has no f16. */
export async function measurePrecisions(
  gpu: Gpu,
  configuration: Configuration,
  budget: Budget,
): Promise<PrecisionRow[]> {
  const networks = await configuration.networks()
  const area = await areaOf(gpu, networks, await configuration.photo(), configuration.preset.area)
  const offered = gpu.capabilities.f16 ? PRECISIONS : PRECISIONS.slice(0, 1)
  const rows: PrecisionRow[] = []
  let exact: Awaited<ReturnType<typeof gradientOf>> | undefined
  for (const halves of offered) {
    using plan = await compileLoop(gpu, networks, area, halves)
    const found = await gradientOf(plan, area)
    exact ??= found
    const { clock: spread } = await timeSteps(gpu, plan, budget)
    rows.push({
      ...halves,
      msPerStep: spread.median,
      msPerStepSpread: spread,
      planMiB: plan.summary().mib,
      ...likenessOf(exact, found),
    })
  }
  return rows
}
