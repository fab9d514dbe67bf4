/** From a folder that has a folder of photos for each person to aligned faces. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Affine, align112, cropFace, detectFaces, type MtcnnNetworks, type Pixels } from 'lowkey-gpu'
import { PhotoError, readPhoto } from 'lowkey-gpu/node'

/** Side of an aligned face in pixels. */
export const SIDE = 112

/** An aligned face, planes [3,112,112] in -1..1, and whose it is. */
export interface Face {
  planes: Float32Array
  person: number
}

export interface People {
  count: number
  /** To learn from. */
  learned: Face[]
  heldOut: Face[]
}

/** The map from a photo to the aligned face; undefined where there is none. */
export type Align = (photo: Pixels) => Promise<Affine | undefined>

/** Where LFW's deep-funneled photos of 250x250 have the square that MTCNN's landmarks give on average. */
export const centre: Align = async ({ width, height }) => {
  const unit = Math.min(width, height) / 250
  const scale = SIDE / (134 * unit)
  return [scale, 0, -scale * (width / 2 - 66 * unit), 0, scale, -scale * (height / 2 - 75 * unit)]
}

/** By the landmarks of the largest face of at least 40 pixels; undefined where there is none. */
export const byLandmarks =
  (networks: MtcnnNetworks): Align =>
  async (photo) => {
    const faces = await detectFaces(networks, photo, { minFace: 40 })
    if (faces.length === 0) return undefined
    const area = ({ box: [x1, y1, x2, y2] }: (typeof faces)[number]): number => (x2 - x1) * (y2 - y1)
    return align112(faces.reduce((a, b) => (area(b) > area(a) ? b : a)).landmarks)
  }

/**
 * The first people, by name, whose photos show enough faces; the last `heldOut` faces of each are held out. What is left out is
 * named on standard error.
 */
export async function readPeople(folder: string, most: number, heldOut: number, align: Align): Promise<People> {
  const people: People = { count: 0, learned: [], heldOut: [] }
  for (const name of await foldersOf(folder)) {
    if (people.count === most) break
    const faces: Face[] = []
    for (const file of await photosOf(join(folder, name))) {
      const planes = await readFace(join(folder, name, file), align)
      if (planes) faces.push({ planes, person: people.count })
    }
    if (faces.length <= heldOut) {
      console.error(`${name}: ${faces.length} faces are too few to hold ${heldOut} out; left out`)
      continue
    }
    people.learned.push(...faces.slice(0, -heldOut))
    people.heldOut.push(...faces.slice(-heldOut))
    people.count++
  }
  return people
}

const foldersOf = async (folder: string): Promise<string[]> =>
  (await readdir(folder, { withFileTypes: true })).flatMap((e) => (e.isDirectory() ? [e.name] : [])).sort()

const photosOf = async (folder: string): Promise<string[]> =>
  (await readdir(folder)).filter((name) => /\.(png|jpe?g|webp|avif|tiff?)$/i.test(name)).sort()

/** The face as the network takes it; undefined, with a message, where the file shows none. */
async function readFace(path: string, align: Align): Promise<Float32Array | undefined> {
  try {
    const { width, height, rgb } = await readPhoto(path)
    const photo = { width, height, rgb }
    const map = await align(photo)
    if (map) return cropFace(photo, map, SIDE).map((v) => 2 * v - 1)
    console.error(`${path}: no face found; left out`)
  } catch (error) {
    if (!(error instanceof PhotoError)) throw error
    console.error(`${error.message}; left out`)
  }
  return undefined
}
