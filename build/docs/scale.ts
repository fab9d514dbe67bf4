/** The parts of docs/scale.md: what was measured on one machine, and what follows for many. */
import { assumed, costOf } from '../../bench/scale/model.ts'
import type { ScaleTimes } from '../../bench/scale/times.ts'
import { markdownTable, wrapped } from './markers.ts'

const thousands = (value: number): string => value.toLocaleString('en-US')
const hoursOf = (hours: number): string => (hours < 1 ? `${(60 * hours).toFixed(0)} min` : `${hours.toFixed(1)} h`)

/** None but a note where nothing was measured. */
export function scaleParts(times: ScaleTimes | undefined): Record<string, () => string> {
  const part = (make: (times: ScaleTimes) => string) => () => (times ? make(times) : 'Not measured for this version.')
  return {
    'scale-measured': part(measured),
    'scale-fit': part(fit),
    'scale-assumed': () =>
      wrapped(
        `Photos differ: the standard deviation of what one takes is ${assumed.photoSpread === 1 ? 'as large as the mean' : `${assumed.photoSpread} of the mean`} (photos without a face ` +
          `take little, photos of ten faces ten times as much). Machines of one kind differ by ${100 * assumed.machineSpread} %. ` +
          `The mean of your photos is not that of ours: by a factor of ${(1 + assumed.photoUnknown).toFixed(2)} up or down (one ` +
          `standard deviation). ${assumed.draws} draws; ranges hold nine of ten.`,
      ),
    'scale-machines': part(machines),
    'scale-cost': part(cost),
  }
}

function measured({ alone, together, cores, load, processor, date, commit }: ScaleTimes): string {
  const rows = alone.map((task) => row(`one task, ${cores} cores`, task.photos, task, task.each))
  const photos = together.tasks.reduce((sum, task) => sum + task.photos, 0)
  const each = together.tasks.flatMap((task) => task.each)
  rows.push(row(`${cores} tasks, a core each`, photos, together, each))
  const basis = `The demo's portrait at several brightnesses, default strength, lavapipe with filled caches. ${beside(load, cores)} ${processor}, ${date}, commit ${commit}, a single run each.`
  return `${markdownTable(['', 'photos', 'seconds, from the shell to the end', 'of processor', 'photos a minute in all', 'seconds each'], rows)}\n\n${wrapped(basis)}`
}

const row = (
  name: string,
  photos: number,
  { seconds, processorSeconds }: { seconds: number; processorSeconds: number },
  each: readonly number[],
): string[] => [
  name,
  `${photos}`,
  seconds.toFixed(1),
  processorSeconds.toFixed(0),
  ((60 * photos) / seconds).toFixed(1),
  `${Math.min(...each).toFixed(1)} to ${Math.max(...each).toFixed(1)}`,
]

const beside = (load: number, cores: number): string =>
  load < 0.5 * cores
    ? 'Nothing else was running.'
    : `Other work wanted the processor (load ${load.toFixed(0)} before it), at the lowest share that priorities give it, so times may be long.`

function fit(times: ScaleTimes): string {
  const { start, photo, misfit, alone, together } = costOf(times)
  return wrapped(
    `A task with all cores takes ${start.toFixed(1)} s and ${photo.toFixed(1)} s for each photo; no measured time is further than ` +
      `${Math.ceil(100 * misfit)} % from that. Long after the start that is ${alone.toFixed(1)} photos a minute, and ` +
      `${together.toFixed(1)} with a task for each of the ${times.cores} cores: ${(together / alone).toFixed(1)} times as many.`,
  )
}

function machines({ predictions }: ScaleTimes): string {
  return markdownTable(
    [
      'photos',
      'machines',
      'shards',
      'until the last is done',
      'of ten runs nine take',
      'machine hours',
      'of them on photos',
    ],
    predictions.map((each) => [
      thousands(each.photos),
      thousands(each.machines),
      thousands(each.shards),
      hoursOf(each.hours),
      `${hoursOf(each.from)} to ${hoursOf(each.to)}`,
      thousands(Math.round(each.machineHours)),
      `${Math.round(100 * each.efficiency)} %`,
    ]),
  )
}

function cost(times: ScaleTimes): string {
  const { photo, together } = costOf(times)
  const hours = (1000 * photo) / 3600
  const best = 1000 / together / 60
  return wrapped(
    `A thousand photos like the demo's take ${hours.toFixed(1)} hours of such a machine with one task, and ${best.toFixed(1)} with a ` +
      `task for each core. At a price of .05 an hour for two cores that is ${(hours * 0.05).toFixed(2)} and ${(best * 0.05).toFixed(2)}, at .10 twice as much.`,
  )
}
