/** Tasks of many as processes: shards, kills, signals, two on one folder. The GPU is a stand-in, so that there can be many of them. */
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { ledgersIn, rowsOf, sha256Of } from '../../src/batch/ledger.ts'
import type { LedgerRow, PhotoRow } from '../../src/batch/rows.ts'
import { shardOf } from '../../src/batch/shard.ts'
import { lowkey, room } from '../support/cli.ts'
import { portrait } from '../support/portrait.ts'
import { random } from '../support/random.ts'
import { everything, LONG } from '../support/scope.ts'
import { MAY_BE } from '../support/stand-in-protector.ts'

const script = join(import.meta.dirname, '../support/task-process.ts')

/** A photo of one grey, by which it is known; under 8 it has no face. */
const paint = (grey: number): Promise<Buffer> =>
  sharp({ create: { width: 64, height: 64, channels: 3, background: { r: grey, g: grey, b: grey } } })
    .png()
    .toBuffer()

/** A folder `in` with photos in nested folders, and their paths in it. */
async function archive(count: number): Promise<{ cwd: string; photos: string[] }> {
  const cwd = room('tasks')
  const photos = Array.from({ length: count }, (_, i) => `${['', 'a/', 'a/b/', 'c/'][i % 4]}p${i}.png`)
  for (const [i, photo] of photos.entries()) {
    mkdirSync(dirname(join(cwd, 'in', photo)), { recursive: true })
    writeFileSync(join(cwd, 'in', photo), await paint(10 + i))
  }
  return { cwd, photos }
}

/** Runs a task in `cwd`. */
const task = (cwd: string, args: readonly string[], more: Partial<Parameters<typeof lowkey>[1]> = {}) =>
  lowkey(['-r', 'in', '-o', 'out', ...args], { cwd, script, replaces: ledgerNames(cwd), ...more })

/** Ledgers of tasks that still run may grow. */
const ledgerNames = (cwd: string): string[] => ledgersIn(join(cwd, 'out')).map((path) => path.slice(cwd.length + 1))

const resultOf = (photo: string): string => `out/${photo.replace('.png', '.cloaked.png')}`
const rowsIn = (cwd: string): (LedgerRow | undefined)[] =>
  ledgersIn(join(cwd, 'out')).flatMap((path) => [...rowsOf(path)])
const photoRows = (cwd: string): PhotoRow[] => rowsIn(cwd).filter((row): row is PhotoRow => row?.row === 'photo')
const rows = (stdout: string) =>
  stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
const summary = (stdout: string) => rows(stdout).at(-1).summary

