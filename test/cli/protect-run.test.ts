/** The order of a run over several photos: what overlaps, what is kept when it ends early. The GPU is a stand-in that waits to be told. */
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { NoFaceError, type Protector } from '../../src/attack/protect.ts'
import { Exit, Interrupted } from '../../src/cli/exit.ts'
import { ProgressLine } from '../../src/cli/progress.ts'
import { countFaces, faceNote, noFaces } from '../../src/cli/protect/face-counts.ts'
import { readOptions } from '../../src/cli/protect/options.ts'
import { closingLine, rateLine } from '../../src/cli/protect/report.ts'
import { ProtectRun } from '../../src/cli/protect/run.ts'
import { findWork } from '../../src/cli/protect/work.ts'
import { DeviceLostError, type Gpu } from '../../src/device/node.ts'
import { readPhoto } from '../../src/images/index.ts'
import { room } from '../support/cli.ts'

vi.mock('../../src/images/index.ts', { spy: true })

const SIDE = 64

/** A photo of one grey, by which the stand-in for the GPU knows it. */
async function paint(file: string, grey: number): Promise<void> {
  const create = { width: SIDE, height: SIDE, channels: 3 as const, background: { r: grey, g: grey, b: grey } }
  await sharp({ create }).png().toFile(file)
}

/** Polls until it holds. */
async function until(holds: () => boolean): Promise<void> {
  const began = performance.now()
  while (!holds()) {
    if (performance.now() - began > 20_000) throw new Error('it never came to hold')
    await sleep(5)
  }
}

let printed: { stdout: string; stderr: string }
beforeEach(() => {
  printed = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    vi.spyOn(process[name], 'write').mockImplementation((text) => {
      printed[name] += text
      return true
    })
  }
})
afterEach(() => {
  vi.restoreAllMocks()
})

/**
 * A run over photos whose greys are 10, 20, ...; `work` is what the GPU does with each, and gives how many places may be faces. Results
 * are brighter by one.
 */
async function runOver(
  names: readonly string[],
  args: readonly string[],
  work: (grey: number) => Promise<void> | void | number,
  prepared: (folder: string) => void = () => {},
) {
  const folder = room()
  for (const [i, name] of names.entries()) {
    mkdirSync(join(folder, name, '..'), { recursive: true })
    await paint(join(folder, name), 10 * (i + 1))
  }
  prepared(folder)
  const output = join(folder, 'out')
  const options = readOptions([...names.map((name) => join(folder, name)), '-o', output, ...args])
  const controller = new AbortController()
  const { signal } = controller
  const found = await findWork(options, { signal, leaving: signal })
  const protector = {
    async protect(photo: { rgb: Uint8Array }) {
      const places = (await work(photo.rgb[0])) ?? 0
      signal.throwIfAborted()
      const rgb = photo.rgb.map((v) => v + 1)
      const seconds = { detect: 0, compile: 0, attack: 0, measure: 0, total: 0 }
      const found = {
        left: { notChosen: [], weak: Array(places).fill({ box: [1, 2, 30, 40], score: 0.7 }) },
        smallest: { upright: 20, turned: 20 },
      }
      return { photo: { ...photo, rgb }, faces: [], ...found, lpips: 0, psnr: 50, seconds, warnings: [] }
    },
  } as unknown as Protector
  const gpu = { capabilities: { software: false, driver: 'other', device: 'stand-in', description: '' } } as Gpu
  const done = new ProtectRun(found).all(gpu, protector)
  done.catch(() => {}) // looked at later
  const result = (name: string) => join(output, name.replace('.png', '.cloaked.png'))
  return { done, folder, controller, result, grey: async (name: string) => (await readPhoto(result(name))).rgb[0] }
}

