import { checkPixels, cutOut, type Pixels } from '../pixels/pixels.ts'
import { resize } from '../pixels/resize.ts'
import type { Landmarks } from './alignment.ts'
import { calibrate, clipped, nonMaximumSuppression, roundedSquare, roundHalfEven, type ScoredBox } from './boxes.ts'
import { Reductions } from './reductions.ts'

/**
 * The three networks of MTCNN (Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
 * Networks", 2016). Inputs are RGB planes (NCHW) of `(v - 127.5) * 0.0078125`; probabilities are of "face", after softmax;
 * offsets are the shifts of x1, y1, x2, y2 in units of the box's sides.
 */
export interface MtcnnNetworks {
  /** Whole image [3,height,width] -> probability [h',w'] and offsets [4,h',w'] of the 12x12 windows 2 pixels apart. */
  pnet(
    input: Float32Array,
    height: number,
    width: number,
  ): Promise<{ probability: Float32Array; offsets: Float32Array; height: number; width: number }>
  /** Crops [count,3,24,24] -> probability [count] and offsets [count,4]. */
  rnet(crops: Float32Array, count: number): Promise<{ probability: Float32Array; offsets: Float32Array }>
  /** Crops [count,3,48,48] -> the same and landmarks [count,10]: five x, then five y, in units of the box's sides. */
  onet(
    crops: Float32Array,
    count: number,
  ): Promise<{ probability: Float32Array; offsets: Float32Array; landmarks: Float32Array }>
}

/** A face in pixel indices of the photo: its box (x1, y1, x2, y2, not clipped to the photo), probability and landmarks. */
export interface Face {
  box: [number, number, number, number]
  score: number
  landmarks: Landmarks
}

export interface DetectionOptions {
  /**
   * Side in pixels of the smallest face to look for, at least 12, taken as it is whatever the photo's size.
   * Default: `smallestFace` of the photo.
   */
  minFace?: number
  /** Faces from this probability, 0..1. Default .8, MTCNN's; fewer takes in what may be none, and leaves the others as they are. */
  minScore?: number
}

// Constants of MTCNN as face.evoLVe and LowKey use it (face.evoLVe, applications/align/detector.py).
/** Sides of the squares that the P-, R- and O-Net judge. */
const windowSide = { pnet: 12, rnet: 24, onet: 48 }
/** P-Net's map has a value for every second pixel. */
const pnetStride = 2
// biome-ignore lint/suspicious/noApproximativeNumericConstant: the published factor is .707, not the root of a half
const pyramidFactor = 0.707
/** A candidate stays with a probability above this; both are float32 when they are compared. */
const probabilityAbove = { pnet: Math.fround(0.6), rnet: Math.fround(0.7), onet: Math.fround(0.8) }
/** Of two candidates that overlap by more than this the worse one goes; P-Net: within one level of the pyramid, then over all. */
const overlapAbove = { pnetLevel: 0.5, pnet: 0.7, rnet: 0.7, onet: 0.7 }
const usualMinFace = 20
/** What the first level of the pyramid may hold by default, in pixels; the levels after it add about as much again. */
const firstLevelPixels = 1.2e6
/** Photos up to this many pixels, those in which the usual smallest face is looked for, are seen exactly as the original code does. */
const exactPixels = firstLevelPixels * (usualMinFace / windowSide.pnet) ** 2
/**
 * Larger ones are seen through a reduction by two, four, ... that still has this many pixels a side to one that is needed. What a
 * reduction leaves over at the right and bottom edges shifts what is seen there by a third of a needed pixel at most.
 */
const pixelsToSpare = 3
/** Around a known face the pyramid covers this many times its side, at this many pixels a side, down to half the face. */
const around = { sides: 3, side: 180 }

/**
 * The smallest face looked for by default, in pixels: 20, MTCNN's usual value, for photos up to 3.3 megapixels. Larger photos
 * raise it so that the first level of the pyramid keeps to 1.2 megapixels, in proportion to the photo's side: 38 at 12
 * megapixels, 55 at 25, 77 at 50. Smaller faces than that (under about 1% of the photo's side) may be missed there; `minFace`
 * asks for them, at a cost that grows with `(1 / minFace)^2`.
 */
