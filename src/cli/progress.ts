/** One line on stderr that is written over: what is being done, a bar, the time left. Lines now and then where stderr is no terminal. */
import type { Progress } from '../attack/protect.ts'
import { startClock } from '../device/stopwatch.ts'

const WIDTH = 24
/** Steps that take as long as what follows the last one: the face is found and recognised again. */
const MEASURE_STEPS = 5
const words: Record<Progress['phase'], string> = {
  detect: 'looking for faces',
  compile: 'preparing the networks',
  attack: 'protecting',
  measure: 'measuring',
}

/** Whether a line that was written can be written over: on a terminal that knows how. */
export const canRewrite = (stream: NodeJS.WriteStream = process.stderr): boolean =>
  stream.isTTY === true && process.env.TERM !== 'dumb'

/** Writes over the line on standard error, as much of it as fits. */
export function rewrite(text: string, stream: NodeJS.WriteStream = process.stderr): void {
  stream.write(`\r\x1b[K${fitting(text, (stream.columns || 80) - 1)}`)
}

/** The start of a text that takes no more than so many columns: a line that wraps cannot be written over. */
function fitting(text: string, columns: number): string {
  let used = 0
  let end = 0
  for (const character of text) {
    used += WIDE.test(character) ? 2 : 1
    if (used > columns) break
    end += character.length
  }
  return text.slice(0, end)
}

/** Characters that take two columns: of East Asia, and pictures. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Extended_Pictographic}/u

export class ProgressLine {
  private readonly stream: NodeJS.WriteStream
  private readonly shown: boolean
  /** Photos in all, and those before the present one. */
  private readonly photos: number
  private before = 0
  private seconds: (() => number) | undefined
  private label = ''
  /** What the time of a step is measured from: the beginning, and from the second step on the end of the first. */
  private first: { done: number; at: number } | undefined
  private lastPercent = -1

  /**
   * `quiet` shows nothing. Where `stream` is no terminal, a line every ten percent takes the place of the moving one. Of several photos
   * it tells which one it is, photos a minute and the time left for all.
   */
  constructor(quiet: boolean, stream: NodeJS.WriteStream = process.stderr, photos = 1) {
    this.stream = stream
    this.shown = !quiet
    this.photos = photos
  }

  /** What the following progress is about, and how many photos came before it. */
  start(name: string, before = 0): void {
    this.label = this.photos > 1 ? `${before + 1} of ${this.photos}, ${name}` : name
    this.before = before
    this.seconds ??= startClock()
    this.first = undefined
    this.lastPercent = -1
  }

  /** What is being done before the first photo. */
  say(doing: string): void {
    if (this.shown && canRewrite(this.stream)) rewrite(`${doing} ...`, this.stream)
  }

  update({ phase, done, total, face, faces }: Progress): void {
    if (!this.shown) return
    if (phase === 'compile' && total > 0) {
      const once = `${this.label}: compiling ${total} shaders, once for this driver`
      if (canRewrite(this.stream)) rewrite(`${once}: ${done} done`, this.stream)
      else if (done === 1) this.stream.write(`${once} ...\n`)
      return
    }
    if (phase !== 'attack' || total === 0) {
      if (canRewrite(this.stream))
        rewrite(`${this.label}: ${words[phase]} ...${this.pace(phase === 'measure' ? 1 : 0)}`, this.stream)
      return
    }
    const left = this.left(done, total)
    const label = `${this.label}:${face === undefined ? '' : ` face ${face} of ${faces},`}`
    const percent = Math.floor((100 * done) / total)
    if (canRewrite(this.stream)) {
      const filled = Math.round((WIDTH * done) / total)
      rewrite(
        `${label} [${'#'.repeat(filled)}${'-'.repeat(WIDTH - filled)}] step ${done} of ${total}${left}`,
        this.stream,
      )
    } else if (Math.floor(percent / 10) > Math.floor(this.lastPercent / 10)) {
      this.stream.write(`${label} step ${done} of ${total} (${percent}%)${left}\n`)
      this.lastPercent = percent
    }
  }

  /** Removes the line, so that other text can be written. */
  clear(): void {
    if (this.shown && canRewrite(this.stream)) rewrite('', this.stream)
  }

  /** Photos a minute and the time left for all of them; of the first photo the time its own steps will take, and the others' like them. */
  private left(done: number, total: number): string {
    this.seconds ??= startClock()
    const now = this.seconds()
    this.first ??= { done, at: now }
    if (this.before > 0) return this.pace(done / total)
    if (done === this.first.done) return ''
    const perStep = (now - this.first.at) / (done - this.first.done)
    // The first step waits for what is the same in all of them.
    if (this.first.done === 0) this.first = { done, at: now }
    return `, ${duration((this.photos * (total + MEASURE_STEPS) - done) * perStep)} left`
  }

  /** Empty until a photo is done. `part` of the present photo is done, 0..1. */
  private pace(part: number): string {
    if (this.before === 0 || this.seconds === undefined) return ''
    const seconds = this.seconds()
    const done = this.before + part
    return `, ${perMinute(done, seconds)} photos a minute, ${duration(((this.photos - done) * seconds) / done)} left`
  }
}

/** Seconds as people say them: `40 s`, `2 min 5 s`, `1 h 10 min`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
}

/** Photos a minute, with three digits at most. */
export function perMinute(photos: number, seconds: number): string {
  const rate = (60 * photos) / seconds
  return rate < 99.95 ? rate.toFixed(1) : rate.toFixed(0)
}
