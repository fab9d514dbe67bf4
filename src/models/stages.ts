/** Residual networks of four stages, each of which halves the image: their sizes, spelled out in ids and found in files. */
import type { Tensor } from '../kernels/op.ts'
import type { Family, RecogniserArchitecture } from './network.ts'
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

/**
 * Records the units of four stages, of which each halves the image with its first.
 *
 * @param unit `number` counts from 0 through all stages, `place` says stage (from 1) and number in it (from 0): `2.0`
 */
export function eachUnit(
  { units, channels }: Stages,
  x: Tensor,
  unit: (x: Tensor, at: { number: number; place: string; channels: number; stride: number }) => Tensor,
): Tensor {
  let y = x
  let number = 0
  units.forEach((count, stage) => {
    for (let i = 0; i < count; i++) {
      const at = { number: number++, place: `${stage + 1}.${i}`, channels: channels[stage], stride: i === 0 ? 2 : 1 }
      y = unit(y, at)
    }
  })
  return y
}

/** Networks of four stages by their ids: published ones, whose ids end in their layers, and others, whose ids spell their sizes. */
export interface StageIds {
  published: ReadonlyMap<string, SizedStages>
  /** The id of the network of these sizes. */
  idOf(stages: SizedStages): string
  /** The sizes that an id spells; undefined for published ids and those of others. */
  spelled(id: string): SizedStages | undefined
}

/** @param units of the published networks, by their layers; each has 64 to 512 channels and 512 numbers a face */
export function stageIds(start: string, units: Readonly<Record<string, Four>>): StageIds {
  const published = new Map(
    Object.entries(units).map(([layers, each]): [string, SizedStages] => [`${start}${layers}`, widened(each)]),
  )
  const idOf = (stages: SizedStages): string => {
    const known = [...published].find(([, each]) => sameStages(each, stages))
    return known ? known[0] : `${start}${spellStages(stages)}`
  }
  const spelled = (id: string): SizedStages | undefined => {
    const stages = id.startsWith(start) ? readStages(id.slice(start.length)) : undefined
    return stages && idOf(stages) === id ? stages : undefined
  }
  return { published, idOf, spelled }
}

/**
 * The family of such networks.
 *
 * @param described a network by its id and sizes
 * @param sizes those of the network whose tensors have these shapes; undefined where they are of none
 */
export const stagedFamily = (
  { published, spelled, idOf }: StageIds,
  described: (id: string, stages: SizedStages) => RecogniserArchitecture,
  sizes: (shapes: TensorShapes) => SizedStages | undefined,
): Family => ({
  published: [...published].map(([id, stages]) => described(id, stages)),
  spelled(id) {
    const stages = spelled(id)
    return stages && described(id, stages)
  },
  idOf(shapes) {
    const stages = sizes(shapes)
    return stages && idOf(stages)
  },
})

/** The sizes of networks as ArcFace's authors have them. */
export const widened = (units: Four): SizedStages => ({ units, channels: [64, 128, 256, 512], embedding: 512 })
