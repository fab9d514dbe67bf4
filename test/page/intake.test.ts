/** How photos come in: HEIC, folders, a paste; and what is left of a page that lacks a part. Long, in a real Chromium. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readPhoto } from '../../src/images/index.ts'
import { singleFile } from '../../src/page/assemble.ts'
import { type Browser, NoBrowserError, type Page, WEBGPU_SWITCHES } from '../support/browser.ts'
import {
  browserOrReason,
  buildPage,
  pageRoom,
  pressButton,
  savedFile,
  serving,
  settled,
  untilOpened,
  writeLandscape,
  writePhonePhoto,
} from '../support/page.ts'
import { everything, LONG } from '../support/scope.ts'

const started = everything ? await browserOrReason(WEBGPU_SWITCHES) : new NoBrowserError('not in the short run')
const unavailable = started instanceof NoBrowserError
const folder = pageRoom()
const heic = join(import.meta.dirname, '../fixtures/photo.heic')
let built: Awaited<ReturnType<typeof buildPage>>
let host: Awaited<ReturnType<typeof serving>>
let page: Page

beforeAll(async () => {
  if (unavailable) return
  built = await buildPage(folder)
  host = await serving(new Map([['index.html', built.bytes]]))
  await started.saveTo(folder)
  page = await started.open(`${host.address}#models=sirius&steps=2`)
  await settled(page)
})
afterAll(async () => {
  if (unavailable) return
  host.close()
  await started.close()
})

const names = () =>
  page.evaluate<string[]>(`[...document.querySelectorAll('.card h3')].map((each) => each.textContent)`)
const statuses = () =>
  page.evaluate<string[]>(`[...document.querySelectorAll('.card .status')].map((each) => each.textContent)`)

describe.skipIf(unavailable)(`photos come in${LONG}`, () => {
  test('HEIC: shown as the command line reads it, saved as JPEG', async () => {
    await page.drop([heic])
    await untilOpened(page, 1)
    expect(await statuses()).toEqual(['One face found.'])
    const { rgb, width } = await readPhoto(readFileSync(heic), heic)
    const shown = await page.evaluate<number[]>(`(async () => {
      const image = document.querySelector('.picture img')
      await image.decode()
      const canvas = Object.assign(document.createElement('canvas'), { width: image.naturalWidth, height: image.naturalHeight })
      const context = canvas.getContext('2d')
      context.drawImage(image, 0, 0)
      return [canvas.width, ...context.getImageData(0, 0, canvas.width, canvas.height).data]
    })()`)
    expect(shown[0]).toBe(width)
    const off = rgb.reduce((sum, value, i) => sum + Math.abs(value - shown[1 + 4 * Math.floor(i / 3) + (i % 3)]), 0)
    // The preview is a JPEG.
    expect(off / rgb.length).toBeLessThan(4)
    await pressButton(page, 'Protect 1 photo')
    await page.until(`document.querySelector('.card[data-state=done]')`)
    await pressButton(page, 'Save')
    const result = await readPhoto(await savedFile(folder, 'photo.cloaked.jpg'), 'photo.cloaked.jpg')
    expect([result.format, result.width, result.cloaked]).toEqual(['jpeg', 96, true])
    await pressButton(page, '×')
  })

  test('a folder with folders: photos have their paths, other files are counted', async () => {
    mkdirSync(join(folder, 'trip/day 1'), { recursive: true })
    await writePhonePhoto(join(folder, 'trip/day 1/me.jpg'))
    await writeLandscape(join(folder, 'trip/hill.png'))
    writeFileSync(join(folder, 'trip/notes.txt'), 'nothing')
    writeFileSync(join(folder, 'trip/.hidden.jpg'), 'nothing')
    await page.drop([join(folder, 'trip')])
    await untilOpened(page, 2)
    expect(await names()).toEqual(['trip/day 1/me.jpg', 'trip/hill.png'])
    await pressButton(page, 'Remove all')
    expect(await names()).toEqual([])
  })

  test('a paste; files that are no photos are named when they come alone', async () => {
    await page.evaluate(`(() => {
      const transfer = new DataTransfer()
      transfer.items.add(new File([new Uint8Array(100)], 'song.mp3'))
      dispatchEvent(new ClipboardEvent('paste', { clipboardData: transfer }))
    })()`)
    await untilOpened(page, 1)
    expect(await statuses()).toEqual(['This file is no photo (data).'])
    await pressButton(page, '×')
  })

  test('a page without the decoder says of HEIC that it cannot be read', async () => {
    const data = new Map(built.parts.data)
    for (const part of ['heif', 'libheif', 'libheif-js'] as const) data.delete(part)
    const less = await serving(new Map([['index.html', await singleFile({ ...built.parts, data })]]))
    const other = await (started as Browser).open(less.address)
    await settled(other)
    await other.drop([heic])
    await untilOpened(other, 1)
    expect(await other.evaluate(`document.querySelector('.status').textContent`)).toContain(
      'HEIC photo, which this browser cannot read',
    )
    await other.close()
    less.close()
  })
})
