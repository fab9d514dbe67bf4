/** No operation is without what it is held to. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Op } from '../../src/kernels/op.ts'
import { checks, referenceOf } from '../operations/index.ts'

const folder = join(import.meta.dirname, '../../src/kernels')
const isOp = (value: unknown): value is Op =>
  typeof value === 'object' && value !== null && 'kernels' in value && 'cost' in value && 'shape' in value

/** Every operation that a module of src/kernels exports, by itself or in a list. */
async function exported(): Promise<Op[]> {
  const names = readdirSync(folder).filter((name) => name.endsWith('.ts'))
  const modules = await Promise.all(names.map((name): Promise<object> => import(join(folder, name))))
  return [...new Set(modules.flatMap((module) => Object.values(module).flat().filter(isOp)))]
}

test('the list has every operation of src/kernels, with a reference and with cases', async () => {
  const found = await exported()
  expect(found.length).toBeGreaterThan(80)
  const held = new Map(checks.map((check) => [check.op as Op, check]))
  expect(found.filter((op) => !held.has(op)).map(({ name }) => name)).toEqual([])
  expect(checks.filter(({ cases }) => cases.length === 0).map(({ op }) => op.name)).toEqual([])
  for (const op of found) expect(referenceOf(op)).toBe(held.get(op)!.reference)
})

test('the list names each operation once', () => {
  const names = checks.map(({ op }) => op.name)
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([])
})

test('an operation that has none is named', () => {
  const { op } = checks.find((check) => check.op.pointwise === undefined)!
  expect(() => referenceOf({ ...op, name: 'stranger' })).toThrow('stranger has no reference')
})
