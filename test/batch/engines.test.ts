/** `--shard auto`: what engines set is read, and what does not fit together is refused. */
import { describe, expect, test } from 'vitest'
import { taskFromEnvironment } from '../../src/batch/engines.ts'

const slurm = (id: number, first: number, last: number, count: number, step?: number) => ({
  SLURM_JOB_ID: '12',
  SLURM_ARRAY_JOB_ID: '11',
  SLURM_ARRAY_TASK_ID: String(id),
  SLURM_ARRAY_TASK_MIN: String(first),
  SLURM_ARRAY_TASK_MAX: String(last),
  SLURM_ARRAY_TASK_COUNT: String(count),
  ...(step === undefined ? {} : { SLURM_ARRAY_TASK_STEP: String(step) }),
})

type Variables = Record<string, string>

describe('an engine', () => {
  test.each<[string, Variables, { index: number; count: number; engine: string }]>([
    ['Slurm from 0', slurm(2, 0, 3, 4), { index: 3, count: 4, engine: 'Slurm' }],
    ['Slurm from 1', slurm(1, 1, 16, 16, 1), { index: 1, count: 16, engine: 'Slurm' }],
    ['Slurm in steps', slurm(20, 0, 30, 4, 10), { index: 3, count: 4, engine: 'Slurm' }],
    ['Slurm with one task', slurm(7, 7, 7, 1), { index: 1, count: 1, engine: 'Slurm' }],
    [
      'Kubernetes',
      { JOB_COMPLETION_INDEX: '0', LOWKEY_SHARD_COUNT: '8' },
      { index: 1, count: 8, engine: 'Kubernetes' },
    ],
    [
      'AWS Batch',
      { AWS_BATCH_JOB_ARRAY_INDEX: '9', AWS_BATCH_JOB_ARRAY_SIZE: '10' },
      { index: 10, count: 10, engine: 'AWS Batch' },
    ],
    [
      'GNU parallel',
      { PARALLEL_SEQ: '1', PARALLEL_PID: '5', LOWKEY_SHARD_COUNT: '64' },
      { index: 1, count: 64, engine: 'GNU parallel' },
    ],
    [
      'PBS',
      { PBS_ARRAY_INDEX: '4', LOWKEY_SHARD_FIRST: '1', LOWKEY_SHARD_COUNT: '4' },
      { index: 4, count: 4, engine: 'PBS' },
    ],
    [
      'LSF',
      { LSB_JOBINDEX: '3', LSB_JOBINDEX_END: '4', LSB_JOBINDEX_STEP: '1', LOWKEY_SHARD_COUNT: '4' },
      { index: 3, count: 4, engine: 'LSF' },
    ],
    [
      'Grid Engine',
      { SGE_TASK_ID: '5', SGE_TASK_FIRST: '1', SGE_TASK_LAST: '9', SGE_TASK_STEPSIZE: '2' },
      { index: 3, count: 5, engine: 'Grid Engine' },
    ],
  ])('%s says which task it is', (_, variables, task) => {
    const found = taskFromEnvironment({ PATH: '/bin', ...variables })
    expect(found).toMatchObject(task)
    for (const name of Object.keys(variables).filter((name) => /INDEX|TASK_ID|SEQ/.test(name)))
      expect(found.from).toContain(`${name}=${variables[name]}`)
  })

  test('numbers each task of an array once', () => {
    const tasks = Array.from({ length: 7 }, (_, i) => taskFromEnvironment(slurm(3 + 2 * i, 3, 15, 7, 2)))
    expect(tasks.map(({ index }) => index)).toEqual([1, 2, 3, 4, 5, 6, 7])
    expect(new Set(tasks.map(({ count }) => count))).toEqual(new Set([7]))
  })

  test('is none where a job is no array: LSF says 0, Grid Engine "undefined"', () => {
    for (const variables of [{}, { LSB_JOBINDEX: '0' }, { SGE_TASK_ID: 'undefined' }, { JOB_COMPLETION_INDEX: '' }])
      expect(() => taskFromEnvironment(variables)).toThrow(
        /no engine's variable is set; looked for SLURM_ARRAY_TASK_ID \(Slurm\), .*K\/N/,
      )
  })

  test.each<[string, Variables, RegExp]>([
    [
      'an array with a gap',
      slurm(3, 0, 7, 3),
      /0 to 7 are 8 tasks, not 3: photos of those missing would be done by nobody/,
    ],
    ['a step that does not fit', slurm(3, 0, 30, 4, 10), /the index is none of 0, 10/],
    ['no number of tasks', { JOB_COMPLETION_INDEX: '1' }, /set LOWKEY_SHARD_COUNT to their number/],
    ['no first index', { PBS_ARRAY_INDEX: '1', LOWKEY_SHARD_COUNT: '4' }, /set LOWKEY_SHARD_FIRST to it/],
    [
      'a Slurm task without its range',
      { SLURM_ARRAY_TASK_ID: '1', SLURM_ARRAY_TASK_COUNT: '4' },
      /set SLURM_ARRAY_TASK_MIN/,
    ],
    ['an index beyond the last', { JOB_COMPLETION_INDEX: '8', LOWKEY_SHARD_COUNT: '8' }, /of 8 shards there is no 9/],
    ['an index below the first', { PARALLEL_SEQ: '0', LOWKEY_SHARD_COUNT: '8' }, /below the first, 1/],
    ['two numbers of tasks', { ...slurm(1, 0, 3, 4), LOWKEY_SHARD_COUNT: '5' }, /LOWKEY_SHARD_COUNT contradicts it/],
    ['two first indices', { ...slurm(1, 0, 3, 4), LOWKEY_SHARD_FIRST: '1' }, /LOWKEY_SHARD_FIRST contradicts it/],
    [
      'LSF without the number of tasks, which would hide a gap',
      { LSB_JOBINDEX: '3', LSB_JOBINDEX_END: '5' },
      /set LOWKEY_SHARD_COUNT/,
    ],
    ['LSF from 2', { LSB_JOBINDEX: '3', LSB_JOBINDEX_END: '5', LOWKEY_SHARD_COUNT: '4' }, /1 to 5 are 5 tasks, not 4/],
    ['no number', { JOB_COMPLETION_INDEX: 'one', LOWKEY_SHARD_COUNT: '8' }, /JOB_COMPLETION_INDEX is "one", no number/],
    ['a last index below the first', slurm(1, 3, 1, 1), /the last index is below the first/],
    [
      'two engines, of which one runs in the other',
      { ...slurm(1, 0, 3, 4), PARALLEL_SEQ: '2' },
      /Slurm \(SLURM_ARRAY_TASK_ID=1\) and GNU parallel \(PARALLEL_SEQ=2\), and only one can be meant/,
    ],
  ])('is refused with %s', (_, variables, message) => {
    expect(() => taskFromEnvironment(variables)).toThrow(message)
  })
})
