/**
 * `node build/screenshot.ts REPORT.html OUT.png [--width N] [--height N] [--element SELECTOR] [--dark]`: a picture of a page
 * for the documents, of the whole page unless `--height` (from its top) or `--element` takes a part.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { launchBrowser } from '../test/support/browser.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    width: { type: 'string', default: '1200' },
    height: { type: 'string' },
    element: { type: 'string' },
    dark: { type: 'boolean', default: false },
  },
})
const [page, picture] = positionals
const size = (name: string, value: string) => {
  if (!/^[1-9]\d{0,4}$/.test(value)) throw new RangeError(`--${name} takes a number of pixels, not "${value}"`)
  return Number(value)
}
if (positionals.length !== 2) throw new Error('usage: node build/screenshot.ts REPORT.html OUT.png [--width N]')
if (!existsSync(page)) throw new Error(`there is no file ${page}`)
const width = size('width', values.width)
const height = values.height === undefined ? undefined : size('height', values.height)

const browser = await launchBrowser()
try {
  const opened = await browser.open(pathToFileURL(resolve(page)).href, {
    width,
    height: height ?? 900,
    dark: values.dark,
  })
  const part = values.element ? { element: values.element } : height ? 'window' : 'page'
  writeFileSync(picture, await opened.screenshot(part))
} finally {
  await browser.close()
}
