/** Networks that users bring: whether a file is whole, and what becomes of it. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { loadNetworks, loadPerceptualPair, loadRecogniser } from '../../src/attack/node.ts'
import { acquire } from '../../src/device/node.ts'
import { compile, graph } from '../../src/graph/index.ts'
import { embeddingDeviation } from '../../src/models/half-precision.ts'
import { identifyNetwork, NetworkFactsError, packTried } from '../../src/models/import-network.ts'
import { readWeightFile } from '../../src/weights/import.ts'
import { importedNetworks, writeNetwork } from '../../src/weights/imported.ts'
import { beyondHalves } from '../../src/weights/network-file.ts'
import { knownNetworks, loadWeights, verifyWeights } from '../../src/weights/node.ts'
import { decodeFloat16, encodeFloat16 } from '../../src/weights/numbers.ts'
import type { RecogniserEntry, WeightTensor } from '../../src/weights/registry.ts'
import { writeSafetensors } from '../../src/weights/safetensors.ts'
import { goldenCase } from '../golden/case.ts'
import { lowkey, room } from '../support/cli.ts'
import { cosine, relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { known, MICRO, seeded } from '../support/networks.ts'
import { dataBeside, everything, isAtHand, LONG, someOf } from '../support/scope.ts'
import { older, stateFile } from '../support/torch-file.ts'

const repository = resolve(import.meta.dirname, '../..')

const shared = dataBeside('weights')

afterEach(() => vi.unstubAllEnvs())

describe('halves', () => {
  test('are rounded to nearest, ties to even, and read back', () => {
    const all = decodeFloat16(Uint16Array.from({ length: 65536 }, (_, i) => i))
    const again = encodeFloat16(all)
    for (let i = 0; i < 65536; i++) {
      if (Number.isNaN(all[i])) expect((again[i] & 0x7c00) === 0x7c00 && (again[i] & 0x3ff) !== 0).toBe(true)
      else expect(again[i]).toBe(i)
    }
    // Between two halves, and beyond the last.
    const of = (value: number) => decodeFloat16(encodeFloat16(Float32Array.of(value)))[0]
    expect([of(1 + 2 ** -11), of(1 + 3 * 2 ** -11), of(1 + 2 ** -11 + 2 ** -20)]).toEqual([
      1,
      1 + 2 ** -9,
      1 + 2 ** -10,
    ])
    expect([of(65504), of(65519), of(65520), of(-1e9)]).toEqual([65504, 65504, Infinity, -Infinity])
    expect([of(2 ** -25), of(2 ** -25 * 1.01), of(3 * 2 ** -25), of(2 ** -14 - 2 ** -26)]).toEqual([
      0,
      2 ** -24,
      2 ** -23,
      2 ** -14,
    ])
  })

  test('hold no large numbers; vectors are not halved', () => {
    const large = { shape: [1, 1], data: Float32Array.of(70_000) }
    expect(beyondHalves(new Map([['a', large]]))).toBe('a')
    expect(beyondHalves(new Map([['a', { shape: [1], data: large.data }]]))).toBeUndefined()
  })

  test('are measured by what embeddings become', async () => {
    const gpu = await testGpu()
    const entry = {
      ...(await knownNetworks()).find(({ id }) => id === 'sirius')!,
      architecture: MICRO,
      embedding: 64,
      input: known(MICRO).input,
    } as RecogniserEntry
    const { recogniser } = await import('../../src/models/recognisers.ts')
    const network = recogniser(entry)
    const weights = seeded(MICRO)
    const version = (map: (name: string, data: Float32Array) => Float32Array) => ({
      network,
      weights: { tensor: (name: string) => ({ ...weights.get(name)!, data: map(name, weights.get(name)!.data) }) },
    })
    const same = version((_, data) => data)
    expect(
      await embeddingDeviation(
        gpu,
        same,
        version((_, data) => data),
      ),
    ).toBeLessThan(1e-6)
    const halves = await embeddingDeviation(
      gpu,
      same,
      version((_, data) => decodeFloat16(encodeFloat16(data))),
    )
    expect(halves).toBeGreaterThan(0)
    expect(halves).toBeLessThan(1e-3)
    const coarse = await embeddingDeviation(
      gpu,
      same,
      version((_, data) => data.map((v) => Math.round(v * 8) / 8)),
    )
    expect(coarse).toBeGreaterThan(1e-3)
    const broken = version((name, data) => (name === 'input_layer.0.weight' ? data.map(() => Number.NaN) : data))
    await expect(embeddingDeviation(gpu, broken, same)).rejects.toThrow(/not finite/)
  })
})

describe('weights import', () => {
  const cwd = room('import')
  const home = join(cwd, 'home')
  const folder = join(home, 'weights')
  const env = { LOWKEY_HOME: home }
  const run = (...args: string[]) => lowkey(['weights', ...args], { cwd, env })
  const weights = seeded(MICRO)

  test('takes PyTorch, safetensors and numpy files, and the network is there', async () => {
    writeFileSync(join(cwd, 'Micro_Zip.pth'), stateFile(new Map([...weights].map(([k, v]) => [`module.${k}`, v]))))
    writeFileSync(join(cwd, 'micro-old.pt'), stateFile(weights, older))
    writeFileSync(join(cwd, 'micro.safetensors'), writeSafetensors(weights, {}, 'm'))
    const imported = await run('import', 'Micro_Zip.pth', 'micro-old.pt', '--f16', 'no')
    expect(imported).toMatchObject({ code: 0 })
    expect(imported.stdout).toBe(`${join(folder, 'micro-zip.safetensors')}\n${join(folder, 'micro-old.safetensors')}\n`)
    expect(imported.stderr).toMatch(
      /^Micro_Zip\.pth: IR of 1\/1\/1\/1 units \(ir-1x8-.*-e64\), 0\.1 million parameters, 64 numbers a face/,
    )
    expect(imported.stderr).toMatch(/names of its tensors begin with "module\."/)
    expect(imported.stderr).toMatch(
      /single precision; tried out on .*\n {2}use it: lowkey-gpu protect --models micro-zip/,
    )
    const json = await run(
      'import',
      'micro.safetensors',
      '--json',
      '--name',
      'mine',
      '--threshold',
      '0.41',
      '--colours',
      'BGR',
    )
    const row = JSON.parse(json.stdout)
    expect(row).toMatchObject({
      ...{ id: 'mine', role: 'recogniser', architecture: MICRO, embedding: 64, threshold: 0.41 },
      ...{ alignment: 'arcface112', path: join(folder, 'mine.safetensors'), licence: 'not stated', authors: [] },
      input: { width: 112, height: 112, colours: 'BGR', range: [-1, 1], mean: [0, 0, 0], std: [1, 1, 1] },
      source: { kind: 'import', file: 'micro.safetensors', date: expect.stringMatching(/^20\d\d-/) },
    })
    expect(JSON.parse(readFileSync(join(folder, 'mine.json'), 'utf8'))).toMatchObject({
      id: 'mine',
      sha256: row.sha256,
    })
    // Half precision is half the size.
    expect(json.stderr).toMatch(/stored in half precision: embeddings change by \d\.\de-\d in cosine/)
    const sizeOf = (id: string) => readFileSync(join(folder, `${id}.safetensors`)).length
    expect(sizeOf('mine')).toBeLessThan(0.6 * sizeOf('micro-zip'))

    vi.stubEnv('LOWKEY_HOME', home)
    for (const id of ['micro-zip', 'micro-old']) {
      const loaded = await loadWeights(id)
      expect(loaded.names()).toEqual([...weights.keys()])
      for (const [name, { shape, data }] of weights) expect(loaded.tensor(name, shape).data, name).toEqual(data)
    }
    expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([])
  })

  test.skipIf(!everything)(`and list, verify and protect find it${LONG}`, async () => {
    const list = await run('list')
    expect(list.stdout).toMatch(/^mine +recogniser +ready +not stated +IR of 1\/1\/1\/1 units$/m)
    expect(list.stdout).toMatch(/^lowkey-ir-152-arcface +Backbone_IR_152_Arcface_Epoch_112\.pth +weights import FILE/m)
    expect(list.stdout).toMatch(/^alexnet +alexnet-owt-7be5be79\.pth +weights fetch alexnet/m)
    const verify = await run('verify')
    expect(verify).toMatchObject({ code: 0, stdout: expect.stringMatching(/^ok .*mine\.safetensors/m) })
    const photo = join(repository, 'examples/astronaut.png')
    const protect = ['protect', photo, '-o', 'out.png', '--models', 'mine', '--steps', '1', '--json']
    const protected_ = await lowkey(protect, { cwd, env })
    expect(protected_).toMatchObject({ code: 0, created: ['out.png'] })
    const { recognisers } = JSON.parse(protected_.stdout).faces[0]
    const rows = recognisers.map(({ id, heldOut, threshold }: Record<string, unknown>) => [id, heldOut, threshold])
    expect(rows).toContainEqual(['mine', false, 0.41])
    expect(rows).toContainEqual(['micro-old', true, 0.3])
  })

  test.skipIf(!everything)(`keeps what is there, unless told${LONG}`, async () => {
    const again = await run('import', 'micro.safetensors', '--name', 'mine')
    expect(again).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/there is a network "mine" already: --overwrite/),
    })
    const replaced = await lowkey(
      ['weights', 'import', 'micro.safetensors', '--name', 'mine', '--overwrite', '--f16', 'no'],
      {
        ...{ cwd, env },
        replaces: ['home/weights/mine.safetensors', 'home/weights/mine.json'],
      },
    )
    expect(replaced.code).toBe(0)
    const own = await run('import', 'micro.safetensors', '--name', 'sirius')
    expect(own).toMatchObject({ code: 2, stderr: expect.stringMatching(/"sirius" is one of lowkey-gpu's own/) })
  })

  const wrong: [string[], RegExp][] = [
    [['import'], /name a file/],
    [['import', 'micro.safetensors', '--as', 'vgg'], /--as takes ir-50, .* or onnx; got "vgg"/],
    [['import', 'micro.safetensors', '--name', '../x'], /--name takes small letters/],
    [['import', 'micro.safetensors', '--name', 'manifest'], /--name takes small letters/],
    [['import', 'a', 'b', '--name', 'x'], /--name is for a single file/],
    [['import', 'micro.safetensors', '--mean', '1,2'], /--mean takes 1 or 3 numbers/],
    [['import', 'micro.safetensors', '--std', '1,0,1'], /--std takes positive numbers/],
    [['import', 'micro.safetensors', '--range', '1'], /--range takes 2 numbers/],
    [['import', 'micro.safetensors', '--threshold', '2'], /--threshold takes a cosine/],
    [['import', 'micro.safetensors', '--colours', 'GBR'], /--colours takes RGB, BGR/],
    [['import', 'micro.safetensors', '--f16', 'maybe'], /--f16 takes auto, yes, no/],
    [['import', 'micro.safetensors', '--alignment', 'none'], /--alignment takes arcface112, dlib150, facenet160/],
    [['import', 'micro.safetensors', '--input-size', '9'], /--input-size takes a whole number from 16/],
    [['import', 'micro.safetensors', '--name', 'x', '--input-size', '128'], /takes 112x112 pixels/],
    [['import', 'micro.safetensors', '--name', 'x', '--output', 'y'], /--output is for ONNX/],
    [['remove'], /name a network/],
    [['remove', 'nobody'], /there is no imported network "nobody"/],
    [['remove', 'sirius'], /there is no imported network "sirius"/],
  ]
  test.each(someOf(wrong))('%j: exit code 2', async (args, message) => {
    const outcome = await run(...args)
    expect(outcome).toMatchObject({ code: 2, stdout: '', created: [] })
    expect(outcome.stderr).toMatch(message)
  })

  test.skipIf(!everything)(`a file that is no network: exit code 5, and nothing is written${LONG}`, async () => {
    const one = new Map([['w', { shape: [2], data: Float32Array.of(1, 2) }]])
    writeFileSync(join(cwd, 'other.pth'), stateFile(one))
    writeFileSync(join(cwd, 'page.pth'), '<!DOCTYPE html><title>Sign in</title>')
    writeFileSync(join(cwd, 'notes.txt'), 'nothing')
    writeFileSync(join(cwd, 'onet.tflite'), `\x1c\0\0\0TFL3${'\0'.repeat(200)}`)
    writeFileSync(join(cwd, 'cut.pth'), stateFile(weights).subarray(0, 1000))
    const broken = new Map(weights).set('input_layer.2.weight', { shape: [7], data: new Float32Array(7) })
    writeFileSync(join(cwd, 'broken.pth'), stateFile(broken))
    for (const [file, message] of [
      ['other.pth', /other\.pth: is no network that is known here/],
      ['page.pth', /page\.pth: is a web page instead of weights/],
      ['notes.txt', /notes\.txt: is in none of the formats/],
      ['onet.tflite', /onet\.tflite: /],
      ['cut.pth', /cut\.pth: is no whole zip archive/],
      ['broken.pth', /broken\.pth: looks like IR.*\n {2}"input_layer\.2\.weight" is \[7\], not \[8\]/],
      ['absent.pth', /absent\.pth: is not there/],
    ] as const) {
      const outcome = await run('import', file)
      expect(outcome, file).toMatchObject({ code: 5, stdout: '', created: [] })
      expect(outcome.stderr, file).toMatch(message)
    }
    // Of several files the others are imported.
    const mixed = await lowkey(['weights', 'import', 'other.pth', 'micro-old.pt', '--overwrite', '--f16', 'no'], {
      ...{ cwd, env },
      replaces: ['home/weights/micro-old.safetensors', 'home/weights/micro-old.json'],
    })
    expect(mixed).toMatchObject({ code: 1, stdout: `${join(folder, 'micro-old.safetensors')}\n` })
    expect(mixed.stderr).toMatch(/^lowkey-gpu: other\.pth: is no network/m)
  })

  test('an entry or a file that was damaged is named, with what helps', async () => {
    const path = join(folder, 'micro-old.json')
    const entry = readFileSync(path, 'utf8')
    writeFileSync(path, entry.replace('"threshold": 0.3', '"threshold": 3'))
    const damaged = await run('verify')
    expect(damaged).toMatchObject({ code: 5 })
    expect(damaged.stdout).toMatch(
      /^problem {2}.*micro-old\.json: .*threshold cannot be 3; .*import it again, or delete this file/m,
    )
    expect(
      (await lowkey(['protect', join(repository, 'examples/astronaut.png'), '-o', 'never.png'], { cwd, env })).stderr,
    ).toMatch(/micro-old\.json: threshold cannot be 3/)
    writeFileSync(path, entry)
    const bytes = readFileSync(join(folder, 'micro-old.safetensors'))
    writeFileSync(join(folder, 'micro-old.safetensors'), bytes.subarray(1))
    const short = await run('verify')
    expect(short.stdout).toMatch(
      /^problem .*micro-old\.safetensors: is \d+ bytes long.*import micro-old\.pt again, or run `lowkey-gpu weights remove micro-old`/m,
    )
    writeFileSync(join(folder, 'micro-old.safetensors'), bytes)
  })

  test('a folder that cannot be written is named', async () => {
    const blocked = join(cwd, 'blocked')
    writeFileSync(blocked, '')
    const outcome = await lowkey(['weights', 'import', 'micro.safetensors', '--f16', 'no'], {
      ...{ cwd, env: { LOWKEY_HOME: blocked } },
    })
    expect(outcome).toMatchObject({
      code: 5,
      stderr: expect.stringMatching(/micro\.json: cannot be replaced|cannot be written/),
    })
  })

  test('remove deletes both files', async () => {
    const removed = await lowkey(['weights', 'remove', 'mine'], {
      cwd,
      env,
      replaces: ['home/weights/mine.json', 'home/weights/mine.safetensors'],
    })
    expect(removed).toMatchObject({
      code: 0,
      stdout: `${join(folder, 'mine.json')}\n${join(folder, 'mine.safetensors')}\n`,
    })
    expect(existsSync(join(folder, 'mine.json'))).toBe(false)
    expect((await run('list')).stdout).not.toMatch(/^mine /m)
  })
})

describe('an imported network', () => {
  test('gives the golden embedding', async () => {
    const gpu = await testGpu()
    const cwd = room('golden')
    const golden = goldenCase('a_IR_micro')
    const { weights } = golden.seeded()
    const state = new Map(weights.names().map((key) => [`module.${key}`, weights.tensor(key)]))
    writeFileSync(join(cwd, 'net.pth'), stateFile(state))
    const home = join(cwd, 'home')
    const run = await lowkey(['weights', 'import', 'net.pth', '--name', 'golden', '--f16', 'no'], {
      ...{ cwd, env: { LOWKEY_HOME: home } },
    })
    expect(run.code).toBe(0)
    vi.stubEnv('LOWKEY_HOME', home)
    const entry = (await knownNetworks()).find(({ id }) => id === 'golden') as RecogniserEntry
    const { network, weights: loaded } = await loadRecogniser(entry)
    const g = graph()
    const x01 = g.input('x01', golden.shape('crop_input'))
    using plan = await compile(gpu, { embedding: network.build(x01, loaded) })
    plan.write(
      'x01',
      golden.numbers('crop_input').map((v) => (v + 1) / 2),
    )
    plan.run()
    const embedding = await plan.read('embedding')
    expect(relmax(embedding, golden.numbers('crop_emb'))).toBeLessThan(1e-4)
    expect(cosine(embedding, golden.numbers('crop_emb'))).toBeGreaterThan(0.999999)
  })
})

describe('a program of its own', () => {
  test('identifies, packs and keeps a network, without a disk or a device until it is written', async () => {
    const weights = seeded(MICRO)
    const file = { name: 'Mine Own.pth', bytes: stateFile(weights) }
    const network = await identifyNetwork(file, { threshold: 0.4, colours: 'BGR' })
    expect(network.fields).toMatchObject({ id: 'mine-own', architecture: MICRO, threshold: 0.4, licence: 'not stated' })
    const { packed, halves, trial } = await packTried(network, 'auto', async () => undefined)
    expect([halves, trial]).toEqual([false, undefined])
    const folder = join(room('own'), 'weights')
    expect(await writeNetwork(packed, folder)).toBe(join(folder, 'mine-own.safetensors'))
    expect((await importedNetworks([folder])).entries).toEqual([packed.entry])
    const tried = await packTried(network, 'yes', () => acquire({ gpu: process.env.LOWKEY_GPU }))
    expect([tried.halves, tried.packed.bytes.length < packed.bytes.length]).toEqual([true, true])
    expect(tried.trial?.deviation).toBeLessThan(1e-3)
  })

  test('what is known of a published file is taken over, and what does not fit is named', async () => {
    const bytes = stateFile(seeded(MICRO))
    const published = {
      ...{ id: 'theirs', title: 'Theirs', architecture: MICRO, file: 'a.pth', bytes: null, sha256: null },
      ...{ url: null, where: 'nowhere', licence: 'MIT', authors: ['A'] },
    }
    const { fields } = await identifyNetwork({ name: 'a.pth', bytes }, {}, [published])
    expect(fields).toMatchObject({ id: 'theirs', title: 'Theirs', licence: 'MIT', authors: ['A'] })
    const other = identifyNetwork({ name: 'a.pth', bytes }, { size: [96, 96] })
    await expect(other).rejects.toThrow(NetworkFactsError)
    await expect(other).rejects.toThrow(/^size 96x96: IR of .* takes 112x112 pixels$/)
  })
})

describe('networks in several files', () => {
  /** Imports what the manifest does not have, without a GPU's part. */
  const importInto = async (home: string, files: Readonly<Record<string, Uint8Array>>) => {
    const cwd = room('parts')
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(cwd, name), bytes)
    const run = await lowkey(['weights', 'import', ...Object.keys(files)], { cwd, env: { LOWKEY_HOME: home } })
    expect(run.code, run.stderr).toBe(0)
    return run.stderr
  }
  const positive = (tensors: Map<string, WeightTensor>) =>
    new Map([...tensors].map(([name, { shape, data }]) => [name, { shape, data: data.map(Math.abs) }]))

  test.skipIf(!everything)(
    `LPIPS takes the place of the embedded one when trunk and channels are there${LONG}`,
    async () => {
      const home = join(room('home'), 'home')
      vi.stubEnv('LOWKEY_HOME', home)
      const embedded = await loadNetworks(['sirius'])
      const half = await importInto(home, { 'alexnet.pth': stateFile(seeded('alexnet')) })
      expect(half).toMatch(/lpips-alex still lacks LPIPS v0\.1's weights of the channels \(alex\) \(lpips-lin-alex\)/)
      const name = 'features.0.weight'
      expect((await loadNetworks(['sirius'])).lpips.weights.tensor(name)).toEqual(embedded.lpips.weights.tensor(name))
      const lin = positive(seeded('lpips-lin-alex'))
      const whole = await importInto(home, { 'lin.pth': stateFile(lin) })
      expect(whole).toMatch(/lpips-alex is complete: from now on it is used instead of the embedded one/)
      const { lpips } = await loadNetworks(['sirius'])
      expect(lpips.trunk).toBe('alex')
      expect(lpips.weights.tensor(name).data).toEqual(seeded('alexnet').get(name)!.data)
      expect(lpips.weights.tensor('lin3.model.1.weight').data).toEqual(lin.get('lin3.model.1.weight')!.data)
      expect(() => lpips.weights.tensor('lin9')).toThrow(/has no tensor "lin9"/)
    },
  )

  test.skipIf(!isAtHand(shared))("LPIPS-squeeze, foamliu's network and MTCNN out of their authors' files", async () => {
    const home = join(room('home'), 'home')
    const read = (path: string) => readFileSync(join(shared, path))
    await importInto(home, {
      'squeeze.backbone.pth': read('lpips/squeeze.backbone.pth'),
      'v0.1-squeeze.pth': read('lpips/v0.1-squeeze.pth'),
      'pnet.npy': read('mtcnn/pnet.npy'),
      'rnet.npy': read('mtcnn/rnet.npy'),
      'onet.npy': read('mtcnn/onet.npy'),
      'mobilefacenet.pt': read('mobilefacenet-foamliu/mobilefacenet.pt'),
    })
    vi.stubEnv('LOWKEY_HOME', home)
    const { entries, damaged } = await importedNetworks([join(home, 'weights')])
    expect(damaged).toEqual([])
    // What is known by its checksum has the name and licence of the manifest.
    expect(entries.find(({ id }) => id === 'lpips-lin-squeeze')?.licence).toBe('BSD-2-Clause')
    const { lpips, detector, heldOut } = await loadNetworks(['sirius'])
    // Not optimised: it judges what AlexNet's lets through.
    expect(lpips.trunk).toBe('alex')
    expect((await loadPerceptualPair(await knownNetworks())).heldOut?.trunk).toBe('squeeze')
    expect(heldOut.map(({ network }) => network.id)).toContain('mobilefacenet')
    vi.stubEnv('LOWKEY_HOME', undefined)
    const embedded = await loadWeights('mtcnn')
    for (const name of embedded.names()) expect(detector.tensor(name)).toEqual(embedded.tensor(name))
    expect((await verifyWeights([join(home, 'weights')])).filter(({ ok }) => ok)).toHaveLength(6)
  })
})

describe('formats of TensorFlow', () => {
  test('a manifest whose shard is not beside it is refused', async () => {
    const manifest = new TextEncoder().encode('[{"paths":["a.bin"],"weights":[]}]')
    await expect(readWeightFile(manifest, 'm.json', async () => undefined)).rejects.toThrow(
      /names a\.bin, which is not beside it/,
    )
    const outside = new TextEncoder().encode('[{"paths":["../a.bin"],"weights":[]}]')
    const asked: string[] = []
    const beside = async (name: string) => {
      asked.push(name)
      return undefined
    }
    await expect(readWeightFile(outside, 'm.json', beside)).rejects.toThrow(/names shard \.\.\/a\.bin/)
    expect(asked).toEqual([])
  })
})