describe('a run over several photos', () => {
  test('decodes the next and saves the last while the GPU works, each one at a time, and prints in order', async () => {
    let release = () => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    let busy = 0
    const run = await runOver(['a.png', 'b.png', 'c.png', 'd.png'], ['--json'], (grey) => {
      busy = grey
      if (grey === 20) return held
    })
    await until(() => busy === 20)
    // The first is saved and told of while the second is on the GPU.
    await until(() => printed.stdout.endsWith('\n'))
    expect(await run.grey('a.png')).toBe(11)
    // The third is decoded already, the fourth is not looked at yet.
    const { mock } = vi.mocked(readPhoto)
    const index = () => mock.calls.findIndex(([source]) => source === join(run.folder, 'c.png'))
    await until(() => mock.settledResults[index()]?.type === 'fulfilled')
    for (const name of ['c.png', 'd.png']) rmSync(join(run.folder, name))
    release()
    expect(await run.done).toBe(1)
    expect(await run.grey('b.png')).toBe(21)
    expect(await run.grey('c.png')).toBe(31)
    const rows = printed.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(rows.slice(0, 4).map(({ input }) => input.slice(-5))).toEqual(['a.png', 'b.png', 'c.png', 'd.png'])
    expect(rows[3].error.message).toMatch(/d\.png does not exist/)
    expect(rows[4].summary).toEqual({
      ...{ photos: 4, protected: 3, withoutFace: 0, failed: 1, leftAlone: 0, notDone: 0, earlierResults: 0 },
      faces: noFaces(),
    })
    expect(printed.stderr).toMatch(
      /^4 worked on in \d+\.\d s, \S+ a minute\n4 photos: 3 protected, 0 without a face, 1 failed, 0 left alone\n$/m,
    )
  })

  test('saves what is done when the GPU is lost, and throws that', async () => {
    const lost = new DeviceLostError('stand-in', 'unknown', 'gone')
    const run = await runOver(['a.png', 'b.png', 'c.png'], [], (grey) => {
      if (grey === 20) throw lost
    })
    await expect(run.done).rejects.toBe(lost)
    expect(await run.grey('a.png')).toBe(11)
    expect(existsSync(run.result('b.png'))).toBe(false)
    expect(printed.stdout).toBe(`${run.result('a.png')}\n`)
    expect(printed.stderr).toMatch(/^3 photos: 1 protected, 0 without a face, 0 failed, 0 left alone, 2 not done$/m)
  })

  test('saves what is done when it is interrupted, and nothing else', async () => {
    const run = await runOver(['a.png', 'b.png', 'c.png'], [], (grey) => {
      if (grey === 20) run.controller.abort(new Interrupted())
    })
    await expect(run.done).rejects.toThrow(Interrupted)
    expect(printed.stdout).toBe(`${run.result('a.png')}\n`)
    expect(await run.grey('a.png')).toBe(11)
    expect(existsSync(run.result('b.png'))).toBe(false)
  })

  test('refuses two photos of one result before the first is begun', async () => {
    const work = vi.fn()
    const run = runOver(['one/x.png', 'two/x.png', 'three/y.png'], ['--overwrite'], work)
    await expect(run).rejects.toThrow(
      /one\/x\.png and \S+two\/x\.png would both become \S+out\/x\.cloaked\.png: protect them/,
    )
    expect(work).not.toHaveBeenCalled()
  })

  test('copies and counts photos without a face; --quiet leaves the summary out', async () => {
    const faceless = (grey: number) => {
      if (grey === 10) throw new NoFaceError('no face found')
    }
    const run = await runOver(['a.png', 'b.png'], ['--on-no-face', 'copy'], faceless)
    expect(await run.done).toBe(0)
    expect((await readPhoto(join(run.folder, 'out/a.png'))).rgb[0]).toBe(10)
    expect(printed.stderr).toMatch(/^2 photos: 1 protected, 1 without a face, 0 failed, 0 left alone\n$/m)
    printed.stderr = ''
    const quiet = await runOver(['a.png', 'b.png'], ['--quiet', '--on-no-face', 'skip'], faceless)
    expect(await quiet.done).toBe(0)
    expect(printed.stderr).toBe('')
  })
})

