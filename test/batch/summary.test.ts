/** `lowkey-gpu report`: ledgers joined, as JSON, text and a page. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { rowsOf } from '../../src/batch/ledger.ts'
import type { LedgerFace, LedgerRow, PhotoRow } from '../../src/batch/rows.ts'
import { BINS, type RunSummary, summarise } from '../../src/batch/summary.ts'
import { renderRun } from '../../src/batch/summary-page.ts'
import { report } from '../../src/cli/report.ts'
import { lowkey, room } from '../support/cli.ts'

const at = (minute: number): string => new Date(Date.UTC(2026, 10, 27, 12, minute)).toISOString()
const sha256 = 'a'.repeat(64)

const task = (minute: number, more: object = {}): LedgerRow => ({
  ...{ row: 'task', ledger: 1, version: '1.2.3', host: 'one', pid: 1, at: at(minute), settings: 'k' },
  ...{ made: { preset: { name: 'auto' } }, ...more },
})
const face = (after: number, heldOut: number): LedgerFace => ({
  box: [1.2, 2.6, 30, 40],
  recognisers: [
    { id: 'attacked', heldOut: false, threshold: 0.5, before: 1, after },
    { id: 'judge', heldOut: true, threshold: 0.4, before: 0.99, after: heldOut },
  ],
  foundAgain: true,
  sure: true,
})
const done = (photo: string, minute: number, faces: LedgerFace[], more: Partial<PhotoRow> = {}): PhotoRow => ({
  ...{ row: 'photo', photo, outcome: 'protected', at: at(minute), settings: 'k', input: { sha256, bytes: 9 } },
  ...{ output: { path: photo, sha256, bytes: 5 }, adapter: 'a GPU', seconds: 2, lpips: 0.02, psnr: 40, faces, ...more },
})
const failed = (photo: string, minute: number, message: string, retry: boolean): PhotoRow => ({
  ...{ row: 'photo', photo, outcome: 'failed', at: at(minute), settings: 'k', error: { code: 1, message, retry } },
})
const begun = (photo: string, minute: number): LedgerRow => ({ row: 'begun', photo, at: at(minute) })
const end = (code: number, minute: number): LedgerRow => ({ row: 'end', code, at: at(minute), notDone: 0, before: 0 })

/** A folder with ledgers of these rows. */
function ledgers(...files: (readonly (LedgerRow | string)[])[]): { folder: string; paths: string[] } {
  const folder = room('report')
  const paths = files.map((rows, i) => {
    const path = join(folder, `lowkey-ledger-${i}.jsonl`)
    writeFileSync(path, rows.map((row) => (typeof row === 'string' ? row : `${JSON.stringify(row)}\n`)).join(''))
    return path
  })
  return { folder, paths }
}

const HOSTILE = '</title><script>alert(1)</script>&"\'\u202egpj.x'

const run = ledgers(
  [
    task(0, { shard: { index: 1, count: 4 } }),
    begun('a/1.jpg', 1),
    done('a/1.jpg', 2, [face(0.1, 0.2)]),
    begun('b.jpg', 2),
    failed('b.jpg', 3, 'is cut short', false),
    failed('full.jpg', 3, 'no space is left', true),
    end(75, 4),
  ],
  [
    task(5, { shard: { index: 1, count: 4 }, host: 'two' }),
    // Again, with another result: the last word counts.
    done('a/1.jpg', 6, [face(0.6, 0.1), face(-0.2, 0.45)], { seconds: 4, lpips: 0.04, psnr: 38 }),
    done('full.jpg', 6, [{ ...face(0.3, 0.1), foundAgain: false }], {
      ...{
        adapter: 'another',
        seconds: 3,
        mayBe: [
          [1, 2, 30, 40],
          [50, 2, 69, 21],
        ],
      },
    }),
    {
      ...failed('c.jpg', 6, 'no face found', false),
      outcome: 'without a face',
      error: { code: 3, message: 'no face found', retry: false },
    },
    { ...failed('d.jpg', 6, '', false), outcome: 'without a face', error: undefined, mayBe: [[9, 8, 28, 27]] },
    { ...failed('folder', 6, 'may not be read', false), outcome: 'left alone', photos: 7 },
    end(1, 7),
  ],
  [
    task(5, { shard: { index: 3, count: 4 }, settings: 'other', version: '1.2.2' }),
    begun(HOSTILE, 6),
    done(HOSTILE, 6, [face(0.1, 0.1)], { settings: 'other' }),
    begun('killed.jpg', 7),
    '{"row":"photo","photo":"kil',
  ],
)

