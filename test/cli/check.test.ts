/**
 * `lowkey-gpu check`, once as a process and else on one device: verdicts, sentences and exit codes on photos whose faces are the same,
 * blurred, lost or swapped.
 */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { lowkey, type Outcome, room } from '../support/cli.ts'
import { inProcess, sharedGpu } from '../support/in-process.ts'
import { PORTRAIT, portrait } from '../support/portrait.ts'
import { everything, LONG } from '../support/scope.ts'

vi.mock('../../src/cli/driver-noise.ts', async (original) => ({
  ...(await original<object>()),
  openGpu: () => sharedGpu(),
}))

const { width: WIDTH, height: HEIGHT } = PORTRAIT
const cwd = room()
const file = (name: string): string => join(cwd, name)

/** `check`, which never writes a file. */
async function check(...args: string[]): Promise<Outcome> {
  const run = await inProcess(['check', ...args], { cwd })
  expect(run.created).toEqual([])
  return run
}

/** The same as a process, on the adapter that the tests are to use. */
async function checkProcess(...args: string[]): Promise<Outcome> {
  const gpu = process.env.LOWKEY_GPU
  const run = await lowkey(['check', ...(gpu ? ['--gpu', gpu] : []), ...args], { cwd })
  expect(run.created).toEqual([])
  return run
}

/** The object of `--json`, and the exit code. */
async function checked(...args: string[]) {
  const { code, stdout, stderr } = await check(...args, '--json')
  expect(stderr).toBe('')
  expect(stdout.match(/\n/g)).toHaveLength(1)
  return { code, ...JSON.parse(stdout) }
}

beforeAll(async () => {
  const face = await portrait().png().toBuffer()
  const mirrored = await sharp(face).flop().png().toBuffer()
  const blurred = (sigma: number) => sharp(face).blur(sigma).png().toBuffer()
  // Found still, but nobody's any more; not found; neither found nor of the same shape.
  const [strange, lost] = [await blurred(4), await blurred(5)]
  const blank = await sharp({ create: { width: WIDTH, height: HEIGHT, channels: 3, background: '#557799' } })
    .png()
    .toBuffer()
  writeFileSync(file('face.png'), face)
  writeFileSync(file('strange.png'), strange)
  writeFileSync(file('lost.png'), lost)
  writeFileSync(file('blank.png'), blank)
  await sharp(await blurred(6))
    .resize(WIDTH, 150, { fit: 'fill' })
    .toFile(file('flat.png'))
  await sharp(face)
    .resize(WIDTH / 2, HEIGHT / 2)
    .toFile(file('half.png'))
  const beside = (left: Buffer, right: Buffer) =>
    sharp({ create: { width: 2 * WIDTH, height: HEIGHT, channels: 3, background: '#557799' } })
      .composite([
        { input: left, left: 0, top: 0 },
        { input: right, left: WIDTH, top: 0 },
      ])
      .png()
      .toBuffer()
  writeFileSync(file('two.png'), await beside(face, mirrored))
  writeFileSync(file('two-strange.png'), await beside(face, await sharp(mirrored).blur(4).png().toBuffer()))
  writeFileSync(file('one-of-two.png'), await beside(face, blank))
  await sharp(await beside(mirrored, face))
    .resize(WIDTH * 2.5, HEIGHT * 1.25)
    .toFile(file('swapped.png'))
  mkdirSync(file('clean'))
  for (const name of ['blank', 'face', 'strange']) copyFileSync(file(`${name}.png`), file(`clean/${name}.png`))
  // An earlier result, as far as its name tells, and a file that is no photo.
  copyFileSync(file('face.png'), file('clean/face.cloaked.png'))
  writeFileSync(file('clean/words.jpg'), 'this is no photo\n')
  mkdirSync(file('sound'))
  for (const name of ['face', 'strange']) copyFileSync(file(`${name}.png`), file(`sound/${name}.png`))
  mkdirSync(file('blanks'))
  copyFileSync(file('blank.png'), file('blanks/blank.png'))
  mkdirSync(file('empty'))
  copyFileSync(file('face.png'), file('empty/only.png'))
})

