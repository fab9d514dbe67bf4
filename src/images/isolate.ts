/** Decoders in WebAssembly, each picture in a worker thread of its own; see decode-worker.ts. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { DecodeAnswer, DecodeRequest, Decoder, DecodeStart } from './decode-worker.ts'
import { ImageSupportError } from './errors.ts'
import { withMemoryLimit } from './wasm-memory.ts'

/**
 * Seconds that a decoder may take: for the start, and for each megapixel. A sound picture needs a tenth of that; the rest is for
 * machines that do other work, on which a limit that is near would lose photos. A file of some kilobytes cannot hold a large picture,
 * whatever its header says, so that one made to be slow ends after ten seconds.
 */
const BASE_SECONDS = 8
const SECONDS_A_MEGAPIXEL = 5
const MEGAPIXELS_A_MEGABYTE = 150

/** Bytes of memory that a decoder may take: more than a picture of 100 megapixels needs. */
const MOST_MEMORY = 1.5 * 2 ** 30
/** MiB of JavaScript's own, beside pictures. */
const MOST_HEAP = 256

const PACKAGES = {
  'libheif-js': { photos: 'HEIC photos', version: '1.23', wasm: 'libheif-js/libheif-wasm/libheif.wasm' },
  'jxl-oxide-wasm': { photos: 'JPEG XL photos', version: '0.12', wasm: 'jxl-oxide-wasm/jxl_oxide_wasm_bg.wasm' },
} as const satisfies Record<Decoder, object>

/** Compiled once, for all pictures. */
const modules = new Map<Decoder, Promise<WebAssembly.Module>>()

/**
 * Decodes in a worker thread, within limits of time and memory.
 *
 * @param seconds for the start, until the size of the picture is known
 * @throws {ImageSupportError} the package, an optional dependency, is not installed
 * @throws {Error} with the decoder's words, or that it aborted or took too long
 */
export async function decodeIsolated(
  { decoder, bytes }: DecodeRequest,
  seconds = BASE_SECONDS,
): Promise<Exclude<DecodeAnswer, { failed: string }>> {
  const module = await moduleOf(decoder)
  const answer = await new Promise<DecodeAnswer>((resolve) => {
    // The command is one file; the library is a module for each source.
    const folder = import.meta.url.endsWith('/cli.js') ? './images' : '.'
    const file = import.meta.url.endsWith('.ts') ? './decode-worker.ts' : `${folder}/decode-worker.js`
    const worker = new Worker(new URL(file, import.meta.url), {
      workerData: { decoder, bytes, module },
      stdout: true,
      stderr: true,
      resourceLimits: { maxOldGenerationSizeMb: MOST_HEAP },
    })
    let timer: NodeJS.Timeout | undefined
    const done = (result: DecodeAnswer) => {
      clearTimeout(timer)
      worker.removeAllListeners()
      // One that is being ended may still say that its memory ran out.
      worker.on('error', () => {})
      void worker.terminate()
      resolve(result)
    }
    const endAfter = (seconds: number) => {
      clearTimeout(timer)
      timer = setTimeout(() => done({ failed: 'the decoder did not end' }), 1000 * seconds)
    }
    // A busy machine starts threads late; that time is not the decoder's.
    worker.once('online', () => endAfter(seconds))
    worker.on('message', (message: DecodeAnswer | DecodeStart) => {
      if ('pixels' in message) endAfter(seconds + SECONDS_A_MEGAPIXEL * plausible(message.pixels, bytes.length))
      else done(message)
    })
    worker.once('error', (error) => done({ failed: String(error.message).split('\n')[0] }))
    worker.once('exit', () => done({ failed: 'the decoder aborted' }))
  })
  if ('failed' in answer) throw new Error(answer.failed)
  return answer
}

/** Megapixels that a file can hold and says it does. */
const plausible = (pixels: number, bytes: number): number => Math.min(pixels, MEGAPIXELS_A_MEGABYTE * bytes) / 1e6

function moduleOf(decoder: Decoder): Promise<WebAssembly.Module> {
  const known = modules.get(decoder)
  if (known) return known
  const module = compiled(decoder)
  modules.set(decoder, module)
  module.catch(() => modules.delete(decoder))
  return module
}

async function compiled(decoder: Decoder): Promise<WebAssembly.Module> {
  const { photos, version, wasm } = PACKAGES[decoder]
  const require = createRequire(import.meta.url)
  let file: string
  try {
    // By the package's own description, which every package has: not all let their WebAssembly be asked for.
    file = join(dirname(require.resolve(`${decoder}/package.json`)), wasm.slice(decoder.length + 1))
  } catch (cause) {
    throw new ImageSupportError(
      `reading ${photos} needs the package ${decoder}, which is not installed: run \`npm install ` +
        `${decoder}@${version}\` (it is an optional dependency, which \`npm install --omit=optional\` leaves out)`,
      { cause },
    )
  }
  return WebAssembly.compile(withMemoryLimit(readFileSync(file), MOST_MEMORY) as BufferSource)
}
