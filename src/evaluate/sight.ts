/** Photos as a service sees them: the face is found, aligned and embedded, one crop without mirror image. */
import type { Face } from '../faces/mtcnn.ts'
import { mostOverlapping } from '../faces/overlap.ts'
import type { Pixels } from '../pixels/pixels.ts'
import { centralFace } from './accuracy.ts'
import type { Detector, Embeddings, Features, Keyed } from './features.ts'

export interface Sight {
  face: Face
  embeddings: Embeddings
}

/** The face nearest to the centre; undefined where none is found. */
export async function seeCentral(
  features: Features,
  detector: Keyed<Detector>,
  photo: Pixels,
): Promise<Sight | undefined> {
  const face = centralFace(await features.faces(photo, detector), photo)
  const embeddings = face && (await features.embeddings(photo, face.landmarks))
  return face && embeddings && { face, embeddings }
}

/** A face that is known from the photo before it was changed. `found`: it was found again; else it is taken where it was. */
export async function seeAgain(
  features: Features,
  detector: Keyed<Detector>,
  photo: Pixels,
  known: Face,
): Promise<{ embeddings: Embeddings; found: boolean }> {
  const seen = mostOverlapping(known, await features.faces(photo, detector))
  const embeddings = seen && (await features.embeddings(photo, seen.landmarks))
  if (embeddings) return { embeddings, found: true }
  // The landmarks gave a crop of the photo before, so they give one now.
  return { embeddings: (await features.embeddings(photo, known.landmarks))!, found: false }
}
