/** The evaluation's report in a real browser: nothing asked for, nothing complained about, nothing over the edge. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { renderReport } from '../../src/evaluate/report/report.ts'
import { type Browser, launchBrowser, NoBrowserError, type Page } from '../support/browser.ts'
import { hostileEvaluation, syntheticEvaluation } from '../support/evaluation.ts'

const started: Browser | NoBrowserError = await launchBrowser().catch((error) => {
  if (error instanceof NoBrowserError) return error
  throw error
})
const unavailable = started instanceof NoBrowserError
let folder: string | undefined

afterAll(async () => {
  if (!(started instanceof NoBrowserError)) await started.close()
  if (folder) rmSync(folder, { recursive: true, force: true })
})

/** The report as a file, opened. */
async function open(name: string, report: string, width: number): Promise<{ page: Page; address: string }> {
  folder ??= mkdtempSync(join(tmpdir(), 'lowkey-report-'))
  const file = join(folder, `${name}.html`)
  writeFileSync(file, report)
  const address = pathToFileURL(file).href
  return { page: await (started as Browser).open(address, { width, height: 900 }), address }
}

/** Texts that reach over the right or left edge of the window, but those in a box that scrolls sideways. */
const OVER_THE_EDGE = `(() => {
  for (const fold of document.querySelectorAll('details')) fold.open = true
  const found = []
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const { parentElement } = walker.currentNode
    const scroller = parentElement.closest('.scroll')
    if (!walker.currentNode.data.trim() || (scroller && scroller.scrollWidth > scroller.clientWidth)) continue
    const range = document.createRange()
    range.selectNodeContents(walker.currentNode)
    for (const { left, right, width } of range.getClientRects())
      if (width > 0 && (left < -0.5 || right > document.documentElement.clientWidth + 0.5))
        found.push(walker.currentNode.data.slice(0, 60) + ' ' + Math.round(left) + '..' + Math.round(right))
  }
  return found
})()`

/** Drawings without extent, and texts in them that reach over their edge. */
const BAD_DRAWINGS = `[...document.querySelectorAll('svg')].flatMap((svg) => {
  const box = svg.getBoundingClientRect()
  const label = svg.getAttribute('aria-label') ?? 'key'
  if (!(box.width > 0 && box.height > 0)) return [label + ' has no extent']
  return [...svg.querySelectorAll('text')].flatMap((text) => {
    const { left, right, top, bottom } = text.getBoundingClientRect()
    return left < box.left - 1 || right > box.right + 1 || top < box.top - 1 || bottom > box.bottom + 1
      ? [label.slice(0, 40) + ': ' + text.textContent] : []
  })
})`