describe('two photos', () => {
  test('of the same face: a sentence a recogniser, held-out ones first, exit code 1', async () => {
    const { code, stdout, stderr } = await checkProcess('face.png', 'face.png', '--hold-out', 'dlib,faceplugin')
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
    const lines = stdout.trimEnd().split('\n')
    expect(lines[0]).toMatch(/^face 1 of 1, at \d+, \d+, \d+, \d+$/)
    expect(lines.slice(1, -1)).toEqual([
      expect.stringMatching(
        /^ {2}dlib \(held out\) still takes these for the same person: 1\.000, threshold 0\.\d{3}$/,
      ),
      expect.stringMatching(/^ {2}faceplugin \(held out\) still takes these for the same person: 1\.000, /),
      expect.stringMatching(/^ {2}sirius \(attacked\) still takes these for the same person: 1\.000, /),
    ])
    expect(lines.at(-1)).toBe('The face still matches.')
  })

  test.skipIf(!everything)(`of a face that nobody takes for the same: exit code 0${LONG}`, async () => {
    const { code, stdout, stderr } = await check('face.png', 'strange.png')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.match(/ no longer takes these for the same person: -?0\.\d{3}, threshold 0\.\d{3}$/gm)).toHaveLength(
      3,
    )
    expect(stdout).not.toMatch(/still/)
    // Blurred as it is, its landmarks are not certain.
    expect(stdout.match(/^warning: .*$/gm)).toEqual([
      'warning: the face: its eyes, nose and mouth are not certain; others may see it otherwise',
    ])
    expect(stdout).toMatch(/^The face does not match\.$/m)
    expect(await check('face.png', 'strange.png', '-q')).toMatchObject({ code: 0, stdout: '', stderr: '' })
  })

  test.skipIf(!everything)(`with --json: one object; --models says what counts as attacked${LONG}`, async () => {
    const { code, ...row } = await checked('face.png', 'half.png', '--models', 'dlib,sirius')
    expect(code).toBe(1)
    expect(Object.keys(row)).toEqual(['before', 'after', 'faces', 'matches', 'notCompared', 'changes', 'warnings'])
    expect(row).toMatchObject({ before: 'face.png', after: 'half.png', matches: true, notCompared: 0, warnings: [] })
    expect(row.changes).toEqual(['resized to 50%'])
    expect(row.faces).toHaveLength(1)
    const [{ box, boxAfter, matchedBy, recognisers }] = row.faces
    expect(matchedBy).toBe('overlap')
    for (const [i, side] of boxAfter.entries()) expect(Math.abs(2 * side - box[i])).toBeLessThan(10)
    expect(recognisers.map((r: { id: string; heldOut: boolean }) => [r.id, r.heldOut])).toEqual([
      ['faceplugin', true],
      ['sirius', false],
      ['dlib', false],
    ])
    for (const { similarity, threshold, matches, sentence } of recognisers) {
      expect(similarity).toBeGreaterThan(threshold)
      expect(similarity).toBeLessThan(0.999)
      expect(matches).toBe(true)
      expect(sentence).toContain(`${similarity.toFixed(3)}, threshold ${threshold.toFixed(3)}`)
    }
  })

  test.skipIf(!everything)(
    `where the face is not found any more: its old place is measured, and that is no pass${LONG}`,
    async () => {
      const { code, faces, matches, notCompared, warnings } = await checked('face.png', 'lost.png')
      expect({ code, matches, notCompared }).toEqual({ code: 6, matches: false, notCompared: 1 })
      expect(faces).toMatchObject([{ boxAfter: null, matchedBy: 'old-place', compared: false, matches: false }])
      expect(faces[0].recognisers).toHaveLength(3)
      expect(faces[0].recognisers[0].sentence).toMatch(/ would not take these for the same person: /)
      expect(warnings).toEqual([
        'the face is not found any more in lost.png; what its old place looks like was measured, which is no verdict',
      ])
      const { stdout } = await check('face.png', 'lost.png')
      expect(stdout).toMatch(/^The face was not found any more, so nobody can tell\.$/m)
    },
  )

  test.skipIf(!everything)(
    `of several faces: each with the one at its place, the exit code by the worst${LONG}`,
    async () => {
      const { code, faces, warnings } = await checked('two.png', 'two-strange.png')
      expect(code).toBe(1)
      const [left, right] = faces.toSorted((a: { box: number[] }, b: { box: number[] }) => a.box[0] - b.box[0])
      expect(left).toMatchObject({ matchedBy: 'overlap', matches: true })
      expect(left.recognisers.every((r: { similarity: number }) => r.similarity > 0.98)).toBe(true)
      expect(right).toMatchObject({ matchedBy: 'overlap', matches: false })
      expect(right.box[0]).toBeGreaterThan(WIDTH)
      expect(warnings).toEqual([expect.stringMatching(/^face \d: its eyes, nose and mouth are not certain/)])
      const { stdout } = await check('two.png', 'two-strange.png')
      expect(stdout).toMatch(/^face 1 of 2, at /)
      expect(stdout).toMatch(/^1 of 2 faces still matches\.$/m)
    },
  )

  test.skipIf(!everything)(`of another size: each with the one most similar to it, wherever it is${LONG}`, async () => {
    const { code, faces } = await checked('two.png', 'swapped.png')
    expect(code).toBe(1)
    expect(faces).toHaveLength(2)
    for (const { box, boxAfter, matchedBy } of faces) {
      expect(matchedBy).toBe('similarity')
      expect(box[0] < WIDTH).toBe(boxAfter[0] > WIDTH * 1.25)
    }
  })

  test.skipIf(!everything)(`of which the second has faces that the first has not: a warning${LONG}`, async () => {
    const { faces, warnings } = await checked('one-of-two.png', 'two.png')
    expect(faces).toHaveLength(1)
    expect(warnings).toEqual(['two.png has a face where one-of-two.png has none; are they the same photo?'])
  })

  test.skipIf(!everything)(`without a face: exit code 3 and the photo that has none${LONG}`, async () => {
    const before = await check('blank.png', 'face.png')
    expect(before).toMatchObject({ code: 3, stdout: '' })
    expect(before.stderr).toMatch(/^lowkey-gpu: blank\.png: no face found \(frontal faces of at least 20 pixels/)
    const after = await check('face.png', 'flat.png')
    expect(after).toMatchObject({ code: 3, stdout: '' })
    expect(after.stderr).toMatch(/^lowkey-gpu: flat\.png: no face found/)
  })
})

