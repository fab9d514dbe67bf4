/**
 * The embedded ensemble's loop by other engines, on the same adapter and in turn with this one. A peer whose objective or gradient is
 * not ours gets no time.
 */

import { FEATURE_DIVISOR } from '../../src/attack/presets.ts'
import type { Gpu } from '../../src/device/gpu.ts'
import type { HalfOptions } from '../../src/graph/index.ts'
import { architectureOf } from '../../src/models/architectures.ts'
import type { LoopProblem, StoredTensor } from '../peers/loop.ts'
import { findPeers } from '../peers/peers.ts'
import type { Networks } from './configurations.ts'
import { type Area, areaOf, compileLoop, gradientOf, type Likeness, likenessOf } from './loop.ts'
import { portrait } from './photos.ts'
import { type Spread, spreadOf } from './timing.ts'

/** The loop by another engine. */
export interface PeerStep extends Partial<Likeness> {
  msPerStep: number
  msPerStepSpread: Spread
  /** This engine's step, in turn with the peer's. */
  ours: { msPerStep: number; msPerStepSpread: Spread }
  /** The peer runs on the same adapter through WebGPU; else it is native code. */
  webgpu: boolean
  note?: string
}

/** Gradients that are sums in another order have a cosine above 1 - 1e-6; those of something else are well below this. */
const SAME_DIRECTION = 0.999
const SAME_OBJECTIVE = 1e-3

/** The loop as data, or why the peers do not have it. */
export function problemOf({ surrogates, lpips }: Networks, area: Area): LoopProblem | string {
  const [{ network, weights }] = surrogates
  const known = network.architecture?.startsWith('mobilefacenet ') && lpips.trunk === 'alex'
  if (surrogates.length !== 1 || !known || !area.mask)
    return 'the peers have the embedded networks alone, MobileFaceNet and LPIPS on AlexNet; others were imported here'
  const tensors = (names: Iterable<string>, from: { tensor(name: string): StoredTensor }) =>
    Object.fromEntries(
      [...names].map((name) => {
        const { shape, data } = from.tensor(name)
        // A copy: the array is a part of the file's bytes, all of which would be sent to the peer's process.
        return [name, { shape: [...shape], data: data.slice() }]
      }),
    )
  const { preset } = area
  return {
    kind: 'loop',
    height: area.height,
    width: area.width,
    clean: area.clean,
    mask: area.mask,
    start: area.start,
    matrix: [...area.matrices.get('arcface112')!],
    stepSize: preset.stepSize,
    lpipsWeight: preset.lpipsWeight,
    blur: preset.blur!,
    divisor: FEATURE_DIVISOR,
    recogniser: tensors(namesOf('mobilefacenet'), weights),
    lpips: tensors(namesOf('lpips-alex'), lpips.weights),
  }
}

const namesOf = (architecture: string): Iterable<string> => architectureOf(architecture)!.tensors().keys()

export interface PeerOptions {
  /** What `acquire` was given as `gpu`. */
  gpu?: string
  rounds: number
  /** Of each engine in a round. */
  steps: number
  halves?: HalfOptions
  /** Told what has no time, and why. */
  report: (line: string) => void
}

/** Times every peer that is installed and can do it, a sample of each in turn with ours: what else the machine does meets both. */
export async function measurePeers(
  gpu: Gpu,
  networks: Networks,
  { gpu: named, rounds, steps, halves, report }: PeerOptions,
): Promise<Record<string, PeerStep>> {
  const area = await areaOf(gpu, networks, await portrait(), 'face')
  const problem = problemOf(networks, area)
  if (typeof problem === 'string') {
    report(problem)
    return {}
  }
  using plan = await compileLoop(gpu, networks, area, halves)
  const ours = await gradientOf(plan, area)
  const sample = async (): Promise<number> => {
    const start = performance.now()
    for (let i = 0; i < steps; i++) plan.run()
    await gpu.wait()
    return (performance.now() - start) / steps
  }
  const measured: Record<string, PeerStep> = {}
  for (const peer of await findPeers(gpu, named, report)) {
    try {
      const result = await peer.prepare(problem)
      const likeness = likenessOf(ours, { objective: result[0], gradient: result.subarray(1) })
      const { cosine, objectiveError } = likeness
      if (!(cosine >= SAME_DIRECTION && objectiveError <= SAME_OBJECTIVE))
        throw new Error(
          `it computes something else: cosine of the gradients ${cosine}, objective off by ${objectiveError}`,
        )
      const samples = { ours: [] as number[], theirs: [] as number[] }
      // The first round is for what is compiled with its first use.
      for (let round = -1; round < rounds; round++) {
        const [mine, other] = [await sample(), (await peer.run(steps)) / steps]
        if (round < 0) continue
        samples.ours.push(mine)
        samples.theirs.push(other)
      }
      const [own, other] = [spreadOf(samples.ours), spreadOf(samples.theirs)]
      measured[peer.name] = {
        msPerStep: other.median,
        msPerStepSpread: other,
        ours: { msPerStep: own.median, msPerStepSpread: own },
        webgpu: peer.webgpu,
        ...likeness,
      }
    } catch (error) {
      report(`${peer.name}: no time for the loop: ${(error as Error).message.split('\n')[0]}`)
    } finally {
      peer.close()
    }
  }
  return measured
}
