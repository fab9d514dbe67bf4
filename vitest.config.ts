import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'node',
          include: ['test/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          pool: 'forks',
          // Two cores and a software GPU that uses both: files run one after another, each in a process of its own.
          fileParallelism: false,
        },
      },
    ],
    reporters: ['default', './test/reporter.ts'],
  },
})
