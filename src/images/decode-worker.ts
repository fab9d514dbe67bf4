/*
 * A worker thread that decodes with WebAssembly: a decoder that aborts, runs for ever or fills its memory ends here, and
 * the process goes on. Started by isolate.ts.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { decodeHeif, type HeifPixels, type LibHeif } from './heif-decode.ts'

/** What the worker is given, and what it answers. */
export type DecodeRequest = { decoder: 'libheif-js' | 'jxl-oxide-wasm'; bytes: Uint8Array }
export type DecodeAnswer = { heif: HeifPixels } | { jxl: JxlPicture } | { failed: string } | { missing: string }

/** jxl-oxide gives a PNG, in the file's own colours and depth, which is read as any other. */
export interface JxlPicture {
  png: Uint8Array
  animated: boolean
}

const require = createRequire(import.meta.url)

async function answer({ decoder, bytes }: DecodeRequest): Promise<DecodeAnswer> {
  if (decoder === 'libheif-js') {
    const factory = require('libheif-js/libheif-wasm/libheif-bundle.js') as (options: object) => LibHeif
    return { heif: decodeHeif(factory({ print: () => {}, printErr: () => {} }), bytes) }
  }
  const { initSync, JxlImage } = await import('jxl-oxide-wasm')
  const folder = dirname(require.resolve('jxl-oxide-wasm/package.json'))
  initSync({ module: readFileSync(join(folder, 'jxl_oxide_wasm_bg.wasm')) })
  const image = new JxlImage()
  image.feedBytes(bytes)
  if (!image.tryInit()) return { failed: 'the header is cut short' }
  const [width, height] = [image.width ?? 0, image.height ?? 0]
  if (width * height > 300_000_000) return { failed: 'exceeds pixel limit' }
  if (!image.loaded) return { failed: 'the data is cut short' }
  return { jxl: { animated: image.animated === true, png: image.render().encodeToPng() } }
}

void answer(workerData as DecodeRequest)
  .catch((error: unknown): DecodeAnswer => {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND') return { missing: String(error) }
    return { failed: String(error instanceof Error ? error.message : error).split('\n')[0] }
  })
  .then((result) => {
    const memory = 'heif' in result ? result.heif.samples.buffer : 'jxl' in result ? result.jxl.png.buffer : undefined
    parentPort!.postMessage(result, memory instanceof ArrayBuffer ? [memory] : [])
  })
