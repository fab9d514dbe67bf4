/** The command line as users meet it: usage, GPU, doctor, weights, the bundle, the progress line. */
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { duration, ProgressLine } from '../../src/cli/progress.ts'
import { installation, lowkey, room } from '../support/cli.ts'
import { makePhotos, roomWith, rows, shot } from '../support/real-photos.ts'
import { everything, LONG, someOf } from '../support/scope.ts'

const repository = resolve(import.meta.dirname, '../..')

const { version } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as { version: string }

beforeAll(makePhotos)

describe('usage', () => {
  const cwd = room()
  beforeAll(() => {
    for (const name of ['a.png', 'b.png']) copyFileSync(shot('face.png'), join(cwd, name))
    mkdirSync(join(cwd, 'empty'))
  })

  const wrong: [string[], RegExp][] = [
    [
      ['frobnicate'],
      /there is no command "frobnicate"; there are protect, report, page, check, doctor, evaluate, weights/,
    ],
    [['protect'], /name a photo, a folder, or - for standard input/],
    [['protect', '--nosuch', 'a.png'], /Unknown option '--nosuch'/],
    [
      ['protect', 'a.png', '-s', 'extreme'],
      /--strength takes auto, low, medium, high, paper, small, no-blur; got "extreme"/,
    ],
    [['protect', 'a.png', '-f', 'bmp'], /--format takes png, jpeg, webp; got "bmp"/],
    [['protect', 'a.png', '--steps', '0'], /--steps takes a whole number from 1 to 10000; got "0"/],
    [['protect', 'a.png', '--steps', '1.5'], /--steps takes a whole number/],
    [['protect', 'a.png', '--seed=-1'], /--seed takes a whole number from 0 to 4294967295; got "-1"/],
    [['protect', 'a.png', '--faces', 'two'], /--faces takes all, largest, list; got "two"/],
    [
      ['protect', 'a.png', '--models', 'sirius,nosuch'],
      /--models: there is no recogniser "nosuch"; there are sirius, dlib/,
    ],
    [['protect', 'a.png', '--suffix', '../x'], /--suffix takes a part of a file name/],
    [['protect', 'a.png', '--on-no-face', 'copy'], /--on-no-face copy needs --output FOLDER/],
    [['protect', 'a.png', '--on-no-face', 'copy', '-o', 'out', '--suffix', ''], /--on-no-face copy needs a --suffix/],
    [['protect', 'a.png', '-o'], /argument missing/],
    [['protect', 'a.png', '-o', 'x.gif'], /--output x\.gif: results are \.png, \.jpg or \.webp/],
    [['protect', 'a.png', '-o', 'x.png', '-f', 'webp'], /--format webp does not fit --output x\.png/],
    [['protect', 'a.png', 'b.png', '-o', 'x.png'], /--output x\.png is a file, which takes a single photo/],
    [['protect', 'a.png', 'b.png', '-o', '-'], /standard output takes a single photo/],
    [['protect', '-', 'a.png'], /standard output takes a single photo/],
    [['protect', '-', '-', '-o', 'out'], /- is standard input, which holds a single photo/],
    [['protect', 'a.png', 'b.png', '--compare', 'c.png'], /--compare takes a single photo/],
    [['protect', 'a.png', '--compare', '-'], /--compare takes a file/],
    [['protect', 'empty'], /empty: the folder has no photos/],
    [['doctor', 'a.png'], /doctor takes no names; got "a\.png"/],
    [['weights'], /weights takes list, .*, population or path; got nothing/],
    [['weights', 'eat'], /weights takes list, .* or path; got "eat"/],
    [['weights', 'list', 'more'], /takes no further names, got "more"/],
  ]
  test.each(someOf(wrong))('%j: exit code 2', async (args, message) => {
    const run = await lowkey(args, { cwd })
    expect(run).toMatchObject({ code: 2, stdout: '', created: [] })
    expect(run.stderr).toMatch(message)
    expect(run.stderr.trimEnd().split('\n').length).toBeLessThanOrEqual(2)
  })

  const asking: [string[]][] = [
    [['--help']],
    [['-h']],
    [['help']],
    [['protect', '--help']],
    [['protect', 'a.png', '-h']],
    [['doctor', '--help']],
    [['weights', '-h']],
  ]
  test.each(someOf(asking))('%j: help on stdout, exit code 0', async (args) => {
    const run = await lowkey(args, { cwd })
    expect(run).toMatchObject({ code: 0, stderr: '', created: [] })
    expect(run.stdout).toMatch(/^Usage: lowkey-gpu/m)
  })

  test('tells every option of protect', async () => {
    const { stdout } = await lowkey(['protect', '--help'], { cwd })
    const options =
      'output strength format suffix overwrite recursive hidden files-from null again models hold-out faces on-no-face ' +
      'seed steps keep-metadata keep-times compare gpu json quiet dry-run'
    for (const option of options.split(' ')) expect(stdout).toMatch(new RegExp(`--${option}\\b`))
  })

  test('without a command: the help on stderr, exit code 2', async () => {
    const run = await lowkey([], { cwd })
    expect(run).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/^Usage: lowkey-gpu COMMAND/m) })
  })

  test('--version', async () => {
    expect(await lowkey(['--version'], { cwd })).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' })
  })
})

