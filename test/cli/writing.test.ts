/** Where `protect` writes, and what is left where it is interrupted. */
import { chmodSync, copyFileSync, existsSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Invocation, room, says } from '../support/cli.ts'
import { decode, HEIGHT, makePhotos, protect, roomWith, rows, shot, WIDTH } from '../support/real-photos.ts'

const root = process.getuid?.() === 0

beforeAll(makePhotos)

describe('protect, where it writes', () => {
  test('never over an input, also with --overwrite and through links', async () => {
    const cwd = roomWith('face.png')
    symlinkSync('face.png', join(cwd, 'link.png'))
    linkSync(join(cwd, 'face.png'), join(cwd, 'hard.png'))
    mkdirSync(join(cwd, 'sub'))
    symlinkSync('..', join(cwd, 'sub/up'))
    const attempts = [
      ['face.png', '-o', 'face.png'],
      ['face.png', '-o', 'link.png'],
      ['face.png', '-o', 'sub/up/face.png'],
      ['face.png', '-o', 'hard.png'],
      ['link.png', '-o', 'face.png'],
      ['face.png', '--suffix', ''],
      ['face.png', '-o', 'x.png', '--compare', 'face.png'],
    ]
    for (const args of attempts) {
      const run = await protect([...args, '--overwrite'], { cwd })
      expect(run, args.join(' ')).toMatchObject({ code: 2, stdout: '', created: [] })
      expect(run.stderr, args.join(' ')).toMatch(/ is an input; results never replace inputs/)
    }
  })

  test('not over a link that leads nowhere, a folder, or the result itself', async () => {
    const cwd = roomWith('face.png')
    symlinkSync('nowhere.png', join(cwd, 'dangling.png'))
    mkdirSync(join(cwd, 'folder.png'))
    const dangling = await protect(['face.png', '-o', 'dangling.png'], { cwd })
    expect(dangling).toMatchObject({
      code: 1,
      created: [],
      stderr: expect.stringMatching(/dangling\.png exists already/),
    })
    const picture = await protect(['face.png', '--compare', 'folder.png', '--overwrite'], { cwd })
    expect(picture).toMatchObject({ code: 1, created: [], stderr: expect.stringMatching(/folder\.png is a folder/) })
    const both = await protect(['face.png', '-o', 'x.png', '--compare', './x.png'], { cwd })
    expect(both).toMatchObject({
      code: 2,
      created: [],
      stderr: expect.stringMatching(/--compare names the file of the result/),
    })
  })

  test('into a folder that cannot be: exit code 1 before the work', async () => {
    const cwd = roomWith('face.png')
    writeFileSync(join(cwd, 'file'), 'a file')
    for (const output of ['file/x.png', 'file/deep/x.png', 'file', 'file/']) {
      const run = await protect(['face.png', '-o', output], { cwd })
      expect(run, output).toMatchObject({ code: 1, stdout: '', created: [] })
      expect(run.stderr, output).toMatch(
        /^lowkey-gpu: (face\.png: )?file\S* cannot be a folder: \S*\/file is a file\n$/,
      )
    }
  })

  test.skipIf(root)('into a folder that may not be written: exit code 1 before the work', async () => {
    const cwd = roomWith('face.png')
    mkdirSync(join(cwd, 'locked'))
    chmodSync(join(cwd, 'locked'), 0o555)
    const run = await protect(['face.png', '-o', 'locked/new/x.png'], { cwd })
    expect(run).toMatchObject({
      code: 1,
      stdout: '',
      created: [],
      stderr: expect.stringMatching(/cannot be written to \(EACCES\)/),
    })
  })

  test('--dry-run finds faces, names the files and writes nothing; two results of one name are refused', async () => {
    const cwd = roomWith('face.png', 'blank.png')
    for (const name of ['a', 'b']) {
      mkdirSync(join(cwd, name))
      copyFileSync(shot('face.jpg'), join(cwd, name, 'same.jpg'))
    }
    const run = await protect(['face.png', 'a', 'blank.png', '-o', 'out', '--dry-run', '--overwrite'], { cwd })
    expect(run).toMatchObject({ code: 1, created: [] })
    expect(run.stdout).toBe(
      'face.png: 1 face, would write out/face.cloaked.png\na/same.jpg: 1 face, would write out/same.cloaked.jpg\n',
    )
    expect(run.stderr).toMatch(/^lowkey-gpu: blank\.png: no face found/m)
    expect(run.stderr).toMatch(/^3 photos: 2 would be protected, 1 without a face, 0 failed, 0 left alone$/m)
    expect(existsSync(join(cwd, 'out'))).toBe(false)
    const both = await protect(['face.png', 'a', 'b', '-o', 'out'], { cwd })
    expect(both).toMatchObject({ code: 2, stdout: '', created: [] })
    expect(both.stderr).toMatch(
      /^lowkey-gpu: a\/same\.jpg and b\/same\.jpg would both become out\/same\.cloaked\.jpg: /,
    )
    const json = await protect(['face.png', '--dry-run', '--json', '-f', 'webp', '--suffix=-x'], { cwd })
    expect(rows(json)).toMatchObject([
      { input: 'face.png', output: 'face-x.webp', width: WIDTH, height: HEIGHT, dryRun: true },
    ])
    expect(rows(json)[0].faces).toHaveLength(1)
  })
})

