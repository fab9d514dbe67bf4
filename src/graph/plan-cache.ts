/** What was compiled for a size or another key, kept for the next time. */
import type { Plan } from './plan.ts'

/** Compiled plans, or what holds one, by key; the one used least recently goes before there would be too many. */
export class PlanCache<T extends Disposable = Plan> {
  private readonly capacity: number
  private readonly plans = new Map<string, Promise<T>>()

  /** @param capacity how many are kept; all unless told */
  constructor(capacity = Number.POSITIVE_INFINITY) {
    this.capacity = capacity
  }

  /** How many are kept now, those that are being compiled among them. */
  get size(): number {
    return this.plans.size
  }

  /** What is kept under a key, else what `make` compiles. What fails is made anew the next time. */
  get(key: string, make: () => Promise<T>): Promise<T> {
    const known = this.plans.get(key)
    // A Map keeps the order of insertion: the plan used last is the last one.
    this.plans.delete(key)
    // What goes is freed before its memory is asked for again.
    if (!known && this.plans.size >= this.capacity) this.release(this.plans.keys().next().value as string)
    const plan = known ?? make()
    this.plans.set(key, plan)
    // One watch for each plan; by then another may stand under its key.
    if (!known)
      plan.catch(() => {
        if (this.plans.get(key) === plan) this.plans.delete(key)
      })
    return plan
  }

  clear(): void {
    for (const key of [...this.plans.keys()]) this.release(key)
  }

  private release(key: string): void {
    const plan = this.plans.get(key)
    this.plans.delete(key)
    plan?.then(
      (made) => made[Symbol.dispose](),
      () => {},
    )
  }
}
