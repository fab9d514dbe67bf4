/**
 * How long many photos take on many machines: a task starts (`start` seconds), then takes `photo` seconds for each photo of its shard; a machine
 * does one task after another, and takes the next that waits. Both numbers are fitted to a measurement. What differs between photos (faces,
 * sizes) and between machines is drawn, so results have a spread; what a shared disk or a scheduler adds is not in it.
 */

import { shardOf } from '../../src/batch/shard.ts'
import { uniformNoise } from '../../src/graph/noise.ts'
import type { ScaleTimes } from './times.ts'

/** What a task costs on one machine, in seconds. */
export interface Cost {
  start: number
  photo: number
  /** The largest difference between a measured time and the fitted one, as a share of the measured. */
  misfit: number
  /** Photos a minute, long after the start: with one task, and with a task for each core. */
  alone: number
  together: number
}

/** Least squares through the measured tasks that had all cores. */
export function costOf({ alone, together }: Pick<ScaleTimes, 'alone' | 'together'>): Cost {
  const mean = (of: (task: (typeof alone)[number]) => number) =>
    alone.reduce((sum, task) => sum + of(task), 0) / alone.length
  const [photos, seconds] = [mean((task) => task.photos), mean((task) => task.seconds)]
  const along = mean((task) => (task.photos - photos) * (task.seconds - seconds))
  const photo = along / mean((task) => (task.photos - photos) ** 2)
  const start = seconds - photo * photos
  const misfits = alone.map((task) => Math.abs(start + photo * task.photos - task.seconds) / task.seconds)
  const later = together.tasks.map(({ each }) => each.slice(1).reduce((sum, s) => sum + s, 0) / (each.length - 1))
  return {
    start,
    photo,
    misfit: Math.max(...misfits),
    alone: 60 / photo,
    together: later.reduce((sum, s) => sum + 60 / s, 0),
  }
}

export interface Scenario {
  photos: number
  machines: number
  shards: number
}

/** Of several draws. */
export interface Prediction extends Scenario {
  /** Hours until the last task ends: the median draw, and the 5th and 95th of a hundred. */
  hours: number
  from: number
  to: number
  /** Hours that all machines together are held, and the share of them that goes to photos. */
  machineHours: number
  efficiency: number
  /** Photos that all machines do in a second while all work: what a shared disk has to serve. */
  photosASecond: number
}

/** What is assumed, because one machine does not show it. */
export const assumed = {
  /** Standard deviation over mean of what photos take: no face, one face, ten faces. */
  photoSpread: 1,
  /** The same of machines of one kind. */
  machineSpread: 0.1,
  /** How wrong the measured seconds a photo may be for other photos: a factor up or down, as a standard deviation. */
  photoUnknown: 0.25,
  draws: 40,
} as const

const SCENARIOS: readonly Scenario[] = [
  { photos: 1_000, machines: 1, shards: 1 },
  { photos: 1_000, machines: 10, shards: 10 },
  { photos: 100_000, machines: 10, shards: 80 },
  { photos: 100_000, machines: 100, shards: 100 },
  { photos: 100_000, machines: 100, shards: 800 },
  { photos: 100_000, machines: 1_000, shards: 1_000 },
  { photos: 100_000, machines: 1_000, shards: 4_000 },
  { photos: 1_000_000, machines: 1_000, shards: 8_000 },
]

export const scenarios = (cost: Pick<Cost, 'start' | 'photo'>): Prediction[] =>
  SCENARIOS.map((each) => predict(each, cost))

/** Draws the run several times. */
export function predict(
  { photos, machines, shards }: Scenario,
  { start, photo }: Pick<Cost, 'start' | 'photo'>,
): Prediction {
  const counts = countsOf(photos, shards)
  const random = uniform()
  const { photoSpread, machineSpread, photoUnknown, draws } = assumed
  const results = Array.from({ length: draws }, () => {
    const each = photo * Math.exp(photoUnknown * normal(random))
    // Of many photos the sum is as good as normal; of few it is at least nothing.
    const work = counts.map((count) => Math.max(0, each * (count + photoSpread * Math.sqrt(count) * normal(random))))
    const speeds = Array.from({ length: machines }, () => Math.exp(machineSpread * normal(random)))
    return run(work, speeds, start)
  })
  const hours = results.map(({ last }) => last / 3600).sort((a, b) => a - b)
  const at = (share: number) => hours[Math.round(share * (hours.length - 1))]
  const mean = (of: (result: (typeof results)[number]) => number) => results.reduce((sum, r) => sum + of(r), 0) / draws
  return {
    ...{ photos, machines, shards },
    hours: at(0.5),
    from: at(0.05),
    to: at(0.95),
    // Machines are given back when no task waits: a queue does that, a rented cluster only if it is told to.
    machineHours: mean(({ held }) => held / 3600),
    efficiency: mean(({ useful, last }) => useful / (last * machines)),
    photosASecond: machines / photo,
  }
}

/** Photos of each shard, called IMG_000001 to the last in folders of a thousand. */
function countsOf(photos: number, shards: number): number[] {
  const counts: number[] = Array(shards).fill(0)
  for (let i = 0; i < photos; i++) {
    const path = `${Math.floor(i / 1000)}/IMG_${`${i + 1}`.padStart(6, '0')}.jpg`
    counts[shardOf(path, shards) - 1]++
  }
  return counts
}

/** Each machine takes the next task when it is free. Seconds: until the last ends, all machines until they are free, and of useful work. */
function run(
  work: readonly number[],
  speeds: readonly number[],
  start: number,
): { last: number; held: number; useful: number } {
  const free = speeds.map((speed, machine) => ({ at: 0, speed, machine }))
  let useful = 0
  for (const seconds of work) {
    const next = free[0]
    const own = seconds / next.speed
    useful += own
    next.at += start + own
    settle(free)
  }
  const ends = free.map(({ at }) => at)
  return { last: Math.max(...ends), held: ends.reduce((sum, at) => sum + at, 0), useful }
}

/** The first of a heap by `at` sinks to its place. */
function settle(heap: { at: number }[]): void {
  for (let i = 0; ; ) {
    const [left, right] = [2 * i + 1, 2 * i + 2]
    let least = i
    if (left < heap.length && heap[left].at < heap[least].at) least = left
    if (right < heap.length && heap[right].at < heap[least].at) least = right
    if (least === i) return
    ;[heap[i], heap[least]] = [heap[least], heap[i]]
    i = least
  }
}

/** Numbers from 0 to below 1, the same in every run. */
function uniform(): () => number {
  let left: Float32Array = new Float32Array(0)
  let block = 0
  let at = 0
  return () => {
    if (at === left.length) [left, at] = [uniformNoise(++block, 4096, 0.5), 0]
    return left[at++] + 0.5
  }
}

const normal = (random: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
