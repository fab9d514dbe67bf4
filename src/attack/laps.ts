/** The seconds of a photo's phases: each lap is counted under the phase it is named after. */
export function stopwatch() {
  const seconds = { detect: 0, compile: 0, attack: 0, measure: 0 }
  const began = performance.now()
  let last = began
  return {
    lap(phase: keyof typeof seconds): void {
      const now = performance.now()
      seconds[phase] += (now - last) / 1000
      last = now
    },
    seconds: () => ({ ...seconds, total: (performance.now() - began) / 1000 }),
  }
}
