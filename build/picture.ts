/**
 * `node build/picture.ts [PHOTO] [FOLDER]`: README's pictures. The face of the demo's portrait at twice its size, before and at each
 * strength, as docs/images/face-NAME.jpg. Protects the photo once for each strength, with what ships.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import sharp from 'sharp'
import { loadNetworks } from '../src/attack/node.ts'
import { presets } from '../src/attack/presets.ts'
import { Protector } from '../src/attack/protect.ts'
import { acquire } from '../src/graph/node.ts'
import { readPhoto } from '../src/images/index.ts'
import type { Pixels } from '../src/pixels/pixels.ts'

const repository = resolve(import.meta.dirname, '..')
const [photo = join(repository, 'examples/astronaut.png'), folder = join(repository, 'docs/images')] =
  process.argv.slice(2)
const STRENGTHS = ['low', 'medium', 'high'] as const
/** Pixels of the photo around the face that are shown, as a part of the face's height, and how much they are enlarged. */
const AROUND = 1.5
const ENLARGED = 2

const { width, height, rgb } = await readPhoto(photo)
const clean: Pixels = { width, height, rgb }
using gpu = await acquire()
using protector = await Protector.create(gpu, { ...(await loadNetworks()), heldOut: [] })
const [{ box }] = await protector.find(clean, 'largest')
const [x1, y1, x2, y2] = box
const side = Math.min(Math.round((y2 - y1) * AROUND), width, height)
const start = (middle: number, size: number) => Math.round(Math.min(Math.max(middle - side / 2, 0), size - side))
const area = { left: start((x1 + x2) / 2, width), top: start((y1 + y2) / 2, height), width: side, height: side }

mkdirSync(folder, { recursive: true })
async function show(name: string, { rgb }: Pixels): Promise<void> {
  const face = sharp(rgb, { raw: { width, height, channels: 3 } }).extract(area)
  const jpeg = await face
    .resize(ENLARGED * side, ENLARGED * side, { kernel: 'cubic' })
    .jpeg({ quality: 92, chromaSubsampling: '4:4:4' })
    .toBuffer()
  writeFileSync(join(folder, `face-${name}.jpg`), jpeg)
  console.log(`face-${name}.jpg: ${ENLARGED * side}x${ENLARGED * side}, ${jpeg.length} bytes`)
}

await show('before', clean)
for (const name of STRENGTHS) {
  const { photo: result, psnr } = await protector.protect(clean, { preset: presets[name] })
  console.log(`${name}: PSNR ${psnr.toFixed(1)} dB around the face`)
  await show(name, result)
}
