/** What was compiled is kept, and freed before there would be too much of it. */
import { describe, expect, test } from 'vitest'
import { PlanCache } from '../../src/graph/plan-cache.ts'

/** Something that was compiled, and tells when it is freed. */
function thing(name: string, freed: string[]): Disposable & { name: string } {
  return { name, [Symbol.dispose]: () => void freed.push(name) }
}

describe('a cache of plans', () => {
  test('makes what it has not, once, and frees the one used least recently first', async () => {
    const freed: string[] = []
    const made: string[] = []
    const cache = new PlanCache<ReturnType<typeof thing>>(2)
    const get = (name: string) =>
      cache.get(name, async () => {
        made.push(name)
        return thing(name, freed)
      })
    const [a, again] = await Promise.all([get('a'), get('a')])
    expect(again).toBe(a)
    await get('b')
    await get('a')
    await get('c')
    await Promise.resolve()
    expect(made).toEqual(['a', 'b', 'c'])
    expect(freed).toEqual(['b'])
    await get('b')
    await Promise.resolve()
    expect([made, freed]).toEqual([
      ['a', 'b', 'c', 'b'],
      ['b', 'a'],
    ])
    cache.clear()
    await Promise.resolve()
    expect(freed.toSorted()).toEqual(['a', 'b', 'b', 'c'])
  })

  test('lets go before it makes: two of the largest are never held at once', async () => {
    let held = 0
    const cache = new PlanCache<Disposable>(1)
    for (const name of ['a', 'b', 'c']) {
      await cache.get(name, async () => {
        await Promise.resolve()
        await Promise.resolve()
        expect(held, name).toBe(0)
        held++
        return { [Symbol.dispose]: () => void held-- }
      })
    }
    expect(held).toBe(1)
  })

  test('makes anew what failed, and keeps all unless told how many', async () => {
    const freed: string[] = []
    const cache = new PlanCache<ReturnType<typeof thing>>()
    await expect(cache.get('a', () => Promise.reject(new Error('no room')))).rejects.toThrow('no room')
    expect((await cache.get('a', async () => thing('a', freed))).name).toBe('a')
    for (let i = 0; i < 100; i++) await cache.get(`${i}`, async () => thing(`${i}`, freed))
    expect(freed).toEqual([])
  })

  test('what fails after it was let go does not take the newer one under its key along', async () => {
    const freed: string[] = []
    const cache = new PlanCache<ReturnType<typeof thing>>(1)
    let fail = (_: Error) => {}
    const first = cache.get('a', () => new Promise((_, reject) => (fail = reject)))
    await cache.get('b', async () => thing('b', freed))
    const newer = cache.get('a', async () => thing('a', freed))
    fail(new Error('too late'))
    await expect(first).rejects.toThrow('too late')
    expect(await cache.get('a', () => Promise.reject(new Error('made again')))).toBe(await newer)
  })
})
