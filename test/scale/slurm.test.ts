/** examples/slurm with a real Slurm: an array over nested folders, a node that loses its power, a limit of time, and a second submission. */
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { room } from '../support/cli.ts'
import { installCommand } from '../support/command.ts'
import { expectEachOnce, ledgersIn, resultsIn } from '../support/ledgers.ts'
import { CHEAP, writePhotos } from '../support/many-photos.ts'
import { freePorts } from '../support/ports.ts'
import { everything, LONG } from '../support/scope.ts'
import { shaderCaches } from '../support/shader-caches.ts'
import { Slurm, whyNoSlurm } from '../support/slurm.ts'

const script = resolve(import.meta.dirname, '../../examples/slurm/protect.sbatch')
const reason = whyNoSlurm()
/** Each of four tasks has three: numbered names are spread evenly. */
const names = ['2019/', '2019/beach/', '2020/'].flatMap((folder) => [1, 2, 3, 4].map((n) => `${folder}IMG_000${n}.png`))
const TASKS = 4

describe.skipIf(!everything || reason)(`a Slurm array${reason ? `: ${reason}` : LONG}`, () => {
  let slurm: Slurm
  let folder: string
  let bin: string

  beforeAll(async () => {
    folder = room('slurm')
    bin = installCommand(folder)
    await writePhotos(join(folder, 'photos'), names)
    mkdirSync(join(folder, 'engine'))
    slurm = new Slurm(join(folder, 'engine'), (await freePorts(3))[0])
    await slurm.start()
  })
  afterAll(() => slurm?.stop())

  const gpu = process.env.LOWKEY_GPU ? ['--gpu', process.env.LOWKEY_GPU] : []

  /** Returns the job's id. */
  function submit(photos: string, results: string, steps: number, tasks: number): string {
    const slurms = ['--parsable', '--mem=2G', '--chdir', folder, `--array=1-${tasks}`]
    const args = [...slurms, script, photos, results]
    const env = {
      PATH: `${bin}:${process.env.PATH}`,
      LOWKEY_NODE_CACHE: join(folder, 'node'),
      MESA_SHADER_CACHE_DIR: shaderCaches(),
      NODE_OPTIONS: '',
    }
    return slurm.run('sbatch', [...args, ...CHEAP, '--steps', `${steps}`, ...gpu], env).trim()
  }

  const logs = (job: string): string =>
    readdirSync(folder)
      .filter((name) => name.startsWith(`lowkey-gpu-${job}_`))
      .map((name) => `${name}:\n${readFileSync(join(folder, name), 'utf8')}`)
      .join('\n')

  const ended = (job: string): Promise<void> =>
    slurm.until(
      `job ${job} has ended`,
      () => slurm.queued(job).length === 0,
      () => logs(job),
    )

  test('does every photo once, though a node loses its power; a second submission does nothing', async () => {
    const results = join(folder, 'results')
    const job = submit('photos', 'results', 6, TASKS)
    // In the middle: a task of that node has done a photo, and has others to do.
    let lost = 0
    await slurm.until(
      'a task of the second node is in the middle',
      () => {
        const onThatNode = slurm.queued(job).filter(({ node, state }) => node === 'n2' && state === 'RUNNING')
        const inTheMiddle = onThatNode.find(({ task }) => {
          const ledger = ledgersIn(results).find(([{ shard }]) => shard?.index === task) ?? []
          const done = ledger.filter(({ row }) => row === 'photo').length
          return done > 0 && done < names.length / TASKS
        })
        lost = inTheMiddle?.task ?? 0
        return lost > 0
      },
      () => logs(job),
    )
    await slurm.cutPower('n2')
    expect(slurm.queued(job).find(({ task }) => task === lost)).toMatchObject({ state: 'RUNNING', node: 'n2' })
    expect(resultsIn(results).length).toBeLessThan(names.length)
    await ended(job)

    const outcomes = slurm.outcomes(job)
    expect(
      [...outcomes.values()].map(({ ended }) => ended),
      logs(job),
    ).toEqual(Array(TASKS).fill('COMPLETED 0:0'))
    expect(outcomes.get(lost)!.restarts, 'queued again by Slurm').toBe(1)
    await expectEachOnce(results, names)

    const before = resultsIn(results).map((name) => [name, statSync(join(results, name)).mtimeMs])
    const again = submit('photos', 'results', 6, TASKS)
    await ended(again)
    expect(
      [...slurm.outcomes(again).values()].map(({ ended }) => ended),
      logs(again),
    ).toEqual(Array(TASKS).fill('COMPLETED 0:0'))
    expect(resultsIn(results).map((name) => [name, statSync(join(results, name)).mtimeMs])).toEqual(before)
    await expectEachOnce(results, names)
  })

  test('told that its time is up, finishes the photo in work and is queued again', async () => {
    const results = join(folder, 'stopped')
    const photos = names.filter((name) => name.startsWith('2020/')).map((name) => name.slice('2020/'.length))
    const job = submit('photos/2020', 'stopped', 6, 1)
    const rowsOf = (kind: string) => ledgersIn(results).flatMap((rows) => rows.filter(({ row }) => row === kind))
    await slurm.until(
      'it has done a photo',
      () => rowsOf('photo').length > 0,
      () => logs(job),
    )
    // As --signal=B:TERM does before the limit of time.
    slurm.run('scancel', ['--batch', '--signal=TERM', job])
    await ended(job)
    expect(slurm.outcomes(job).get(1), logs(job)).toEqual({ ended: 'COMPLETED 0:0', restarts: 1 })
    const ends = rowsOf('end').map(({ code, notDone }) => ({ code, rest: Number(notDone) > 0 }))
    expect(ends).toEqual(
      expect.arrayContaining([
        { code: 75, rest: true },
        { code: 0, rest: false },
      ]),
    )
    expect(ends).toHaveLength(2)
    // Nothing was thrown away: no photo was begun twice.
    expect(
      rowsOf('begun')
        .map(({ photo }) => photo)
        .sort(),
    ).toEqual(photos)
    await expectEachOnce(results, photos)
  })
})
