import { availableParallelism } from 'node:os'
import { configDefaults, defineConfig } from 'vitest/config'
import { LEFT_OUT } from './test/long-files.ts'
import LongestFirst from './test/sequencer.ts'

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'node',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...LEFT_OUT],
          // Whatever terminal the tests run in: a dumb one has no line to write over, and tests of that line would fail.
          env: { TERM: 'xterm' },
          testTimeout: 300_000,
          hookTimeout: 300_000,
          // Each file in a process of its own. Two at a time fill two cores: compiling shaders takes one core, starting processes none
          // for a part of the time. More would share the same processor, since a software GPU takes all that it has.
          pool: 'forks',
          maxWorkers: Math.min(2, availableParallelism()),
        },
      },
    ],
    sequence: { sequencer: LongestFirst },
    reporters: ['default', './test/reporter.ts'],
  },
})
