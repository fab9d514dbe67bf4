/** examples/parallel with the real GNU parallel: this machine, and the same one once more over a real ssh where there is a server. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { room } from '../support/cli.ts'
import { installCommand } from '../support/command.ts'
import { expectEachOnce, ledgersIn, resultsIn } from '../support/ledgers.ts'
import { CHEAP, writePhotos } from '../support/many-photos.ts'
import { everything, LONG } from '../support/scope.ts'
import { hasSsh, type RunningSsh, startSsh } from '../support/ssh.ts'

const script = resolve(import.meta.dirname, '../../examples/parallel/protect.sh')
// moreutils has another command of this name.
const isGnu = /^GNU parallel/.test(spawnSync('parallel', ['--version'], { encoding: 'utf8' }).stdout ?? '')
const reason = isGnu ? '' : ': needs parallel (Debian)'
const names = ['a/IMG_0001.png', 'a/IMG_0002.png', 'a/b/IMG_0003.png', 'c/IMG_0004.png']

describe.skipIf(!everything || !isGnu)(`machines of GNU parallel${reason || LONG}`, () => {
  let folder: string
  let bin: string
  let ssh: RunningSsh | undefined

  beforeAll(async () => {
    folder = room('parallel')
    bin = installCommand(folder)
    await writePhotos(join(folder, 'photos'), names)
    if (hasSsh()) ssh = await startSsh(room('ssh'))
    writeFileSync(join(folder, 'machines'), `# this one${ssh ? `, and over ssh\n1/${ssh.command}` : ''}\n:\n`)
  })
  afterAll(() => ssh?.stop())

  const args = (results: string, steps: number): string[] => [
    ...[script, 'machines', 'photos', results, ...CHEAP, '--steps', `${steps}`],
    ...(process.env.LOWKEY_GPU ? ['--gpu', process.env.LOWKEY_GPU] : []),
  ]
  const env = () => ({
    ...process.env,
    PARALLEL_HOME: join(folder, 'parallel'),
    SHARDS: '4',
    // Over ssh nothing of this environment is there.
    LOWKEY_COMMAND: join(bin, 'lowkey-gpu'),
  })
  const run = (results: string, steps: number) =>
    spawnSync('bash', args(results, steps), { cwd: folder, env: env(), encoding: 'utf8' })

  /** The exit codes in parallel's own log, by the shard. */
  const logged = (results: string): Map<string, number> =>
    new Map(
      readFileSync(join(folder, results, 'parallel.log'), 'utf8')
        .trim()
        .split('\n')
        .slice(1)
        .map((line) => line.split('\t'))
        .map((fields) => [/--shard (\S+)/.exec(fields[8])![1], Number(fields[6])]),
    )

  test('do every photo once; another run does nothing', async () => {
    const first = run('results', 2)
    expect(first.status, first.stderr).toBe(0)
    await expectEachOnce(join(folder, 'results'), names)
    expect(Object.fromEntries(logged('results'))).toEqual({ '1/4': 0, '2/4': 0, '3/4': 0, '4/4': 0 })
    const before = resultsIn(join(folder, 'results')).map((name) => statSync(join(folder, 'results', name)).mtimeMs)
    const second = run('results', 2)
    expect(second.status, second.stderr).toBe(0)
    const after = resultsIn(join(folder, 'results')).map((name) => statSync(join(folder, 'results', name)).mtimeMs)
    expect(after).toEqual(before)
    await expectEachOnce(join(folder, 'results'), names)
  })

  test('say which tasks failed, and for what: a broken photo', async () => {
    const broken = join(folder, 'photos/a/IMG_0005.png')
    writeFileSync(broken, 'no picture, but called so')
    try {
      const failed = run('results', 2)
      expect(failed.status).toBe(1)
      expect(failed.stderr).toMatch(/1 of 4 tasks failed; \S*parallel\.log has their exit codes/)
      expect([...logged('results').values()].sort()).toEqual([0, 0, 0, 1])
      expect(failed.stderr).toContain('IMG_0005.png')
    } finally {
      rmSync(broken)
    }
    await expectEachOnce(join(folder, 'results'), names)
  })

  test('may be stopped and go on', async () => {
    const results = join(folder, 'stopped')
    const child: ChildProcess = spawn('bash', args('stopped', 8), {
      cwd: folder,
      env: env(),
      stdio: 'ignore',
      detached: true,
    })
    const ended = new Promise((done) => child.once('exit', done))
    const done = () => ledgersIn(results).flatMap((rows) => rows.filter(({ row }) => row === 'photo')).length
    for (let waited = 0; done() === 0 && waited < 240_000; waited += 200) await sleep(200)
    // As Ctrl-C does: to the whole group.
    process.kill(-child.pid!, 'SIGTERM')
    await ended
    expect(done()).toBeGreaterThan(0)
    expect(done()).toBeLessThan(names.length)
    const again = run('stopped', 8)
    expect(again.status, again.stderr).toBe(0)
    await expectEachOnce(results, names)
  })

  test('are asked for where none are named', () => {
    writeFileSync(join(folder, 'none'), '# nothing\n')
    for (const [words, says] of [
      [['none', 'photos', 'results'], /no machine in none/],
      [['machines', 'photos'], /^Usage: protect\.sh/],
      [['machines', 'no-such-folder/x', 'results'], /no-such-folder/],
    ] as const) {
      const refused = spawnSync('bash', [script, ...words], { cwd: folder, env: env(), encoding: 'utf8' })
      expect(refused.stderr).toMatch(says)
      expect(refused.status).toBe(2)
    }
  })
})
