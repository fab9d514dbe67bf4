/** The command line in surroundings that are not as they should be: folders, users, disks, terminals, names, signals, two at once. */
import { type ChildProcess, execFileSync } from 'node:child_process'
import {
  accessSync,
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import { beforeAll, describe, expect, test } from 'vitest'
import { messageOf } from '../../src/cli/exit.ts'
import { ProgressLine } from '../../src/cli/progress.ts'
import { type Invocation, lowkey, room } from '../support/cli.ts'
import { PORTRAIT, portrait } from '../support/portrait.ts'

const root = process.getuid?.() === 0
const gpu = process.env.LOWKEY_GPU ? ['--gpu', process.env.LOWKEY_GPU] : []
let face: Buffer

beforeAll(async () => {
  face = await portrait().png().toBuffer()
})

/** A folder with the photo under these names. */
function photos(...names: string[]): string {
  const folder = room('environment')
  for (const name of names) writeFileSync(join(folder, name), face)
  return folder
}

/**
 * Somebody who may not do everything: the user of the tests, or where that is root another one, if that one may read the repository.
 */
const somebody = ((): Pick<Invocation, 'uid'> | undefined => {
  if (!root) return {}
  const uid = 12_345
  try {
    accessSync(process.execPath)
    execFileSync(process.execPath, ['-e', ''], { uid, gid: uid, cwd: import.meta.dirname, stdio: 'ignore' })
    return { uid }
  } catch {
    return undefined
  }
})()

describe.skipIf(!somebody)('a user who', () => {
  /** A folder that belongs to that user. */
  function home(): string {
    const folder = room('home')
    if (somebody!.uid) chownSync(folder, somebody!.uid, somebody!.uid)
    return folder
  }

  test('may not read the cache: one line of warning, and everything works', async () => {
    const cwd = home()
    const cache = join(cwd, 'cache')
    mkdirSync(join(cache, 'weights'), { recursive: true })
    for (const folder of [join(cache, 'weights'), cache]) chmodSync(folder, root ? 0o700 : 0o000)
    const env = { LOWKEY_HOME: cache, XDG_CACHE_HOME: cache }
    try {
      for (const args of [
        ['weights', 'list'],
        ['weights', 'verify'],
        ['doctor', ...gpu],
      ]) {
        const run = await lowkey(args, { cwd: room(), env, ...somebody })
        expect(run.code, `${args} ${run.stderr}`).toBe(0)
        expect(run.stderr).toMatch(
          /^lowkey-gpu: \S*cache\/weights cannot be read \(EACCES\): networks imported there are not seen; set /,
        )
        // A driver may complain of its own cache.
        expect(run.stderr.match(/^lowkey-gpu:/gm)).toHaveLength(1)
      }
    } finally {
      chmodSync(cache, 0o755)
    }
  })

  test('has no home, or one that cannot be written: nothing is said', async () => {
    const cwd = home()
    const locked = join(cwd, 'locked')
    mkdirSync(locked)
    chmodSync(locked, 0o555)
    for (const HOME of [undefined, '/nonexistent', locked]) {
      const env = { HOME, LOWKEY_HOME: undefined, XDG_CACHE_HOME: undefined }
      const run = await lowkey(['weights', 'list'], { cwd: room(), env, ...somebody })
      expect(run).toMatchObject({ code: 0, stderr: '' })
    }
  })

  test('may not read a photo or a folder, or write a folder: each is said with what helps', async () => {
    const cwd = home()
    mkdirSync(join(cwd, 'in'))
    mkdirSync(join(cwd, 'closed'))
    for (const name of ['in/a.png', 'in/b.png']) writeFileSync(join(cwd, name), face)
    for (const name of ['in/b.png', 'closed']) chmodSync(join(cwd, name), root ? 0o600 : 0)
    const run = (...args: string[]) => lowkey(['protect', '--gpu', 'none', ...args], { cwd: home(), ...somebody })
    const folder = await run(join(cwd, 'closed'))
    expect(folder).toMatchObject({ code: 1, stdout: '' })
    expect(folder.stderr).toMatch(/^lowkey-gpu: \S*\/closed may not be read: check its permissions/)
    const photo = await run(join(cwd, 'in/b.png'))
    expect(photo).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/b\.png may not be read: check its permissions/),
    })
    const output = await run(join(cwd, 'in/a.png'), '-o', '/usr/share/lowkey/')
    expect(output).toMatchObject({ code: 1, stderr: expect.stringMatching(/cannot be written to \((EACCES|EROFS)\)/) })
    chmodSync(join(cwd, 'closed'), 0o700)
    chmodSync(join(cwd, 'in/b.png'), 0o600)
  })
})

