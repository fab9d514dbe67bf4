/** HEIC photos, whose decoder is unpacked when the first one comes. */
import type { HeifAnswer, HeifRequest } from './heif-worker.ts'
import { hasPart, part, workerOf } from './parts.ts'
import type { Rgb } from './protocol.ts'
import { texts } from './texts.ts'

/** Far more than a sound photo needs on a slow phone. */
const PATIENCE_MS = 120_000

export const canDecodeHeif = (): boolean => hasPart('libheif')

/** Decodes in a worker of its own, which ends with it. Throws Error with the rest of a sentence that starts with the file. */
export async function decodeHeif(file: File): Promise<Rgb> {
  if (!canDecodeHeif()) throw new Error(texts.heicMissing)
  const [worker, wasm] = await Promise.all([workerOf('libheif-js', 'heif'), part('libheif')])
  try {
    const answer = await new Promise<HeifAnswer>((resolve) => {
      setTimeout(() => resolve({ problem: texts.heicSlow }), PATIENCE_MS)
      worker.onerror = ({ message }) => resolve({ problem: `is damaged (${message})` })
      worker.onmessage = ({ data }: MessageEvent<HeifAnswer>) => resolve(data)
      const request: HeifRequest = { file, wasm: wasm.buffer }
      worker.postMessage(request, [wasm.buffer])
    })
    if ('problem' in answer) throw new Error(answer.problem)
    return answer.decoded
  } finally {
    worker.terminate()
  }
}
