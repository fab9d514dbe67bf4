/**
 * The dead letters: `node dead.ts` lists them, `node dead.ts again` puts all back into the queue, `node dead.ts again ID...` these.
 */
import { Redis } from 'ioredis'
import { deadLetters, redisUrl, uploads } from './queue.ts'

const [command, ...ids] = process.argv.slice(2)
if (command !== undefined && command !== 'again') {
  console.error('Usage: node dead.ts [again [ID...]]')
  process.exit(2)
}
const connection = new Redis(redisUrl, { maxRetriesPerRequest: 3 })
const [queue, dead] = [uploads(connection), deadLetters(connection)]
try {
  for (const job of await dead.getJobs(['waiting'])) {
    if (!job?.id || (ids.length > 0 && !ids.includes(job.id))) continue
    const { file, name, reason, attempts } = job.data
    if (command === 'again') {
      await queue.add('protect', { file, name }, { jobId: job.id })
      await job.remove()
    }
    console.log(`${job.id} ${name}: ${reason} (${attempts} tries)${command === 'again' ? ', put back' : ''}`)
  }
} finally {
  await Promise.all([queue.close(), dead.close()])
  connection.disconnect()
}
