/** The page's worker: everything that takes longer than a blink. Photos are worked on one after another, in the order they were asked for. */

import { ProtectedFaces } from '../attack/apart.ts'
import { presets } from '../attack/presets.ts'
import { NoFaceError, type Protection } from '../attack/protect.ts'
import { stillMatches } from '../attack/verdict.ts'
import { adapterName } from '../device/describe.ts'
import { DeviceLostError, GpuError } from '../device/gpu.ts'
import { startClock } from '../device/stopwatch.ts'
import { smallestFace } from '../faces/mtcnn.ts'
import { PlanMemoryError } from '../graph/index.ts'
import { jpegQuality } from '../images/jpeg-quality.ts'
import { decodePhoto, factsOf, isGrey, UnreadableError } from './decode.ts'
import { encodeJpeg, encodePng, prepareJpeg } from './encode.ts'
import { Engine, NoDeviceError, networksOf, UnableError } from './engine.ts'
import { inflated } from './pack.ts'
import type { FaceOutcome, Failure, FromWorker, Overrides, PartData, Rgb, ToWorker } from './protocol.ts'
import { wrongPixels } from './self-test.ts'
import { fromText16 } from './text16.ts'
import { previewOf, viewsOf } from './views.ts'

type Open = Extract<ToWorker, { type: 'open' }>
type Protect = Extract<ToWorker, { type: 'protect' }>

const say = (message: FromWorker): void => self.postMessage(message)

const bytesOf = (data: PartData): Uint8Array<ArrayBuffer> =>
  typeof data === 'string' ? fromText16(data) : new Uint8Array(data)

let overrides: Overrides = {}
let engine: Engine
/** Faces of the photos so far, in the worker's memory alone, until the page is closed: later photos of the same people are kept apart from them. */
const protectedFaces = new ProtectedFaces()
/** Ends when the work that was asked for last is done, or has failed. */
let busy: Promise<void> = Promise.resolve()
const controllers = new Map<number, AbortController>()

self.onmessage = ({ data: message }: MessageEvent<ToWorker>) => {
  if (message.type === 'cancel') {
    controllers.get(message.id)?.abort()
    return
  }
  if (message.type === 'start') {
    busy = start(message)
    return
  }
  const controller = new AbortController()
  controllers.set(message.id, controller)
  busy = busy.then(async () => {
    try {
      controller.signal.throwIfAborted()
      await (message.type === 'open' ? open(message) : protect(message, controller.signal))
    } catch (error) {
      say({ type: 'failed', id: message.id, failure: failureOf(error, controller.signal) })
    }
    if (controllers.get(message.id) === controller) controllers.delete(message.id)
  })
}

/** After a failure here nothing else is done: what is asked for meanwhile waits for ever, and the page says why. */
async function start({ networks, jpeg, overrides: told }: Extract<ToWorker, { type: 'start' }>): Promise<void> {
  overrides = told
  try {
    await prepareJpeg(await inflated(bytesOf(jpeg)))
    const wrong = await wrongPixels()
    if (wrong) throw new UnableError('wrong-pixels', wrong)
    engine = await Engine.start(() => networksOf(bytesOf(networks), overrides.models))
    const { capabilities } = engine
    say({ type: 'ready', adapter: adapterName(capabilities), software: capabilities.software })
  } catch (error) {
    const reason = error instanceof UnableError ? error.reason : 'other'
    say({ type: 'unable', reason, detail: error instanceof Error ? error.message : String(error) })
    await new Promise(() => {})
  }
}

const sizeOf = ({ width, height }: Rgb) => ({ width, height })

async function open({ id, file, decoded }: Open): Promise<void> {
  if ((await factsOf(file)).marked) return say({ type: 'failed', id, failure: { kind: 'earlier-result' } })
  const photo = decoded ?? (await decodePhoto(file))
  const preview = await previewOf(photo)
  const choice = await engine
    .use(
      (protector) => protector.choose(photo),
      () => say({ type: 'restarted', id }),
    )
    .catch((error: unknown) => {
      throw error instanceof NoFaceError ? new FacelessError(error, photo) : error
    })
  say({
    type: 'opened',
    id,
    ...sizeOf(photo),
    preview,
    faces: choice.faces.map(({ number, box: [x1, y1, x2, y2] }) => ({
      number,
      place: [x1 / photo.width, y1 / photo.height, (x2 - x1) / photo.width, (y2 - y1) / photo.height],
    })),
    maybe: choice.left.weak.length,
  })
}

