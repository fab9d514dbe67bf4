/** How long work will take, from how long it took; time in which the tab was asleep counts for nothing. */

/** Between two beats of the clock; after longer gaps the tab was asleep. */
const BEAT_MS = 1000
const ASLEEP_MS = 15_000

/** A clock that stands still while the tab or the computer sleeps. */
export class WakingClock {
  private asleep = 0
  private last = performance.now()

  /** @param onSleep called after the tab was asleep */
  constructor(onSleep: () => void) {
    setInterval(() => {
      const now = performance.now()
      if (now - this.last > ASLEEP_MS) {
        this.asleep += now - this.last - BEAT_MS
        onSleep()
      }
      this.last = now
    }, BEAT_MS)
  }

  /** Seconds awake. */
  now(): number {
    return (performance.now() - this.asleep) / 1000
  }
}

/** Parts of a photo's time that are not the steps of the attack, as they were on software adapters: before them and after them. */
const BEFORE = 0.15
const AFTER = 0.1

/** Seconds left of a photo: by its steps once some are done, else by what photos before took a face. Undefined where nothing is known. */
export class Remaining {
  /** Seconds a face, of the photos before. */
  private perFace: number | undefined
  private began = 0
  private faces = 1
  private attackBegan: number | undefined
  private readonly clock: WakingClock

  constructor(clock: WakingClock) {
    this.clock = clock
  }

  start(faces: number): void {
    this.began = this.clock.now()
    this.faces = faces
    this.attackBegan = undefined
  }

  /** The photo is done; what it took tells of the next. */
  end(): void {
    const seconds = (this.clock.now() - this.began) / this.faces
    this.perFace = this.perFace === undefined ? seconds : (this.perFace + seconds) / 2
  }

  /** Seconds until the photo is done. */
  ofPhoto(phase: string, done: number, total: number): number | undefined {
    const now = this.clock.now()
    if (phase === 'attack') {
      this.attackBegan ??= now
      if (done > 1) {
        const attack = (now - this.attackBegan) / done
        return attack * (total - done) + AFTER * attack * total
      }
    }
    if (this.perFace === undefined) return undefined
    const left = this.perFace * this.faces - (now - this.began)
    return phase === 'measure' || phase === 'encode'
      ? Math.max(1, Math.min(left, AFTER * this.perFace))
      : Math.max(1, left)
  }

  /** Seconds that a photo with so many faces will take. */
  ofFaces(count: number, current: number | undefined): number | undefined {
    if (this.perFace !== undefined) return this.perFace * count
    // The first photo's steps tell of the others before it is done.
    return current === undefined ? undefined : ((current + this.clock.now() - this.began) / this.faces) * count
  }
}

/** What part of a photo is done, 0..1. */
export function partDone(phase: string, done: number, total: number): number {
  if (phase === 'attack' && total > 0) return BEFORE + (1 - BEFORE - AFTER) * (done / total)
  return { decode: 0, detect: 0.02, compile: 0.05, measure: 1 - AFTER, encode: 0.98 }[phase] ?? 0
}
