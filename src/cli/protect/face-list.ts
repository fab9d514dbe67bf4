/** `lowkey-gpu protect --faces list`: which face is which; and how faces and boxes are named on the command line. */
import type { Choice, FaceChoice } from '../../attack/choose.ts'
import { type Area, areaText } from '../../faces/in-box.ts'
import type { NumberedBox } from '../../images/index.ts'
import { UsageError } from '../exit.ts'

/** Pictures of numbered faces are called NAME.faces.png; they are no photos to protect. */
export const LIST_SUFFIX = '.faces'

/** A line for each face with its number, then what may be one. */
export function faceLines({ faces, left }: Choice): string[] {
  const lines = faces.map((face) => {
    const { number, score, by, sure, roll } = face
    const notes = [by === 'guess' ? 'nothing is recognised there' : `score ${score.toFixed(3)}`]
    if (Math.abs(roll) > 45) notes.push(Math.abs(roll) > 135 ? 'upside down' : 'on its side')
    if (by !== 'guess' && !sure) notes.push('landmarks not certain')
    return `  face ${number} at ${areaText(face.box)} (${notes.join(', ')})`
  })
  const places = left.weak.map(
    (place) => `  may be a face: --box ${areaText(place.box)} (score ${place.score.toFixed(3)})`,
  )
  return [...lines, ...places]
}

/** The same for the picture: faces with their numbers, what may be one without. */
export const numberedBoxes = ({ faces, left }: Choice): NumberedBox[] => [
  ...faces.map(({ number, box }) => ({ number, box })),
  ...left.weak.map(({ box }) => ({ box })),
]

/** What `--faces`, `--face` and `--box` choose. Throws UsageError for numbers and boxes that are none. */
export function faceChoice(
  faces: 'all' | 'largest' | 'list' | undefined,
  face: string | undefined,
  boxes: readonly string[] = [],
): FaceChoice {
  if (face !== undefined && faces !== undefined) throw new UsageError('--face chooses by number: leave --faces out')
  return {
    faces: face === undefined ? (faces === 'largest' ? 'largest' : 'all') : numbersOf(face),
    boxes: boxes.map(areaOf),
  }
}

function numbersOf(value: string): number[] {
  const numbers = value.split(',').map((part) => Number(part.trim()))
  if (!numbers.every((number) => Number.isInteger(number) && number >= 1))
    throw new UsageError(`--face takes numbers of faces, such as 2 or 1,3; got "${value}" (--faces list shows them)`)
  return numbers
}

function areaOf(value: string): Area {
  const parts = value.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)))
  const [x, y, width, height] = parts
  if (parts.length !== 4 || !parts.every(Number.isFinite) || !(width > 0 && height > 0))
    throw new UsageError(`--box takes x,y,width,height in pixels, such as 120,80,60,75; got "${value}"`)
  return [x, y, width, height]
}