describe('names', () => {
  const evil = 'a \x1b]0;pwned\x07\u202e b.png'

  test('with control characters and line breaks are never printed raw, and are exact for programs', async () => {
    const cwd = photos(evil, 'new\nline.png')
    const args = ['protect', evil, 'new\nline.png', 'not\x9bthere.png', ...gpu]
    const run = await lowkey([...args, '--dry-run', '--json'], { cwd })
    const control = /[\p{Cc}\u202e]/u
    for (const line of run.stderr.split('\n')) expect(line).not.toMatch(control)
    expect(run.stderr).toMatch(/^lowkey-gpu: not\\x9bthere\.png does not exist: check the path$/m)
    const rows = run.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(rows.map(({ input }) => input)).toEqual(['not\x9bthere.png', evil, 'new\nline.png', undefined])
    expect(rows[1].output).toBe(evil.replace('.png', '.cloaked.png'))
    expect(messageOf(new Error('tensor "\x1b[2J"\nis bad'))).toBe('tensor "\\x1b[2J"\nis bad')
  })

  test('are the same where the language knows only ASCII', async () => {
    const cwd = photos('Jürgen & 猫.png')
    const env = { LANG: 'C', LC_ALL: 'C' }
    const run = await lowkey(['protect', 'Jürgen & 猫.png', '--dry-run', ...gpu], { cwd, env })
    expect(run).toMatchObject({
      code: 0,
      stdout: 'Jürgen & 猫.png: 1 face, would write Jürgen & 猫.cloaked.png\n',
      stderr: '',
    })
  })
})

describe('terminals', () => {
  const drawn = (columns: number | undefined, term: string, name: string): string[] => {
    const written: string[] = []
    const stream = { isTTY: true, columns, write: (text: string) => written.push(text) > 0 }
    const before = process.env.TERM
    process.env.TERM = term
    try {
      const line = new ProgressLine(false, stream as unknown as NodeJS.WriteStream)
      line.start(name)
      line.update({ phase: 'attack', done: 1, total: 2 })
      line.clear()
    } finally {
      if (before === undefined) delete process.env.TERM
      else process.env.TERM = before
    }
    return written
  }

  test('narrow ones get a line that fits, with wide characters too', () => {
    expect(drawn(20, 'xterm', 'a.png')[0]).toBe('\r\x1b[Ka.png: [###########')
    expect(drawn(12, 'xterm', '猫猫猫猫猫猫猫猫.png')[0]).toBe('\r\x1b[K猫猫猫猫猫')
    expect(drawn(undefined, 'xterm', 'a.png')[0].length).toBeLessThan(84)
  })

  test('those that cannot rewrite a line get whole lines', () => {
    expect(drawn(80, 'dumb', 'a.png')).toEqual(['a.png: step 1 of 2 (50%)\n'])
  })
})

describe('what is written to', () => {
  test.skipIf(process.platform !== 'linux')('a full disk behind standard output is a failure', async () => {
    const cwd = photos()
    const run = await lowkey(['weights', 'path'], { cwd, stdout: openSync('/dev/full', 'w') })
    expect(run).toMatchObject({ code: 1, stdout: '' })
    expect(run.stderr).toMatch(/^lowkey-gpu: standard output cannot be written \(.*ENOSPC.*\)$/m)
  })

  test('a standard error that nobody reads changes nothing', async () => {
    const cwd = photos('a.png')
    const run = await lowkey(['protect', 'a.png', 'none.png', '--dry-run', ...gpu], { cwd, closed: ['stderr'] })
    expect(run).toMatchObject({ code: 1, stdout: 'a.png: 1 face, would write a.cloaked.png\n' })
  })
})