/** Every photo has its result, whole, and no file is there beside these and the ledgers. */
async function expectAllDone(cwd: string, photos: readonly string[]): Promise<void> {
  const there = readdirSync(join(cwd, 'out'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith('lowkey-ledger'))
    .map((entry) => join(entry.parentPath, entry.name).slice(cwd.length + 1))
  expect(there.filter((name) => !name.endsWith('.part')).sort()).toEqual(photos.map(resultOf).sort())
  for (const [i, photo] of photos.entries()) {
    const { data } = await sharp(join(cwd, resultOf(photo)))
      .raw()
      .toBuffer({ resolveWithObject: true })
    expect(data[0], photo).toBe(11 + i)
  }
}

describe('a shard', () => {
  test('of each task: together all photos, each once; nothing is left to do then', async () => {
    const { cwd, photos } = await archive(20)
    const runs = await Promise.all(
      [1, 2, 3, 4].map((k) => task(cwd, ['--shard', `${k}/4`, '--resume', '--json'], { replaces: [], parts: true })),
    )
    expect(runs.map(({ code }) => code)).toEqual([0, 0, 0, 0])
    await expectAllDone(cwd, photos)
    for (const [i, { stdout }] of runs.entries()) {
      const mine = photos.filter((photo) => shardOf(photo, 4) === i + 1)
      // A shard without photos, as the first is here, has none that another's could match.
      const note = expect.stringMatching(/^photos of other shards are not known to this task/)
      expect(rows(stdout).at(-1).notes).toEqual(mine.length > 0 ? [note] : [])
      expect(rows(stdout)[0]).toEqual({
        task: { shard: { index: i + 1, count: 4 }, photos: mine.length, of: 20, doneBefore: 0 },
      })
      expect(
        rows(stdout)
          .slice(1, -1)
          .map(({ input }) => input)
          .sort(),
      ).toEqual(mine.map((photo) => join('in', photo)).sort())
    }
    const done = photoRows(cwd)
    expect(done.map(({ photo }) => photo).sort()).toEqual([...photos].sort())
    for (const { photo, input, output } of done) {
      const [before, after] = [join(cwd, 'in', photo), join(cwd, resultOf(photo))].map((path) => readFileSync(path))
      expect(input).toEqual({ sha256: sha256Of(before), bytes: before.length })
      expect(output).toEqual({ path: resultOf(photo).slice(4), sha256: sha256Of(after), bytes: after.length })
    }
    const ledgers = ledgerNames(cwd)
    expect(ledgers).toHaveLength(new Set(photos.map((photo) => shardOf(photo, 4))).size)
    // With other shards, too: what is done is done.
    const again = await task(cwd, ['--shard', '1/1', '--resume', '--json'])
    expect(again).toMatchObject({ code: 0, created: [] })
    expect(summary(again.stdout)).toMatchObject({ photos: 20, protected: 0, doneBefore: 20 })
    expect(ledgerNames(cwd)).toEqual(ledgers)
  }, 120_000)

  test('auto says what it found; a gap is an error before anything runs', async () => {
    const { cwd, photos } = await archive(4)
    const env = {
      SLURM_ARRAY_TASK_ID: '7',
      SLURM_ARRAY_TASK_MIN: '6',
      SLURM_ARRAY_TASK_MAX: '7',
      SLURM_ARRAY_TASK_COUNT: '2',
    }
    const run = await task(cwd, ['--shard', 'auto'], { env })
    const mine = photos.filter((photo) => shardOf(photo, 2) === 2)
    expect(run.stderr).toContain(
      `shard 2 of 2 (Slurm: SLURM_ARRAY_TASK_ID=7, SLURM_ARRAY_TASK_MIN=6, SLURM_ARRAY_TASK_MAX=7, SLURM_ARRAY_TASK_COUNT=2): ${mine.length} of 4 photos\n`,
    )
    expect(run.code).toBe(0)
    const gap = await task(cwd, ['--shard', 'auto'], { env: { ...env, SLURM_ARRAY_TASK_MIN: '0' } })
    expect(gap).toMatchObject({ code: 2, stdout: '', created: [] })
    expect(gap.stderr).toMatch(/Slurm \(.*\): 0 to 7 are 8 tasks, not 2/)
  }, 60_000)

  test('names results as the whole folder would, says of other files once, and needs a folder for results', async () => {
    const cwd = room('tasks')
    mkdirSync(join(cwd, 'in'))
    for (const [i, name] of ['x.png', 'x.PNG', 'y.png', 'y.webp'].entries()) {
      const photo = sharp(await paint(10 + i))
      writeFileSync(
        join(cwd, 'in', name),
        await (name.endsWith('webp') ? photo.webp({ lossless: true }) : photo.png()).toBuffer(),
      )
    }
    writeFileSync(join(cwd, 'in', 'film.mp4'), Buffer.from('00000018667479706d703432000000006d70343269736f6d', 'hex'))
    writeFileSync(join(cwd, 'in', 'odd.jpg'), 'no picture')
    const whole = await lowkey(['-r', 'in', '-o', 'whole', '--format', 'png'], { cwd, script })
    const runs = []
    for (const k of [1, 2, 3, 4, 5]) runs.push(await task(cwd, ['--shard', `${k}/5`, '--format', 'png']))
    const created = runs
      .flatMap(({ created }) => created)
      .filter((name) => name.endsWith('.png') || name.endsWith('.PNG'))
    expect(created.map((name) => name.replace('out/', 'whole/')).sort()).toEqual(whole.created)
    const stderr = runs.map((run) => run.stderr).join('')
    expect(stderr.match(/film\.mp4/g)).toHaveLength(1)
    expect(stderr.match(/^lowkey-gpu: in\/odd\.jpg is called a photo/gm)).toHaveLength(1)
    expect(runs.map(({ code }) => code).sort()).toEqual([0, 0, 0, 0, 1])
    for (const args of [
      ['in', '--shard', '1/2'],
      ['in/x.png', '-o', 'x.png', '--resume'],
      ['-', '-o', 'out/', '--resume'],
      ['in', '-o', 'out', '--shard', '3/2'],
      ['in', '-o', 'out', '--grace', '5'],
      ['in', '-o', 'out', '--resume', '--faces', 'list'],
    ]) {
      const refused = await lowkey(args, { cwd, script })
      expect(refused, args.join(' ')).toMatchObject({ code: 2, stdout: '', created: [] })
    }
  }, 120_000)
})

describe('--resume', () => {
  test('does again what changed: the photo, the settings, the result', async () => {
    const { cwd, photos } = await archive(4)
    expect((await task(cwd, ['--resume'])).code).toBe(0)
    const before = photoRows(cwd).length
    expect(before).toBe(4)
    // The same bytes at another time are the same photo; other bytes are not.
    utimesSync(join(cwd, 'in', photos[0]), 1, 1)
    const [changed, time] = [join(cwd, 'in', photos[1]), new Date(1e12)]
    writeFileSync(
      changed,
      await sharp(await paint(99))
        .png({ compressionLevel: 0 })
        .toBuffer(),
    )
    utimesSync(changed, time, time)
    // A result that somebody else changed or took away.
    rmSync(join(cwd, resultOf(photos[2])))
    const run = await task(cwd, ['--resume', '--json'], { replaces: [`in/${photos[1]}`, ...ledgerNames(cwd)] })
    expect(run.code).toBe(1)
    expect(run.stderr).toMatch(
      /p1\.cloaked\.png was made from another state of the photo, by the ledger: --overwrite replaces it/,
    )
    expect(summary(run.stdout)).toMatchObject({ photos: 4, protected: 1, failed: 1, doneBefore: 2 })
    const replaces = [resultOf(photos[1]), ...ledgerNames(cwd)]
    const over = await task(cwd, ['--resume', '--overwrite', '--json'], { replaces })
    expect(over.code).toBe(0)
    expect(summary(over.stdout)).toMatchObject({ photos: 4, protected: 1, failed: 0, doneBefore: 3 })
    const other = await task(cwd, ['--resume', '--seed', '2', '--json'])
    expect(other.stderr.match(/was made with other settings, by the ledger/g)).toHaveLength(4)
    expect(other).toMatchObject({ code: 1 })
    expect(summary(other.stdout)).toMatchObject({ failed: 4 })
  }, 120_000)

  test('does not try a broken photo or one without a face again, but what may do better', async () => {
    const { cwd, photos } = await archive(3)
    const whole = readFileSync(join(cwd, 'in', photos[0]))
    writeFileSync(join(cwd, 'in', 'cut.png'), whole.subarray(0, whole.length - 30))
    writeFileSync(join(cwd, 'in', 'none.png'), await paint(0))
    const first = await task(cwd, ['--resume', '--json'])
    expect(first.code).toBe(1)
    const errors = (stdout: string) =>
      Object.fromEntries(rows(stdout).flatMap(({ input, error }) => (error ? [[input, error]] : [])))
    expect(errors(first.stdout)).toMatchObject({
      'in/cut.png': { code: 1, retry: false },
      'in/none.png': { code: 3, retry: false },
    })
    const again = await task(cwd, ['--resume', '--json'])
    expect(again).toMatchObject({ code: 1, created: [] })
    expect(errors(again.stdout)['in/cut.png'].message).toMatch(/so it ended before; without --resume it is tried again/)
    expect(Object.keys(errors(again.stdout))).toHaveLength(2)
    // Mended, it is another photo.
    writeFileSync(join(cwd, 'in', 'cut.png'), whole)
    const mended = await task(cwd, ['--resume', '--json', '--on-no-face', 'skip'], {
      replaces: ['in/cut.png', ...ledgerNames(cwd)],
    })
    expect(mended.stderr.match(/was made with other settings/g)).toHaveLength(3)
    expect(mended.created).toContain('out/cut.cloaked.png')
  }, 120_000)

  test('knows unprotected copies', async () => {
    const { cwd } = await archive(1)
    writeFileSync(join(cwd, 'in', 'none.png'), await paint(0))
    const args = ['--resume', '--json', '--on-no-face', 'copy']
    const first = await task(cwd, args)
    expect(first).toMatchObject({ code: 0 })
    expect(first.created).toContain('out/none.png')
    const again = await task(cwd, args)
    expect(again).toMatchObject({ code: 0, created: [] })
    expect(summary(again.stdout)).toMatchObject({ photos: 2, withoutFace: 1, doneBefore: 1 })
    rmSync(join(cwd, 'out/none.png'))
    expect((await task(cwd, args, { replaces: ['out/none.png', ...ledgerNames(cwd)] })).created).toContain(
      'out/none.png',
    )
  }, 60_000)

  test('a photo with which tasks are killed comes last, and is named after three', async () => {
    const { cwd, photos } = await archive(3)
    const begun = () => rowsIn(cwd).flatMap((row) => (row?.row === 'begun' ? [row.photo] : []))
    const poison = [...photos].sort()[0]
    for (const tries of [1, 2, 3]) {
      const during = async (child: ChildProcess) => {
        // When it is in work, and those before it are saved.
        const others = tries === 1 ? 0 : 2
        const isTime = () =>
          begun().filter((photo) => photo === poison).length === tries && photoRows(cwd).length === others
        while (child.exitCode === null && !isTime()) await sleep(5)
        child.kill('SIGKILL')
      }
      const env = { LOWKEY_STAND_IN_MS: '1500' }
      const run = await task(cwd, ['--resume'], { env, parts: true, during: (child) => void during(child) })
      expect(run.code).toBe(null)
    }
    expect(begun()).toEqual([poison, ...[...photos].sort().slice(1), poison, poison])
    const last = await task(cwd, ['--resume', '--json'])
    expect(last).toMatchObject({ code: 0 })
    expect(last.stderr).toMatch(
      /^note: in\/a\/b\/p2\.png: 3 tasks began with it and were not heard of again; it comes last/m,
    )
    expect(summary(last.stdout)).toMatchObject({ photos: 3, protected: 1, doneBefore: 2, failed: 0 })
  }, 120_000)

  test('a place that may be a face is said by every task, also by those that find the photo done', async () => {
    const { cwd } = await archive(1)
    writeFileSync(join(cwd, 'in', 'doubtful.png'), await paint(MAY_BE))
    const first = await task(cwd, ['--resume', '--json'])
    expect(first.code).toBe(6)
    const again = await task(cwd, ['--resume', '--json'])
    expect(again.code).toBe(6)
    expect(summary(again.stdout)).toMatchObject({ photos: 2, protected: 0, doneBefore: 2, faces: { mayBe: 1 } })
    const report = await lowkey(['report', 'out', '--json'], { cwd })
    expect(JSON.parse(report.stdout)).toMatchObject({
      // The second had nothing to do, and wrote none.
      tasks: { ended: 1, stopped: {} },
      mayBe: [{ photo: 'doubtful.png', boxes: [[1, 2, 30, 40]] }],
    })
  }, 60_000)

  test('a lost GPU: exit code 4, and another task goes on', async () => {
    const { cwd } = await archive(2)
    writeFileSync(join(cwd, 'in', 'p0a.png'), await paint(252))
    const lost = await task(cwd, ['--resume', '--json'], { env: { LOWKEY_STAND_IN_LOST: '1' } })
    expect(lost.code).toBe(4)
    expect(rows(lost.stdout).at(-1).stopped).toMatchObject({ code: 4, retry: true })
    expect(rowsIn(cwd).at(-1)).toMatchObject({ row: 'end', code: 4 })
    const run = await task(cwd, ['--resume', '--json'])
    expect(run.code).toBe(0)
    expect(summary(run.stdout)).toMatchObject({ photos: 3, failed: 0, notDone: 0 })
  }, 60_000)
})

describe('SIGTERM', () => {
  test('lets the photo in work end: exit code 75, and another run does the rest', async () => {
    const { cwd, photos } = await archive(4)
    const run = await task(cwd, ['--resume', '--json', '-q'], {
      env: { LOWKEY_STAND_IN_MS: '800' },
      during: (child) => void terminateAfterFirst(child, cwd),
    })
    expect(run.code).toBe(75)
    expect(run.stderr).toMatch(
      /^lowkey-gpu: stopped by SIGTERM before all photos were done: run the same command again$/m,
    )
    // The one that was done when the signal came, and the one that was in work.
    expect(summary(run.stdout)).toMatchObject({ photos: 4, protected: 2, notDone: 2 })
    expect(rowsIn(cwd).at(-1)).toMatchObject({ row: 'end', code: 75, notDone: 2 })
    expect((await task(cwd, ['--resume'])).code).toBe(0)
    await expectAllDone(cwd, photos)
  }, 60_000)

  test('after the time of --grace the photo in work ends, too; a second signal ends the process', async () => {
    const { cwd } = await archive(3)
    const env = { LOWKEY_STAND_IN_MS: '20000' }
    const run = await task(cwd, ['--resume', '--grace', '1'], { env, during: (child) => void terminate(child, cwd) })
    expect(run.code).toBe(75)
    expect(run.stdout).toBe('')
    const twice = await task(cwd, ['--resume'], {
      env,
      during: async (child) => {
        await terminate(child, cwd, 2)
        await sleep(200)
        child.kill('SIGTERM') // as `timeout` sends it to the group: once more the same
        await sleep(1500)
        expect(child.exitCode).toBe(null)
        child.kill('SIGTERM')
      },
    })
    expect(twice.code).toBe(143)
    // Neither waited for a photo, which would have taken the 20 s and been recorded.
    expect(photoRows(cwd)).toEqual([])
  }, 60_000)

  test('before the first photo: nothing is begun', async () => {
    const { cwd } = await archive(60)
    const run = await task(cwd, ['--resume'], { during: (child) => void sleep(450).then(() => child.kill('SIGTERM')) })
    expect([75, 143]).toContain(run.code)
    if (run.code === 75)
      expect(rowsIn(cwd).filter((row) => row?.row === 'photo')).toHaveLength(
        run.created.filter((name) => name.endsWith('.png')).length,
      )
  }, 60_000)

  /** Resolves when a photo was begun, so many by all tasks, and the signal is sent. */
  async function terminate(child: ChildProcess, cwd: string, count = 1): Promise<void> {
    while (child.exitCode === null && rowsIn(cwd).filter((row) => row?.row === 'begun').length < count) await sleep(5)
    child.kill('SIGTERM')
  }
  async function terminateAfterFirst(child: ChildProcess, cwd: string): Promise<void> {
    while (child.exitCode === null && photoRows(cwd).length < 1) await sleep(5)
    child.kill('SIGTERM')
  }
})

describe('two tasks on one folder', () => {
  test(`never harm each other: the same shard, twice, at the same time, ${everything ? 6 : 2} times${LONG}`, async () => {
    for (let round = 0; round < (everything ? 6 : 2); round++) {
      const { cwd, photos } = await archive(10)
      const env = { LOWKEY_STAND_IN_MS: String(round * 7) }
      const runs = await Promise.all(
        [1, 2].map(() => task(cwd, ['--shard', '1/1', '--resume', '--json'], { env, replaces: [], parts: true })),
      )
      for (const { code, stderr } of runs) expect(code, stderr).toBe(0)
      await expectAllDone(cwd, photos)
      expect(new Set(photoRows(cwd).map(({ photo }) => photo))).toEqual(new Set(photos))
      // Each result was named by one of them.
      expect(photoRows(cwd)).toHaveLength(photos.length)
      expect(ledgerNames(cwd).length).toBeLessThanOrEqual(2)
      const done = runs.map(({ stdout }) => summary(stdout))
      expect(done[0].protected + done[1].protected).toBe(photos.length)
      expect(done[0].doneBefore + done[1].doneBefore).toBe(photos.length)
    }
  }, 240_000)
})

describe('kill -9', () => {
  test.runIf(everything)(
    'of the program itself, on its GPU: the next run does what is left, with the same bytes',
    async () => {
      const cwd = room('tasks')
      mkdirSync(join(cwd, 'in/deep'), { recursive: true })
      const face = portrait()
      const photos = ['a.jpg', 'b.jpg', 'deep/c.jpg']
      for (const [i, photo] of photos.entries())
        writeFileSync(
          join(cwd, 'in', photo),
          await face
            .clone()
            .modulate({ brightness: 1 - i / 50 })
            .jpeg()
            .toBuffer(),
        )
      const gpu = process.env.LOWKEY_GPU ? ['--gpu', process.env.LOWKEY_GPU] : []
      // Kept apart from each other, they would depend on what was done before them, and the one in work comes last.
      const args = ['protect', '-r', 'in', '--steps', '2', '--models', 'sirius', '--alone', ...gpu]
      const whole = await lowkey([...args, '-o', 'whole'], { cwd })
      expect(whole.code).toBe(0)
      const killed = await lowkey([...args, '-o', 'out', '--resume'], {
        cwd,
        parts: true,
        during: (child) => void killAfterFirst(child, cwd),
      })
      expect(killed.code).toBe(null)
      const known = photoRows(cwd).length
      const run = await lowkey([...args, '-o', 'out', '--resume', '--json'], { cwd, replaces: ledgerNames(cwd) })
      expect(run.code, run.stderr).toBe(0)
      expect(summary(run.stdout)).toMatchObject({ photos: 3, protected: 3 - known, doneBefore: known })
      for (const photo of photos) {
        const name = photo.replace('.jpg', '.cloaked.jpg')
        expect(readFileSync(join(cwd, 'out', name)).equals(readFileSync(join(cwd, 'whole', name))), photo).toBe(true)
      }
    },
    600_000,
  )

  async function killAfterFirst(child: ChildProcess, cwd: string): Promise<void> {
    while (child.exitCode === null && photoRows(cwd).length < 1) await sleep(20)
    child.kill('SIGKILL')
  }

  const [archives, seed] = [everything ? 8 : 2, Number(process.env.LOWKEY_TEST_SEED ?? 1)]

  test(`at any moment, and again: at most the photo in work is lost (${archives} archives)${LONG}`, async () => {
    const next = random(seed)
    for (let round = 0; round < archives; round++) {
      const { cwd, photos } = await archive(8)
      const env = { LOWKEY_STAND_IN_MS: '30' }
      let kills = 0
      for (let code: number | null = null; code === null; ) {
        const before = photoRows(cwd).length
        const run = await task(cwd, ['--resume', '--json', '-q'], {
          env,
          parts: true,
          during: (child) => {
            // In the start of the process as well as in its work.
            if (kills < 12) setTimeout(() => child.kill('SIGKILL'), 300 + 900 * next()).unref()
          },
        })
        code = run.code
        if (code === null) kills++
        // What was written stays known.
        expect(photoRows(cwd).length).toBeGreaterThanOrEqual(before)
      }
      await expectAllDone(cwd, photos)
      const begun = rowsIn(cwd).filter((row) => row?.row === 'begun').length
      expect(begun).toBeLessThanOrEqual(photos.length + 2 * kills)
      expect(existsSync(join(cwd, 'out'))).toBe(true)
      const last = await task(cwd, ['--resume', '--json'], { parts: true })
      expect(summary(last.stdout)).toMatchObject({ photos: 8, protected: 0, doneBefore: 8 })
    }
  }, 600_000)
})
