/** Decoders in WebAssembly, each picture in a worker thread of its own; see decode-worker.ts. */
import { Worker } from 'node:worker_threads'
import type { DecodeAnswer, DecodeRequest } from './decode-worker.ts'
import { ImageSupportError } from './errors.ts'

/** Seconds that a decoder may take: far more than a sound picture needs on a slow machine. */
const BASE_SECONDS = 30
const SECONDS_A_MEGABYTE = 15

const PACKAGES = {
  'libheif-js': { photos: 'HEIC photos', version: '1.23' },
  'jxl-oxide-wasm': { photos: 'JPEG XL photos', version: '0.12' },
} as const

/**
 * Decodes in a worker thread.
 *
 * @throws {ImageSupportError} the package, an optional dependency, is not installed
 * @throws {Error} with the decoder's words, or that it aborted or took too long
 */
export async function decodeIsolated(
  request: DecodeRequest,
  seconds = BASE_SECONDS + (SECONDS_A_MEGABYTE * request.bytes.length) / 1e6,
): Promise<Exclude<DecodeAnswer, { failed: string } | { missing: string }>> {
  const answer = await new Promise<DecodeAnswer>((resolve) => {
    // The command is one file; the library is a module for each source.
    const folder = import.meta.url.endsWith('/cli.js') ? './images' : '.'
    const file = import.meta.url.endsWith('.ts') ? './decode-worker.ts' : `${folder}/decode-worker.js`
    const worker = new Worker(new URL(file, import.meta.url), { workerData: request, stdout: true, stderr: true })
    const done = (result: DecodeAnswer) => {
      clearTimeout(timer)
      worker.removeAllListeners()
      void worker.terminate()
      resolve(result)
    }
    const timer = setTimeout(() => done({ failed: 'the decoder did not end' }), 1000 * seconds)
    worker.once('message', done)
    worker.once('error', (error) => done({ failed: String(error.message).split('\n')[0] }))
    worker.once('exit', () => done({ failed: 'the decoder aborted' }))
  })
  if ('failed' in answer) throw new Error(answer.failed)
  if ('missing' in answer) {
    const { photos, version } = PACKAGES[request.decoder]
    throw new ImageSupportError(
      `reading ${photos} needs the package ${request.decoder}, which is not installed: run \`npm install ` +
        `${request.decoder}@${version}\` (it is an optional dependency, which \`npm install --omit=optional\` leaves out)`,
    )
  }
  return answer
}
