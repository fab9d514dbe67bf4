/** `protect --faces list`, `--face` and `--box` as processes. */
import { join } from 'node:path'
import sharp from 'sharp'
import { beforeAll, expect, test } from 'vitest'
import { UsageError } from '../../src/cli/exit.ts'
import { faceChoice } from '../../src/cli/protect/face-list.ts'
import { lowkey, room } from '../support/cli.ts'

const cwd = room()
const adapter = process.env.LOWKEY_GPU
const protect = (...args: string[]) => lowkey(['protect', ...(adapter ? ['--gpu', adapter] : []), ...args], { cwd })

beforeAll(async () => {
  const face = await sharp(join(import.meta.dirname, '../../examples/astronaut.png'))
    .extract({ left: 80, top: 0, width: 320, height: 320 })
    .resize(120, 120)
    .png()
    .toBuffer()
  await sharp({ create: { width: 400, height: 120, channels: 3, background: '#6e6e6e' } })
    .composite([
      { input: face, left: 0, top: 0 },
      { input: await sharp(face).rotate(90).toBuffer(), left: 120, top: 0 },
    ])
    .png()
    .toFile(join(cwd, 'two.png'))
})

test('--faces list numbers them with boxes, writes a picture, and protects none', async () => {
  const { code, stdout, created } = await protect('two.png', '--faces', 'list')
  expect({ code, created }).toEqual({ code: 0, created: ['two.faces.png'] })
  expect(stdout.trimEnd().split('\n')).toEqual([
    'two.png: 2 faces, numbered in two.faces.png',
    expect.stringMatching(/^ {2}face 1 at \d+,\d+,\d+,\d+ \(score [01]\.\d{3}\)$/),
    expect.stringMatching(/^ {2}face 2 at \d+,\d+,\d+,\d+ \(score [01]\.\d{3}, on its side\)$/),
  ])
  const { data } = await sharp(join(cwd, 'two.faces.png')).removeAlpha().raw().toBuffer({ resolveWithObject: true })
  const before = await sharp(join(cwd, 'two.png')).removeAlpha().raw().toBuffer()
  expect(data.length).toBe(before.length)
  const drawn = data.reduce((count, value, i) => count + (value === before[i] ? 0 : 1), 0) / data.length
  expect(drawn > 0.005 && drawn < 0.2).toBe(true)
})

test('--face chooses by number, and what was not chosen is counted', async () => {
  const { code, stdout, stderr } = await protect('two.png', '--face', '2', '--steps', '1', '--json', '-o', 'second.png')
  expect(code).toBe(0)
  const row = JSON.parse(stdout)
  expect(row.faces.map(({ number }: { number: number }) => number)).toEqual([2])
  expect(row.left.notChosen.map(({ number }: { number: number }) => number)).toEqual([1])
  expect(row.warnings).toContain('a face was not chosen (1), and stays unprotected')
  expect(stderr).toContain('warning: a face was not chosen (1), and stays unprotected')
  // The first face keeps its bits.
  const [before, after] = await Promise.all(
    ['two.png', 'second.png'].map((name) =>
      sharp(join(cwd, name)).extract({ left: 0, top: 0, width: 90, height: 120 }).removeAlpha().raw().toBuffer(),
    ),
  )
  expect(after.equals(before)).toBe(true)
})

test('--box protects where none is found, and says so; what cannot be is refused', async () => {
  const { code, stdout } = await protect('two.png', '--box', '290,20,60,80', '--dry-run', '--json')
  expect(code).toBe(0)
  expect(JSON.parse(stdout).faces.map(({ by }: { by: string }) => by)).toEqual(['detector', 'detector', 'guess'])
  const beyond = await protect('two.png', '--box', '900,20,60,80', '--dry-run')
  expect(beyond.code).not.toBe(0)
  expect(beyond.stderr).toMatch(/two\.png: the box 900,20,60,80 is no part of a photo of 400x120 pixels/)
  const third = await protect('two.png', '--face', '3', '--dry-run')
  expect(third.code).toBe(2)
  expect(third.stderr).toMatch(/two\.png: there is no face 3: 2 were found \(--faces list shows them\)/)
})

test('numbers and boxes that are none are wrong usage', () => {
  expect(faceChoice(undefined, '2, 3', ['1,2,30,40'])).toEqual({ faces: [2, 3], boxes: [[1, 2, 30, 40]] })
  expect(faceChoice('largest', undefined)).toEqual({ faces: 'largest', boxes: [] })
  for (const face of ['0', 'x', '1,,2', '1.5', '-1']) {
    expect(() => faceChoice(undefined, face)).toThrow(UsageError)
    expect(() => faceChoice(undefined, face)).toThrow(/^--face takes numbers of faces/)
  }
  expect(() => faceChoice('all', '1')).toThrow(/leave --faces out/)
  for (const box of ['1,2,3', '1,2,3,x', '1,2,0,4', '1,2,3,-4', '1,2,,4', '1,2,3,4,5'])
    expect(() => faceChoice(undefined, undefined, [box])).toThrow(/^--box takes x,y,width,height in pixels/)
})
