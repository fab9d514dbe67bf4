/**
 * `node bench/jpeg-quality.ts [PHOTO] [--gpu NAME] [--save]`: what JPEG costs of a protection. Protects PHOTO (examples/astronaut.png) once
 * at the default strength and saves it at several qualities, with colours at full and at half resolution; for each the size beside that of
 * the clean photo at the same quality as cameras save it (4:2:0), and how similar every recogniser finds the face to the clean one.
 * `--save` writes bench/results/jpeg-quality.json.
 */
import { writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { Embedder } from '../src/attack/embedder.ts'
import { keepTuning } from '../src/attack/kept-tuning.ts'
import { DEFAULT_SURROGATES, loadNetworks } from '../src/attack/node.ts'
import { presets } from '../src/attack/presets.ts'
import { Protector } from '../src/attack/protect.ts'
import { commit, version } from '../src/cli/version.ts'
import { adapterName } from '../src/device/node.ts'
import { acquire } from '../src/graph/node.ts'
import { readPhoto } from '../src/images/index.ts'
import { similarityOf } from '../src/models/recognisers.ts'
import type { Pixels } from '../src/pixels/pixels.ts'

const QUALITIES = [98, 95, 92, 90, 85, 80, 75, 60]

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { gpu: { type: 'string' }, save: { type: 'boolean', default: false } },
})
const repository = resolve(import.meta.dirname, '..')
const file = positionals[0] ?? join(repository, 'examples/astronaut.png')

const { width, height, rgb } = await readPhoto(file)
const clean: Pixels = { width, height, rgb }
using gpu = await acquire({ gpu: values.gpu })
keepTuning(gpu)
const networks = await loadNetworks([...DEFAULT_SURROGATES])
using protector = await Protector.create(gpu, networks)
const { photo, faces } = await protector.protect(clean, { preset: presets.auto })
using embedder = await Embedder.compile(gpu, [...networks.surrogates, ...networks.heldOut])
const thresholds = faces[0].recognisers.map(({ id, threshold }) => ({ id, threshold }))

const encode = (pixels: Pixels, quality: number, chromaSubsampling: '4:4:4' | '4:2:0') =>
  sharp(pixels.rgb, { raw: { width, height, channels: 3 } })
    .jpeg({ quality, chromaSubsampling })
    .toBuffer()

/** Similarity of the first face to the clean one, by recogniser. */
async function similarities(pixels: Pixels): Promise<Record<string, number>> {
  const [before, after] = [
    await embedder.embed(clean, faces[0].landmarks),
    await embedder.embed(pixels, faces[0].landmarks),
  ]
  return Object.fromEntries(
    thresholds.map(({ id }) => [id, Number(similarityOf(before.get(id)!, after.get(id)!).toFixed(3))]),
  )
}

async function row(quality: number, chroma: '4:4:4' | '4:2:0') {
  const bytes = await encode(photo, quality, chroma)
  const data = new Uint8Array(await sharp(bytes).raw().toBuffer())
  const input = (await encode(clean, quality, '4:2:0')).length
  const seen = await similarities({ width, height, rgb: data })
  return { quality, chroma, bytes: bytes.length, cleanBytes: input, similarity: seen }
}

const rows = []
for (const quality of QUALITIES) for (const chroma of ['4:4:4', '4:2:0'] as const) rows.push(await row(quality, chroma))
const result = {
  photo: basename(file),
  adapter: adapterName(gpu.capabilities),
  version,
  commit: commit(),
  thresholds,
  lossless: await similarities(photo),
  rows,
}
for (const { quality, chroma, bytes, cleanBytes, similarity } of rows) {
  const seen = Object.entries(similarity).map(([id, value]) => `${id} ${value.toFixed(3)}`)
  console.log(
    `${quality} ${chroma}: ${bytes} bytes, ${(bytes / cleanBytes).toFixed(2)} x clean 4:2:0; ${seen.join(', ')}`,
  )
}
console.log(`lossless: ${JSON.stringify(result.lossless)}; thresholds: ${JSON.stringify(thresholds)}`)
if (values.save) {
  writeFileSync(join(repository, 'bench/results/jpeg-quality.json'), `${JSON.stringify(result, null, 2)}\n`)
}
