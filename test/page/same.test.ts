/** One attack for both: the page in Chromium and the library in Node, on one kind of adapter, make the same photo of the same photo. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterAll, expect, test } from 'vitest'
import { presets } from '../../src/attack/presets.ts'
import { Protector } from '../../src/attack/protect.ts'
import { acquire } from '../../src/graph/node.ts'
import { networksOf } from '../../src/page/engine.ts'
import { NoBrowserError, WEBGPU_SWITCHES } from '../support/browser.ts'
import {
  addressOf,
  browserOrReason,
  buildPage,
  pageRoom,
  portrait,
  pressButton,
  savedFile,
  settled,
  untilOpened,
} from '../support/page.ts'
import { everything, LONG } from '../support/scope.ts'

const STEPS = 4
const started = everything ? await browserOrReason(WEBGPU_SWITCHES) : new NoBrowserError('not in the short run')
const folder = pageRoom()

afterAll(async () => {
  if (!(started instanceof NoBrowserError)) await started.close()
})

test.skipIf(started instanceof NoBrowserError)(`with the same seed and steps, on SwiftShader${LONG}`, async () => {
  if (started instanceof NoBrowserError) return
  const { parts, file } = await buildPage(folder)
  const photo = join(folder, 'me.png')
  await portrait().png().toFile(photo)
  await started.saveTo(folder)
  const page = await started.open(addressOf(file, `#models=sirius&steps=${STEPS}&seed=7`))
  await settled(page)
  await page.drop([photo])
  await untilOpened(page, 1)
  await pressButton(page, 'Protect 1 photo')
  await page.until(`document.querySelector('.card[data-state=done]')`)
  await pressButton(page, 'Save')
  const inPage = await raw(await savedFile(folder, 'me.cloaked.png'))
  await page.close()

  using gpu = await acquire({ gpu: 'swiftshader' })
  using protector = await Protector.create(gpu, await networksOf(parts.data.get('networks')!, ['sirius']))
  const data = await raw(readFileSync(photo))
  const { photo: inNode } = await protector.protect(
    { width: 160, height: 160, rgb: data },
    { preset: presets.auto, steps: STEPS, seed: 7 },
  )
  const change = inNode.rgb.map((value, i) => Math.abs(value - data[i]))
  const apart = inNode.rgb.map((value, i) => Math.abs(value - inPage[i]))
  const sum = (values: Uint8Array) => values.reduce((total, value) => total + value, 0)
  console.log(`changed by ${sum(change)}, apart by ${sum(apart)}, at most ${Math.max(...apart)}`)
  expect(sum(change)).toBeGreaterThan(5000)
  // Two builds of Dawn and SwiftShader may add up in another order; what that does is far below what the attack does.
  expect(sum(apart)).toBeLessThan(0.02 * sum(change))
})

const raw = async (bytes: Buffer): Promise<Uint8Array> =>
  new Uint8Array(await sharp(bytes).removeAlpha().raw().toBuffer())
