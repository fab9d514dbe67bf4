import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { PHASES } from '../../bench/lowkey/photo-run.ts'
import type { Report } from '../../bench/lowkey/report.ts'
import { spreadOf } from '../../bench/lowkey/timing.ts'
import { blurMatrix, type LoopProblem, samplingTaps, type Taps } from '../../bench/peers/loop.ts'
import { presets } from '../../src/attack/presets.ts'
import { align112, inverse } from '../../src/faces/alignment.ts'

const repository = resolve(import.meta.dirname, '../..')
const run = promisify(execFile)

/** bench/run.ts as a process. Its environment is the user's, without what the test runner tells Node. */
const bench = (...args: string[]) =>
  run(process.execPath, ['bench/run.ts', ...args], {
    cwd: repository,
    env: { ...process.env, NODE_OPTIONS: '' },
    maxBuffer: 2 ** 26,
  })

const positive = (value: number): void => {
  expect(Number.isFinite(value)).toBe(true)
  expect(value).toBeGreaterThan(0)
}

describe('bench/run.ts', () => {
  test('prints one JSON object with the adapter, its roofs and every configuration measured', async () => {
    const { stdout } = await bench('--quick', '--json', '--only', 'small', '--steps', '1')
    const report = JSON.parse(stdout) as Report
    const { adapter, configurations, notes } = report
    expect(adapter.description).toBeTypeOf('string')
    expect(adapter.name).not.toBe('')
    for (const roof of [adapter.roofs.gflops, adapter.roofs.gbps, adapter.roofs.dispatchMicroseconds]) positive(roof)
    expect(notes).toEqual([])
    expect(configurations.map(({ name }) => name)).toEqual(['small'])
    const [small] = configurations
    for (const value of [small.secondsPerPhoto, small.msPerStep, small.dispatchesPerStep, small.gflopPerStep])
      positive(value)
    expect(small.secondsFirst).toBeGreaterThan(small.phases.load.first)
    expect(Number.isInteger(small.dispatchesPerStep)).toBe(true)
    // One step of all was made: the others are counted, not left out.
    const { steps } = presets.medium
    expect([small.stepsTimed, small.steps]).toEqual([1, steps])
    expect(small.secondsPerPhoto).toBeGreaterThan(((steps - 1) * small.msPerStep) / 1000)
    expect(Object.keys(small.phases)).toEqual([...PHASES])
    for (const phase of ['detect', 'prepare', 'steps', 'save'] as const) positive(small.phases[phase].later)
    expect(small.phases.load.later).toBe(0)
    const total = PHASES.reduce((sum, phase) => sum + small.phases[phase].first, 0)
    expect(small.secondsFirst).toBeCloseTo(total, 6)
    expect(small.peakMiB).toBeGreaterThanOrEqual(small.planMiB)
    const [low, high] = small.msPerStepSpread.quartiles
    expect(low).toBeLessThanOrEqual(small.msPerStep)
    expect(high).toBeGreaterThanOrEqual(small.msPerStep)
    expect(small.published.timesLowkey).toBeCloseTo(32 / small.secondsPerPhoto, 6)
    expect(small.published.sameWork).toBe(false)
    expect(small.peers).toEqual({})
    if (adapter.timestamps) {
      const { sumMs, ratio, operations } = small.operations!
      expect(ratio).toBeCloseTo(small.msPerStep / sumMs, 6)
      expect(operations.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 6)
      expect(operations.map(({ op }) => op)).toEqual(
        expect.arrayContaining(['conv2d', 'conv_transpose2d', 'affine_warp']),
      )
    }
  })

  test.each([
    [['--only', 'medium'], 'there is no configuration medium'],
    [['--steps', '0'], '--steps 0'],
    [['--products', 'f8'], 'one of f32, f16'],
  ])('refuses %j', async (args, message) => {
    await expect(bench('--quick', ...args)).rejects.toMatchObject({ stderr: expect.stringContaining(message) })
  })
})

describe('medians with spread', () => {
  test('interpolates between samples', () => {
    expect(spreadOf([4, 1, 3, 2])).toEqual({ median: 2.5, quartiles: [1.75, 3.25], samples: 4 })
    expect(spreadOf([7])).toEqual({ median: 7, quartiles: [7, 7], samples: 1 })
    expect(() => spreadOf([])).toThrow(RangeError)
  })
})

describe('the loop as tables for other engines', () => {
  const [height, width] = [96, 128]
  const toCrop = align112([
    [40, 45],
    [70, 41],
    [57, 60],
    [46, 76],
    [69, 74],
  ])
  const problem = { height, width, matrix: inverse(toCrop) } as unknown as LoopProblem
  const { forward, adjoint } = samplingTaps(problem)

  const apply = ({ rows, taps, indices, weights }: Taps, x: Float64Array): Float64Array =>
    Float64Array.from({ length: rows }, (_, row) => {
      let total = 0
      for (let k = row * taps; k < (row + 1) * taps; k++) total += weights[k] * x[indices[k]]
      return total
    })

  test('samples a linear image exactly, inside', () => {
    const ramp = Float64Array.from({ length: height * width }, (_, i) => 2 * (i % width) + 3 * Math.floor(i / width))
    const crop = apply(forward, ramp)
    const [a, b, tx, c, d, ty] = inverse(toCrop)
    const [u, v] = [56.5, 60.5]
    const want = 2 * (a * u + b * v + tx - 0.5) + 3 * (c * u + d * v + ty - 0.5)
    expect(crop[60 * 112 + 56]).toBeCloseTo(want, 3)
  })

  test('has the adjoint of its samples', () => {
    const x = Float64Array.from({ length: height * width }, (_, i) => Math.sin(i * 12.9898))
    const y = Float64Array.from({ length: 112 * 112 }, (_, i) => Math.cos(i * 78.233))
    const dot = (p: Float64Array, q: Float64Array) => p.reduce((sum, value, i) => sum + value * q[i], 0)
    const [forwards, backwards] = [dot(apply(forward, x), y), dot(x, apply(adjoint, y))]
    expect(Math.abs(forwards - backwards)).toBeLessThan(1e-6 * Math.sqrt(dot(x, x) * dot(y, y)))
    expect(Math.abs(forwards)).toBeGreaterThan(1e-3)
  })

  test('blurs with mirrored borders', () => {
    const matrix = blurMatrix(9, { size: 7, sigma: 3 })
    const row = (i: number) => [...matrix.subarray(9 * i, 9 * (i + 1))]
    for (let i = 0; i < 9; i++) expect(row(i).reduce((sum, tap) => sum + tap, 0)).toBeCloseTo(1, 6)
    const [centre, one, two, three] = row(4).slice(4, 8)
    expect(row(0).slice(0, 4)).toEqual([centre, 2 * one, 2 * two, 2 * three].map((tap) => expect.closeTo(tap, 6)))
  })
})
