/**
 * Browsers that do other things than Chromium does here: no WebGPU, noise in what a page reads of pictures, wrong numbers, little memory. What they
 * do is done to the worker before its own code runs.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { carried, singleFile } from '../../src/page/assemble.ts'
import { inflated } from '../../src/page/pack.ts'
import { NoBrowserError, type Page, WEBGPU_SWITCHES } from '../support/browser.ts'
import {
  addressOf,
  browserOrReason,
  buildPage,
  pageRoom,
  pressButton,
  settled,
  untilIdle,
  untilOpened,
  writePhonePhoto,
} from '../support/page.ts'
import { everything, LONG } from '../support/scope.ts'

const started = await browserOrReason(WEBGPU_SWITCHES)
const unavailable = started instanceof NoBrowserError
const folder = pageRoom()
const photo = join(folder, 'me.jpg')
let built: Awaited<ReturnType<typeof buildPage>>

beforeAll(async () => {
  if (unavailable) return
  built = await buildPage(folder)
  await writePhonePhoto(photo)
})
afterAll(async () => {
  if (!unavailable) await started.close()
})

let count = 0
/** The page in a browser whose workers begin with a script. */
async function opened(script: string): Promise<Page> {
  const code = new TextDecoder().decode(await inflated(built.parts.data.get('worker')!))
  const data = new Map(built.parts.data)
  data.set('worker', await carried(new TextEncoder().encode(`${script}\n${code}`)))
  const file = join(folder, `page-${++count}.html`)
  writeFileSync(file, await singleFile({ ...built.parts, data }))
  if (unavailable) throw started
  const page = await started.open(addressOf(file, '#models=sirius&steps=2'))
  await settled(page)
  return page
}

const refusal = (page: Page) => page.evaluate<string>(`document.querySelector('.unable')?.innerText ?? 'none'`)

describe.skipIf(unavailable)('a browser', () => {
  test('without WebGPU: says which browsers have it', async () => {
    const page = await opened(`Object.defineProperty(WorkerNavigator.prototype, 'gpu', { get: () => undefined })`)
    expect(await refusal(page)).toContain('WebGPU, which this browser does not have. It works in Chrome and Edge 113')
    await page.close()
  })

  test('that adds noise to what a page reads of pictures: refused, with what to switch off', async () => {
    const page = await opened(`{
      const { prototype } = OffscreenCanvasRenderingContext2D
      const { getImageData } = prototype
      prototype.getImageData = function (...args) {
        const picture = getImageData.apply(this, args)
        picture.data[40] ^= 1
        return picture
      }
    }`)
    expect(await refusal(page)).toContain('changes pictures when a page reads them')
    await page.close()
  })

  test('that computes wrong numbers: refused', async () => {
    const page = await opened(`{
      const { getMappedRange } = GPUBuffer.prototype
      GPUBuffer.prototype.getMappedRange = function (...args) {
        const range = getMappedRange.apply(this, args)
        if (this.usage & GPUBufferUsage.MAP_READ) new Float32Array(range)[1] *= 1.01
        return range
      }
    }`)
    expect(await refusal(page)).toContain('computes wrong numbers')
    await page.close()
  })

  /** Memory of a device ends after so many bytes, as browsers say it: by an event, and a buffer that is none. */
  const limited = (bytes: number) => `{
    const { createBuffer } = GPUDevice.prototype
    const taken = new Map()
    GPUDevice.prototype.createBuffer = function (descriptor) {
      taken.set(this, (taken.get(this) ?? 0) + descriptor.size)
      if (taken.get(this) > ${bytes}) {
        const error = new GPUOutOfMemoryError('no memory is left')
        queueMicrotask(() => this.dispatchEvent(new GPUUncapturedErrorEvent('uncapturederror', { error })))
      }
      return createBuffer.call(this, descriptor)
    }
  }`

  test.skipIf(!everything)(`with little memory: works on a coarser area, and says so${LONG}`, async () => {
    // Between 210.5 and 213 MB at 1.5 working pixels a crop pixel, between 205 and 208 MB at half of that.
    const large = join(folder, 'large.jpg')
    await writePhonePhoto(large, 420)
    const page = await opened(limited(209.5e6))
    await page.drop([large])
    await untilOpened(page, 1)
    await pressButton(page, 'Protect 1 photo')
    await untilIdle(page)
    expect(await page.evaluate(`document.querySelector('.card').innerText`)).toContain('worked on more coarsely')
    await page.close()
  })

  test.skipIf(!everything)(`with too little memory for that too: names the photo’s size${LONG}`, async () => {
    const page = await opened(limited(120e6))
    await page.drop([photo])
    await untilOpened(page, 1)
    await pressButton(page, 'Protect 1 photo')
    await untilIdle(page)
    const says = 'too little memory for this photo (160 × 160 pixels'
    expect(await page.evaluate(`document.querySelector('.status').textContent`)).toContain(says)
    await page.close()
  })
})