test('two runs at once over one folder and one cache: every result is there once and whole, every other is said', async () => {
  const names = ['a.png', 'b.png', 'c.png']
  const cwd = photos(...names)
  const elsewhere = room('other')
  const env = { XDG_CACHE_HOME: join(elsewhere, 'cache'), LOWKEY_HOME: join(elsewhere, 'cache') }
  const args = ['protect', cwd, '-o', join(elsewhere, 'out'), '--steps', '1', '--quiet', '--models', 'sirius', ...gpu]
  const runs = await Promise.all([room(), room()].map((own) => lowkey(args, { cwd: own, env })))
  const out = readdirSync(join(elsewhere, 'out')).sort()
  expect(out).toEqual(names.map((name) => name.replace('.png', '.cloaked.png')))
  for (const name of out) expect((await sharp(join(elsewhere, 'out', name)).metadata()).width).toBe(PORTRAIT.width)
  const printed = runs.flatMap(({ stdout }) => stdout.trimEnd().split('\n').filter(Boolean))
  expect(printed.sort()).toEqual(out.map((name) => join(elsewhere, 'out', name)))
  const refused = runs.flatMap(({ stderr }) => stderr.match(/\.cloaked\.png exists already/g) ?? [])
  expect(refused).toHaveLength(3)
}, 900_000)

describe('a signal', () => {
  const phases: [phase: string, sign: RegExp | number][] = [
    ['while the program starts', 150],
    ['while networks and GPU are opened', 900],
    ['between photos', /^\S*a\.cloaked\.png$/m],
    ['while a photo is decoded and saved', /step 1 of 1/],
  ]
  for (const [i, [phase, sign]] of phases.entries()) {
    test(`${phase}: nothing half is left, exit code 130 or 143`, async () => {
      const cwd = photos('a.png', 'b.png', 'c.png')
      const during = async (child: ChildProcess) => {
        if (typeof sign === 'number') await sleep(sign)
        else await said(child, sign)
        child.kill(i % 2 === 0 ? 'SIGTERM' : 'SIGINT')
      }
      const args = ['protect', '.', '-o', 'new/out', '--steps', '1', '--models', 'sirius', ...gpu]
      const run = await lowkey(args, { cwd, during })
      expect([130, 143, null], run.stderr).toContain(run.code)
      for (const name of run.created) {
        expect((await sharp(readFileSync(join(cwd, name))).metadata()).width, name).toBe(PORTRAIT.width)
      }
      expect(run.stdout.split('\n').filter(Boolean)).toEqual(run.created)
      if (run.created.length === 0 && run.code === 130) expect(readdirSync(cwd)).toEqual(['a.png', 'b.png', 'c.png'])
    }, 600_000)
  }

  /** Resolves when the process has written it, or has ended. */
  const said = (child: ChildProcess, pattern: RegExp): Promise<void> =>
    new Promise((done) => {
      let text = ''
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on('data', (data: Buffer) => {
          text += data
          if (pattern.test(text)) done()
        })
      }
      child.on('close', () => done())
    })
})

test.skipIf(process.platform !== 'linux')('few open files: it works, or says so', async () => {
  const cwd = photos('a.png')
  const script = join(import.meta.dirname, '../../src/cli/main.ts')
  const shell = join(cwd, 'few.sh')
  writeFileSync(shell, 'ulimit -n 64; exec "$NODE" "$@"\n')
  copyFileSync(join(cwd, 'a.png'), join(cwd, 'b.png'))
  const run = await lowkey([script, 'protect', 'a.png', 'b.png', '--dry-run', ...gpu], {
    cwd,
    node: '/bin/bash',
    script: shell,
    env: { NODE: process.execPath },
  })
  expect(run.code, run.stderr).toBe(0)
  expect(run.stdout.match(/1 face/g)).toHaveLength(2)
})
