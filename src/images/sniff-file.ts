import { open } from 'node:fs/promises'
import { classify, type FileClass, HEAD_BYTES } from './sniff.ts'

/**
 * Classifies a file on disk by its first bytes; of a large file only these are read.
 *
 * @throws the system's error (ENOENT, EACCES, EISDIR, ...) where it cannot be read
 */
export async function classifyFile(path: string | Buffer): Promise<FileClass> {
  const file = await open(path, 'r')
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(HEAD_BYTES), 0, HEAD_BYTES, 0)
    return classify(buffer.subarray(0, bytesRead), path.toString('latin1'))
  } finally {
    await file.close()
  }
}
