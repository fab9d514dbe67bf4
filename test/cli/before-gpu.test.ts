/** Every command that computes says that a file is missing, or cannot be read, before it opens a GPU. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { check } from '../../src/cli/check.ts'
import { evaluate } from '../../src/cli/evaluate/evaluate.ts'
import { exitCodeOf, messageOf } from '../../src/cli/exit.ts'
import { Interruption } from '../../src/cli/interruption.ts'
import { protect } from '../../src/cli/protect/protect.ts'
import { report } from '../../src/cli/report.ts'
import { weights } from '../../src/cli/weights/weights.ts'
import { NoAdapterError } from '../../src/device/node.ts'
import { room } from '../support/cli.ts'
import { capturedOutput } from '../support/stand-in.ts'

const OPENED = 'the GPU was opened'
let opened = 0

vi.mock('../../src/cli/driver-noise.ts', async (original) => ({
  ...(await original<object>()),
  openGpu: async () => {
    opened++
    throw new NoAdapterError(OPENED)
  },
}))

const printed = capturedOutput()
let folder: string
const at = (name: string) => join(folder, name)

beforeAll(() => {
  folder = room('before-gpu')
  const photo = readFileSync(join(import.meta.dirname, '../../examples/astronaut.png'))
  writeFileSync(at('photo.png'), photo)
  writeFileSync(at('other.png'), photo)
  writeFileSync(at('text.jpg'), 'no photo at all')
  writeFileSync(at('cut.png'), photo.subarray(0, 3000))
  writeFileSync(at('damaged.safetensors'), new Uint8Array(100))
  writeFileSync(at('locked.png'), photo)
  chmodSync(at('locked.png'), 0)
  for (const person of ['a', 'b', 'c']) {
    for (const name of ['1.png', '2.png']) {
      mkdirSync(join(at('people'), person), { recursive: true })
      writeFileSync(join(at('people'), person, name), photo)
    }
  }
})

/** Runs a command as `main.ts` does; the error's message is what it would print. */
async function run([command, ...words]: readonly string[]): Promise<{ code: number; said: string }> {
  const interruption = new Interruption()
  const { signal } = interruption
  const args = words.map((word) => word.replace(/^@/, `${folder}/`))
  const commands: Record<string, () => Promise<number>> = {
    protect: () => protect([...args, '--output', at('out')], interruption),
    check: () => check(args),
    evaluate: () => evaluate([...args, '--out', at('results')], signal),
    weights: () => weights(args, signal),
    report: () => report(args),
  }
  opened = 0
  try {
    return { code: await commands[command](), said: printed.stderr }
  } catch (error) {
    return { code: exitCodeOf(error), said: `${printed.stderr}${messageOf(error)}` }
  }
}

/** What each is called with, which file it must name, and the exit code. Files that start with @ lie in the folder of the test. */
const refusals: readonly [call: string, named: string, code: number][] = [
  ['protect @none.jpg', 'none.jpg does not exist', 1],
  ['protect @no-folder/none.jpg', 'none.jpg does not exist', 1],
  ['protect @text.jpg', 'text.jpg is called a photo, but holds text', 1],
  ['protect @cut.png', 'cut.png is damaged or cut short', 1],
  ['protect @cut.png @text.jpg @none.jpg', 'cut.png is damaged or cut short', 1],
  ['protect @cut.png --dry-run', 'cut.png is damaged or cut short', 1],
  ['protect @cut.png --faces list', 'cut.png is damaged or cut short', 1],
  ['protect --files-from @none.txt', 'none.txt', 1],
  ['check @none.jpg @photo.png', 'none.jpg does not exist', 1],
  ['check @photo.png @none.jpg', 'none.jpg does not exist', 1],
  ['check @text.jpg @photo.png', 'text.jpg is called a photo, but holds text', 1],
  ['check @photo.png @cut.png', 'cut.png is damaged or cut short', 1],
  ['check @cut.png @people', 'cut.png is damaged or cut short', 1],
  ['evaluate @none', 'none is no folder', 2],
  ['evaluate @photo.png', 'photo.png is no folder', 2],
  ['evaluate @people --distractors @none', 'none is no folder', 2],
  ['weights accuracy @none', 'none is no folder', 2],
  ['weights accuracy @photo.png', 'photo.png is no folder', 2],
  ['weights population @none', 'none is no folder', 2],
  ['weights population @photo.png', 'photo.png is no folder', 2],
  ['weights import @none.pth', 'none.pth: is not there', 5],
  ['weights import @text.jpg', 'text.jpg: is in none of the formats', 5],
  ['weights import @damaged.safetensors', 'damaged.safetensors', 5],
  ['report @none.jsonl', 'none.jsonl does not exist', 1],
]

describe('before a GPU is opened, it is said by', () => {
  test.each(refusals)('%s', async (call, named, code) => {
    const { said, code: got } = await run(call.split(' '))
    expect(said).toContain(named)
    expect(said).not.toContain(OPENED)
    expect([got, opened]).toEqual([code, 0])
  })

  test.skipIf(process.getuid?.() === 0 || process.platform === 'win32')(
    'commands that must not read a file',
    async () => {
      for (const call of ['protect @locked.png', 'check @locked.png @photo.png', 'check @photo.png @locked.png']) {
        const { said } = await run(call.split(' '))
        expect(said).toMatch(/locked\.png .*(permission|allowed)/i)
        expect(opened, call).toBe(0)
      }
    },
  )
})

describe('with files that can be read', () => {
  test.each([
    'protect @photo.png',
    'protect @cut.png @photo.png',
    'protect @photo.png --dry-run',
    'check @photo.png @other.png',
    'check @photo.png @people/a',
    'evaluate @people --people 2 --gallery-per-person 1',
    'weights accuracy @people',
    'weights population @people --components 1',
  ])('%s opens one', async (call) => {
    const { said, code } = await run(call.split(' '))
    expect(said).toContain(OPENED)
    expect([code, opened]).toEqual([4, 1])
  })

  test('the first photos that cannot be read are said before', async () => {
    const { said } = await run('protect @cut.png @text.jpg @photo.png'.split(' '))
    const places = ['text.jpg', 'cut.png', OPENED].map((text) => said.indexOf(text))
    expect(Math.min(...places)).toBeGreaterThanOrEqual(0)
    expect(places[2]).toBe(Math.max(...places))
  })
})
