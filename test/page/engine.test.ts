/** The engine in a browser: the program of docs/engine.md's first section, in Chromium on its software adapter. */
import { afterAll, describe, expect, test } from 'vitest'
import { NoBrowserError, WEBGPU_SWITCHES } from '../support/browser.ts'
import { openProgram } from '../support/in-browser.ts'
import { browserOrReason } from '../support/page.ts'

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
})
