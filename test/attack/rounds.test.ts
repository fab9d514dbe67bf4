/** Further rounds for a face that a recogniser still matches, and what is said of it. */
import { beforeAll, describe, expect, test } from 'vitest'
import { loadNetworks } from '../../src/attack/node.ts'
import { type Preset, presets } from '../../src/attack/presets.ts'
import { type FaceReport, type Progress, type Protection, Protector } from '../../src/attack/protect.ts'
import { photoLines } from '../../src/cli/protect/report.ts'
import { readPhoto } from '../../src/images/index.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import { testGpu } from '../support/gpu.ts'
import { everything, LONG } from '../support/scope.ts'

const gpu = await testGpu()

describe('a face', () => {
  let photo: Pixels
  let protector: Protector
  beforeAll(async () => {
    const { width, rgb } = await readPhoto(new URL('../../examples/astronaut.png', import.meta.url).pathname)
    const side = 224
    const data = new Uint8Array(3 * side * side)
    for (let y = 0; y < side; y++)
      data.set(rgb.subarray(3 * (y * width + 112), 3 * (y * width + 112 + side)), 3 * y * side)
    photo = { width: side, height: side, rgb: data }
    protector = await Protector.create(gpu, await loadNetworks(['sirius']))
    return () => protector[Symbol.dispose]()
  })
  const protect = async (preset: Preset, steps?: number) => {
    const seen: Progress[] = []
    const result = await protector.protect(photo, { preset, steps, onProgress: (progress) => seen.push(progress) })
    return { ...result, seen: seen.filter(({ phase }) => phase === 'attack') }
  }
  const sirius = ({ faces: [{ recognisers }] }: Protection) => recognisers.find(({ id }) => id === 'sirius')!.after

  test.skipIf(!everything)(
    `that matches in spite of all rounds takes them all, and changes more with each${LONG}`,
    async () => {
      const weak = { ...presets.auto, softness: 1, steps: 3, stepSize: 0.002 }
      const [none, all] = await Promise.all([0, 3].map((rounds) => protect({ ...weak, rounds })))
      expect([none, all].map(({ faces }) => faces[0].rounds)).toEqual([0, 3])
      expect(none.psnr).toBeGreaterThan(all.psnr + 2)
      expect(sirius(none)).toBeGreaterThan(sirius(all) + 0.01)
      // Three steps, then a quarter of them, rounded up, in each round; the total is known as far as rounds are.
      const last = all.seen.at(-1)!
      expect([last.done, last.total]).toEqual([3 + 3, 3 + 3])
      const done = all.seen.map((progress) => progress.done)
      expect(done).toEqual(done.toSorted((a, b) => a - b))
      expect(all.seen.every((progress) => progress.done <= progress.total)).toBe(true)
    },
  )

  test('takes rounds until none matches, and no further', async () => {
    const some = await protect({ ...presets.auto, softness: 1, steps: 6, stepSize: 0.02 })
    const rounds = some.faces[0].rounds
    expect(rounds).toBeGreaterThan(0)
    expect(rounds).toBeLessThan(8)
    expect(sirius(some)).toBeLessThan(some.faces[0].recognisers[0].threshold)
    // It stopped where it was clear: with a round less it was not.
    const before = await protect({ ...presets.auto, softness: 1, steps: 6, stepSize: 0.02, rounds: rounds - 1 })
    const { threshold } = before.faces[0].recognisers[0]
    expect(sirius(before)).toBeGreaterThan(threshold - 0.05 * (1 - threshold) - 0.05)
  })

  test.skipIf(!everything)(
    `that is clear takes none: auto is then medium to the bit; a number of steps is taken as told${LONG}`,
    async () => {
      const strong = { softness: 1, steps: 12, stepSize: 0.03 }
      const auto = await protect({ ...presets.auto, ...strong })
      expect(auto.faces[0].rounds).toBe(0)
      expect(auto.photo.rgb).toEqual((await protect({ ...presets.medium, ...strong })).photo.rgb)
      const told = await protect({ ...presets.auto, stepSize: 0.002 }, 2)
      expect([told.faces[0].rounds, told.seen.at(-1)!.total]).toEqual([0, 2])
    },
  )
})

describe('the report', () => {
  const lines = (
    preset: Preset,
    rounds: number,
    ...recognisers: readonly [id: string, heldOut: boolean, after: number][]
  ) => {
    const face: FaceReport = {
      box: [0, 0, 9, 9],
      landmarks: [] as never,
      rounds,
      ...{ number: 1, by: 'detector', roll: 0, beyond: 0, foundAgain: true, sure: true },
      recognisers: recognisers.map(([id, heldOut, after]) => ({ id, heldOut, after, threshold: 0.5, before: 1 })),
    }
    const seconds = { detect: 0, compile: 0, attack: 0, measure: 0, total: 0 }
    const found = { left: { notChosen: [], weak: [] }, smallest: { upright: 20, turned: 20 } }
    const protection: Protection = {
      ...{ photo: null as never, faces: [face], ...found },
      ...{ lpips: 0, psnr: 40, seconds, warnings: [] },
    }
    return photoLines(protection, preset, 1, 'adapter').join('\n')
  }

  test('says nothing more of a face that none matches', () => {
    expect(lines(presets.auto, 0, ['a', false, 0.4], ['b', true, 0.3])).not.toMatch(/still|further/)
  })

  test('says what to do about one that an attacked recogniser matches', () => {
    expect(lines(presets.medium, 0, ['a', false, 0.6], ['b', true, 0.7])).toMatch(
      /still matches \(a\)\. Protect the original again with --strength auto/,
    )
    expect(lines(presets.auto, 3, ['a', false, 0.6])).toMatch(
      /still matches \(a\); it took 3 further rounds.*--strength high --steps 100.*do not publish/,
    )
  })

  test('says what to do about one that only others match, and how many rounds it took', () => {
    expect(lines(presets.auto, 0, ['a', false, 0.4], ['b', true, 0.5])).toMatch(
      /\(b\), which was not attacked.*--models/,
    )
    expect(lines(presets.auto, 1, ['a', false, 0.4])).toMatch(/took 1 further round, because/)
  })
})