describe.skipIf(unavailable)(`the report in a browser${unavailable ? ` (${started.message})` : ''}`, () => {
  for (const [name, evaluation] of [
    ['plausible', syntheticEvaluation()],
    ['hostile', hostileEvaluation()],
  ] as const) {
    test(`${name}: no request, no complaint, no text over the edge from 320 to 1600 pixels`, async () => {
      const { page, address } = await open(name, renderReport(evaluation), 400)
      for (const width of [320, 400, 768, 1200, 1600]) {
        await page.setView({ width, height: 900 })
        expect(await page.evaluate('document.documentElement.scrollWidth'), `${width} px`).toBe(width)
        expect(await page.evaluate(OVER_THE_EDGE), `${width} px`).toEqual([])
        expect(await page.evaluate(BAD_DRAWINGS), `${width} px`).toEqual([])
      }
      expect(await page.evaluate(`document.querySelectorAll('svg').length`)).toBeGreaterThan(50)
      expect(page.requests.filter((url) => !url.startsWith('data:'))).toEqual([address])
      expect(page.complaints).toEqual([])
      await page.close()
    })
  }

  test('the checks above find what they look for', async () => {
    const { page } = await open('spoiled', renderReport(syntheticEvaluation()), 400)
    await page.evaluate(`{
      const add = (style, text) => {
        const element = document.createElement('p')
        element.style = style
        element.textContent = text
        document.body.append(element)
      }
      add('white-space: nowrap; width: 900px', 'wide '.repeat(60))
      add('color: #888; background: #999', 'pale')
      document.querySelector('.panel svg text').setAttribute('x', 900)
      document.querySelector('.key').style.width = 0
      console.error('complaint')
      void fetch('http://127.0.0.1:9/').catch(() => {})
    }`)
    expect(await page.evaluate<string[]>(OVER_THE_EDGE)).toContainEqual(expect.stringContaining('wide'))
    expect(await page.evaluate(LOW_CONTRAST)).toEqual([expect.stringMatching(/^P\. 1\.2/)])
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeGreaterThan(900)
    expect(await page.evaluate(BAD_DRAWINGS)).toHaveLength(2)
    // The page's own security policy stops the request, and the console tells.
    expect(page.complaints).toContain('complaint')
    expect(page.complaints.join()).toContain('Content Security Policy')
    await page.close()
  })

  test('every picture is decoded', async () => {
    const { page } = await open('pictures', renderReport(syntheticEvaluation()), 1200)
    const widths = await page.evaluate<number[]>('[...document.images].map((image) => image.naturalWidth)')
    expect(widths).toEqual(new Array(4 * 2 * 3).fill(96))
    await page.close()
  })

  test('text stands out from what is behind it, by day and by night (WCAG AA)', async () => {
    const { page } = await open('contrast', renderReport(syntheticEvaluation()), 1440)
    for (const dark of [false, true]) {
      await page.setView({ width: 1440, height: 900, dark })
      expect(await page.evaluate(LOW_CONTRAST), dark ? 'dark' : 'light').toEqual([])
    }
    await page.close()
  })

  test('dark and light pages differ, and on paper there is no contents list', async () => {
    const { page } = await open('themes', renderReport(syntheticEvaluation()), 800)
    const colour = () => page.evaluate<string>('getComputedStyle(document.body).backgroundColor')
    const light = await colour()
    await page.setView({ width: 800, height: 900, dark: true })
    expect(await colour()).not.toBe(light)
    await page.setView({ width: 800, height: 900, dark: true, print: true })
    expect(await colour()).toBe('rgb(255, 255, 255)')
    expect(await page.evaluate(`getComputedStyle(document.querySelector('nav')).display`)).toBe('none')
    await page.close()
  })

  test('a picture of it shows it: PNG of the size asked for', async () => {
    const { page } = await open('screenshot', renderReport(syntheticEvaluation()), 400)
    const png = Buffer.from(await page.screenshot())
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([400, 900])
    await expect(page.screenshot({ element: '#nothing' })).rejects.toThrow('no element #nothing')
    await page.close()
  })
})

/** Texts whose colour has less than 4.5:1 to the first colour behind them that is opaque, translucent ones laid over it. */
const LOW_CONTRAST = `(() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number)
    return { r, g, b, a }
  }
  const luminance = ({ r, g, b }) => {
    const [R, G, B] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    return 0.2126 * R + 0.7152 * G + 0.0722 * B
  }
  const behind = (element) => {
    if (!element) return { r: 255, g: 255, b: 255 }
    const { r, g, b, a } = parse(getComputedStyle(element).backgroundColor)
    if (a === 1) return { r, g, b }
    const under = behind(element.parentElement)
    const mix = (top, bottom) => top * a + bottom * (1 - a)
    return { r: mix(r, under.r), g: mix(g, under.g), b: mix(b, under.b) }
  }
  const found = new Set()
  for (const element of document.body.querySelectorAll('*')) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue
    if (element.namespaceURI.endsWith('svg') && element.tagName !== 'text') continue
    const style = getComputedStyle(element)
    const [a, b] = [parse(element.tagName === 'text' ? style.fill : style.color), behind(element)].map(luminance)
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
    if (contrast < 4.5) found.add(element.tagName + '.' + element.className + ' ' + contrast.toFixed(2))
  }
  return [...found]
})()`
