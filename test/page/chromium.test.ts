/** The page in a real Chromium, from a file on the disk, on the browser's software adapter: what a person does with it. */
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { unzipSync } from 'fflate'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Browser, NoBrowserError, type Page, WEBGPU_SWITCHES } from '../support/browser.ts'
import {
  addressOf,
  browserOrReason,
  buildPage,
  pageRoom,
  pressButton,
  savedFile,
  settled,
  untilIdle,
  untilOpened,
  writeLandscape,
  writePhonePhoto,
} from '../support/page.ts'
import { everything, LONG } from '../support/scope.ts'

const started = await browserOrReason(WEBGPU_SWITCHES)
const unavailable = started instanceof NoBrowserError
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
/** One recogniser and two steps: what is protected is another test's business. */
const QUICK = '#models=sirius&steps=2'

const folder = pageRoom()
const saved = join(folder, 'saved')
const photo = join(folder, 'me.JPG')
const landscape = join(folder, 'hill.png')
const broken = join(folder, 'broken.jpg')
let file: string
let page: Page

beforeAll(async () => {
  if (started instanceof NoBrowserError) return
  ;({ file } = await buildPage(folder))
  await writePhonePhoto(photo)
  await writeLandscape(landscape)
  writeFileSync(broken, readFileSync(photo).subarray(0, 500))
  await started.saveTo(saved)
})
afterAll(async () => {
  if (!(started instanceof NoBrowserError)) await started.close()
})

/** What axe-core objects to, by rule. */
async function violations(shown: Page): Promise<string[]> {
  await shown.evaluate(`${AXE}; undefined`)
  return shown.evaluate(
    `axe.run().then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map((n) => id + ': ' + n.html.slice(0, 200))))`,
  )
}

const download = (name: string) => savedFile(saved, name)

const pixelsOf = async (bytes: Buffer): Promise<Buffer> => sharp(bytes).rotate().removeAlpha().raw().toBuffer()

