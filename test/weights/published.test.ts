/** A public checkpoint as its author saves it, from the file to the list: imported, named, and not taken for another. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { architectureOf } from '../../src/models/architectures.ts'
import { loadManifest } from '../../src/weights/node.ts'
import { lowkey, room } from '../support/cli.ts'
import { seeded } from '../support/networks.ts'
import { type Bytes, dict, EMPTY_DICT, int, stateFile, storage, tensor, zipped } from '../support/torch-file.ts'

describe('published files', () => {
  test('are of architectures that are known, each file with one of a kind', async () => {
    const { published } = await loadManifest()
    expect(published.length).toBeGreaterThan(20)
    for (const { id, architecture } of published) expect(architectureOf(architecture), id).toBeDefined()
    const kinds = published.map(({ file, architecture, sha256 }) => `${file} ${architecture} ${sha256}`)
    expect(new Set(kinds).size).toBe(kinds.length)
  })
})

describe("Xiaoccer's 068.ckpt", () => {
  const cwd = room('xiaoccer')
  const home = join(cwd, 'home')
  const env = { LOWKEY_HOME: home }

  test('is imported under its name, with what is known of it, and its threshold is said to be unknown', async () => {
    const weights = [...seeded('mobilefacenet-xiaoccer')]
    const storages = weights.map(([, { data }], k) => storage(`${k}`, data))
    const state = weights.map(([name, { shape }], k): [string, Bytes] => [name, tensor(storages[k], shape)])
    const contents = dict({ epoch: int(68), net_state_dict: dict(Object.fromEntries(state)) }, EMPTY_DICT)
    writeFileSync(join(cwd, '068.ckpt'), zipped(contents, storages))
    const run = await lowkey(['weights', 'import', '068.ckpt', '--f16', 'no', '--json'], { cwd, env })
    expect(run.code, run.stderr).toBe(0)
    expect(run.stderr).toMatch(
      /^068\.ckpt: MobileFaceNet of Xiaoccer \(mobilefacenet-xiaoccer\), 1\.0 million parameters/,
    )
    expect(run.stderr).toMatch(/names of its tensors begin with "net_state_dict\."/)
    expect(JSON.parse(run.stdout)).toMatchObject({
      ...{ id: 'xiaoccer-mobilefacenet', architecture: 'mobilefacenet-xiaoccer', embedding: 128, threshold: 0.3 },
      ...{
        alignment: 'arcface112',
        title: 'MobileFaceNet of Xiaoccer, CASIA-WebFace (ArcFace)',
        licence: 'not stated',
      },
      thresholdSource: expect.stringMatching(/^Not measured, a usual value: `lowkey-gpu weights accuracy FOLDER`/),
      input: { width: 112, height: 112, colours: 'RGB', range: [0, 255], mean: [127.5, 127.5, 127.5] },
    })
    const list = await lowkey(['weights', 'list'], { cwd, env })
    expect(list.stdout).toMatch(/^xiaoccer-mobilefacenet +recogniser +ready/m)
    expect(list.stdout).toMatch(/^insightface-r50 +backbone\.pth +weights import FILE +IResNet-50 of InsightFace/m)
    expect(list.stdout).not.toMatch(/^xiaoccer-mobilefacenet +068\.ckpt/m)
  })

  test('another network in a file of that name is not taken for it', async () => {
    const other = seeded('ir-1x8-1x16-1x24-1x32-e64')
    const folder = room('other')
    writeFileSync(join(folder, '068.ckpt'), stateFile(other))
    const own = { LOWKEY_HOME: join(folder, 'home') }
    const run = await lowkey(['weights', 'import', '068.ckpt', '--f16', 'no'], { cwd: folder, env: own })
    expect(run.code, run.stderr).toBe(0)
    const entry = JSON.parse(readFileSync(join(folder, 'home/weights/068.json'), 'utf8'))
    expect(entry).toMatchObject({ id: '068', title: 'IR of 1/1/1/1 units', licence: 'not stated', authors: [] })
  })
})
