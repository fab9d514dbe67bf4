/**
 * Longest sleep of one turn, ms: what a wait may end late by, and with it the share of a core that polling costs (about
 * 5 %).
 */
const LONGEST_SLEEP_MS = 1
/**
 * A turn sleeps this share of the time waited so far, so that a short wait (a small readback on a fast GPU) is not made
 * long.
 */
const SLEEP_SHARE = 1 / 8

const cell = new Int32Array(new SharedArrayBuffer(4))
let pending = 0
let since = 0
let turning = false

/**
 * Awaits a promise of Dawn's in Node without burning a core. While one of its promises is pending, Dawn polls from
 * `setImmediate` as fast as the event loop turns; on a software adapter the core that this takes is half the "GPU" of a
 * machine with two. Here every turn sleeps a little, on a cell that nobody wakes, while any awaited promise is pending.
 * The event loop goes on turning: timers, signals and other I/O are served at most a millisecond late.
 */
export async function throttle<T>(promise: Promise<T>): Promise<T> {
  if (pending++ === 0) since = performance.now()
  if (!turning) {
    turning = true
    setImmediate(turn)
  }
  try {
    return await promise
  } finally {
    pending--
  }
}

function turn(): void {
  if (pending === 0) {
    turning = false
    return
  }
  Atomics.wait(cell, 0, 0, Math.min(LONGEST_SLEEP_MS, (performance.now() - since) * SLEEP_SHARE))
  setImmediate(turn)
}
