import type { ExperimentProgress } from '../evaluate/experiment.ts'
import { duration } from './progress.ts'

/** What is being done and how long all of it will take, on standard error. */
export class EvaluationProgress {
  private readonly quiet: boolean
  private lastPercent = -1

  constructor(quiet: boolean) {
    this.quiet = quiet
  }

  update({ what, done, total, left }: ExperimentProgress): void {
    if (this.quiet) return
    const { stderr } = process
    const percent = Math.floor((100 * done) / total)
    const line = `photo ${done + 1} of ${total} (${what})${left === undefined ? '' : `, ${duration(left)} left`}`
    if (stderr.isTTY) stderr.write(`\r\x1b[K${line.slice(0, (stderr.columns || 80) - 1)}`)
    else if (Math.floor(percent / 10) !== Math.floor(this.lastPercent / 10)) stderr.write(`${line}\n`)
    this.lastPercent = percent
  }

  say(text: string): void {
    this.clear()
    if (!this.quiet) process.stderr.write(`${text}\n`)
  }

  clear(): void {
    if (!this.quiet && process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  }
}
