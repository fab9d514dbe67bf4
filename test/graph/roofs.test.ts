/** Roofs of the adapter, and profiles under them. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { measureRoofs } from '../../src/device/roofs.ts'
import { compile, formatProfile, graph, profile } from '../../src/graph/index.ts'
import { acquire } from '../../src/graph/node.ts'
import { underRoofs } from '../../src/graph/profile.ts'
import { conv2d, tanh } from '../../src/kernels/index.ts'
import { uniform } from '../support/random.ts'
import { gpu, withFacts } from '../support/rivals.ts'

afterEach(() => vi.unstubAllEnvs())

describe('roofs', () => {
  // How large they are is a matter of the machine and of what else runs on it: no bound would hold everywhere.
  const expectRoofs = (roofs: Awaited<ReturnType<typeof measureRoofs>>) => {
    for (const key of ['gflops', 'gbps', 'dispatchMicroseconds'] as const) {
      expect(roofs[key], key).toBeGreaterThan(0)
      expect(Number.isFinite(roofs[key]), key).toBe(true)
    }
  }

  test('are measured once a device', async () => {
    const first = measureRoofs(gpu)
    expect(measureRoofs(gpu)).toBe(first)
    expectRoofs(await first)
  })

  test('need no timestamps', async () => {
    const roofs = await measureRoofs(gpu)
    const without = await measureRoofs(withFacts({ timestamps: false }))
    expect(without).not.toBe(roofs)
    expectRoofs(without)
  })

  test('fail with the device and are measured anew by the next', async () => {
    const own = await acquire({ gpu: process.env.LOWKEY_GPU })
    own.destroy()
    await expect(measureRoofs(own)).rejects.toThrow(/destroyed/)
    expect(measureRoofs(own)).not.toBe(measureRoofs(gpu))
    await expect(measureRoofs(own)).rejects.toThrow(/destroyed/)
  })
})

describe('profiles', () => {
  const roofs = { gflops: 100, gbps: 10, dispatchMicroseconds: 1 }

  test('say which roof an operation is under, and how near', () => {
    // 1 MFLOP takes 10 us at least, 50 kB take 5 us.
    expect(underRoofs({ flop: 1e6, bytes: 5e4, microseconds: 40 }, roofs)).toEqual({
      gflops: 25,
      gbps: 1.25,
      shareOfRoof: 0.25,
      bound: 'arithmetic',
    })
    expect(underRoofs({ flop: 1e5, bytes: 5e4, microseconds: 10 }, roofs)).toMatchObject({
      gbps: 5,
      shareOfRoof: 0.5,
      bound: 'memory',
    })
    expect(underRoofs({ flop: 0, bytes: 5e4, microseconds: 2 }, roofs)).toMatchObject({ shareOfRoof: 1, gflops: 0 })
    expect(underRoofs({ flop: 0, bytes: 0, microseconds: 0 }, roofs)).toMatchObject({ shareOfRoof: 0, gbps: 0 })
  })

  test.skipIf(!gpu.capabilities.timestamps)('of a plan hold together, and are shown as a table', async () => {
    const g = graph()
    const [c, e] = [16, 24]
    const weights = g.constant(uniform(1, c * c * 9), [c, c, 3, 3])
    const y = tanh(conv2d(g.input('x', [1, c, e, e]), weights, undefined, { padding: 1 }))
    using plan = await compile(gpu, { y }, { fuse: false })
    plan.write('x', uniform(2, c * e * e))
    plan.run()
    const rows = await profile(plan)
    const measured = await measureRoofs(gpu)
    expect(rows.map((row) => row.op).sort()).toEqual(['conv2d', 'tanh'])
    for (const row of rows) {
      const nanoseconds = Math.max(row.microseconds * 1000, 1)
      const [flop, bytes] = [row.gflops * nanoseconds, row.gbps * nanoseconds]
      if (row.op === 'conv2d') {
        expect(flop).toBeCloseTo(2 * 9 * c * c * e * e, -1)
        expect(bytes).toBeCloseTo(4 * (9 * c * c + 2 * c * e * e), -1)
      } else expect(bytes).toBeCloseTo(8 * c * e * e, -1)
      const least = Math.max(flop / measured.gflops, bytes / measured.gbps)
      expect(row.shareOfRoof).toBeCloseTo(Math.min(1, least / nanoseconds), 6)
      expect(row.bound).toBe(flop / measured.gflops > bytes / measured.gbps ? 'arithmetic' : 'memory')
    }
    const [head, ...lines] = formatProfile(rows).split('\n')
    expect(head).toMatch(/^operation +node +shape +kernel +µs +GFLOP\/s +GB\/s +of roof +bound$/)
    expect(lines).toHaveLength(2)
    const line = lines.find((text) => text.startsWith('conv2d'))!
    expect(line).toContain('[1,16,24,24]')
    expect(line.indexOf('[')).toBe(head.indexOf('shape'))
    expect(line).toMatch(/\d %/)
  })
})
