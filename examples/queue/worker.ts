/**
 * Protects uploads one after another, until SIGTERM or SIGINT: `node worker.ts`. Start one for each GPU, or for every two cores without one, on
 * as many machines as you like. Environment:
 *
 *     REDIS_URL      redis://127.0.0.1:6379
 *     RESULTS        folder of the results (results)
 *     STRENGTH       as `lowkey-gpu protect --strength` (auto); STEPS, MODELS and GPU as --steps, --models and --gpu
 *     LOCK_SECONDS   a job whose worker has not been heard of for so long is taken up by another (30)
 */
import { mkdirSync } from 'node:fs'
import { Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { deadLetters, moveDead, names, type Protected, redisUrl, type Upload, uploads } from './queue.ts'

const { RESULTS = 'results', LOCK_SECONDS = '30' } = process.env
const lock = Number(LOCK_SECONDS) * 1000
if (!(lock >= 1000)) throw new RangeError(`LOCK_SECONDS is at least 1; got ${LOCK_SECONDS}`)

mkdirSync(RESULTS, { recursive: true })
// BullMQ wants this of a connection that waits: commands are kept while Redis is away.
const connection = new Redis(redisUrl, { maxRetriesPerRequest: null })
const queue = uploads(connection)
const dead = deadLetters(connection)

const worker = new Worker<Upload, Protected>(names.protect, new URL('protect.ts', import.meta.url), {
  connection,
  concurrency: 1,
  lockDuration: lock,
  stalledInterval: lock,
  // How often a job may lose its worker. One that ends its process is a failed try, and counts as that.
  maxStalledCount: 3,
})

/** Of the failed jobs; also those of workers that were killed before they could. */
async function bury(): Promise<void> {
  for (const name of await moveDead(queue, dead)) console.log(`dead ${name}`)
}

worker.on('active', (job) => console.log(`begins ${job.data.name}, try ${job.attemptsMade + 1}`))
worker.on('completed', (job, { result, already, faces, matches }) => {
  console.log(`done ${job.data.name} -> ${result}${already ? ', was there already' : `, ${faces} faces`}`)
  if (matches?.length) console.log(`warning ${job.data.name}: ${matches.join(', ')} still match`)
})
worker.on('failed', (job, error) => {
  // The error of another process, known by its name.
  const final = !job || error.name === 'UnrecoverableError' || job.attemptsMade >= (job.opts.attempts ?? 1)
  console.log(`failed ${job?.data.name ?? 'a job'}: ${error.message}${final ? '' : '; will be tried again'}`)
  bury().catch(report)
})
worker.on('stalled', (id) => console.log(`taken up ${id}, whose worker is gone`))
worker.on('error', report)
const burying = setInterval(() => bury().catch(report), lock)
await bury()
await worker.waitUntilReady()
console.log('ready')

let stopping = false
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    // The second time at once: the job's lock runs out, and another worker has it.
    if (stopping) process.exit(1)
    stopping = true
    console.log(`${signal}: ends the photo in work, takes no other`)
    void stop()
  })
}

async function stop(): Promise<void> {
  await worker.close()
  clearInterval(burying)
  await bury()
  await Promise.all([queue.close(), dead.close()])
  connection.disconnect()
  console.log('closed')
}

function report(error: unknown): void {
  console.error(`error ${error instanceof Error ? error.message : error}`)
}