describe('a summary', () => {
  const summary = summarise(run.paths)

  test('counts photos by the last word on each, and tasks by how they ended', () => {
    expect(summary).toMatchObject({
      ...{ ledgers: 3, damagedLines: 1, again: 1, faces: 4, notFoundAgain: 1, unfinished: ['killed.jpg'] },
      photos: { protected: 3, withoutFace: 2, failed: 1, leftAlone: 7, earlierResults: 0, unfinished: 1 },
      tasks: { count: 3, hosts: 2, ended: 1, stopped: { 75: 1 }, withoutEnd: 1, shardsWithout: [2, 4] },
      settings: [
        { key: 'other', version: '1.2.2', photos: 1 },
        { key: 'k', version: '1.2.3', strength: 'auto', photos: 2 },
      ],
      failed: [{ photo: 'b.jpg', code: 1, message: 'is cut short', retry: false }],
      withoutFace: [{ photo: 'c.jpg', code: 3 }, { photo: 'd.jpg' }],
      mayBe: [
        { photo: 'd.jpg', boxes: [[9, 8, 28, 27]] },
        {
          photo: 'full.jpg',
          boxes: [
            [1, 2, 30, 40],
            [50, 2, 69, 21],
          ],
        },
      ],
      from: at(0),
      to: at(7),
    })
  })

  test('tells the similarity that is left, and who still matches', () => {
    const [attacked, judge] = summary.recognisers
    expect(attacked).toMatchObject({ id: 'attacked', heldOut: false, faces: 4, stillMatch: 1, worstAfter: 0.6 })
    expect(attacked.meanAfter).toBeCloseTo((0.6 - 0.2 + 0.3 + 0.1) / 4, 12)
    expect(attacked.medianAfter).toBeCloseTo(0.2, 12)
    expect(judge).toMatchObject({ id: 'judge', heldOut: true, stillMatch: 1, worstAfter: 0.45 })
    expect(attacked.histogram).toHaveLength(BINS)
    expect(attacked.histogram.reduce((a, b) => a + b, 0)).toBe(4)
    expect(attacked.histogram[Math.floor(0.8 * BINS)]).toBe(1) // 0.6
    expect(summary.stillMatch).toEqual([
      {
        photo: 'a/1.jpg',
        output: 'a/1.jpg',
        box: [1.2, 2.6, 30, 40],
        recognisers: [{ id: 'attacked', heldOut: false, after: 0.6, threshold: 0.5 }],
      },
      {
        photo: 'a/1.jpg',
        output: 'a/1.jpg',
        box: [1.2, 2.6, 30, 40],
        recognisers: [{ id: 'judge', heldOut: true, after: 0.45, threshold: 0.4 }],
      },
    ])
    expect(summary.seconds).toEqual({ sum: 9, median: 3, longest: 4 })
    expect(summary.lpips).toEqual({ median: 0.02, worst: 0.04 })
    expect(summary.psnr).toEqual({ median: 40, worst: 38 })
    expect(summary.adapters).toEqual([
      { name: 'a GPU', photos: 2, seconds: 6 },
      { name: 'another', photos: 1, seconds: 3 },
    ])
  })

  test('counts a result whose task was killed between its name and its row, if it is there', () => {
    const { folder, paths } = ledgers([
      task(0),
      begun('x.jpg', 1),
      { ...done('x.jpg', 2, [face(0, 0)]), row: 'saving' },
    ])
    expect(summarise(paths)).toMatchObject({ photos: { protected: 0, unfinished: 1 } })
    writeFileSync(join(folder, 'x.jpg'), '12345')
    expect(summarise(paths)).toMatchObject({ photos: { protected: 1, unfinished: 0 }, faces: 1 })
  })

  test('a task that left a place that may be a face ended by itself, and the page says what to look at', () => {
    const left = ledgers([task(0), done('x.jpg', 1, [face(0.1, 0.1)], { mayBe: [[1, 2, 30, 40]] }), end(6, 2)])
    const summary = summarise(left.paths)
    expect(summary.tasks).toMatchObject({ ended: 1, stopped: {} })
    expect(renderRun(summary, { version: '1', at: at(3) })).toContain(
      'All photos are done, and some places may be faces',
    )
  })

  test('of ledgers without a photo says so', () => {
    const { paths } = ledgers([task(0), end(0, 1)], [''])
    const empty = summarise(paths)
    expect(empty).toMatchObject({ photos: { protected: 0 }, recognisers: [], seconds: null, lpips: null })
    expect(renderRun(empty, { version: '1', at: at(1) })).toContain('No photo was protected')
  })

  test('takes lines of any length, and what is no row as damage', () => {
    const long = done('long.jpg', 1, [], { warnings: ['é'.repeat(3_000_000)] })
    const { paths } = ledgers([
      task(0),
      '\n\n',
      'null\n',
      '[]\n',
      '{"row":"photo"}\n',
      '{"row":"odd","photo":"x"}\n',
      long,
    ])
    const rows = [...rowsOf(paths[0])]
    expect(rows.map((row) => row?.row)).toEqual(['task', undefined, undefined, undefined, undefined, 'photo'])
    expect((rows.at(-1) as PhotoRow).warnings?.[0]).toHaveLength(3_000_000)
  })
})

