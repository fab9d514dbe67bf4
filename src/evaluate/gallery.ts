/** The gallery of an experiment, protected one way: each photo is made (or taken from an earlier run), measured and looked at. */

import { basename } from 'node:path'
import { ProtectedFaces } from '../attack/apart.ts'
import { NoFaceError, type ProtectorNetworks } from '../attack/protect.ts'
import { SMALLEST_SIDE } from '../attack/region.ts'
import type { Gpu } from '../device/gpu.ts'
import { startClock } from '../device/stopwatch.ts'
import type { Landmarks, Point } from '../faces/alignment.ts'
import type { Face } from '../faces/mtcnn.ts'
import { PlanMemoryError } from '../graph/index.ts'
import { readCleanPhoto } from '../images/index.ts'
import { similarityOf } from '../models/recognisers.ts'
import type { Pixels } from '../pixels/pixels.ts'
import type { SeenFace } from './comparison.ts'
import type { Detector, Features, Keyed } from './features.ts'
import { enlarged, handlings } from './handling.ts'
import { contentOf, keyOf } from './identity.ts'
import type { Method, OpenMethod } from './methods.ts'
import { picturesOf } from './pictures.ts'
import type { PersonPhoto } from './protocol.ts'
import type { Handling, PhotoResult, PresetResult } from './results.ts'
import { seeAgain } from './sight.ts'
import { Store } from './store.ts'
import { type Meters, visibilityOf } from './visibility.ts'

export interface GallerySetup {
  gpu: Gpu
  /** Embeds for all recognisers that judge. */
  features: Features
  detector: Keyed<Detector>
  /** Another detector, whose faces are aligned otherwise; undefined where there is none. */
  otherDetector: Keyed<Detector> | undefined
  /** The networks that attack these recognisers, and the key of their weights. */
  networks(surrogates: readonly string[]): Keyed<ProtectorNetworks>
  /** LPIPS, and the key of its weights and of the code that measures. */
  meters: Keyed<Meters>
  seed: number
  /** Folder that photos are kept in. */
  photos: string
  /** Key of the code of a method. */
  codeOf(method: Method): string
  signal: AbortSignal
  /** Says what was left out. */
  onWarning(text: string): void
}

/** A clean photo, with the face that is looked at. */
export interface CleanPhoto extends SeenFace {
  face: Face
}

/** One way of protecting the gallery. */
export interface GalleryRun {
  method: Method
  surrogates: readonly string[]
  /** Photos are enlarged by this first. */
  scale: number
  /** What is done to each protected photo. */
  handlings: readonly Handling[]
  /** For how many people pictures are made. */
  pictures: number
}

export interface GalleryEvents {
  /** Called before each photo; throws to interrupt. */
  onPhoto: (photo: CleanPhoto) => void
  /** Called after each photo that had to be made, with the seconds that all of it took. */
  onMade: (seconds: number) => void
}

/** What became of the gallery. */
export interface ProtectedGallery {
  seen: SeenFace[]
  details: PhotoResult[]
  handled: Map<Handling, SeenFace[]>
  pictures: PresetResult['pictures'][number][]
}

/**
 * Protects the photos one after another. One that cannot be protected is left out, with a warning.
 * @param otherFaces faces as the other detector sees them in the clean photos, by file
 * @throws OutputError, PhotoError, AttackError, and the signal's reason when interrupted
 */
export async function protectGallery(
  setup: GallerySetup,
  run: GalleryRun,
  photos: readonly CleanPhoto[],
  otherFaces: ReadonlyMap<string, Face>,
  { onPhoto, onMade }: GalleryEvents,
): Promise<ProtectedGallery> {
  const result: ProtectedGallery = {
    seen: [],
    details: [],
    handled: new Map(run.handlings.map((handling) => [handling, []])),
    pictures: [],
  }
  using maker = new Maker(setup, run)
  for (const photo of photos) {
    onPhoto(photo)
    const seconds = startClock()
    const before = await pixelsOf(photo, run.scale)
    if (Math.min(before.width, before.height) < SMALLEST_SIDE) {
      setup.onWarning(`left out: ${photo.file} has less than ${SMALLEST_SIDE} pixels a side`)
      continue
    }
    const made = await maker.protect(photo, before).catch((error: unknown) => {
      if (!(error instanceof NoFaceError || error instanceof PlanMemoryError)) throw error
      setup.onWarning(`left out: ${photo.file}, ${run.method.name} at scale ${run.scale}: ${error.message}`)
    })
    if (!made) continue
    await look(setup, run, result, { clean: photo, otherFace: otherFaces.get(photo.file), before, made })
    if (made.isNew) onMade(seconds())
  }
  return result
}

