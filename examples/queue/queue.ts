/** The two queues, and what is in their jobs. */
import { Queue } from 'bullmq'
import type { Redis } from 'ioredis'

/** A photo to protect. Its id is the SHA-256 of its bytes, so the same upload is one job however often it is added. */
export interface Upload {
  /** Absolute path, the same on every machine with a worker. */
  file: string
  /** What messages call it. */
  name: string
}

/** What came of it. */
export interface Protected {
  result: string
  /** The result was there already: a worker was killed after writing it and before saying so. */
  already: boolean
  faces?: number
  /** Recognisers that still take a face for the person. */
  matches?: string[]
  warnings?: string[]
}

/** An upload that will not be tried again, and why. */
export interface DeadLetter extends Upload {
  reason: string
  attempts: number
}

const NAME = process.env.QUEUE ?? 'protect'

export const names = { protect: NAME, dead: `${NAME}-dead` } as const

export const redisUrl = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379'

/** Uploads wait here. Tried three times, 10, 20, ... seconds apart; what cannot succeed is not tried again (see protect.ts). */
export const uploads = (connection: Redis): Queue<Upload, Protected> =>
  new Queue(names.protect, {
    connection,
    defaultJobOptions: {
      attempts: 3,
      backoff: { type: 'exponential', delay: 10_000 },
      // Done jobs are remembered for a day, to be asked about; failed ones until they are moved to the dead letters.
      removeOnComplete: { age: 24 * 3600 },
      removeOnFail: false,
    },
  })

/** For a person to look at: nothing works on this queue. */
export const deadLetters = (connection: Redis): Queue<DeadLetter> => new Queue(names.dead, { connection })

/**
 * Moves what failed for good to the dead letters; returns their names. It may be stopped anywhere and run twice, also by two workers: a letter
 * has the upload's id, and is there before the job goes.
 */
export async function moveDead(from: Queue<Upload, Protected>, to: Queue<DeadLetter>): Promise<string[]> {
  const moved: string[] = []
  for (const job of await from.getFailed(0, 99)) {
    if (job?.id === undefined) continue
    const letter = { ...job.data, reason: job.failedReason, attempts: job.attemptsMade }
    await to.add('dead', letter, { jobId: job.id })
    await job.remove()
    moved.push(job.data.name)
  }
  return moved
}
