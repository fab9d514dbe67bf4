/** What the golden folder lists, and how a family of cases tells what it checks. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Gpu } from '../../src/device/gpu.ts'
import { compile, type Graph, graph } from '../../src/graph/index.ts'
import type { Shape, Tensor } from '../../src/kernels/op.ts'
import type { NetworkWeights } from '../../src/models/layers.ts'
import { readSafetensors, type StoredTensor } from '../../src/weights/safetensors.ts'
import { type Rule, seededWeights } from './generator.ts'

const repository = fileURLToPath(new URL('../..', import.meta.url))

/** The golden folder: LOWKEY_GOLDEN, or the one beside the repository. */
export const goldenFolder = process.env.LOWKEY_GOLDEN ?? join(repository, '../shared/golden')

/** Weights that are for tests only and never part of the project; undefined where they are not there. */
export function testWeights(path: string): string | undefined {
  const file = join(repository, '../shared/data/weights', path)
  return existsSync(file) ? file : undefined
}

/** A seeded network in the index: its state dictionary in order, with figures to check the generator by. */
export interface SeededTensor {
  key: string
  shape: number[]
  rule: Rule
  first4: number[]
  sum: number
}

/** A case in the index. Families read the fields that only they have. */
export interface CaseEntry {
  file: string
  tensors: Record<string, number[]>
  model?: string
  [field: string]: unknown
}

export interface GoldenIndex {
  seed: number
  models: Record<string, SeededTensor[]>
  cases: Record<string, CaseEntry>
}

export const hasGolden = existsSync(join(goldenFolder, 'index.json'))

export const readIndex = (): GoldenIndex => JSON.parse(readFileSync(join(goldenFolder, 'index.json'), 'utf8'))

/** One case with its tensors, which are read when first asked for. */
export class GoldenCase {
  readonly name: string
  readonly entry: CaseEntry
  private readonly index: GoldenIndex
  private file: ReadonlyMap<string, StoredTensor> | undefined

  constructor(index: GoldenIndex, name: string) {
    this.index = index
    this.name = name
    this.entry = index.cases[name]
  }

  /** Names of the tensors that the index lists. */
  get tensors(): string[] {
    return Object.keys(this.entry.tensors)
  }

  shape(name: string): Shape {
    return this.stored(name).shape
  }

  /** Numbers of an f32 tensor. */
  numbers(name: string): Float32Array {
    const { data } = this.stored(name)
    if (!(data instanceof Float32Array)) throw new Error(`${this.name}: ${name} is no f32 tensor`)
    return data
  }

  /** Numbers of an i32 tensor. */
  integers(name: string): Int32Array {
    const { data } = this.stored(name)
    if (!(data instanceof Int32Array)) throw new Error(`${this.name}: ${name} is no i32 tensor`)
    return data
  }

  /** Numbers of an 8-bit tensor. */
  bytes(name: string): Uint8Array {
    const { data } = this.stored(name)
    if (!(data instanceof Uint8Array)) throw new Error(`${this.name}: ${name} is no u8 tensor`)
    return data
  }

  /** Architecture and weights of a seeded network of the index, `ARCHITECTURE:SEED`; the case's own unless told. */
  seeded(key: string = this.entry.model ?? ''): { architecture: string; weights: NetworkWeights } {
    const list = this.index.models[key]
    if (!list) throw new Error(`${this.name}: the index has no model ${key}`)
    const [architecture, seed] = key.split(':')
    return { architecture, weights: seededWeights(Number(seed), list) }
  }

  private stored(name: string): StoredTensor {
    const path = join(goldenFolder, this.entry.file)
    this.file ??= readSafetensors(readFileSync(path), path).tensors
    const tensor = this.file.get(name)
    if (!tensor) throw new Error(`${path}: there is no ${name}`)
    expectSameShape(tensor.shape, this.entry.tensors[name], `${this.name}: ${name}`)
    return tensor
  }
}

function expectSameShape(stored: Shape, listed: Shape, what: string): void {
  if (String(stored) !== String(listed))
    throw new Error(`${what} is [${stored}] in the file and [${listed}] in the index`)
}

/** One thing to check in a case: a test of its own. */
export interface Part {
  name: string
  /** The case's tensors that take part, as inputs or as results. */
  tensors: readonly string[]
  /** Why this cannot be checked yet; the part is then listed as skipped. */
  pending?: string
  check?(gpu: Gpu): Promise<void> | void
}

/** Cases of one kind. */
export interface Family {
  takes(name: string, entry: CaseEntry): boolean
  parts(golden: GoldenCase): Part[]
}

export interface Values {
  shape: Shape
  data: Float32Array
}

/** Records outputs by name from inputs by name. */
type Recording = (x: Readonly<Record<string, Tensor>>, g: Graph) => Readonly<Record<string, Tensor>>

/** Compiles a graph for inputs of these shapes and runs it for each set of them. Elements that no kernel writes come out as NaN. */
export async function evaluateAll(
  gpu: Gpu,
  sets: readonly Readonly<Record<string, Values>>[],
  record: Recording,
): Promise<Record<string, Float32Array>[]> {
  const g = graph()
  const x = Object.fromEntries(Object.entries(sets[0]).map(([name, { shape }]) => [name, g.input(name, shape)]))
  const outputs = record(x, g)
  using plan = await compile(gpu, outputs, { poison: true })
  const results: Record<string, Float32Array>[] = []
  for (const inputs of sets) {
    for (const [name, { data }] of Object.entries(inputs)) if (plan.has(name)) plan.write(name, data)
    plan.prepare()
    plan.run()
    const values: Record<string, Float32Array> = {}
    for (const name of Object.keys(outputs)) values[name] = await plan.read(name)
    results.push(values)
  }
  return results
}

/** The same for one set of inputs. */
export async function evaluate(
  gpu: Gpu,
  inputs: Readonly<Record<string, Values>>,
  record: Recording,
): Promise<Record<string, Float32Array>> {
  const [values] = await evaluateAll(gpu, [inputs], record)
  return values
}
