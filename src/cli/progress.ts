/** One line on stderr that is written over: what is being done, a bar, the time left. Lines now and then where stderr is no terminal. */
import type { Progress } from '../attack/protect.ts'

const WIDTH = 24
const words: Record<Progress['phase'], string> = {
  detect: 'looking for faces',
  compile: 'preparing the networks',
  attack: 'protecting',
  measure: 'measuring',
}

export class ProgressLine {
  private readonly stream: NodeJS.WriteStream
  private readonly shown: boolean
  private label = ''
  private first: { done: number; at: number } | undefined
  private lastPercent = -1

  /** `quiet` shows nothing. Where `stream` is no terminal, a line every ten percent takes the place of the moving one. */
  constructor(quiet: boolean, stream: NodeJS.WriteStream = process.stderr) {
    this.stream = stream
    this.shown = !quiet
  }

  /** What the following progress is about. */
  start(label: string): void {
    this.label = label
    this.first = undefined
    this.lastPercent = -1
  }

  update({ phase, done, total }: Progress): void {
    if (!this.shown) return
    const now = performance.now()
    if (phase !== 'attack' || total === 0) {
      if (this.stream.isTTY) this.draw(`${this.label}: ${words[phase]} ...`)
      return
    }
    this.first ??= { done, at: now }
    const perStep = done > this.first.done ? (now - this.first.at) / (done - this.first.done) : undefined
    const left = perStep === undefined ? '' : `, ${duration(((total - done) * perStep) / 1000)} left`
    const percent = Math.floor((100 * done) / total)
    if (this.stream.isTTY) {
      const filled = Math.round((WIDTH * done) / total)
      this.draw(`${this.label}: [${'#'.repeat(filled)}${'-'.repeat(WIDTH - filled)}] step ${done} of ${total}${left}`)
    } else if (Math.floor(percent / 10) > Math.floor(this.lastPercent / 10)) {
      this.stream.write(`${this.label}: step ${done} of ${total} (${percent}%)${left}\n`)
      this.lastPercent = percent
    }
  }

  /** Removes the line, so that other text can be written. */
  clear(): void {
    if (this.shown && this.stream.isTTY) this.stream.write('\r\x1b[K')
  }

  private draw(text: string): void {
    const columns = this.stream.columns || 80
    this.stream.write(`\r\x1b[K${text.length < columns ? text : `${text.slice(0, columns - 2)}…`}`)
  }
}

/** Seconds as people say them: `40 s`, `2 min 5 s`, `1 h 10 min`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
}
