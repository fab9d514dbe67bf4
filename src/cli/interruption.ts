/** SIGINT and SIGTERM: what ends at once, what ends in order. */
import { removePendingFiles } from '../images/index.ts'
import { Interrupted, StoppedEarly } from './exit.ts'

/** A second signal within this time is the first one once more: `timeout` and others send it to a process and to its group. */
const SAME_SIGNAL_MS = 1000

/**
 * Two signals: the first lets the step in progress end and cleans up; the second ends the process at once. Where `finishFirst` was called,
 * a first SIGTERM lets the photo in work end.
 */
export class Interruption {
  private readonly now = new AbortController()
  private readonly next = new AbortController()
  /** What is waited for after SIGTERM, in milliseconds; undefined: the step in progress only. */
  private grace: number | undefined
  private last: { name: NodeJS.Signals; at: number } | undefined

  /** Aborted when what is in work is to end. */
  readonly signal: AbortSignal = this.now.signal
  /** Aborted when nothing more is to begin; with `signal` or before it. */
  readonly leaving: AbortSignal = this.next.signal

  /** Listens to the process's signals. */
  static ofProcess(): Interruption {
    const interruption = new Interruption()
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => interruption.on(name))
    return interruption
  }

  /** From now on the first SIGTERM lets the photo in work end, but for no longer than so many seconds. */
  finishFirst(seconds = Number.POSITIVE_INFINITY): void {
    this.grace = 1000 * seconds
  }

  /** A signal came. */
  on(name: NodeJS.Signals): void {
    const { last, grace } = this
    const gently = name === 'SIGTERM' && grace !== undefined
    if (last) {
      if (gently && last.name === name && performance.now() - last.at < SAME_SIGNAL_MS) return
      removePendingFiles()
      // By the signal itself, which a shell sees as 130 or 143: an orderly exit crashes while the driver's threads compile shaders.
      process.removeAllListeners(name)
      process.kill(process.pid, name)
      return
    }
    this.last = { name, at: performance.now() }
    if (!gently) this.end(new Interrupted())
    else {
      this.next.abort(new StoppedEarly())
      // Infinity is no time that a timer takes.
      if (grace < LONGEST_TIMER_MS) setTimeout(() => this.end(new StoppedEarly()), grace).unref()
    }
  }

  /** Ends what is in work; nothing more begins. */
  end(reason: Error): void {
    this.next.abort(reason)
    this.now.abort(reason)
  }
}

const LONGEST_TIMER_MS = 2 ** 31
