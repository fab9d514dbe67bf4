import type { ReadOptions } from '../../../src/images/index.ts'
import type { Picture } from './picture.ts'

/** A file that a test makes, and what must come of it. */
export interface Input {
  /** Unique; the row's name in docs/formats.md. */
  name: string
  /** What the file is called in messages. */
  file: string
  bytes(): Promise<Uint8Array> | Uint8Array
  options?: ReadOptions
  /** What decodes it; the same for a whole family. */
  readBy: string
  /** What the reader must give, where that is known, and by how much a sample may be off (of 255 or 65535). */
  shows?: Picture | (() => Promise<Picture>)
  within?: number
  /** Every warning, in order. */
  says?: readonly RegExp[]
  /** The error, where it is not read. */
  refused?: RegExp
  /** Of its faults `strict` complains. */
  strictRefuses?: boolean
}
