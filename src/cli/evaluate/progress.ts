import type { ExperimentProgress } from '../../evaluate/experiment.ts'
import { shown } from '../../images/index.ts'
import { canRewrite, duration, rewrite } from '../progress.ts'

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
    const line = `photo ${done + 1} of ${total} (${shown(what)})${left === undefined ? '' : `, ${duration(left)} left`}`
    if (canRewrite()) rewrite(line)
    else if (Math.floor(percent / 10) !== Math.floor(this.lastPercent / 10)) stderr.write(`${line}\n`)
    this.lastPercent = percent
  }

  say(text: string): void {
    this.clear()
    if (!this.quiet) process.stderr.write(`${shown(text)}\n`)
  }

  clear(): void {
    if (!this.quiet && canRewrite()) rewrite('')
  }
}
