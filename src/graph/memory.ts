/** Which values share memory: buffers are reused as soon as the last dispatch that reads them has run. */

import { RATES } from './graph.ts'
import { bytesOf, type Lowered, type PlacedDispatch, type Value } from './lower.ts'

/** One GPU buffer to be made, and the values that live in it one after another. */
export interface Slot {
  bytes: number
  values: Value[]
  /** Holds its value between runs: inputs, outputs, and whatever a later stage reads. */
  persistent: boolean
}

export interface MemoryPlan {
  slots: Slot[]
  slotOf: Map<Value, Slot>
}

/**
 * Assigns values to slots. `kept` values (outputs, inputs) are never shared. Within a stage a greedy best fit reuses the
 * smallest free slot that is large enough; temporary slots are shared by all stages, as stages never run at the same time.
 */
export function planMemory({ placed }: Lowered, kept: ReadonlySet<Value>): MemoryPlan {
  const slots: Slot[] = []
  const slotOf = new Map<Value, Slot>()
  const persistent = new Set<Value>(kept)
  for (const each of placed) {
    // A leaf is written from outside; a value of an earlier stage must outlive that stage.
    for (const v of each.reads) if (v.leaf || v.rate !== each.rate) persistent.add(v)
  }
  const make = (value: Value, keep: boolean): Slot => {
    const slot: Slot = { bytes: byteSize(value), values: [value], persistent: keep }
    slots.push(slot)
    slotOf.set(value, slot)
    return slot
  }
  for (const value of persistent) make(value, true)
  const free: Slot[] = []
  for (const rate of RATES) {
    const stage = placed.filter((s) => s.rate === rate)
    const lastUse = new Map<Value, PlacedDispatch>()
    for (const each of stage) for (const v of [...each.reads, ...each.writes]) lastUse.set(v, each)
    const live = new Set<Value>()
    for (const each of stage) {
      for (const v of each.writes) {
        if (slotOf.has(v)) continue
        const need = byteSize(v)
        const fits = free.filter((s) => s.bytes >= need).sort((a, b) => a.bytes - b.bytes)[0]
        if (fits) {
          free.splice(free.indexOf(fits), 1)
          fits.values.push(v)
          slotOf.set(v, fits)
        } else make(v, false)
        live.add(v)
      }
      for (const v of live) {
        if (lastUse.get(v) !== each) continue
        live.delete(v)
        free.push(slotOf.get(v)!)
      }
    }
  }
  return { slots, slotOf }
}

/** Bytes of a value's buffer, a multiple of 16 so that it can be bound as vec4f. */
const byteSize = (value: Value): number => Math.ceil(bytesOf(value) / 16) * 16
