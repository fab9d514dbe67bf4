/**
 * `node test/support/fuzz.ts COUNT SEED`: reads so many damaged photos. A process of its own, so that a crash is seen and memory is
 * measured. Prints a JSON object at the end; before, a line for each photo that is begun, so that a crash can be found again.
 */
import { writeSync } from 'node:fs'
import { ImageSupportError, type Photo, PhotoError, readPhoto } from '../../src/images/index.ts'
import { checkPhoto } from '../../src/images/photo.ts'
import { inputs } from './inputs/index.ts'
import { mutated } from './mutate.ts'
import { random } from './random.ts'

/** What a run found. */
export interface FuzzReport {
  read: number
  refused: number
  /** Neither a whole photo nor a named error: seed, input, what happened. */
  wrong: string[]
  slowest: { seconds: number; what: string }
  /** Bytes of memory at most. */
  memory: number
}

/** Of the photos for the decoders in threads of their own, a tenth of a second each, so many. */
const ISOLATED = 0.1
const AT_ONCE = 4
/** A decoder that is still at work then hangs. */
const HANGS = 120_000

const [count, seed] = process.argv.slice(2).map(Number)
const files = await Promise.all(
  inputs.map(async ({ name, file, bytes, readBy, options }) => ({ name, file, bytes: await bytes(), readBy, options })),
)
const isolated = files.filter(({ readBy }) => /heif-js|jxl-oxide/.test(readBy))
const others = files.filter((file) => !isolated.includes(file))
const report: FuzzReport = { read: 0, refused: 0, wrong: [], slowest: { seconds: 0, what: '' }, memory: 0 }

async function one(number: number): Promise<void> {
  const draw = random(number)
  const among = draw() < ISOLATED ? isolated : others
  const { name, file, bytes, options } = among[Math.floor(draw() * among.length)]
  const other = files[Math.floor(draw() * files.length)].bytes
  const damaged = mutated(bytes, other, draw)
  const what = `${number} (${name})`
  writeSync(1, `${what}\n`)
  const began = performance.now()
  let timer: NodeJS.Timeout | undefined
  const hangs = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('hangs')), HANGS)
  })
  try {
    check(await Promise.race([readPhoto(damaged, file, { ...options, strict: draw() < 0.2 }), hangs]))
    report.read++
  } catch (error) {
    if (error instanceof PhotoError && !(error instanceof ImageSupportError) && error.advice && error.problem)
      report.refused++
    else report.wrong.push(`${what}: ${error instanceof Error ? error.stack : error}`)
  } finally {
    clearTimeout(timer)
  }
  const seconds = (performance.now() - began) / 1000
  if (seconds > report.slowest.seconds) report.slowest = { seconds, what }
}

/** A photo is whole: its arrays have the length of its size, and what is said of it is said. */
function check(photo: Photo): void {
  checkPhoto(photo)
  if (photo.warnings?.some((text) => !/^[^\n]{5,400}\.$/.test(text)))
    throw new Error(`warns ${JSON.stringify(photo.warnings)}`)
}

let next = 0
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    while (next < count) await one(seed + next++)
  }),
)
report.memory = process.resourceUsage().maxRSS * 1024
writeSync(1, `${JSON.stringify(report)}\n`)