export function smallestFace(width: number, height: number): number {
  return Math.max(usualMinFace, windowSide.pnet * Math.sqrt((width * height) / firstLevelPixels))
}

/**
 * Scales at which P-Net looks at a photo of `width` x `height` pixels, largest first: the first makes a face of `minFace`
 * pixels fill P-Net's 12, the others follow by 0.707 while the short side is above 12 pixels. Empty for a photo too small
 * to hold such a face. Throws RangeError where `minFace` is not a number from 12.
 */
export function pyramidScales(width: number, height: number, minFace: number): number[] {
  if (!(minFace >= windowSide.pnet && minFace < Infinity)) {
    throw new RangeError(
      `minFace is ${minFace}; it must be a number of pixels from ${windowSide.pnet}, what P-Net sees`,
    )
  }
  const first = windowSide.pnet / minFace
  const scales: number[] = []
  for (let side = Math.min(width, height) * first; side > windowSide.pnet; side *= pyramidFactor) {
    scales.push(first * pyramidFactor ** scales.length)
  }
  return scales
}

/**
 * Writes interleaved RGB bytes as the networks read them: planes R, G, B of `(v - 127.5) * 0.0078125`, in -1..1
 * (exact in float32), from element `at` of `target`.
 */
export function writePlanes(image: Pixels, target: Float32Array, at: number): void {
  const size = image.width * image.height
  for (let i = 0; i < size; i++) {
    for (let channel = 0; channel < 3; channel++) {
      target[at + channel * size + i] = (image.rgb[3 * i + channel] - 127.5) * 0.0078125
    }
  }
}

/** First stage: P-Net over the pyramid. Squares on whole pixels, best first; they may reach over the photo's borders. */
export async function proposeFaces(
  networks: MtcnnNetworks,
  image: Pixels,
  scales: readonly number[],
): Promise<ScoredBox[]> {
  // A candidate and, beside it, where its offsets lie: they are applied only to those that stay.
  const boxes: ScoredBox[] = []
  const offsetsOf: { offsets: Float32Array; at: number; stride: number }[] = []
  const photo = Reductions.of(image)
  for (const scale of scales) {
    const { image: reduced } = seenAt(photo, 1 / scale)
    const level = resize(reduced, Math.ceil(image.width * scale), Math.ceil(image.height * scale))
    const input = new Float32Array(level.rgb.length)
    writePlanes(level, input, 0)
    const map = await networks.pnet(input, level.height, level.width)
    const cells = map.height * map.width
    checkLength('pnet', 'probability', map.probability, cells)
    checkLength('pnet', 'offsets', map.offsets, 4 * cells)
    const found: (ScoredBox & { cell: number })[] = []
    map.probability.forEach((score, cell) => {
      if (!(score > probabilityAbove.pnet)) return
      const x = pnetStride * (cell % map.width) + 1
      const y = pnetStride * Math.floor(cell / map.width) + 1
      found.push({
        x1: roundHalfEven(x / scale),
        y1: roundHalfEven(y / scale),
        x2: roundHalfEven((x + windowSide.pnet) / scale),
        y2: roundHalfEven((y + windowSide.pnet) / scale),
        score,
        cell,
      })
    })
    for (const index of nonMaximumSuppression(found, overlapAbove.pnetLevel)) {
      boxes.push(found[index])
      offsetsOf.push({ offsets: map.offsets, at: found[index].cell, stride: cells })
    }
  }
  return nonMaximumSuppression(boxes, overlapAbove.pnet).map((index) => {
    const { offsets, at, stride } = offsetsOf[index]
    return roundedSquare(calibrate(boxes[index], offsets, at, stride))
  })
}

