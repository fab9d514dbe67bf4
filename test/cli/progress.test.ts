import { afterEach, expect, test, vi } from 'vitest'
import { ProgressLine } from '../../src/cli/progress.ts'

/** What a stream that is or is no terminal would be sent. */
function fake(isTTY: boolean) {
  const written: string[] = []
  const stream = { isTTY, columns: 120, write: (text: string) => written.push(text) > 0 }
  return { written, line: new ProgressLine(false, stream as unknown as NodeJS.WriteStream) }
}

afterEach(() => {
  vi.useRealTimers()
})

test('compilation is told by shaders, on a terminal each and elsewhere once', () => {
  for (const isTTY of [true, false]) {
    const { written, line } = fake(isTTY)
    line.say('opening the GPU')
    line.start('a.png')
    line.update({ phase: 'compile', done: 0, total: 0 })
    for (let done = 1; done <= 3; done++) line.update({ phase: 'compile', done, total: 3 })
    const once = 'a.png: compiling 3 shaders, once for this driver'
    if (isTTY) {
      const drawn = [
        'opening the GPU ...',
        'a.png: preparing the networks ...',
        ...[1, 2, 3].map((n) => `${once}: ${n} done`),
      ]
      expect(written).toEqual(drawn.map((text) => `\r\x1b[K${text}`))
    } else {
      expect(written).toEqual([`${once} ...\n`])
    }
  }
})

test('the time left does not count what only the first step waited for', () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  const { written, line } = fake(true)
  line.start('a.png')
  line.update({ phase: 'attack', done: 0, total: 101 })
  vi.advanceTimersByTime(300)
  line.update({ phase: 'attack', done: 1, total: 101 })
  vi.advanceTimersByTime(20)
  line.update({ phase: 'attack', done: 2, total: 101 })
  expect(written[0]).toMatch(/step 0 of 101$/)
  // 300 ms a step for 100 of them, then 20 ms for 99, and what follows the last takes as long as five.
  expect(written[1]).toMatch(/, 32 s left$/)
  expect(written[2]).toMatch(/, 2 s left$/)
})