/** Adds what there is to say of one protected photo. */
async function look(
  { features, detector, otherDetector }: GallerySetup,
  { scale, pictures, handlings: asked }: GalleryRun,
  result: ProtectedGallery,
  { clean, otherFace, before, made }: { clean: CleanPhoto; otherFace: Face | undefined; before: Pixels; made: Made },
): Promise<void> {
  const { person, file } = clean
  const after = made.photo
  const face = scaledFace(clean.face, scale)
  const { embeddings, found } = await seeAgain(features, detector, after, face)
  result.seen.push({ person, file, embeddings })
  result.details.push({
    person,
    file: basename(file),
    scale,
    ...made.visibility,
    seconds: made.seconds,
    found,
    cosine: Object.fromEntries([...embeddings].map(([id, e]) => [id, similarityOf(clean.embeddings.get(id)!, e)])),
  })
  for (const handling of asked) {
    const list = result.handled.get(handling)!
    if (handling === 'other-detector') {
      if (!otherDetector || !otherFace) continue
      const seen = await seeAgain(features, otherDetector, after, scaledFace(otherFace, scale))
      list.push({ person, file, embeddings: seen.embeddings })
    } else {
      const seen = await seeAgain(features, detector, await handlings[handling](after), face)
      list.push({ person, file, embeddings: seen.embeddings })
    }
  }
  const shown = result.pictures.some((picture) => picture.person === person)
  if (!shown && result.pictures.length < pictures) {
    result.pictures.push(await picturesOf(person, before, after, face))
  }
}

/** A protected photo with what was measured on it. */
interface Made {
  photo: Pixels
  faces: Landmarks[]
  seconds: number
  visibility: Awaited<ReturnType<typeof visibilityOf>>
  /** It was not there already. */
  isNew: boolean
}

/** The photos of one person so far, in their order: later ones are kept apart from them. */
class PersonSoFar {
  readonly faces = new ProtectedFaces()
  /** Keys of the clean photos. */
  readonly contents: string[] = []
  /** Photos that were made in an earlier run, not yet among `faces`. */
  readonly kept: { before: Pixels; photo: Pixels; name: string }[] = []
}

/**
 * Makes the photos of a run, unless they were made before. The method is opened for the first that was not. A person's photos are a set, as
 * those of a folder are for a user, and must come one after another.
 */
class Maker implements Disposable {
  private readonly setup: GallerySetup
  private readonly method: Method
  private readonly store: Store
  private readonly networks: Keyed<ProtectorNetworks>
  private opened: OpenMethod | undefined
  private person: { name: string; soFar: PersonSoFar } | undefined

  constructor(setup: GallerySetup, { method, surrogates, scale }: GalleryRun) {
    this.setup = setup
    this.method = method
    this.networks = setup.networks(surrogates)
    const key = keyOf(method.constants, setup.codeOf(method), this.networks.key, setup.seed, scale)
    // Readable where the name is short.
    const name = method.name.replace(/[^a-z0-9.=-]+/gi, '-').slice(0, 40)
    this.store = new Store(setup.photos, `${name}-${key.slice(0, 12)}`)
  }

  async protect({ person, file }: PersonPhoto, before: Pixels & { grey: boolean }): Promise<Made> {
    const { meters, seed, gpu, signal } = this.setup
    if (this.person?.name !== person) this.person = { name: person, soFar: new PersonSoFar() }
    const { faces: apartFrom, contents, kept: waiting } = this.person.soFar
    const name = basename(file)
    const itself = contentOf(before)
    // A photo that is kept is made of itself and, where the method keeps them apart, of those before it.
    const content = this.method.apart && contents.length > 0 ? keyOf(itself, contents) : itself
    const kept = await this.store.find(person, file, content)
    const protect = async () => {
      const method = (this.opened ??= await this.method.open(gpu, this.networks.value))
      for (const each of waiting.splice(0))
        await method.remember?.(each.before, each.photo, { person: apartFrom, name: each.name })
      return await method.protect(before, { seed, grey: before.grey, signal, person: apartFrom, name })
    }
    const { photo, faces, seconds } = kept ?? (await protect())
    if (this.method.apart) contents.push(itself)
    if (this.method.apart && kept) waiting.push({ before, photo, name })
    if (kept?.meters === meters.key) return { ...kept, isNew: false }
    const visibility = await visibilityOf(before, photo, faces, meters.value)
    await this.store.keep(person, file, photo, { content, meters: meters.key, faces, seconds, visibility }, before.grey)
    return { photo, faces, seconds, visibility, isNew: true }
  }

  [Symbol.dispose](): void {
    this.opened?.[Symbol.dispose]()
  }
}

/** A photo's pixels, enlarged by a factor. */
export async function pixelsOf({ file }: PersonPhoto, scale = 1): Promise<Pixels & { grey: boolean }> {
  const photo = await readCleanPhoto(file)
  return scale === 1 ? photo : { ...(await enlarged(photo, scale)), grey: photo.grey }
}

/** Where a face is after the photo was enlarged: pixel i becomes those around `(i + .5) scale - .5`. */
function scaledFace({ box: [x1, y1, x2, y2], score, landmarks }: Face, scale: number): Face {
  const at = (value: number) => (value + 0.5) * scale - 0.5
  const point = ([x, y]: Point): Point => [at(x), at(y)]
  const [leftEye, rightEye, nose, leftCorner, rightCorner] = landmarks
  return {
    box: [at(x1), at(y1), at(x2), at(y2)],
    score,
    landmarks: [point(leftEye), point(rightEye), point(nose), point(leftCorner), point(rightCorner)],
  }
}
