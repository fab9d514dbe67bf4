/** Protected photos on the disk, each with what was measured on it: an evaluation goes on where it was interrupted. */
import { readFile } from 'node:fs/promises'
import { basename, extname, join } from 'node:path'
import type { Landmarks } from '../faces/alignment.ts'
import { makeFolder } from '../files/folders.ts'
import { encodePhoto, readPhoto, writeFileAtomically } from '../images/index.ts'
import type { Pixels } from '../pixels/pixels.ts'
import type { Visibility } from './visibility.ts'

/** What is known of a protected photo beside its pixels. */
export interface Measured {
  /** Key of the clean photo's pixels. */
  content: string
  /** Key of the LPIPS networks and the code that measured it. */
  meters: string
  faces: Landmarks[]
  seconds: number
  visibility: Visibility
}

/** The photos that one method made with one set of surrogates, seed and scale. */
export class Store {
  private readonly folder: string

  /** @param name of the folder in `photos`, made when it is needed */
  constructor(photos: string, name: string) {
    this.folder = join(photos, name)
  }

  /** The photo that was made of one with this content, if it was; undefined also where a file is missing or damaged. */
  async find(person: string, file: string, content: string): Promise<(Measured & { photo: Pixels }) | undefined> {
    const { picture, sidecar } = this.paths(person, file)
    try {
      const measured = JSON.parse(await readFile(sidecar, 'utf8')) as Measured
      if (measured.content !== content) return undefined
      const { width, height, rgb } = await readPhoto(picture)
      return { ...measured, photo: { width, height, rgb } }
    } catch {
      return undefined
    }
  }

  /** Writes the photo as PNG, then what was measured: where that is, the photo is whole. Throws OutputError. */
  async keep(person: string, file: string, photo: Pixels, measured: Measured, grey: boolean): Promise<void> {
    const { folder, picture, sidecar } = this.paths(person, file)
    const { width, height, rgb } = photo
    makeFolder(folder)
    const png = await encodePhoto({ width, height, rgb, grey, format: 'png' }, { format: 'png' })
    await writeFileAtomically(picture, png, { overwrite: true })
    await writeFileAtomically(sidecar, Buffer.from(`${JSON.stringify(measured)}\n`), { overwrite: true })
  }

  private paths(person: string, file: string) {
    const folder = join(this.folder, person)
    const name = basename(file, extname(file))
    return { folder, picture: join(folder, `${name}.png`), sidecar: join(folder, `${name}.json`) }
  }
}
