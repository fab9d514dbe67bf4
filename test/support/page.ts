/** The page as it ships, built once for a test file; photos for it; and a browser that has WebGPU. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import sharp from 'sharp'
import { afterAll } from 'vitest'
import { buildPageParts } from '../../build/page-parts.ts'
import { type PageParts, singleFile } from '../../src/page/assemble.ts'
import { readPageParts } from '../../src/page/node.ts'
import { type Browser, launchBrowser, NoBrowserError, type Page } from './browser.ts'

const repository = resolve(import.meta.dirname, '../..')

/** A folder for the files of a test file, which goes with it. */
export function pageRoom(): string {
  mkdirSync(join(repository, 'out'), { recursive: true })
  const folder = mkdtempSync(join(repository, 'out/page-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Builds the page from the sources into a folder. */
export async function buildPage(folder: string): Promise<{ parts: PageParts; file: string; bytes: Uint8Array }> {
  await buildPageParts(join(folder, 'parts'))
  const { parts } = await readPageParts(join(folder, 'parts'))
  const bytes = await singleFile(parts)
  const file = join(folder, 'page.html')
  writeFileSync(file, bytes)
  return { parts, file, bytes }
}

/** The address of a file. `#` and what follows is for experts: `models=sirius&steps=2`. */
export const addressOf = (file: string, hash = ''): string => pathToFileURL(file).href + hash

/** Serves files by their paths on this machine, and counts what is asked for. */
export async function serving(files: ReadonlyMap<string, Uint8Array>) {
  const asked: string[] = []
  const server = createServer(({ url = '/' }, response) => {
    asked.push(url)
    const name = decodeURIComponent(url.replace(/[?#].*$/, '').slice(1)) || 'index.html'
    const bytes = files.get(name)
    response.writeHead(bytes ? 200 : 404, {
      'Content-Type': TYPES[name.replace(/^.*\./, '')] ?? 'application/octet-stream',
    })
    response.end(bytes)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as { port: number }
  return {
    address: `http://127.0.0.1:${port}/`,
    /** Paths, in the order they were asked for. */
    asked,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

const TYPES: Readonly<Record<string, string>> = {
  // A host that is wrong about the page's encoding: its mark comes first.
  html: 'text/html; charset=utf-8',
  js: 'text/javascript',
  css: 'text/css',
  svg: 'image/svg+xml',
  webmanifest: 'application/manifest+json',
  jpg: 'image/jpeg',
}

/** A browser, or the reason why there is none, to skip tests by. */
export const browserOrReason = (switches: readonly string[]): Promise<Browser | NoBrowserError> =>
  launchBrowser(switches).catch((error) => {
    if (error instanceof NoBrowserError) return error
    throw error
  })

/** The head of the demo's portrait, `side` pixels square: the smallest that the attack takes quickly. */
export const portrait = (side = 160) =>
  sharp(join(repository, 'examples/astronaut.png'))
    .extract({ left: 110, top: 0, width: 230, height: 230 })
    .resize(side, side)

/** Writes a JPEG as a phone does: stored on its side with the orientation in EXIF, and a place in it. */
export async function writePhonePhoto(path: string, side?: number): Promise<void> {
  const upright = await portrait(side).png().toBuffer()
  await sharp(upright)
    .rotate(270)
    .withExif({
      IFD0: { Orientation: '6', Make: 'A camera' },
      IFD3: { GPSLatitude: '51/1 30/1 0/1', GPSLatitudeRef: 'N' },
    })
    .withMetadata({ orientation: 6 })
    .jpeg({ quality: 92, chromaSubsampling: '4:4:4' })
    .toFile(path)
}

/** A picture without a face. */
export const writeLandscape = (path: string): Promise<unknown> =>
  sharp({ create: { width: 120, height: 90, channels: 3, background: '#3a6' } })
    .png()
    .toFile(path)

/** Resolves when the page is ready to work, or says that it cannot. */
export const settled = (page: Page): Promise<unknown> =>
  page.until(`document.querySelector('.notice.unable') || document.body.innerText.includes('Graphics:')`)

/** Resolves when the page shows so many photos, and has looked for the faces of all. */
export const untilOpened = (page: Page, photos: number): Promise<unknown> =>
  page.until(`document.querySelectorAll('.card:not([data-state=waiting])').length === ${photos}`)

/** Resolves when no photo is worked on any more. */
export const untilIdle = (page: Page): Promise<unknown> =>
  page.until(`!document.querySelector('.card[data-state=queued],.card[data-state=working]')`)

/** Presses the button of this text. Throws where there is none that can be pressed. */
export const pressButton = (page: Page, text: string): Promise<void> =>
  page.evaluate(`(() => {
    const shown = [...document.querySelectorAll('button')].filter((each) => each.offsetParent && !each.disabled)
    const found = shown.find((each) => each.textContent.startsWith(${JSON.stringify(text)}))
    if (!found) throw new Error('no button ${text}, but ' + shown.map((each) => each.textContent))
    found.click()
  })()`)

/** A file that the page saved, once it is there. Throws with what is there instead. */
export async function savedFile(folder: string, name: string): Promise<Buffer> {
  const path = join(folder, name)
  for (let i = 0; i < 200 && !existsSync(path); i++) await new Promise((resolve) => setTimeout(resolve, 50))
  if (!existsSync(path))
    throw new Error(`${name} was not saved, but ${existsSync(folder) ? readdirSync(folder) : 'nothing'}`)
  return readFileSync(path)
}