/** Second stage: R-Net on the candidates of the first. Squares on whole pixels, best first. */
export async function refineFaces(
  networks: MtcnnNetworks,
  image: Pixels,
  proposed: readonly ScoredBox[],
): Promise<ScoredBox[]> {
  const { inside, crops } = candidateCrops(image, proposed, windowSide.rnet)
  if (inside.length === 0) return []
  const { probability, offsets } = await networks.rnet(crops, inside.length)
  checkLength('rnet', 'probability', probability, inside.length)
  checkLength('rnet', 'offsets', offsets, 4 * inside.length)
  const passed = passing(inside, probability, probabilityAbove.rnet)
  const kept = nonMaximumSuppression(passed, overlapAbove.rnet).map((index) => passed[index])
  return kept.map((box) => roundedSquare(calibrate(box, offsets, 4 * box.row)))
}

/** Third stage: O-Net on the candidates of the second. The faces, best first. */
export async function locateFaces(
  networks: MtcnnNetworks,
  image: Pixels,
  refined: readonly ScoredBox[],
  minScore: number = probabilityAbove.onet,
): Promise<Face[]> {
  const { inside, crops } = candidateCrops(image, refined, windowSide.onet)
  if (inside.length === 0) return []
  const { probability, offsets, landmarks } = await networks.onet(crops, inside.length)
  checkLength('onet', 'probability', probability, inside.length)
  checkLength('onet', 'offsets', offsets, 4 * inside.length)
  checkLength('onet', 'landmarks', landmarks, 10 * inside.length)
  const passed = passing(inside, probability, minScore)
  const calibrated = passed.map((box) => calibrate(box, offsets, 4 * box.row))
  return nonMaximumSuppression(calibrated, overlapAbove.onet, 'min').map((index) => {
    const { x1, y1, x2, y2, score } = calibrated[index]
    // Landmarks are relative to the box that the O-Net saw, not to the calibrated one.
    const seen = passed[index]
    const point = (k: number): [number, number] => [
      seen.x1 + (seen.x2 - seen.x1 + 1) * landmarks[10 * seen.row + k],
      seen.y1 + (seen.y2 - seen.y1 + 1) * landmarks[10 * seen.row + 5 + k],
    ]
    return { box: [x1, y1, x2, y2], score, landmarks: [point(0), point(1), point(2), point(3), point(4)] }
  })
}

/**
 * Finds the faces of a photo, best first; an empty list where there is none. On photos above 3.3 megapixels faces under
 * `smallestFace` may be missed unless `minFace` asks for them. The candidates of a stage go to a network in one call.
 * Throws RangeError for an image whose bytes do not fit its size, a bad `minFace`, or a network answer of the wrong length.
 */
export async function detectFaces(
  networks: MtcnnNetworks,
  image: Pixels,
  options: DetectionOptions = {},
): Promise<Face[]> {
  checkPixels('detectFaces', image)
  const { width, height } = image
  const scales = pyramidScales(width, height, options.minFace ?? smallestFace(width, height))
  const photo = new Reductions(image)
  const proposed = await proposeFaces(networks, photo, scales)
  const refined = await refineFaces(networks, photo, proposed)
  return locateFaces(networks, photo, refined, options.minScore)
}

/**
 * Finds again faces whose boxes are known, best first for each: what is about where the box is, of half to three times its size. Takes
 * as long for a face in a large photo as in a small one. The pyramid stands elsewhere than that of the whole photo, so boxes and
 * landmarks differ as if the photo had been resized.
 * Throws RangeError for an image whose bytes do not fit its size and for a box that is empty or not of numbers.
 */
