/**
 * Adds uploads: `node add.ts FILE...`. A service would do the same when an upload has arrived.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { Redis } from 'ioredis'
import { redisUrl, uploads } from './queue.ts'

const files = process.argv.slice(2)
if (files.length === 0) {
  console.error('Usage: node add.ts FILE...')
  process.exit(2)
}
const connection = new Redis(redisUrl, { maxRetriesPerRequest: 3 })
const queue = uploads(connection)
try {
  for (const file of files) {
    const id = createHash('sha256')
      .update(await readFile(file))
      .digest('hex')
    await queue.add('protect', { file: resolve(file), name: basename(file) }, { jobId: id })
    console.log(`${id} ${file}`)
  }
} finally {
  await queue.close()
  connection.disconnect()
}