describe.skipIf(unavailable)(`the page in a browser${unavailable ? ` (${started.message})` : ''}`, () => {
  test('opened from the disk it is ready, and asks for nothing', async () => {
    page = await (started as Browser).open(addressOf(file, QUICK), { width: 1000, height: 900 })
    await settled(page)
    expect(await page.evaluate(`document.querySelector('.notice').textContent`)).toContain('no graphics card')
    expect(await violations(page)).toEqual([])
  })

  test('dropped photos are shown upright with their faces; a broken one and one without a face are named', async () => {
    await page.drop([photo, broken, landscape])
    await untilOpened(page, 3)
    const said = await page.evaluate<string[]>(
      `[...document.querySelectorAll('.card')].map((card) => card.querySelector('h3').textContent + ': ' + card.querySelector('.status').textContent)`,
    )
    expect(said).toEqual([
      'me.JPG: One face found.',
      expect.stringMatching(/^broken\.jpg: This file is damaged/),
      expect.stringMatching(/^hill\.png: No face was found, so there is nothing to protect/),
    ])
    // The face lies in the middle of the upper half only when the photo is upright.
    const [x, y] = await page.evaluate<number[]>(`(() => {
      const [face, photo] = ['.outline', '.picture'].map((each) => document.querySelector(each).getBoundingClientRect())
      return [(face.x + face.width / 2 - photo.x) / photo.width, (face.y + face.height / 2 - photo.y) / photo.height]
    })()`)
    expect(x).toBeCloseTo(0.5, 0)
    expect(y).toBeGreaterThan(0.3)
    expect(y).toBeLessThan(0.7)
    expect(await violations(page)).toEqual([])
  })

  test('a face can be switched off, and on', async () => {
    await page.evaluate(`document.querySelector('.faces input').click()`)
    expect(await page.evaluate(`document.querySelector('.status').textContent`)).toContain('stays as it is')
    expect(await page.evaluate(`document.querySelector('.bottom .main').disabled`)).toBe(true)
    await page.evaluate(`document.querySelector('.outline').click()`)
    expect(await page.evaluate(`document.querySelector('.bottom .main').textContent`)).toBe('Protect 1 photo')
  })

  test.skipIf(!everything)(
    `protected as PNG: outside the face every byte is the photo’s, and no metadata is left${LONG}`,
    async () => {
      await page.evaluate(`document.querySelector('input[name=format][value=png]').click()`)
      await pressButton(page, 'Protect 1 photo')
      await page.until(`document.querySelector('.card[data-state=done]')`)
      await pressButton(page, 'Save')
      const result = await download('me.cloaked.png')
      const metadata = await sharp(result).metadata()
      expect([metadata.width, metadata.height, metadata.exif, metadata.orientation]).toEqual([
        160,
        160,
        undefined,
        undefined,
      ])
      expect(result.includes('lowkey-gpu')).toBe(true)
      const [before, after] = [await pixelsOf(readFileSync(photo)), await pixelsOf(result)]
      const changed = Array.from(after.keys()).filter((i) => before[i] !== after[i])
      expect(changed.length).toBeGreaterThan(2000)
      // The region is the aligned crop with a fading band, here about two thirds of the photo.
      const columns = changed.map((i) => Math.floor(i / 3) % 160)
      const rows = changed.map((i) => Math.floor(i / 3 / 160))
      const [left, right] = [Math.min(...columns), Math.max(...columns)]
      const [top, bottom] = [rows[0], rows[rows.length - 1]]
      expect(right - left).toBeLessThan(130)
      expect(bottom - top).toBeLessThan(130)
      expect(left).toBeGreaterThan(5)
      expect(bottom).toBeLessThan(155)
    },
  )

  test.skipIf(!everything)(
    `the result is compared by a slider and by its difference, and judged in the words of \`check\`${LONG}`,
    async () => {
      expect(await violations(page)).toEqual([])
      const text = await page.evaluate<string>(`document.querySelector('.verdict').textContent`)
      expect(text).toMatch(
        /sirius \(attacked\) (still takes|no longer takes) these for the same person: 0\.\d{3}, threshold 0\.475/,
      )
      await page.evaluate(`(() => {
      const slider = document.querySelector('.sides input')
      slider.value = 20
      slider.dispatchEvent(new Event('input'))
      document.querySelector('.views input').click()
      document.querySelector('.comparison .switch input').click()
    })()`)
      expect(await page.evaluate(`document.querySelector('.stage').style.getPropertyValue('--cut')`)).toBe('20%')
      await page.until(
        `document.querySelector('.difference').complete && document.querySelector('.difference').naturalWidth`,
      )
      // Grey where nothing changed.
      const corner = await page.evaluate<number[]>(`(() => {
      const image = document.querySelector('.difference')
      const canvas = Object.assign(document.createElement('canvas'), { width: image.naturalWidth, height: image.naturalHeight })
      canvas.getContext('2d').drawImage(image, 0, 0)
      return [...canvas.getContext('2d').getImageData(1, 1, 1, 1).data]
    })()`)
      for (const value of corner.slice(0, 3)) expect(Math.abs(value - 128)).toBeLessThan(6)
    },
  )

  test.skipIf(!everything)(`two photos and a broken one become a zip of two${LONG}`, async () => {
    const second = join(folder, 'again.png')
    await sharp(photo).rotate().flop().png().toFile(second)
    await page.drop([second])
    await untilOpened(page, 4)
    await page.evaluate(`document.querySelector('input[name=format][value=own]').click()`)
    await pressButton(page, 'Protect 1 photo')
    await untilIdle(page)
    await pressButton(page, 'Save all 2')
    const files = unzipSync(await download('cloaked-photos.zip'))
    expect(Object.keys(files)).toEqual(['me.cloaked.png', 'again.cloaked.png'])
    expect(await page.evaluate(`document.querySelector('.left').textContent`)).toBe('2 of 4 photos protected, 2 not.')
    // The first has nothing to be kept apart from.
    const verdicts = await page.evaluate<string[]>(
      `[...document.querySelectorAll('.verdict')].map((each) => each.textContent)`,
    )
    expect(verdicts.map((text) => text.includes('than in the earlier photo of the same person'))).toEqual([false, true])
  })

  test.skipIf(!everything)(`a result is known, and not protected once more${LONG}`, async () => {
    await page.drop([join(saved, 'me.cloaked.png')])
    await untilOpened(page, 5)
    expect(await page.evaluate(`[...document.querySelectorAll('.status')].at(-1).textContent`)).toContain(
      'was protected before',
    )
  })

  test.skipIf(!everything)(`cancelled, it stops, and the earlier result is kept${LONG}`, async () => {
    await page.evaluate(`[...document.querySelectorAll('.card[data-state=done] .body button')].at(-1).click()`)
    await pressButton(page, 'Keep the result')
    await page.evaluate(`[...document.querySelectorAll('.card[data-state=done] .body button')].at(-1).click()`)
    await pressButton(page, 'Protect 1 photo')
    await page.until(`document.querySelector('.card[data-state=working]')`)
    await pressButton(page, 'Cancel')
    await untilIdle(page)
    expect(await page.evaluate(`document.querySelector('.said').textContent`)).toContain('Cancelled')
    // The results that there were are there still.
    expect(await page.evaluate(`document.querySelectorAll('.card[data-state=done]').length`)).toBe(2)
  })

  test('all the while nothing was asked for but the page and what it holds, and nothing complained', () => {
    expect(page.requests.filter((address) => !address.startsWith('blob:null/'))).toEqual([
      addressOf(file, QUICK).replace(/#.*/, ''),
    ])
    expect(page.complaints).toEqual([])
  })
})
