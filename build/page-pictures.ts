/**
 * `node build/page-pictures.ts [PAGE.html] [FOLDER] [NAME...]`: the documents' pictures of the page with the demo's portrait, or those of these names:
 * before the start (page-desktop), and protected with the default strength, by night (page-dark) and on a phone (page-phone). The latter take some
 * minutes on a software adapter.
 */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import sharp from 'sharp'
import { launchBrowser, type View, WEBGPU_SWITCHES } from '../test/support/browser.ts'

const [page = 'dist/page/index.html', folder = 'docs/images', ...asked] = process.argv.slice(2)
const wanted = (...names: string[]) => asked.length === 0 || names.some((name) => asked.includes(name))
const DESKTOP: View = { width: 1100, height: 900 }
const PHONE: View = { width: 390, height: 844 }

const browser = await launchBrowser(WEBGPU_SWITCHES)
try {
  const opened = await browser.open(pathToFileURL(resolve(page)).href, DESKTOP)
  const done = (state: string) => opened.until(`document.querySelector('.card[data-state=${state}]')`, 900_000)
  const take = async (name: string, view: View, script = 'scrollTo(0, 0)') => {
    await opened.setView(view)
    await opened.evaluate(script)
    // Pictures of the page are decoded a moment after they are shown.
    await opened.evaluate('Promise.all([...document.images].map((image) => image.decode().catch(() => {})))')
    await opened.evaluate('new Promise((done) => setTimeout(done, 300))')
    const png = await opened.screenshot('window')
    await sharp(png).png({ palette: true, quality: 90, effort: 10 }).toFile(`${folder}/${name}.png`)
  }
  await opened.until(`document.body.innerText.includes('Graphics:')`)
  // What it says of a browser without a GPU is not what most people see.
  await opened.evaluate(`document.querySelector('.notice').hidden = true`)
  await opened.drop([resolve('examples/astronaut.png')])
  await done('ready')
  const to = (selector: string) => `document.querySelector('${selector}').scrollIntoView(); scrollBy(0, -16)`
  if (wanted('page-desktop')) await take('page-desktop', { ...DESKTOP, height: 1000 }, to('#strength-title'))
  if (wanted('page-dark', 'page-phone')) {
    await opened.evaluate(`document.querySelector('.bottom .main').click()`)
    await done('done')
    await take('page-dark', { ...DESKTOP, height: 860, dark: true }, to('.card'))
    await take('page-phone', PHONE, to('.card'))
  }
} finally {
  await browser.close()
}
