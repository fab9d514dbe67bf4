/** What the engine that started this process says of it: which task of how many. */
import { checked, type Shard, ShardError } from './shard.ts'

/** The number of tasks, for engines that do not say it to their tasks. */
export const COUNT = 'LOWKEY_SHARD_COUNT'
/** The index of the first task, for engines that do not say it. */
export const FIRST = 'LOWKEY_SHARD_FIRST'

/** A task of an engine's. */
export interface EngineTask extends Shard {
  /** `Slurm`, ... */
  engine: string
  /** The variables it was read from, as `NAME=value, NAME=value`. */
  from: string
}

type Environment = Readonly<Record<string, string | undefined>>

interface Engine {
  name: string
  /** The variable that says that a task is one of several. */
  index: string
  /** Variables with its first, last, number and step, where the engine sets such. */
  first?: string
  last?: string
  count?: string
  step?: string
  /** The first index where nothing says it; undefined where it is the user's choice and the engine does not say it. */
  base?: 0 | 1
  /** Its last index says nothing of gaps, because it does not say the first. */
  counted?: boolean
  /** A value of `index` for tasks that are not of an array. */
  none?: string
}

const ENGINES: readonly Engine[] = [
  {
    ...{ name: 'Slurm', index: 'SLURM_ARRAY_TASK_ID' },
    first: 'SLURM_ARRAY_TASK_MIN',
    last: 'SLURM_ARRAY_TASK_MAX',
    count: 'SLURM_ARRAY_TASK_COUNT',
    step: 'SLURM_ARRAY_TASK_STEP',
  },
  { name: 'Kubernetes', index: 'JOB_COMPLETION_INDEX', base: 0 },
  { name: 'AWS Batch', index: 'AWS_BATCH_JOB_ARRAY_INDEX', count: 'AWS_BATCH_JOB_ARRAY_SIZE', base: 0 },
  { name: 'GNU parallel', index: 'PARALLEL_SEQ', base: 1 },
  { name: 'PBS', index: 'PBS_ARRAY_INDEX' },
  {
    ...{ name: 'LSF', index: 'LSB_JOBINDEX', base: 1, none: '0', counted: true },
    last: 'LSB_JOBINDEX_END',
    step: 'LSB_JOBINDEX_STEP',
  },
  {
    ...{ name: 'Grid Engine', index: 'SGE_TASK_ID', base: 1, none: 'undefined' },
    first: 'SGE_TASK_FIRST',
    last: 'SGE_TASK_LAST',
    step: 'SGE_TASK_STEPSIZE',
  },
]

/** What `--shard auto` looks for, for messages. */
export const lookedFor = ENGINES.map(({ name, index }) => `${index} (${name})`).join(', ')

/**
 * The task that this process is. Throws ShardError where no engine says so, where two do, where the number of tasks is not known, and where
 * the variables do not fit together: photos of a shard that no task has would be protected by nobody.
 */
export function taskFromEnvironment(env: Environment = process.env): EngineTask {
  const found = ENGINES.filter(
    ({ index, none }) => env[index] !== undefined && env[index] !== '' && env[index] !== none,
  )
  if (found.length === 0)
    throw new ShardError(`--shard auto: no engine's variable is set; looked for ${lookedFor}. --shard K/N says it`)
  if (found.length > 1) {
    const names = found.map(({ name, index }) => `${name} (${index}=${env[index]})`).join(' and ')
    throw new ShardError(`--shard auto: this is a task of ${names}, and only one can be meant: use --shard K/N`)
  }
  return taskOf(found[0], env)
}

function taskOf(engine: Engine, env: Environment): EngineTask {
  const { name } = engine
  const used: string[] = []
  const read = (variable: string | undefined): number | undefined => {
    const text = variable === undefined ? undefined : env[variable]
    if (variable === undefined || text === undefined || text === '') return undefined
    if (!/^\d{1,9}$/.test(text)) throw new ShardError(`--shard auto, ${name}: ${variable} is "${text}", no number`)
    used.push(`${variable}=${text}`)
    return Number(text)
  }
  const id = read(engine.index)!
  const [toldFirst, givenFirst] = [read(engine.first), read(FIRST)]
  const last = read(engine.last)
  const step = read(engine.step) ?? 1
  const told = read(engine.count)
  const given = read(COUNT)
  const from = used.join(', ')
  const fail = (text: string): never => {
    throw new ShardError(`--shard auto, ${name} (${from}): ${text}`)
  }
  if (toldFirst !== undefined && givenFirst !== undefined && toldFirst !== givenFirst) fail(`${FIRST} contradicts it`)
  const first = toldFirst ?? givenFirst ?? engine.base
  if (first === undefined)
    return fail(`it does not say the index of the first task: set ${engine.first ?? FIRST} to it, or use --shard K/N`)
  if (step < 1) fail('a step is at least 1')
  if (last !== undefined && last < first) fail('the last index is below the first')
  const spanned = last === undefined ? undefined : Math.floor((last - first) / step) + 1
  const count = told ?? given ?? (engine.counted ? undefined : spanned)
  if (count === undefined)
    return fail(`it does not say how many tasks there are: set ${COUNT} to their number, or use --shard K/N`)
  if (given !== undefined && given !== count) fail(`${COUNT} contradicts it`)
  if (spanned !== undefined && spanned !== count) {
    const range = `${first} to ${last}${step === 1 ? '' : ` in steps of ${step}`} are ${spanned} tasks, not ${count}`
    fail(
      `${range}: photos of those missing would be done by nobody. Start a whole range, or name the shard: --shard K/N`,
    )
  }
  if ((id - first) % step !== 0) fail(`the index is none of ${first}, ${first + step}, ...`)
  const index = (id - first) / step + 1
  if (id < first) fail(`the index is below the first, ${first}; ${FIRST} says another`)
  return { ...checked({ index, count }, `--shard auto, ${name} (${from})`), engine: name, from }
}
