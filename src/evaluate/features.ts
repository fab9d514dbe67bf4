/** Faces and embeddings of photos, each computed once: they are kept in a folder, by the pixels of the photo and the network. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Embedder } from '../attack/embedder.ts'
import { FaceGeometryError, type Landmarks } from '../faces/alignment.ts'
import type { Face } from '../faces/mtcnn.ts'
import { makeFolder } from '../files/folders.ts'
import { writeFileAtomically } from '../images/index.ts'
import type { Pixels } from '../pixels/pixels.ts'
import { contentOf, keyOf } from './identity.ts'

/** Finds the faces of a photo, best first. */
export type Detector = (photo: Pixels) => Promise<Face[]>

/** Something that computes features, and the key of its weights and code. */
export interface Keyed<T> {
  value: T
  key: string
}

/** A recogniser by id, with the key of its weights and code. */
export interface KeyedRecogniser {
  id: string
  key: string
}

export type Embeddings = ReadonlyMap<string, Float32Array>

/** A photo's file in the cache: faces by detector, base64 of embeddings by recogniser and landmarks. */
interface Entry {
  faces: Record<string, Face[]>
  embeddings: Record<string, string>
}

export class Features {
  private readonly folder: string
  private readonly embedder: Pick<Embedder, 'embed'>
  private readonly recognisers: readonly KeyedRecogniser[]
  /** The folder can be written, as far as it is known. */
  private kept = true

  /**
   * @param folder where results are kept; made when it is needed
   * @param embedder of exactly these recognisers
   */
  constructor(folder: string, embedder: Pick<Embedder, 'embed'>, recognisers: readonly KeyedRecogniser[]) {
    this.folder = folder
    this.embedder = embedder
    this.recognisers = recognisers
  }

  /** The faces that a detector finds. */
  async faces(photo: Pixels, { value, key }: Keyed<Detector>): Promise<Face[]> {
    const path = this.pathOf(photo)
    const entry = await read(path)
    if (Object.hasOwn(entry.faces, key)) return entry.faces[key]
    const faces = await value(photo)
    await this.write(path, { ...entry, faces: { ...entry.faces, [key]: faces } })
    return faces
  }

  /** Unit embeddings of a face, by recogniser; undefined for landmarks that give no crop. */
  async embeddings(photo: Pixels, landmarks: Landmarks): Promise<Embeddings | undefined> {
    const path = this.pathOf(photo)
    const entry = await read(path)
    const keys = this.recognisers.map(({ id, key }) => ({ id, key: `${key} ${keyOf(landmarks)}` }))
    if (keys.every(({ key }) => Object.hasOwn(entry.embeddings, key))) {
      return new Map(keys.map(({ id, key }) => [id, numbersOf(entry.embeddings[key])]))
    }
    try {
      const found = await this.embedder.embed(photo, landmarks)
      const texts = keys.map(({ id, key }) => [key, textOf(found.get(id)!)])
      await this.write(path, { ...entry, embeddings: { ...entry.embeddings, ...Object.fromEntries(texts) } })
      return found
    } catch (error) {
      if (error instanceof FaceGeometryError) return undefined
      throw error
    }
  }

  private pathOf(photo: Pixels): string {
    return join(this.folder, `${contentOf(photo)}.json`)
  }

  private async write(path: string, entry: Entry): Promise<void> {
    if (!this.kept) return
    try {
      makeFolder(this.folder)
      await writeFileAtomically(path, Buffer.from(JSON.stringify(entry)), { overwrite: true })
    } catch (error) {
      // What is remembered saves time in the next run; this one does without.
      this.kept = false
      process.emitWarning(`features are not kept for the next run: ${(error as Error).message}`)
    }
  }
}

/** What is kept of a photo; nothing where there is no file, or none that can be read: it is made again. */
async function read(path: string): Promise<Entry> {
  try {
    const { faces, embeddings } = JSON.parse(await readFile(path, 'utf8')) as Entry
    return { faces: { ...faces }, embeddings: { ...embeddings } }
  } catch {
    return { faces: {}, embeddings: {} }
  }
}

const textOf = (numbers: Float32Array): string =>
  Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength).toString('base64')

function numbersOf(text: string): Float32Array {
  const bytes = new Uint8Array(Buffer.from(text, 'base64'))
  return new Float32Array(bytes.buffer)
}
