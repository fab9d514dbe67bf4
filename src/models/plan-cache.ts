/** Compiled plans of a network that takes images of many sizes. */
import type { Plan } from '../graph/index.ts'

/** Compiled plans by key; the one used least recently goes when there are too many. */
export class PlanCache {
  private readonly capacity: number
  private readonly plans = new Map<string, Promise<Plan>>()

  constructor(capacity: number) {
    this.capacity = capacity
  }

  get(key: string, make: () => Promise<Plan>): Promise<Plan> {
    const plan = this.plans.get(key) ?? make()
    // A Map keeps the order of insertion: the plan used last is the last one.
    this.plans.delete(key)
    this.plans.set(key, plan)
    plan.catch(() => this.plans.delete(key))
    if (this.plans.size > this.capacity) this.release(this.plans.keys().next().value as string)
    return plan
  }

  clear(): void {
    for (const key of [...this.plans.keys()]) this.release(key)
  }

  private release(key: string): void {
    const plan = this.plans.get(key)
    this.plans.delete(key)
    plan?.then(
      (made) => made.destroy(),
      () => {},
    )
  }
}
