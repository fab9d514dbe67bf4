/** A photo with forty faces: all are protected, one after another, with what is compiled for a few. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadNetworks } from '../../src/attack/node.ts'
import { presets } from '../../src/attack/presets.ts'
import { type Progress, Protector } from '../../src/attack/protect.ts'
import { ProgressLine } from '../../src/cli/progress.ts'
import { readPhoto } from '../../src/images/index.ts'
import { cutOut, type Pixels } from '../../src/pixels/pixels.ts'
import { resize } from '../../src/pixels/resize.ts'
import { testGpu } from '../support/gpu.ts'
import { everything, LONG } from '../support/scope.ts'
import { beside } from '../support/turned-photos.ts'

const gpu = await testGpu()
const SIDE = 64
const [COLUMNS, ROWS] = [8, 5]

/** Photos of one width above each other. */
function above(...photos: readonly Pixels[]): Pixels {
  const height = photos.reduce((sum, photo) => sum + photo.height, 0)
  const data = Buffer.concat(photos.map((photo) => photo.rgb))
  return { width: photos[0].width, height, rgb: new Uint8Array(data) }
}

test.skipIf(!everything)(
  `each face in its turn, which is said, and no more is compiled than for three${LONG}`,
  async () => {
    const { width, height, rgb } = await readPhoto(join(import.meta.dirname, '../../examples/astronaut.png'))
    const face = resize(cutOut({ width, height, rgb }, 120, 10, 329, 219), SIDE, SIDE)
    const row = beside(...Array.from({ length: COLUMNS }, () => face))
    const photo = above(...Array.from({ length: ROWS }, () => row))
    const { heldOut, surrogates, ...networks } = await loadNetworks()
    const sirius = [...surrogates, ...heldOut].filter(({ network }) => network.id === 'sirius')
    using protector = await Protector.create(gpu, { ...networks, surrogates: sirius, heldOut: [] })
    const compiled = (protector as unknown as { attacks: Map<string, unknown> }).attacks
    const seen: Progress[] = []
    let most = 0
    const { faces, photo: result } = await protector.protect(photo, {
      preset: { ...presets.medium, stepSize: 0.02 },
      steps: 1,
      onProgress(progress) {
        seen.push(progress)
        most = Math.max(most, compiled.size)
      },
    })
    expect(faces).toHaveLength(COLUMNS * ROWS)
    const cells = faces.map(({ box: [x1, y1, x2, y2] }) => {
      const [column, line] = [(x1 + x2) / 2, (y1 + y2) / 2].map((middle) => Math.floor(middle / SIDE))
      return line * COLUMNS + column
    })
    expect(new Set(cells).size).toBe(COLUMNS * ROWS)
    expect(most).toBeGreaterThan(0)
    expect(most).toBeLessThanOrEqual(3)
    const turns = seen.filter(({ phase }) => phase === 'attack').map(({ face }) => face)
    expect([...new Set(turns)]).toEqual(faces.map((_, i) => i + 1))
    expect(seen.findLast(({ phase }) => phase === 'attack')).toMatchObject({ faces: 40, done: 40, total: 40 })
    // None is left as it was.
    for (const { box } of faces) {
      const [x1, y1, x2, y2] = box.map(Math.round)
      const part = (of: Pixels) => cutOut(of, x1, y1, x2, y2).rgb
      expect(part(result)).not.toEqual(part(photo))
    }
  },
)

test('the line on a terminal tells which face it is', () => {
  const written: string[] = []
  const stream = { isTTY: true, columns: 120, write: (text: string) => written.push(text) > 0 }
  const line = new ProgressLine(false, stream as unknown as NodeJS.WriteStream)
  line.start('a.png')
  line.update({ phase: 'attack', done: 3, total: 80, face: 2, faces: 40 })
  line.update({ phase: 'attack', done: 3, total: 80 })
  expect(written[0]).toContain('a.png: face 2 of 40, [')
  expect(written[1]).toContain('a.png: [')
})