describe('the page', () => {
  const page = renderRun(summarise(run.paths), { version: '1.2.3', at: at(9) })

  test('stands alone: no script, nothing fetched, names are text', () => {
    expect(page.match(/<script|<link(?! rel="icon" href="data:,")|src=|url\(|@import|https?:/)?.[0]).toBeUndefined()
    expect(page).not.toContain(HOSTILE)
    expect(page).toContain('killed.jpg')
    expect(page).toContain("default-src 'none'")
  })

  test('has a section for all that there is, and none for what there is not', () => {
    const titles = [...page.matchAll(/<h2>(.*?)<\/h2>/g)].map(([, title]) => title)
    expect(titles).toEqual([
      'Similarity left',
      'Faces that still match',
      'Places that may be faces',
      'Failed',
      'Left alone',
      'Without a face',
      'Unfinished',
      'Time',
    ])
    expect(page).toContain('places that may be faces</dt><dd>3</dd>')
    expect(page).toContain('1,2,30,39 50,2,20,20')
    expect(page).toContain('Not all photos are protected')
    const fine = ledgers([task(0), done('x.jpg', 1, [face(0.1, 0.1)]), end(0, 2)])
    const short = renderRun(summarise(fine.paths), { version: '1.2.3', at: at(9) })
    expect([...short.matchAll(/<h2>(.*?)<\/h2>/g)].map(([, title]) => title)).toEqual(['Similarity left', 'Time'])
    expect(short).toContain('no face still matches')
  })

  test('names the first 500 of many', () => {
    const many = Array.from({ length: 700 }, (_, i) => failed(`${i}.jpg`, 1, 'is cut short', false))
    const long = renderRun(summarise(ledgers([task(0), ...many]).paths), { version: '1', at: at(9) })
    expect(long.match(/is cut short/g)).toHaveLength(500)
    expect(long).toContain('The first 500 of 700')
  })
})

describe('the command', () => {
  test('prints text or JSON, writes the page, and never over a file', async () => {
    const cwd = room('report')
    const plain = await lowkey(['report', run.folder, '--html', 'new/run.html'], { cwd })
    expect(plain).toMatchObject({ code: 0, created: ['new/run.html'] })
    expect(plain.stdout).toMatch(/^14 photos: 3 protected, 2 without a face, 1 failed, 7 left alone, 1 unfinished$/m)
    expect(plain.stdout).toMatch(/^tasks: 3 on 2 machines: 1 ended, 1 stopped \(exit code 75\), 1 without an end/m)
    expect(plain.stdout).toMatch(/^attacked +attacked +4 +1\.000 +0\.200 +0\.600 +0\.500 +1$/m)
    expect(plain.stdout).toMatch(/^still match:\n {2}a\/1\.jpg \(attacked 0\.600 of 0\.500\)$/m)
    expect(plain.stdout).toMatch(/^places that may be faces, and stay as they are:\n {2}d\.jpg: 9,8,20,20$/m)
    expect(plain.stdout).not.toContain('\u202e')
    expect(readFileSync(join(cwd, 'new/run.html'), 'utf8')).toMatch(/^<!doctype html>/)
    const json = await lowkey(['report', ...run.paths, '--json', '--html', 'new/run.html'], { cwd })
    expect(json).toMatchObject({ code: 1, stdout: '', created: [] })
    expect(json.stderr).toMatch(/new\/run\.html exists already/)
    const over = await lowkey(['report', ...run.paths, run.folder, '--json', '--html', 'new/run.html', '--overwrite'], {
      cwd,
      replaces: ['new/run.html'],
    })
    expect((JSON.parse(over.stdout) as RunSummary).ledgers).toBe(3)
  }, 60_000)

  test('refuses what is no ledger', async () => {
    const empty = room('report')
    mkdirSync(join(empty, 'sub'))
    await expect(report([])).rejects.toThrow('name ledgers, or the folder they lie in')
    await expect(report([empty])).rejects.toThrow('holds no ledgers')
    await expect(report([join(empty, 'gone.jsonl')])).rejects.toThrow('does not exist')
  })
})