describe('a place that may be a face and stays as it is', () => {
  test('is counted, and the exit code says that nobody can tell', async () => {
    const run = await runOver(['a.png', 'b.png'], ['--json', '--quiet'], (grey) => (grey === 20 ? 2 : 0))
    expect(await run.done).toBe(Exit.uncertain)
    expect(await run.grey('b.png')).toBe(21)
    const { summary } = JSON.parse(printed.stdout.trimEnd().split('\n').at(-1)!)
    expect(summary).toMatchObject({ protected: 2, failed: 0, faces: { protected: 0, mayBe: 2 } })
    expect(printed.stderr).toBe(
      '2 photos: 2 protected, 0 without a face, 0 failed, 0 left alone; 2 places may be faces\n',
    )
  })

  test('in a photo without a face that may be skipped, too', async () => {
    const run = await runOver(['a.png'], ['--on-no-face', 'skip', '--quiet'], () => {
      throw new NoFaceError('no face found', [{ box: [1, 2, 30, 40], score: 0.7 }])
    })
    expect(await run.done).toBe(Exit.uncertain)
    expect(printed.stderr).toBe('lowkey-gpu: 1 place may be a face\n')
  })

  test('is no matter where somebody chose, and less than a photo that failed', async () => {
    expect(await (await runOver(['a.png'], ['--faces', 'largest'], () => 1)).done).toBe(Exit.done)
    const failed = await runOver(['a.png', 'b.png'], [], (grey) => {
      if (grey === 20) throw new Error('no')
      return 1
    })
    expect(await failed.done).toBe(Exit.failed)
  })
})

describe('what is said of several photos', () => {
  test('faces that need a look: cut, small, uncertain, not chosen', () => {
    const counts = noFaces()
    const face = { box: [0, 0, 50, 50] as [number, number, number, number], beyond: 0, sure: true, foundAgain: true }
    countFaces(counts, [face, { ...face, beyond: 0.3 }, { ...face, box: [5, 5, 20, 20] }], { notChosen: [], weak: [] })
    countFaces(
      counts,
      [
        { ...face, sure: false },
        { ...face, foundAgain: false },
      ],
      { notChosen: [], weak: [] },
    )
    expect(counts).toEqual({ protected: 5, cut: 1, small: 1, uncertain: 2, notChosen: 0, mayBe: 0 })
    expect(faceNote(counts)).toBe('of 5 faces 1 cut by the border, 1 under 20 pixels, 2 uncertain')
    expect(faceNote({ ...noFaces(), protected: 2, notChosen: 1, mayBe: 1 })).toBe(
      '1 face not chosen; 1 place may be a face',
    )
    expect(faceNote({ ...noFaces(), protected: 2 })).toBe('')
  })

  test('sums up', () => {
    const outcomes = { protected: 4, 'without a face': 0, failed: 1, 'left alone': 2 }
    const counts = '4 protected, 0 without a face, 1 failed, 2 left alone'
    expect(closingLine({ outcomes })).toBe(`7 photos: ${counts}`)
    expect(closingLine({ outcomes, notDone: 3, results: 1 })).toBe(
      `10 photos: ${counts}, 3 not done, besides 1 earlier result`,
    )
    expect(closingLine({ outcomes, dryRun: true })).toBe(
      `7 photos: ${counts.replace('4 protected', '4 would be protected')}`,
    )
    expect(rateLine(5, 12.34)).toBe('5 worked on in 12.3 s, 24.3 a minute')
    expect(rateLine(5, 1)).toBe('5 worked on in 1.0 s, 300 a minute')
  })

  test('tells photos a minute and the time left for all, on a terminal', async () => {
    const written: string[] = []
    const stream = { isTTY: true, columns: 120, write: (text: string) => written.push(text) > 0 }
    const line = new ProgressLine(false, stream as unknown as NodeJS.WriteStream, 3)
    line.start('a.png', 0)
    line.update({ phase: 'attack', done: 1, total: 2 })
    await sleep(200)
    line.start('b.png', 1)
    line.update({ phase: 'attack', done: 1, total: 2 })
    expect(written[0]).toBe('\r\x1b[K1 of 3, a.png: [############------------] step 1 of 2')
    expect(written[1]).toMatch(/2 of 3, b\.png: .* step 1 of 2, \S+ photos a minute, \d+ s left$/)
    const [rate, left] = written[1].match(/[\d.]+(?= photos a minute| s left$)/g) ?? []
    // One and a half photos in at least 0.2 s; as many are left.
    expect(Number(rate)).toBeGreaterThan(10)
    expect(Number(rate)).toBeLessThanOrEqual(450)
    expect(Number(left)).toBe(Math.round((1.5 * 60) / Number(rate)))
  })
})
