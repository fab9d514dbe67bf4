/** examples/queue with a real Redis: workers that are killed, photos that cannot be protected, shutdown, and nothing twice. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { room } from '../support/cli.ts'
import { writePhotos } from '../support/many-photos.ts'
import { installPackages, typeErrors } from '../support/packages.ts'
import { type RunningRedis, startRedis, whyNoRedis } from '../support/redis.ts'
import { everything, LONG } from '../support/scope.ts'

const repository = resolve(import.meta.dirname, '../..')
const reason = whyNoRedis()

/** What is used of BullMQ's jobs, whose types are not installed here. */
interface Job {
  id: string
  data: { file: string; name: string; reason?: string }
  returnvalue: { result: string; already: boolean; faces: number }
  progress: { phase?: string }
  attemptsMade: number
  attemptsStarted: number
  remove(): Promise<void>
}
interface Queue {
  getJobs(states: readonly string[]): Promise<Job[]>
  getJob(id: string): Promise<Job | undefined>
  close(): Promise<void>
}

describe.skipIf(!everything || reason)(`a queue of uploads${reason ? `: ${reason}` : LONG}`, () => {
  let recipe: string
  let redis: RunningRedis
  let queue: Queue
  let dead: Queue
  let closeConnection: () => void
  let notInstalled: string | undefined
  const workers: ChildProcess[] = []

  beforeAll(async () => {
    recipe = room('queue')
    cpSync(join(repository, 'examples/queue'), recipe, {
      recursive: true,
      filter: (path) => !path.includes('node_modules'),
    })
    notInstalled = installPackages('examples/queue', recipe)
    if (notInstalled === undefined) {
      if (!existsSync(join(repository, 'dist/node.js')))
        execFileSync('npm', ['run', '-s', 'build'], { cwd: repository })
      redis = await startRedis(recipe)
      const require = createRequire(join(recipe, 'package.json'))
      const connection = new (require('ioredis').Redis)(redis.url, { maxRetriesPerRequest: null })
      const make = (name: string): Queue => new (require('bullmq').Queue)(name, { connection })
      ;[queue, dead] = [make('protect'), make('protect-dead')]
      closeConnection = () => connection.disconnect()
    }
  })

  afterAll(async () => {
    for (const worker of workers) worker.kill('SIGKILL')
    await queue?.close()
    await dead?.close()
    closeConnection?.()
    await redis?.stop()
  })

  const run = (script: string, ...args: string[]): string =>
    execFileSync(process.execPath, [script, ...args], {
      cwd: recipe,
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '', REDIS_URL: redis.url },
    })

  function startWorker(): { child: ChildProcess; said: () => string; ended: Promise<number | null> } {
    const child = spawn(process.execPath, ['worker.ts'], {
      cwd: recipe,
      env: {
        ...process.env,
        NODE_OPTIONS: '',
        REDIS_URL: redis.url,
        RESULTS: join(recipe, 'results'),
        STRENGTH: 'low',
        STEPS: '12',
        MODELS: 'sirius',
        LOCK_SECONDS: '6',
        ...(process.env.LOWKEY_GPU ? { GPU: process.env.LOWKEY_GPU } : {}),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    workers.push(child)
    let text = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (text += data))
    const ended = new Promise<number | null>((done) => child.once('exit', (code) => done(code)))
    return { child, said: () => text, ended }
  }

  async function until<T>(what: string, look: () => Promise<T | undefined | false>, said: () => string): Promise<T> {
    for (let waited = 0; waited < 240_000; waited += 200) {
      const seen = await look()
      if (seen) return seen
      await sleep(200)
    }
    throw new Error(`waited in vain until ${what}\n${said()}`)
  }

  /** The job that the GPU works on. One whose worker was killed looks so, too, until its lock runs out. */
  const working =
    (except = '') =>
    async (): Promise<Job | undefined> =>
      (await queue.getJobs(['active'])).find(({ id, progress }) => id !== except && progress?.phase === 'attack')

  const childrenOf = (pid: number): number[] =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)

  const finished = async (count: number): Promise<boolean> => (await queue.getJobs(['completed'])).length === count

  test('has the right types', ({ skip }) => {
    if (notInstalled) skip(notInstalled)
    expect(typeErrors(recipe)).toBe('')
  })

  test('loses nothing and does nothing twice when workers and their children are killed', async ({ skip }) => {
    if (notInstalled) skip(notInstalled)
    const names = ['a.png', 'b.png', 'c.png', 'd.png', 'e.png']
    mkdirSync(join(recipe, 'uploads'))
    await writePhotos(join(recipe, 'uploads'), names)
    writeFileSync(join(recipe, 'uploads/broken.png'), 'no picture')
    await sharp({ create: { width: 200, height: 200, channels: 3, background: 'grey' } })
      .png()
      .toFile(join(recipe, 'uploads/nobody.png'))
    const files = [...names, 'broken.png', 'nobody.png'].map((name) => `uploads/${name}`)
    run('add.ts', ...files)
    // The same bytes are one job.
    run('add.ts', files[0])
    expect(await queue.getJobs(['waiting'])).toHaveLength(files.length)

    const first = startWorker()
    const interrupted = await until('the first worker works', working(), first.said)
    const [processor] = childrenOf(first.child.pid!)
    first.child.kill('SIGKILL')
    await first.ended
    // Its child does not work on for nobody.
    await until('its child ended', async () => !existsSync(`/proc/${processor}`), first.said)
    const beforeThat = (await queue.getJobs(['completed'])).length

    const second = startWorker()
    const broken = await until('the second worker works', working(interrupted.id), second.said)
    for (const pid of childrenOf(second.child.pid!)) process.kill(pid, 'SIGKILL')
    await until('all are done', () => finished(names.length), second.said)
    await until('two letters are dead', async () => (await dead.getJobs(['waiting'])).length === 2, second.said)

    expect(await queue.getJobs(['waiting', 'active', 'delayed', 'failed'])).toEqual([])
    const jobs = await queue.getJobs(['completed'])
    expect(jobs.map(({ data }) => data.name).sort()).toEqual(names)
    // Of every photo one result, which is whole; no temporary file stays.
    const results = readdirSync(join(recipe, 'results')).sort()
    expect(results).toEqual(jobs.map(({ id }) => `${id}.png`).sort())
    for (const { id, returnvalue } of jobs) {
      expect(returnvalue).toMatchObject({ already: false, faces: 1 })
      const { info } = await sharp(returnvalue.result).raw().toBuffer({ resolveWithObject: true })
      expect(info, id).toMatchObject({ width: 160, height: 200 })
    }
    // Only those two were begun again: the one whose worker was killed, and the one whose child was.
    const begunAgain = new Set([interrupted.id, broken.id])
    for (const { id, attemptsStarted, data } of jobs)
      expect(attemptsStarted > 1, `${data.name} begun ${attemptsStarted} times`).toBe(begunAgain.has(id))
    expect(second.said()).toContain(`taken up ${interrupted.id}`)
    expect(second.said()).toMatch(new RegExp(`failed ${broken.data.name}: .*; will be tried again`))
    const done = (second.said().match(/^done /gm) ?? []).length
    expect(done + beforeThat).toBe(names.length)

    // Without another try, and with the reason.
    const letters = (await dead.getJobs(['waiting'])).map(({ data }) => data)
    expect(letters.map(({ name }) => name).sort()).toEqual(['broken.png', 'nobody.png'])
    expect(second.said()).toMatch(/^failed broken\.png: .*called a photo(?!.*will be tried again)/m)
    for (const { name } of letters) expect(second.said().match(new RegExp(`begins ${name}`, 'g')), name).toHaveLength(1)
    expect(run('dead.ts')).toMatch(/nobody\.png: .*no face.* \(1 tries\)/i)

    // Added again: nothing happens; also when the queue has forgotten the job, the result is not made again.
    const [made] = jobs
    const before = readFileSync(made.returnvalue.result)
    await made.remove()
    run('add.ts', ...names.map((name) => `uploads/${name}`))
    await until('all are done again', () => finished(names.length), second.said)
    expect((await queue.getJob(made.id))!.returnvalue.already).toBe(true)
    expect(readFileSync(made.returnvalue.result).equals(before)).toBe(true)
    expect(readdirSync(join(recipe, 'results'))).toHaveLength(names.length)

    // SIGTERM: the photo in work is finished, no other is begun.
    mkdirSync(join(recipe, 'more'))
    await writePhotos(join(recipe, 'more'), [...names, 'f.png', 'g.png'])
    run('add.ts', 'more/f.png', 'more/g.png')
    const last = await until('it works again', working(), second.said)
    second.child.kill('SIGTERM')
    expect(await second.ended, second.said()).toBe(0)
    expect(second.said()).toMatch(/^closed$/m)
    expect((await queue.getJob(last.id))!.returnvalue).toMatchObject({ already: false, faces: 1 })
    expect(await queue.getJobs(['waiting'])).toHaveLength(1)
    expect(await queue.getJobs(['active', 'delayed', 'failed'])).toEqual([])

    // A person puts a dead letter back.
    const [letter] = await dead.getJobs(['waiting'])
    run('dead.ts', 'again', letter.id)
    expect((await queue.getJobs(['waiting'])).map(({ id }) => id)).toContain(letter.id)
    expect(await dead.getJobs(['waiting'])).toHaveLength(1)
  })
})
