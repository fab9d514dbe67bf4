/** `npm run page`: dist/page/index.html, the page in one file, and dist/page-hosted/, the page in several for a host. */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import manifest from '../package.json' with { type: 'json' }
import { severalFiles, singleFile } from '../src/page/assemble.ts'
import { readPageParts } from '../src/page/node.ts'
import { buildPageParts } from './page-parts.ts'

const { values } = parseArgs({ options: { folder: { type: 'string', default: 'dist' } } })
const folder = (name: string) => join(values.folder, name)

await buildPageParts(folder('page-parts'))
const { parts, lacking } = await readPageParts(folder('page-parts'))
const single = await singleFile(parts)
await mkdir(folder('page'), { recursive: true })
await writeFile(folder('page/index.html'), single)
await rm(folder('page-hosted'), { recursive: true, force: true })
await mkdir(folder('page-hosted'), { recursive: true })
for (const [name, bytes] of await severalFiles(parts, manifest.version))
  await writeFile(join(folder('page-hosted'), name), bytes)

const row = (name: string, bytes: number) => console.log(`${name.padEnd(16)}${(bytes / 1e6).toFixed(2).padStart(7)} MB`)
for (const [name, bytes] of parts.data) row(name, bytes.length)
row('page.js', parts.script.length)
row('page.css', parts.styles.length)
row('index.html', single.length)
for (const text of lacking) console.error(`page: ${text}`)
