import { startClock } from '../device/stopwatch.ts'

/** The seconds of a photo's phases: each lap is counted under the phase it is named after. */
export function stopwatch() {
  const seconds = { detect: 0, compile: 0, attack: 0, measure: 0 }
  const total = startClock()
  let last = 0
  return {
    lap(phase: keyof typeof seconds): void {
      const now = total()
      seconds[phase] += now - last
      last = now
    },
    seconds: () => ({ ...seconds, total: total() }),
  }
}