describe('the GPU', () => {
  const cwd = room()
  test.skipIf(!everything)(`--gpu list names the adapters, and any of them can be asked for${LONG}`, async () => {
    const run = await lowkey(['protect', '--gpu', 'list'], { cwd })
    expect(run).toMatchObject({ code: 0, stderr: '' })
    const lines = run.stdout.trimEnd().split('\n')
    for (const line of lines) expect(line).toMatch(/^\S.* \((vulkan|metal|d3d12)(, software)?\)$/)
    const name = lines[0].replace(/ \([^()]*\)$/, '')
    const doctor = await lowkey(['doctor', '--gpu', name], { cwd })
    expect(doctor.code).toBe(0)
  })

  test('--gpu of no adapter: exit code 4, with the names there are', async () => {
    const photo = roomWith('face.png')
    const run = await lowkey(['protect', 'face.png', '--gpu', 'voodoo'], { cwd: photo })
    expect(run).toMatchObject({ code: 4, stdout: '', created: [] })
    expect(run.stderr).toMatch(/^lowkey-gpu: no adapter's name contains 'voodoo'\. There are\n {2}\S/)
  })

  test.skipIf(process.platform !== 'linux')(
    'none at all: exit code 4, what was looked for and how to get one',
    async () => {
      const photo = roomWith('face.png')
      const script = join(installation({ without: ['@sparticuz'] }), 'src/cli/main.ts')
      const env = { VK_DRIVER_FILES: '/nonexistent.json', VK_ICD_FILENAMES: '/nonexistent.json' }
      const run = await lowkey(['protect', 'face.png'], { cwd: photo, script, env })
      expect(run).toMatchObject({ code: 4, stdout: '', created: [] })
      expect(run.stderr).toMatch(/^lowkey-gpu: no GPU and no software driver was found\. Looked for\n/)
      for (const name of ['Debian 12 ', 'Debian 13 ', 'Ubuntu ']) expect(run.stderr).toContain(name)
      expect(run.stderr).toContain('mesa-vulkan-drivers')
      expect(await lowkey(['protect', '--gpu', 'list'], { cwd, script, env })).toMatchObject({
        code: 4,
        stdout: 'no adapter\n',
      })
      // doctor tells the rest all the same.
      const doctor = await lowkey(['doctor', '--json'], { cwd, script, env })
      expect(doctor).toMatchObject({ code: 4, stderr: expect.stringMatching(/no GPU and no software driver/) })
      expect(rows(doctor)).toMatchObject([{ adapters: [], adapter: null, selfTest: null, pictures: { ok: true } }])
    },
  )
})

describe('doctor', () => {
  const cwd = room()
  test('shows adapter, weights, picture support and the self-test', async () => {
    const { code, stdout, stderr } = await lowkey(['doctor'], { cwd })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^lowkey-gpu ${version}, Node v`))
    expect(stdout).toMatch(/^Used: \S/m)
    expect(stdout).toMatch(/^ {2}f16 (yes|no), subgroups /m)
    for (const id of ['mtcnn', 'sirius', 'dlib', 'lpips-alex-scratch'])
      expect(stdout).toMatch(new RegExp(`^ {2}${id} +ok$`, 'm'))
    expect(stdout).toMatch(/^Pictures: JPEG, PNG, HEIC, WebP/m)
    expect(stdout).toMatch(/^Self-test: passed \(/m)
  })

  test('--json is one object', async () => {
    const run = await lowkey(['doctor', '--json'], { cwd })
    expect(run).toMatchObject({ code: 0, stderr: '' })
    const [row, ...more] = rows(run)
    expect(more).toEqual([])
    expect(row).toMatchObject({ version, node: process.version, pictures: { ok: true }, selfTest: { ok: true } })
    expect(row.adapters.length).toBeGreaterThan(0)
    expect(row.capabilities.maxInvocations).toBeGreaterThanOrEqual(256)
    expect(row.selfTest.error).toBeLessThan(1e-4)
    expect(row.selfTest.gflops).toBeGreaterThan(0)
  })

  test.skipIf(!everything)(`without sharp: exit code 1 and what to install; protect says it too${LONG}`, async () => {
    const photo = roomWith('face.png')
    const script = join(installation({ without: ['sharp'] }), 'src/cli/main.ts')
    const run = await lowkey(['doctor'], { cwd, script })
    expect(run).toMatchObject({ code: 1, stdout: expect.stringMatching(/^Pictures: .*npm install sharp/m) })
    const refused = await lowkey(['protect', 'face.png'], { cwd: photo, script })
    expect(refused).toMatchObject({
      code: 1,
      created: [],
      stderr: expect.stringMatching(/face\.png: .*npm install sharp/),
    })
  })
})

describe('weights', () => {
  const cwd = room()
  const ids = ['mtcnn', 'sirius', 'dlib', 'faceplugin', 'lpips-alex-scratch']

  test('list, verify and path', async () => {
    const list = await lowkey(['weights', 'list'], { cwd })
    expect(list).toMatchObject({ code: 0, stderr: '' })
    for (const id of ids)
      expect(list.stdout).toMatch(new RegExp(`^${id} +(detector|recogniser|perceptual) +ready +\\S+ +\\S`, 'm'))
    const verify = await lowkey(['weights', 'verify'], { cwd })
    expect(verify.code).toBe(0)
    expect(verify.stdout.trimEnd().split('\n')).toHaveLength(ids.length + 1)
    for (const line of verify.stdout.trimEnd().split('\n'))
      expect(line).toMatch(/^ok {7}\S.*\.safetensors {2}[0-9a-f]{64}$/)
    const json = await lowkey(['weights', 'verify', '--json'], { cwd })
    expect(rows(json).map(({ id, ok }) => [id, ok])).toEqual([...ids, 'populations'].map((id) => [id, true]))
    const path = await lowkey(['weights', 'path'], { cwd, env: { LOWKEY_HOME: '/somewhere' } })
    expect(path).toMatchObject({ code: 0, stdout: `/somewhere/weights\n${join(repository, 'weights')}\n` })
  })

  test.skipIf(!everything)(`ends without complaint when nobody reads what it prints${LONG}`, async () => {
    for (const closed of [['stdout'], ['stdout', 'stderr']] as const) {
      expect(await lowkey(['weights', 'list'], { cwd, closed })).toMatchObject({ code: 0, stderr: '' })
    }
    expect((await lowkey(['frobnicate'], { cwd, closed: ['stderr'] })).code).toBe(2)
  })

  test.skipIf(!everything)(
    `missing: exit code 5 and the command that brings them, unless LOWKEY_HOME has them${LONG}`,
    async () => {
      const photo = roomWith('face.png')
      const package_ = installation({ weightsWithout: ['sirius.safetensors'] })
      const script = join(package_, 'src/cli/main.ts')
      const run = await lowkey(['protect', 'face.png'], { cwd: photo, script })
      expect(run).toMatchObject({ code: 5, stdout: '', created: [] })
      expect(run.stderr).toMatch(/^lowkey-gpu: sirius\.safetensors: is missing .*npm run weights/)
      expect(run.stderr).toContain(join(package_, 'weights'))
      const verify = await lowkey(['weights', 'verify'], { cwd, script })
      expect(verify).toMatchObject({
        code: 5,
        stdout: expect.stringMatching(/^problem {2}sirius: is missing: .*npm run weights/m),
      })
      const list = await lowkey(['weights', 'list'], { cwd, script })
      expect(list).toMatchObject({ code: 0, stdout: expect.stringMatching(/^sirius +recogniser +missing or damaged/m) })
      const home = room('home')
      mkdirSync(join(home, 'weights'))
      symlinkSync(join(repository, 'weights/sirius.safetensors'), join(home, 'weights/sirius.safetensors'))
      expect((await lowkey(['weights', 'verify'], { cwd, script, env: { LOWKEY_HOME: home } })).code).toBe(0)
    },
  )

  test.skipIf(!everything)(
    `damaged by one bit: exit code 5 and the file named; a good one elsewhere is taken${LONG}`,
    async () => {
      const photo = roomWith('face.png')
      const package_ = installation({ weightsWithout: ['sirius.safetensors'] })
      const script = join(package_, 'src/cli/main.ts')
      const bytes = readFileSync(join(repository, 'weights/sirius.safetensors'))
      bytes[bytes.length >> 1] ^= 1
      const damaged = join(package_, 'weights/sirius.safetensors')
      writeFileSync(damaged, bytes)
      const run = await lowkey(['protect', 'face.png'], { cwd: photo, script })
      expect(run).toMatchObject({ code: 5, stdout: '', created: [] })
      expect(run.stderr).toContain(`lowkey-gpu: ${damaged}: `)
      expect(run.stderr).toMatch(/npm run weights/)
      const doctor = await lowkey(['doctor'], { cwd, script })
      expect(doctor.code).toBe(5)
      expect(doctor.stdout).toMatch(/^ {2}sirius +.*npm run weights/m)
      expect(doctor.stdout).toMatch(/^ {2}dlib +ok$/m)
      const home = room('home')
      mkdirSync(join(home, 'weights'))
      symlinkSync(join(repository, 'weights/sirius.safetensors'), join(home, 'weights/sirius.safetensors'))
      expect((await lowkey(['weights', 'verify'], { cwd, script, env: { LOWKEY_HOME: home } })).code).toBe(0)
    },
  )

  test('without a manifest: exit code 5', async () => {
    const package_ = installation({ weightsWithout: ['manifest.json'] })
    const run = await lowkey(['weights', 'list'], { cwd, script: join(package_, 'src/cli/main.ts') })
    expect(run).toMatchObject({
      code: 5,
      stdout: '',
      stderr: expect.stringMatching(/weights\/manifest\.json.*reinstall/),
    })
  })
})

/** The system's own Node where it is the oldest line supported, which cannot run the sources; else the one that runs the tests. */
function oldestNode(): string {
  for (const node of ['/usr/bin/node', '/usr/local/bin/node']) {
    if (existsSync(node) && execFileSync(node, ['--version'], { encoding: 'utf8' }).startsWith('v20.')) return node
  }
  return process.execPath
}

describe('the bundle of npm run build', () => {
  const cwd = room()
  const node = oldestNode()
  let package_: string
  let script: string
  beforeAll(() => {
    copyFileSync(shot('face.png'), join(cwd, 'face.png'))
    package_ = installation()
    execFileSync(process.execPath, ['build/build.ts'], { cwd: package_, stdio: 'pipe' })
    script = join(package_, 'dist/cli.js')
  })

  test.skipIf(!everything)(`runs on the oldest Node there is here${LONG}`, async () => {
    expect(await lowkey(['--version'], { cwd, script, node })).toMatchObject({
      code: 0,
      stdout: `${version}\n`,
      stderr: '',
    })
    const path = await lowkey(['weights', 'path'], { cwd, script, node })
    expect(path.stdout.split('\n')).toContain(join(package_, 'weights'))
    const doctor = await lowkey(['doctor', '--json'], { cwd, script, node })
    expect(doctor).toMatchObject({ code: 0, stderr: '' })
    const nodeVersion = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()
    expect(rows(doctor)).toMatchObject([{ version, node: nodeVersion, selfTest: { ok: true }, pictures: { ok: true } }])
    const found = await lowkey(['protect', 'face.png', '--dry-run'], { cwd, script, node })
    expect(found).toMatchObject({ code: 0, stdout: 'face.png: 1 face, would write face.cloaked.png\n', stderr: '' })
  })

  test.skipIf(process.platform === 'win32')('is executable', () => {
    expect(execFileSync(script, ['--version'], { encoding: 'utf8' })).toBe(`${version}\n`)
  })
})

describe('the progress line', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  /** What a stream that is or is no terminal would be sent. */
  function fake(isTTY: boolean, columns = 80) {
    const written: string[] = []
    const stream = { isTTY, columns, write: (text: string) => written.push(text) > 0 }
    return { stream: stream as unknown as NodeJS.WriteStream, written }
  }

  test('is written over on a terminal, shows phase, bar and step, and can be removed', () => {
    const { stream, written } = fake(true)
    const line = new ProgressLine(false, stream)
    line.start('a.png')
    line.update({ phase: 'detect', done: 0, total: 0 })
    line.update({ phase: 'attack', done: 25, total: 50 })
    line.clear()
    expect(written).toEqual([
      '\r\x1b[Ka.png: looking for faces ...',
      '\r\x1b[Ka.png: [############------------] step 25 of 50',
      '\r\x1b[K',
    ])
  })

  test('estimates the time left from the steps since the first report', () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const { stream, written } = fake(true)
    const line = new ProgressLine(false, stream)
    line.start('a.png')
    line.update({ phase: 'attack', done: 1, total: 1001 })
    vi.advanceTimersByTime(50)
    line.update({ phase: 'attack', done: 2, total: 1001 })
    // 999 steps, and what is measured after them takes as long as five.
    expect(written[1]).toMatch(/step 2 of 1001, 50 s left$/)
  })

  test('never wraps', () => {
    const { stream, written } = fake(true, 30)
    const line = new ProgressLine(false, stream)
    line.start('a-very-long-name-of-a-photo.png')
    line.update({ phase: 'measure', done: 0, total: 0 })
    expect(written[0].replace('\r\x1b[K', '').length).toBeLessThan(30)
  })

  test('is a line every ten percent elsewhere, and nothing when quiet', () => {
    const { stream, written } = fake(false)
    const line = new ProgressLine(false, stream)
    line.start('a.png')
    line.update({ phase: 'detect', done: 0, total: 0 })
    for (let done = 1; done <= 50; done++) line.update({ phase: 'attack', done, total: 50 })
    line.clear()
    expect(written).toHaveLength(11)
    expect(written[0]).toBe('a.png: step 1 of 50 (2%)\n')
    expect(written[10]).toMatch(/^a\.png: step 50 of 50 \(100%\), 0 s left\n$/)
    const silent = fake(true)
    const quiet = new ProgressLine(true, silent.stream)
    quiet.start('a.png')
    quiet.update({ phase: 'attack', done: 1, total: 2 })
    quiet.clear()
    expect(silent.written).toEqual([])
  })

  test('says durations as people do', () => {
    expect([0, 39.6, 125, 3599.7, 4200].map(duration)).toEqual(['0 s', '40 s', '2 min 5 s', '1 h 0 min', '1 h 10 min'])
  })
})
