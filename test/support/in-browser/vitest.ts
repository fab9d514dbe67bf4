/**
 * Stands in for vitest where test files run in a browser: collects their tests, which the page then runs by name. Of `expect` it has what
 * these tests use, in vitest's meaning.
 */
type Run = () => unknown

interface Collected {
  name: string
  run: Run
}

/** In the order of the file; skipped tests are left out. */
export const tests: Collected[] = []
const path: string[] = []

/** `%s` and `$name` of a title, filled in. */
const titled = (title: string, row: unknown): string =>
  title
    .replace('%s', String(Array.isArray(row) ? row[0] : row))
    .replace(/\$(\w+)/g, (_, key) => String((row as Record<string, unknown>)[key]))

export function describe(name: string, body: Run): void {
  path.push(name)
  body()
  path.pop()
}
const eachDescribe = (rows: readonly unknown[]) => (title: string, body: (...row: never[]) => unknown) => {
  for (const row of rows) describe(titled(title, row), () => body(...((Array.isArray(row) ? row : [row]) as never[])))
}
describe.each = eachDescribe
describe.skipIf = (skip: boolean) =>
  Object.assign(skip ? () => {} : describe, { each: skip ? () => () => {} : eachDescribe })

export function test(name: string, ...rest: unknown[]): void {
  const run = rest.findLast((part) => typeof part === 'function') as Run
  tests.push({ name: [...path, name].join(' > '), run })
}
const eachTest = (rows: readonly unknown[]) => (title: string, body: (...row: never[]) => unknown) => {
  for (const row of rows) test(titled(title, row), () => body(...((Array.isArray(row) ? row : [row]) as never[])))
}
test.each = eachTest
test.skip = () => {}
test.skipIf = (skip: boolean) => Object.assign(skip ? () => {} : test, { each: skip ? () => () => {} : eachTest })

export const afterAll = (): void => {}

const shown = (value: unknown): string => {
  const text = typeof value === 'function' ? 'a function' : (JSON.stringify(value) ?? String(value))
  return text.length > 300 ? `${text.slice(0, 300)}...` : text
}

function equal(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (ArrayBuffer.isView(a) || Array.isArray(a)) {
    const [x, y] = [a as ArrayLike<unknown>, b as ArrayLike<unknown>]
    if (a.constructor !== b.constructor || x.length !== y.length) return false
    for (let i = 0; i < x.length; i++) if (!equal(x[i], y[i])) return false
    return true
  }
  const keys = (o: object) => Object.keys(o).filter((key) => (o as Record<string, unknown>)[key] !== undefined)
  const [mine, theirs] = [keys(a), keys(b)]
  return (
    mine.length === theirs.length &&
    mine.every((key) => equal((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]))
  )
}

export function expect(got: unknown, about = '') {
  const matchers = (wanted: boolean) => {
    const check = (holds: boolean, words: string) => {
      if (holds !== wanted)
        throw new Error(`${about ? `${about}: ` : ''}${shown(got)} ${wanted ? 'is not' : 'is'} ${words}`)
    }
    const number = got as number
    return {
      toBe: (want: unknown) => check(Object.is(got, want), shown(want)),
      toEqual: (want: unknown) => check(equal(got, want), `equal to ${shown(want)}`),
      toBeLessThan: (want: number) => check(number < want, `less than ${want}`),
      toBeLessThanOrEqual: (want: number) => check(number <= want, `at most ${want}`),
      toBeGreaterThan: (want: number) => check(number > want, `greater than ${want}`),
      toBeGreaterThanOrEqual: (want: number) => check(number >= want, `at least ${want}`),
      toBeCloseTo: (want: number, digits = 2) =>
        check(Math.abs(number - want) < 0.5 * 10 ** -digits, `close to ${want}`),
      toBeDefined: () => check(got !== undefined, 'defined'),
      toThrow(want?: string | RegExp | (new (...args: never[]) => Error)) {
        let thrown: Error | undefined
        try {
          ;(got as Run)()
        } catch (error) {
          thrown = error as Error
        }
        const message = thrown?.message ?? ''
        const fits =
          want === undefined ||
          (typeof want === 'string'
            ? message.includes(want)
            : want instanceof RegExp
              ? want.test(message)
              : thrown instanceof want)
        check(thrown !== undefined && fits, `a function that throws ${want ?? ''} (${message})`)
      },
    }
  }
  return { ...matchers(true), not: matchers(false) }
}