describe('a photo and a folder', () => {
  test.skipIf(!everything)(`best, mean, nearest and how many match; says what was left out${LONG}`, async () => {
    const { code, ...row } = await checked('face.png', 'clean')
    expect(code).toBe(1)
    expect(row).toMatchObject({ photo: 'face.png', folder: 'clean', photos: 2, matches: true, leftOut: 1 })
    expect(row.faces).toHaveLength(1)
    for (const { id, best, mean, nearest, matching, matches } of row.faces[0].recognisers) {
      expect(best, id).toBeCloseTo(1, 5)
      expect(mean).toBeLessThan(0.95)
      expect({ nearest, matching, matches }).toEqual({ nearest: join('clean', 'face.png'), matching: 1, matches: true })
    }
    expect(row.warnings).toEqual([
      expect.stringMatching(/^clean.words\.jpg is called a photo, but holds text .*; it was not compared$/),
      `1 earlier result left out (${join('clean', 'face.cloaked.png')})`,
      `${join('clean', 'blank.png')}: no face found; it was left out`,
    ])
  })

  test.skipIf(!everything)(`leaves out the photo itself; exit code 0 where nothing matches${LONG}`, async () => {
    const { code, stdout } = await check('sound/strange.png', 'sound')
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /^ {2}dlib \(attacked\) does not take this face for the same person as any of 1 photo: best 0\.\d{3} \(face\.png\), mean 0\.\d{3}, /m,
    )
    expect(stdout).toMatch(/^The face does not match\.$/m)
  })

  test.skipIf(!everything)(`no pass where a picture could not be compared: exit code 1${LONG}`, async () => {
    const { code, stdout } = await check('clean/strange.png', 'clean')
    expect(code).toBe(1)
    expect(stdout).toMatch(/^warning: clean.words\.jpg is called a photo, but holds text.*; it was not compared$/m)
  })

  test.skipIf(!everything)(`without a face: exit code 3${LONG}`, async () => {
    const run = await check('face.png', 'blanks')
    expect(run).toMatchObject({ code: 3, stdout: '' })
    expect(run.stderr).toBe('lowkey-gpu: blanks: no face was found in its photos\n')
  })
})

test.each<[string[], RegExp]>([
  [['face.png'], /check: name two photos, before and after, or a photo and a folder/],
  [['face.png', 'half.png', 'lost.png'], /check: name two photos/],
  [['clean', 'face.png'], /clean is a folder; the photo comes first/],
  [['empty/only.png', 'empty'], /empty: the folder has no photos but empty.only\.png/],
  [['face.png', 'half.png', '--models', 'nosuch'], /--models: there is no recogniser "nosuch"; there are /],
  [['face.png', 'half.png', '--nosuch'], /Unknown option '--nosuch'/],
])('%j: exit code 2', async (args, message) => {
  const run = await check(...args)
  expect(run).toMatchObject({ code: 2, stdout: '' })
  expect(run.stderr).toMatch(message)
})

test('a photo that is not there: exit code 1 and its name', async () => {
  expect(await check('face.png', 'nosuch.png')).toMatchObject({
    code: 1,
    stdout: '',
    stderr: 'lowkey-gpu: nosuch.png does not exist: check the path\n',
  })
})

test('--help tells the exit codes and every option', async () => {
  const { code, stdout } = await checkProcess('--help')
  expect(code).toBe(0)
  for (const option of ['models', 'hold-out', 'gpu', 'json', 'quiet']) expect(stdout).toContain(`--${option}`)
  expect(stdout).toMatch(/^Exit codes:\n\n {2}0 {4}no recogniser matches any face\n {2}1 {4}a face still matches/m)
})