export async function detectAround(
  networks: MtcnnNetworks,
  image: Pixels,
  boxes: readonly Face['box'][],
): Promise<Face[][]> {
  checkPixels('detectAround', image)
  const photo = new Reductions(image)
  const found: Face[][] = []
  for (const [x1, y1, x2, y2] of boxes) {
    const side = around.sides * Math.max(x2 - x1, y2 - y1)
    if (!(side > 0 && side < Infinity)) throw new RangeError(`detectAround: [${x1}, ${y1}, ${x2}, ${y2}] is no box`)
    const { image: reduced, factor } = photo.reduced(side / around.side / pixelsToSpare)
    const left = Math.round((x1 + x2 - side) / 2 / factor)
    const top = Math.round((y1 + y2 - side) / 2 / factor)
    const length = Math.max(1, Math.round(side / factor))
    const window = cutOut(reduced, left, top, left + length - 1, top + length - 1)
    const scale = (length * factor) / around.side
    const scales = pyramidScales(around.side, around.side, around.side / around.sides / 2)
    const proposed = await proposeFaces(networks, resize(window, around.side, around.side), scales)
    const placed = proposed.map((box) => ({
      x1: roundHalfEven(left * factor + box.x1 * scale),
      y1: roundHalfEven(top * factor + box.y1 * scale),
      x2: roundHalfEven(left * factor + (box.x2 + 1) * scale - 1),
      y2: roundHalfEven(top * factor + (box.y2 + 1) * scale - 1),
      score: box.score,
    }))
    found.push(await locateFaces(networks, photo, await refineFaces(networks, photo, placed)))
  }
  return found
}

/** The photo as it is seen where `by` of its pixels, a side, become one. */
function seenAt(photo: Reductions, by: number): { image: Pixels; factor: number } {
  return photo.reduced(photo.width * photo.height <= exactPixels ? 1 : by / pixelsToSpare)
}

/**
 * Cuts the candidates out of the photo, black beyond its borders, and resizes each to `size` x `size`: [count,3,size,size].
 * `inside` are the boxes CLIPPED to the photo, and it is these that are calibrated and carry the landmarks afterwards: the
 * original code clips in place while it cuts, and its networks' results have been judged with that. A candidate wholly
 * outside the photo is left out (the original fails on it). Where the photo is seen reduced, boxes move to its pixels first.
 */
function candidateCrops(
  image: Pixels,
  boxes: readonly ScoredBox[],
  size: number,
): { inside: ScoredBox[]; crops: Float32Array } {
  const photo = Reductions.of(image)
  const candidates = boxes.flatMap((box) => {
    const { image: reduced, factor } = seenAt(photo, Math.min(box.x2 - box.x1 + 1, box.y2 - box.y1 + 1) / size)
    const cut = gridBox(box, factor)
    const seen = { ...gridBox(cut, 1 / factor), score: box.score }
    const inside = clipped(seen, image.width, image.height)
    return inside ? [{ reduced, cut, inside }] : []
  })
  const crops = new Float32Array(candidates.length * 3 * size * size)
  candidates.forEach(({ reduced, cut }, index) => {
    const crop = resize(cutOut(reduced, cut.x1, cut.y1, cut.x2, cut.y2), size, size)
    writePlanes(crop, crops, index * 3 * size * size)
  })
  return { inside: candidates.map((candidate) => candidate.inside), crops }
}

/** The pixels that a box takes of a photo whose pixels are `factor` as large; of whole pixels for a factor from 1. */
function gridBox({ x1, y1, x2, y2 }: Omit<ScoredBox, 'score'>, factor: number): Omit<ScoredBox, 'score'> {
  const [left, top] = [Math.round(x1 / factor), Math.round(y1 / factor)]
  const [width, height] = [Math.round((x2 - x1 + 1) / factor), Math.round((y2 - y1 + 1) / factor)]
  return { x1: left, y1: top, x2: left + width - 1, y2: top + height - 1 }
}

/** Candidates above the threshold, with their new score and their row in the network's answer. */
function passing(boxes: readonly ScoredBox[], probability: Float32Array, threshold: number) {
  return boxes.map((box, row) => ({ ...box, score: probability[row], row })).filter((box) => box.score > threshold)
}

function checkLength(network: string, name: string, values: Float32Array, length: number): void {
  if (values.length !== length) {
    throw new RangeError(`${network}: ${name} holds ${values.length} values, expected ${length}`)
  }
}
