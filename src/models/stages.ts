/** Residual networks of four stages, each of which halves the image: their sizes, spelled out in ids and found in files. */
import { countOf, type TensorShapes } from './recording.ts'

type Four = readonly [number, number, number, number]

/** Units and channels of four stages. */
export interface Stages {
  units: Four
  channels: Four
}

/** `1x8-1x16-1x24-1x32-e64`: units and channels of each stage, and the length of the embedding. */
const SPELLED = /^(\d{1,3})x(\d{1,4})-(\d{1,3})x(\d{1,4})-(\d{1,3})x(\d{1,4})-(\d{1,3})x(\d{1,4})-e(\d{1,5})$/

export interface SizedStages extends Stages {
  /** Length of the embedding. */
  embedding: number
}

/** Sizes as ids spell them. */
export const spellStages = ({ units, channels, embedding }: SizedStages): string =>
  `${units.map((count, i) => `${count}x${channels[i]}`).join('-')}-e${embedding}`

/** The sizes that a text spells; undefined where it spells none. */
export function readStages(text: string): SizedStages | undefined {
  const match = SPELLED.exec(text)
  if (!match) return undefined
  const [u1, c1, u2, c2, u3, c3, u4, c4, embedding] = match.slice(1).map(Number)
  if (Math.min(u1, c1, u2, c2, u3, c3, u4, c4, embedding) === 0) return undefined
  return { units: [u1, u2, u3, u4], channels: [c1, c2, c3, c4], embedding }
}

/** Whether two networks have the same sizes. */
export const sameStages = (a: SizedStages, b: SizedStages): boolean => spellStages(a) === spellStages(b)

/**
 * The stages of a network whose units are numbered through, by the channels of each; undefined where there are not four. A unit whose
 * channels are not known counts to the stage before it, so that it will be missed.
 *
 * @param numbered the names of a unit's tensors, with its number as the first group
 * @param widest the tensor of a unit whose first extent is its channels
 */
export function stagesIn(shapes: TensorShapes, numbered: RegExp, widest: (unit: number) => string): Stages | undefined {
  const channels: number[] = []
  const units: number[] = []
  for (let i = 0; i < countOf(shapes, numbered); i++) {
    const width = shapes.get(widest(i))?.[0] ?? channels.at(-1) ?? 64
    if (width !== channels.at(-1)) {
      channels.push(width)
      units.push(0)
    }
    units[units.length - 1]++
  }
  if (units.length !== 4) return undefined
  const [u1, u2, u3, u4] = units
  const [c1, c2, c3, c4] = channels
  return { units: [u1, u2, u3, u4], channels: [c1, c2, c3, c4] }
}
