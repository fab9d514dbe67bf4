/**
 * `node bench/page.ts [--steps N] [--models A,B] [--photo FILE]`: seconds that the page in Chromium takes for a photo, and the same in Node, with the page's networks on
 * one kind of adapter (SwiftShader); the time until a person can press something, and until the page is ready to compute. Two photos each: the first compiles
 * what the second finds compiled.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { buildPageParts } from '../build/page-parts.ts'
import { presets } from '../src/attack/presets.ts'
import { Protector } from '../src/attack/protect.ts'
import { acquire } from '../src/graph/node.ts'
import { encodePhoto, readPhoto } from '../src/images/index.ts'
import { singleFile } from '../src/page/assemble.ts'
import { networksOf } from '../src/page/engine.ts'
import { readPageParts } from '../src/page/node.ts'
import { launchBrowser, WEBGPU_SWITCHES } from '../test/support/browser.ts'

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '10' },
    models: { type: 'string', default: 'sirius,dlib,faceplugin' },
    photo: { type: 'string', default: 'examples/astronaut.png' },
  },
})
const steps = Number(values.steps)
const photo = resolve(values.photo)
const folder = mkdtempSync(join(tmpdir(), 'bench-page-'))
const seconds = (since: number) => (performance.now() - since) / 1000

async function inNode(pack: Uint8Array<ArrayBuffer>): Promise<number[]> {
  using gpu = await acquire({ gpu: 'swiftshader' })
  using protector = await Protector.create(gpu, await networksOf(pack, values.models.split(',')))
  const times: number[] = []
  for (let i = 0; i < 2; i++) {
    const began = performance.now()
    const read = await readPhoto(photo)
    const pixels = { width: read.width, height: read.height, rgb: read.rgb }
    const { photo: result } = await protector.protect(pixels, { preset: presets.auto, steps })
    await encodePhoto({ ...read, rgb: result.rgb }, { format: 'png', mark: true })
    times.push(seconds(began))
  }
  return times
}

async function inPage(file: string): Promise<{ usable: number; ready: number; times: number[] }> {
  const browser = await launchBrowser(WEBGPU_SWITCHES)
  try {
    const began = performance.now()
    const page = await browser.open(`${pathToFileURL(file).href}#steps=${steps}&models=${values.models}`)
    const usable = await page.evaluate<number>(
      `performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd / 1000`,
    )
    await page.until(`document.body.innerText.includes('Graphics:')`)
    const ready = seconds(began)
    await page.drop([photo])
    await page.until(`document.querySelector('.card[data-state=ready]')`)
    const times: number[] = []
    for (let i = 0; i < 2; i++) {
      const pressed = performance.now()
      await page.evaluate(`document.querySelector('.bottom .main').click()`)
      await page.until(`document.querySelector('.card[data-state=done]')`, 900_000)
      times.push(seconds(pressed))
      await page.evaluate(`document.querySelector('.words .buttons button:last-child').click()`)
    }
    return { usable, ready, times }
  } finally {
    await browser.close()
  }
}

try {
  await buildPageParts(folder)
  const { parts } = await readPageParts(folder)
  const file = join(folder, 'page.html')
  writeFileSync(file, await singleFile(parts))
  const page = await inPage(file)
  console.log(
    `the page: ${page.usable.toFixed(2)} s until something can be pressed, ${page.ready.toFixed(1)} s until it is ready to compute`,
  )
  console.log(`in Chromium ${page.times.map((time) => time.toFixed(1)).join(', ')} s`)
  const node = await inNode(parts.data.get('networks')!)
  for (const [i, name] of ['first photo', 'second photo'].entries()) {
    const ratio = (page.times[i] / node[i]).toFixed(2)
    console.log(
      `${name}, ${steps} steps: ${page.times[i].toFixed(1)} s in Chromium, ${node[i].toFixed(1)} s in Node: ${ratio}`,
    )
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
// Drivers may keep threads of their own.
process.exit()
