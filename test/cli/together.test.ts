/** Which photos of a run know of which: what is handed to the protector, a stand-in, and what is said of the others. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { ProtectedFaces } from '../../src/attack/apart.ts'
import type { Protector } from '../../src/attack/protect.ts'
import { ledgersIn, rowsOf } from '../../src/batch/ledger.ts'
import { readOptions } from '../../src/cli/protect/options.ts'
import { ProtectRun } from '../../src/cli/protect/run.ts'
import { settingsOf } from '../../src/cli/protect/settings.ts'
import { findWork } from '../../src/cli/protect/work.ts'
import type { Gpu } from '../../src/device/node.ts'
import { room } from '../support/cli.ts'

let stderr: string
let stdout: string
beforeEach(() => {
  stderr = stdout = ''
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += text
    return true
  })
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += text
    return true
  })
})
afterEach(() => {
  vi.restoreAllMocks()
})

const NAMES = ['a.png', 'b.png', 'c.png']

/** A folder with photos of one grey each: 10, 20, ... */
async function folderOf(names: readonly string[]): Promise<string> {
  const folder = room()
  for (const [i, name] of names.entries()) {
    const grey = 10 * (i + 1)
    const create = { width: 64, height: 64, channels: 3 as const, background: { r: grey, g: grey, b: grey } }
    await sharp({ create }).png().toFile(join(folder, name))
  }
  return folder
}

/** Protects the folder into `out`: results are brighter by one. What the protector was asked for, in its order. */
async function run(folder: string, ...args: readonly string[]) {
  const options = readOptions([folder, '-o', join(folder, 'out'), ...args])
  const { signal } = new AbortController()
  const work = await findWork(options, { signal, leaving: signal })
  const asked: { what: string; faces: ProtectedFaces | undefined; name: string | undefined }[] = []
  const face = {
    ...{ box: [0, 0, 9, 9], landmarks: [], recognisers: [], rounds: 0, number: 1, by: 'detector', roll: 0, beyond: 0 },
    ...{ foundAgain: true, sure: true, apart: { from: 2, matches: [{ photo: 'a.png', recognisers: ['dlib'] }] } },
  }
  const protector = {
    async protect(photo: { rgb: Uint8Array }, options: { apartFrom?: ProtectedFaces; name?: string }) {
      asked.push({ what: `protect ${photo.rgb[0]}`, faces: options.apartFrom, name: options.name })
      const seconds = { detect: 0, compile: 0, attack: 0, measure: 0, total: 0 }
      const found = { left: { notChosen: [], weak: [] }, smallest: { upright: 20, turned: 20 } }
      const result = { ...photo, rgb: photo.rgb.map((v) => v + 1) }
      return { photo: result, faces: [face], ...found, lpips: 0, psnr: 50, seconds, warnings: [] }
    },
    async remember(
      photo: { rgb: Uint8Array },
      result: { rgb: Uint8Array },
      options: { apartFrom: ProtectedFaces; name?: string },
    ) {
      const what = `remember ${photo.rgb[0]} ${result.rgb[0]}`
      asked.push({ what, faces: options.apartFrom, name: options.name })
    },
  } as unknown as Protector
  const gpu = {
    capabilities: { software: false, driver: 'other', device: '', description: '', maxBindingBytes: 2 ** 27 },
  } as Gpu
  const code = await new ProtectRun(work).all(gpu, protector)
  return { code, asked, doing: asked.map(({ what }) => what) }
}

test('all photos of a run share what they are kept apart from; with --alone none does, nor what has no such strength', async () => {
  const { asked } = await run(await folderOf(NAMES))
  expect(asked.map(({ what }) => what)).toEqual(['protect 10', 'protect 20', 'protect 30'])
  expect(asked.map(({ name }) => name)).toEqual(NAMES.map((name) => expect.stringContaining(name)))
  expect(asked[0].faces).toBeDefined()
  expect(new Set(asked.map(({ faces }) => faces)).size).toBe(1)
  for (const args of [['--alone'], ['--strength', 'paper']])
    expect((await run(await folderOf(NAMES), ...args)).asked.map(({ faces }) => faces)).toEqual(
      Array(3).fill(undefined),
    )
})

test('--resume looks again at what is done, before anything else, and does not touch it', async () => {
  const folder = await folderOf(NAMES)
  await run(folder, '--resume')
  const kept = readFileSync(join(folder, 'out/a.cloaked.png'))
  rmSync(join(folder, 'out/b.cloaked.png'))
  const { code, asked, doing } = await run(folder, '--resume')
  expect({ code, doing }).toEqual({ code: 0, doing: ['remember 10 11', 'remember 30 31', 'protect 20'] })
  expect(new Set(asked.map(({ faces }) => faces)).size).toBe(1)
  expect(asked[0].name).toContain('a.png')
  expect(readFileSync(join(folder, 'out/a.cloaked.png')).equals(kept)).toBe(true)
  // The ledger says which earlier photo a face still matches.
  const rows = ledgersIn(join(folder, 'out')).flatMap((path) => [...rowsOf(path)])
  const faces = rows.flatMap((row) => (row?.row === 'photo' ? (row.faces ?? []) : []))
  expect(faces.at(-1)?.apart).toEqual({ from: 2, matches: [{ photo: 'a.png', recognisers: ['dlib'] }] })
  expect((await run(folder, '--resume')).doing).toEqual([])
})

test('so does a run that finds results in the way; what is no result is named', async () => {
  const folder = await folderOf(NAMES)
  await run(folder)
  rmSync(join(folder, 'out/c.cloaked.png'))
  writeFileSync(join(folder, 'out/b.cloaked.png'), readFileSync(join(folder, 'b.png')))
  const { code, doing } = await run(folder, '--json')
  expect({ code, doing }).toEqual({ code: 1, doing: ['remember 10 11', 'protect 30'] })
  expect(stderr).toMatch(
    /b\.png and its result .*b\.cloaked\.png could not be looked at again.*does not say that it is a result/,
  )
  expect(JSON.parse(stdout.trim().split('\n').at(-1)!).notes.join()).toMatch(/b\.cloaked\.png could not be looked at/)
})

test('--earlier says how many, and how many were not is said', async () => {
  const folder = await folderOf(NAMES)
  await run(folder, '--resume')
  rmSync(join(folder, 'out/b.cloaked.png'))
  const { doing } = await run(folder, '--resume', '--earlier', '1')
  expect(doing).toEqual(['remember 30 31', 'protect 20'])
  expect(stderr).toMatch(/1 photo with results from before was not looked at again \(--earlier\)/)
  rmSync(join(folder, 'out/b.cloaked.png'))
  expect((await run(folder, '--resume', '--earlier', '0')).doing).toEqual(['protect 20'])
  expect(stderr).toMatch(/2 photos with results from before were not looked at again/)
})

test('--alone is another setting: what it decides are bytes', async () => {
  const [together, alone] = await Promise.all([[], ['--alone']].map((args) => settingsOf(readOptions(['x', ...args]))))
  expect(together).not.toEqual(alone)
  expect(together).toMatchObject({ together: true })
})
