/*
 * A worker thread that decodes with WebAssembly: a decoder that aborts, runs for ever or fills its memory ends here, and
 * the process goes on. Started by isolate.ts.
 */
import { createRequire } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'
import { decodeHeif, type HeifPixels, type LibHeif } from './heif-decode.ts'
import { MAX_PIXELS } from './limits.ts'

export type Decoder = 'libheif-js' | 'jxl-oxide-wasm'

/** What is decoded, by what. */
export type DecodeRequest = { decoder: Decoder; bytes: Uint8Array }
/** What the worker says as soon as it knows how large the picture is. */
export interface DecodeStart {
  pixels: number
}
/** What the worker answers. */
export type DecodeAnswer = { heif: HeifPixels } | { jxl: JxlPicture } | { failed: string }

/** jxl-oxide gives a PNG, in the file's own colours and depth, which is read as any other. */
export interface JxlPicture {
  png: Uint8Array
  animated: boolean
}

const require = createRequire(import.meta.url)

type Imports = WebAssembly.Imports

/** @throws {Error} the picture is larger than is read */
function begins(width: number, height: number): void {
  if (width * height > MAX_PIXELS) throw new Error('exceeds pixel limit')
  parentPort!.postMessage({ pixels: width * height } satisfies DecodeStart)
}

async function answer({
  decoder,
  bytes,
  module,
}: DecodeRequest & { module: WebAssembly.Module }): Promise<DecodeAnswer> {
  if (decoder === 'libheif-js') {
    const factory = require('libheif-js/libheif-wasm/libheif.js') as (options: object) => LibHeif
    const lib = factory({
      print: () => {},
      printErr: () => {},
      instantiateWasm: (imports: Imports, ready: (instance: WebAssembly.Instance) => void) => {
        const instance = new WebAssembly.Instance(module, imports)
        ready(instance)
        return instance.exports
      },
    })
    return { heif: decodeHeif(lib, bytes, begins) }
  }
  const { initSync, JxlImage } = await import('jxl-oxide-wasm')
  initSync({ module })
  const image = new JxlImage()
  image.feedBytes(bytes)
  if (!image.tryInit()) return { failed: 'the header is cut short' }
  const [width, height] = [image.width ?? 0, image.height ?? 0]
  begins(width, height)
  if (!image.loaded) return { failed: 'the data is cut short' }
  return { jxl: { animated: image.animated === true, png: image.render().encodeToPng() } }
}

void answer(workerData as DecodeRequest & { module: WebAssembly.Module })
  .catch(
    (error: unknown): DecodeAnswer => ({
      failed: String(error instanceof Error ? error.message : error).split('\n')[0],
    }),
  )
  .then((result) => {
    const memory = 'heif' in result ? result.heif.samples.buffer : 'jxl' in result ? result.jxl.png.buffer : undefined
    parentPort!.postMessage(result, memory instanceof ArrayBuffer ? [memory] : [])
  })