describe('interruption', () => {
  const endless = ['face.png', '--steps', '10000', '-o', 'out/x.png', '--compare', 'out/compare.png']
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    test(`${signal} ends the attack after the step in progress: exit code 130, nothing written`, async () => {
      const cwd = roomWith('face.png')
      const during: Invocation['during'] = (child) => {
        says(child, /step \d+ of 10000/).then(() => child.kill(signal))
      }
      const run = await protect(endless, { cwd, during })
      expect(run).toMatchObject({ code: 130, stdout: '', created: [] })
      expect(run.stderr).toMatch(/^lowkey-gpu: interrupted$/m)
      expect(existsSync(join(cwd, 'out'))).toBe(false)
    })
  }

  test('photos done before it stay, whole, and are the only ones', async () => {
    const cwd = roomWith('face.png', ['face.png', 'second.png'], ['face.png', 'third.png'])
    const during: Invocation['during'] = (child) => {
      says(child, /^face\.cloaked\.png$/m).then(() => child.kill('SIGINT'))
    }
    const run = await protect(['face.png', 'second.png', 'third.png', '--steps', '3'], { cwd, during })
    expect(run.code).toBe(130)
    // The second may have been done as well when the signal came.
    expect(run.created.length === 1 || run.created.length === 2).toBe(true)
    expect(run.stdout).toBe(run.created.map((name) => `${name}\n`).join(''))
    expect(run.created[0]).toBe('face.cloaked.png')
    for (const name of run.created) expect((await decode(join(cwd, name))).width).toBe(WIDTH)
    expect(run.stderr).toMatch(
      /^3 photos: [12] protected, 0 without a face, 0 failed, 0 left alone, [12] not done\nlowkey-gpu: interrupted$/m,
    )
  })

  test('ends the wait for standard input', async () => {
    const started = room()
    const during: Invocation['during'] = async (child) => {
      await sleep(2000)
      child.kill('SIGINT')
    }
    const run = await protect(['-'], { cwd: started, input: 'open', during })
    expect(run).toMatchObject({ code: 130, stdout: '', created: [] })
  })

  test('a second signal ends the process at once', async () => {
    const cwd = roomWith('face.png')
    // Decoding 30 megapixels takes a while, in which the first signal has to wait.
    await sharp(shot('face.png'))
      .resize(5000, 6250, { kernel: 'nearest' })
      .png({ compressionLevel: 1 })
      .toFile(join(cwd, 'large.png'))
    let between: number | null | undefined
    let second = 0
    const during: Invocation['during'] = async (child) => {
      await says(child, /face\.png: 1 face/)
      child.kill('SIGINT')
      await sleep(20)
      between = child.exitCode
      second = performance.now()
      child.kill('SIGINT')
    }
    const run = await protect(['face.png', 'large.png', '--dry-run'], { cwd, during })
    expect(run).toMatchObject({ code: 130, stdout: 'face.png: 1 face, would write face.cloaked.png\n', created: [] })
    // Nothing was waited for, or 'interrupted' were said.
    expect(between).toBe(null)
    expect(run.stderr).toBe('')
    expect(performance.now() - second).toBeLessThan(3000)
  })
})