/** A face was looked for in this photo, and there is none. */
class FacelessError extends Error {
  readonly smallest: number
  readonly maybe: number

  constructor(cause: NoFaceError, { width, height }: Rgb) {
    super(cause.message, { cause })
    this.smallest = Math.ceil(smallestFace(width, height))
    this.maybe = Number(/(\d+) places/.exec(cause.message)?.[1] ?? (cause.message.includes('one place') ? 1 : 0))
  }
}

async function protect(
  { id, file, kind, decoded, faces, strength, format }: Protect,
  signal: AbortSignal,
): Promise<void> {
  const seconds = startClock()
  const progress = (
    phase: Extract<FromWorker, { type: 'progress' }>['phase'],
    done = 0,
    total = 0,
    face = 1,
    count = 1,
  ) => say({ type: 'progress', id, phase, done, total, face, faces: count })
  progress('decode')
  const photo = decoded ?? (await decodePhoto(file))
  signal.throwIfAborted()
  const run = (finest?: number): Promise<Protection> =>
    engine.use(
      (protector) =>
        protector.protect(photo, {
          preset: presets[strength],
          steps: overrides.steps,
          seed: overrides.seed,
          faces,
          grey: isGrey(photo),
          finest,
          apartFrom: protectedFaces,
          name: file.name,
          signal,
          onProgress: ({ phase, done, total, face, faces: count }) => progress(phase, done, total, face, count),
        }),
      () => say({ type: 'restarted', id }),
    )
  let reduced = false
  const protection = await run()
    .catch(async (error: unknown) => {
      if (!isMemory(error)) throw error
      reduced = true
      // A new device: what earlier photos left compiled takes memory too.
      await engine.reopen()
      return run(COARSE)
    })
    .catch((error: unknown) => {
      throw isMemory(error) ? new OutOfMemoryError(error, photo) : error
    })
  signal.throwIfAborted()
  progress('encode')
  const after: Rgb = { ...photo, rgb: protection.photo.rgb as Uint8Array<ArrayBuffer> }
  const quality = jpegQuality({ quality: (await factsOf(file)).quality, format: kind })
  const bytes = format === 'jpeg' ? await encodeJpeg(after, true, quality) : await encodePng(after, true)
  const views = await viewsOf(photo, after, protection.faces)
  say({
    type: 'protected',
    id,
    result: new Blob([bytes], { type: `image/${format}` }),
    views,
    faces: protection.faces.map(outcomeOf),
    warnings: protection.warnings,
    reduced,
    seconds: seconds(),
  })
}

/** Working pixels per crop pixel where memory did not suffice for the usual 1.5: a quarter of the memory. */
const COARSE = 0.75

function outcomeOf({ number, recognisers, foundAgain, apart }: Protection['faces'][number]): FaceOutcome {
  const matching = recognisers.some(stillMatches)
  return {
    number,
    matches: matching ? true : foundAgain ? false : null,
    earlier: apart?.from ?? 0,
    recognisers: recognisers.map(({ id, after, threshold }) => ({ id, similarity: after, threshold })),
  }
}

/** Memory did not suffice for this photo, also not for a coarser area. */
class OutOfMemoryError extends Error {
  readonly width: number
  readonly height: number

  constructor(cause: unknown, { width, height }: Rgb) {
    super('out of memory', { cause })
    this.width = width
    this.height = height
  }
}

const isMemory = (error: unknown): boolean =>
  error instanceof PlanMemoryError ||
  (error instanceof GpuError && error.kind === 'out-of-memory') ||
  (error instanceof RangeError && /allocation failed|out of memory|Invalid (typed )?array length/i.test(error.message))

function failureOf(error: unknown, signal: AbortSignal): Failure {
  if (signal.aborted) return { kind: 'cancelled' }
  if (error instanceof UnreadableError) return { kind: 'unreadable', problem: error.message }
  if (error instanceof FacelessError) return { kind: 'no-face', smallest: error.smallest, maybe: error.maybe }
  if (error instanceof OutOfMemoryError) {
    const { width, height } = error
    return { kind: 'memory', width, height, megabytes: Math.ceil((3 * width * height) / 1e6) }
  }
  if (error instanceof DeviceLostError || error instanceof NoDeviceError) return { kind: 'device-lost' }
  const message = error instanceof Error ? error.message : String(error)
  if (/too small/.test(message)) return { kind: 'too-small' }
  return { kind: 'other', message }
}
