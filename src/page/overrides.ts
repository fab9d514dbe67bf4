/** What the address says for experts and tests. */
import type { Overrides } from './protocol.ts'

/** `#models=sirius,dlib&steps=10&seed=2`; what is no such thing is left out. */
export function overridesOf(hash: string): Overrides {
  const told = new URLSearchParams(hash.replace(/^#/, ''))
  const whole = (name: string): number | undefined => {
    const text = told.get(name)
    return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : undefined
  }
  const models = told.get('models')?.split(',')
  const [steps, seed] = [whole('steps'), whole('seed')]
  return {
    ...(models ? { models } : {}),
    ...(steps ? { steps } : {}),
    ...(seed === undefined ? {} : { seed }),
  }
}
