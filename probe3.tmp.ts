import { writeFileSync } from 'node:fs'
import { launchBrowser, WEBGPU_SWITCHES } from './test/support/browser.ts'
const b = await launchBrowser(WEBGPU_SWITCHES)
const p = await b.open('file:///work/wt-page/dist/page/index.html#models=sirius&steps=2', { width: 1100, height: 900 })
try {
  await p.until(`document.body.innerText.includes('Graphics:') || document.querySelector('.notice.unable')`, 60000); console.log(await p.evaluate('document.querySelector(".notice").textContent'))
  writeFileSync('/tmp/page/1.png', await p.screenshot('page'))
  await p.drop(['/work/wt-page/examples/astronaut.png'])
  await p.until(`document.querySelector('.card[data-state=ready],.card[data-state=failed]')`, 60000)
  writeFileSync('/tmp/page/2.png', await p.screenshot('page'))
  await p.evaluate(`document.querySelector('.bottom .main').click()`)
  await p.until(`document.querySelector('.card[data-state=done],.card[data-state=failed]')`, 200000)
  await new Promise(r => setTimeout(r, 500))
  writeFileSync('/tmp/page/3.png', await p.screenshot('page'))
} catch (e) { console.log(e); writeFileSync('/tmp/page/e.png', await p.screenshot('page')) }
console.log(p.requests, p.complaints)
await b.close()
