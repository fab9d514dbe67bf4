/** Calls that overlap are done in their order, and give what they give one after another. */
import { beforeAll, describe, expect, test } from 'vitest'
import { FawkesAttack, fawkesModes } from '../../src/attack/fawkes.ts'
import { Attack, AttackError } from '../../src/attack/loop.ts'
import { loadNetworks } from '../../src/attack/node.ts'
import { type Preset, presets } from '../../src/attack/presets.ts'
import { Protector } from '../../src/attack/protect.ts'
import type { Face } from '../../src/faces/mtcnn.ts'
import { readPhoto } from '../../src/images/index.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import { testGpu } from '../support/gpu.ts'
import { everything, LONG } from '../support/scope.ts'
import { tinyLpips, tinySurrogates } from '../support/tiny-networks.ts'

const gpu = await testGpu()

/** A part of the portrait that shows the whole face; darker by a shift of bits, mirrored where asked. */
async function portrait(mirrored: boolean): Promise<Pixels> {
  const { width, rgb } = await readPhoto(new URL('../../examples/astronaut.png', import.meta.url).pathname)
  const side = 224
  const data = new Uint8Array(3 * side * side)
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const from = 3 * (y * width + 112 + (mirrored ? side - 1 - x : x))
      for (let c = 0; c < 3; c++) data[3 * (y * side + x) + c] = rgb[from + c] - (mirrored ? rgb[from + c] >> 3 : 0)
    }
  }
  return { width: side, height: side, rgb: data }
}

describe('two photos at once', () => {
  let photos: Pixels[]
  let faces: Face[][]
  let protector: Protector
  beforeAll(async () => {
    photos = [await portrait(false), await portrait(true)]
    protector = await Protector.create(gpu, await loadNetworks(['sirius']))
    faces = [await protector.find(photos[0]), await protector.find(photos[1])]
    return () => protector[Symbol.dispose]()
  })

  test.skipIf(!everything)(`are protected as if one came after the other${LONG}`, async () => {
    const preset: Preset = { ...presets.medium, name: 'quick', softness: 1, steps: 3, stepSize: 0.03 }
    const one = await protector.protect(photos[0], { preset })
    const two = await protector.protect(photos[1], { preset })
    const order: number[] = []
    const both = await Promise.all(
      photos.map((photo, k) => protector.protect(photo, { preset, onProgress: () => order.push(k) })),
    )
    expect(both[0].photo.rgb).toEqual(one.photo.rgb)
    expect(both[1].photo.rgb).toEqual(two.photo.rgb)
    expect(one.photo.rgb).not.toEqual(photos[0].rgb)
    expect(both.map(({ faces }) => faces)).toEqual([one.faces, two.faces])
    expect(order).toEqual(order.toSorted())
  })

  test('do not wait for one that failed, and one that waits can be interrupted', async () => {
    const preset: Preset = { ...presets.medium, name: 'quick', steps: 1 }
    const reason = new Error('enough')
    const blank = { width: 64, height: 64, rgb: new Uint8Array(3 * 64 * 64) }
    const controller = new AbortController()
    const calls = [
      protector.protect(blank, { preset }),
      protector.protect(photos[0], { preset, signal: controller.signal }),
      protector.protect(photos[0], { preset }),
    ]
    controller.abort(reason)
    const [failed, interrupted, done] = await Promise.allSettled(calls)
    expect(failed).toMatchObject({ status: 'rejected', reason: { name: 'NoFaceError' } })
    expect(interrupted).toEqual({ status: 'rejected', reason })
    expect(done.status).toBe('fulfilled')
  })

  test('are cloaked by Fawkes as if one came after the other', async () => {
    const mode = { ...fawkesModes.low, steps: 3 }
    const { surrogates } = await loadNetworks(['sirius'])
    using attack = await FawkesAttack.compile(gpu, surrogates, mode)
    const one = await attack.run(photos[0], faces[0])
    const two = await attack.run(photos[1], faces[1])
    const both = await Promise.all(photos.map((photo, k) => attack.run(photo, faces[k])))
    expect(both.map(({ rgb: data }) => data)).toEqual([one.rgb, two.rgb])
    expect(one.rgb).not.toEqual(photos[0].rgb)
  })
})

test('an attack refuses a second run while one goes on, and runs again after it', async () => {
  const shape = { height: 40, width: 44, faces: 1, grey: false }
  using attack = await Attack.compile(gpu, {
    shape,
    surrogates: tinySurrogates,
    perceptual: tinyLpips,
    preset: presets.paper,
    masked: false,
  })
  const clean = new Float32Array(3 * 40 * 44).fill(0.5)
  const place = [0.33, 0.04, 1, -0.04, 0.33, 3] as const
  const images = {
    clean,
    base: clean,
    matrices: new Map([
      ['arcface112', [[...place]]],
      ['dlib150', [place.map((v) => 4.5 * v)]],
    ]) as never,
  }
  attack.load(images)
  const start = new Float32Array(clean.length)
  const first = attack.run({ steps: 2, start })
  await expect(attack.run({ steps: 2, start })).rejects.toThrow(AttackError)
  expect(() => attack.load(images)).toThrow(/is running/)
  const delta = await first
  expect(await attack.run({ steps: 2, start })).toEqual(delta)
})
