/**
 * The engine in a browser, in Chromium on its software adapter: a program of docs/engine.md, and the tests of operations, golden results and
 * training as they are in Node.
 */
import { afterAll, describe, expect, test } from 'vitest'
import { NoBrowserError, WEBGPU_SWITCHES } from '../support/browser.ts'
import { openProgram } from '../support/in-browser.ts'
import { browserOrReason } from '../support/page.ts'
import { everything } from '../support/scope.ts'
import { testsInBrowser } from '../support/tests-in-browser.ts'

const started = await browserOrReason(WEBGPU_SWITCHES)
const unavailable = started instanceof NoBrowserError
afterAll(async () => {
  if (!unavailable) await started.close()
})

describe.skipIf(unavailable)('the engine in Chromium', () => {
  test('multiplies matrices, and says which adapter it has', async () => {
    if (unavailable) return
    const { page, close } = await openProgram(
      started,
      `import { acquire } from './src/browser.ts'
      import { compile, graph, matmul } from './src/index.ts'
      export async function run(a) {
        const gpu = await acquire()
        const g = graph()
        const product = matmul(g.input('a', [2, 3]), g.constant([1, 2, 3, 4, 5, 6], [3, 2]))
        const plan = await compile(gpu, { product })
        const { product: found } = await plan.run({ a })
        const { driver } = gpu.capabilities
        gpu.destroy()
        return { driver, found: [...found] }
      }`,
    )
    expect(await page.evaluate('program.run([1, 0, 0, 0.5, 0, 0.5])')).toEqual({
      driver: 'swiftshader',
      found: [1, 2, 3, 4],
    })
    await close()
  })

  // In the short run every so many of a file's tests, and none of the golden results, whose networks take long there.
  const files: [string, number, number][] = [
    ['kernels/operations.test.ts', 40, 900],
    ['graph/training.test.ts', 3, 9],
  ]
  if (everything) files.push(['golden/golden.test.ts', 1, 40])
  test.each(files)(
    '%s',
    async (file, every, least) => {
      if (unavailable) return
      const { names, run, close } = await testsInBrowser(started, file)
      expect(names.length).toBeGreaterThanOrEqual(least)
      const failed: Record<string, string> = {}
      for (const [i, name] of names.entries()) {
        if (!everything && i % every !== 0) continue
        const reason = await run(i)
        if (reason !== undefined) failed[name] = reason
      }
      expect(failed).toEqual({})
      await close()
    },
    1_800_000,
  )
})
