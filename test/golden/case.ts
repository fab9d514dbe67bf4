/** What the golden folder lists, and how a family of cases tells what it checks. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Gpu } from '../../src/device/gpu.ts'
import { compile, type Graph, graph } from '../../src/graph/index.ts'
import { elements, type Shape, type Tensor } from '../../src/kernels/op.ts'
import { readSafetensors, type StoredTensor } from '../../src/weights/safetensors.ts'
import { dataBeside, isAtHand } from '../support/scope.ts'
import { drawUniform, type Rule, seededWeights } from './generator.ts'
import { make, type Recipe } from './made.ts'

/** The results that every clone has. */
const committed = join(import.meta.dirname, 'data')

/**
 * A larger set, made the same way: LOWKEY_GOLDEN, or in the long run a folder beside the repository. Undefined where there is none.
 */
const larger = process.env.LOWKEY_GOLDEN ?? [dataBeside('../golden')].find(isAtHand)

/** Weights that are for tests only and never part of the project; undefined where they are not there. */
export function testWeights(path: string): string | undefined {
  const file = dataBeside(join('weights', path))
  return isAtHand(file) ? file : undefined
}

/** A seeded network in the index: its state dictionary in order, with figures to check the generator by. */
export interface SeededTensor {
  key: string
  shape: number[]
  rule?: Rule
  first4?: number[]
  sum: number
}

/** A case in the index. Families read the fields that only they have. */
export interface CaseEntry {
  file: string
  tensors: Record<string, number[]>
  /** Of these the file has every n-th element only (in C order). */
  every?: Record<string, number>
  /** Drawn by the generator; a larger set stores them too. */
  gen?: Record<string, { t?: number; lo?: number; hi?: number }>
  /** Made from the demo photo or from other tensors; where the file has elements of them, they are to agree. */
  made?: Record<string, Recipe>
  model?: string
  [field: string]: unknown
}

export interface GoldenIndex {
  seed: number
  models: Record<string, SeededTensor[]>
  cases: Record<string, CaseEntry>
}

const read = (folder: string): GoldenIndex => JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8'))

/** A folder of results: its name for people, its networks, its cases. */
export interface GoldenSet {
  name: string
  index: GoldenIndex
  cases: GoldenCase[]
}

const setOf = (folder: string, name: string): GoldenSet => {
  const index = read(folder)
  return { name, index, cases: Object.keys(index.cases).map((key) => new GoldenCase(folder, index, key)) }
}

/** The results of every clone, then those of the larger set, if there is one. */
export const goldenSets = (): GoldenSet[] => [
  setOf(committed, 'test/golden/data'),
  ...(larger ? [setOf(larger, process.env.LOWKEY_GOLDEN ? 'LOWKEY_GOLDEN' : '../shared/golden')] : []),
]

/** A case that every clone has. */
export const goldenCase = (name: string): GoldenCase => new GoldenCase(committed, read(committed), name)

/** A case of the larger set; undefined where there is none. */
export const largerCase = (name: string): GoldenCase | undefined =>
  larger === undefined ? undefined : new GoldenCase(larger, read(larger), name)

/** One case with its tensors, which are read or made when first asked for. */
export class GoldenCase {
  readonly name: string
  readonly entry: CaseEntry
  private readonly folder: string
  private readonly index: GoldenIndex
  private file: ReadonlyMap<string, StoredTensor> | undefined
  private readonly whole = new Map<string, Float32Array | Uint8Array | Int32Array>()

  constructor(folder: string, index: GoldenIndex, name: string) {
    this.folder = folder
    this.index = index
    this.name = name
    this.entry = index.cases[name]
  }

  /** Names of the tensors that the index lists. */
  get tensors(): string[] {
    return Object.keys(this.entry.tensors)
  }

  shape(name: string): Shape {
    const shape = this.entry.tensors[name]
    if (!shape) throw new Error(`${this.name}: the index has no tensor ${name}`)
    return shape
  }

  /** Numbers of an f32 tensor. */
  numbers(name: string): Float32Array {
    const data = this.values(name)
    if (!(data instanceof Float32Array)) throw new Error(`${this.name}: ${name} is no f32 tensor`)
    return data
  }

  /** Numbers of an i32 tensor. */
  integers(name: string): Int32Array {
    const data = this.values(name)
    if (!(data instanceof Int32Array)) throw new Error(`${this.name}: ${name} is no i32 tensor`)
    return data
  }

  /** Numbers of an 8-bit tensor. */
  bytes(name: string): Uint8Array {
    const data = this.values(name)
    if (!(data instanceof Uint8Array)) throw new Error(`${this.name}: ${name} is no u8 tensor`)
    return data
  }

  /**
   * What was computed beside what is wanted, both of the elements that the file has.
   *
   * @param got the whole tensor
   */
  pair<A extends Float32Array | Uint8Array>(name: string, got: A): [got: A, want: A] {
    if (got.length !== elements(this.shape(name)))
      throw new Error(`${this.name}: ${name} is [${this.shape(name)}], not ${got.length} elements`)
    const every = this.entry.every?.[name]
    if (every === undefined) return [got, this.values(name) as A]
    return [got.filter((_, i) => i % every === 0) as A, this.stored(name) as A]
  }

  /** Architecture and weights of a seeded network of the index, `ARCHITECTURE:SEED`; the case's own unless told. */
  seeded(key: string = this.entry.model ?? ''): { architecture: string; weights: ReturnType<typeof seededWeights> } {
    const list = this.index.models[key]
    if (!list) throw new Error(`${this.name}: the index has no model ${key}`)
    const [architecture, seed] = key.split(':')
    return { architecture, weights: seededWeights(Number(seed), list) }
  }

  /** Whether the index has a seeded network of this name. */
  knows = (key: string): boolean => key in this.index.models

  /** Whether the file has a tensor, or elements of it. */
  holds = (name: string): boolean => this.stored(name) !== undefined

  /** The elements that the file has of a tensor; undefined where it has none, because they are drawn or made. */
  private stored(name: string): Float32Array | Uint8Array | Int32Array | undefined {
    const path = join(this.folder, this.entry.file)
    this.file ??= readSafetensors(readFileSync(path), path).tensors
    const tensor = this.file.get(name)
    if (!tensor) return undefined
    const shape = this.shape(name)
    const every = this.entry.every?.[name]
    const listed = every === undefined ? shape : [Math.ceil(elements(shape) / every)]
    if (String(tensor.shape) !== String(listed))
      throw new Error(`${this.name}: ${name} is [${tensor.shape}] in the file and [${listed}] by the index`)
    if (tensor.data instanceof BigInt64Array) throw new Error(`${this.name}: ${name} has numbers of 64 bits`)
    return tensor.data as Float32Array | Uint8Array | Int32Array
  }

  private values(name: string): Float32Array | Uint8Array | Int32Array {
    const known = this.whole.get(name)
    if (known) return known
    const { made, gen, every } = this.entry
    const shape = this.shape(name)
    const recipe = made?.[name]
    const { t, lo, hi } = gen?.[name] ?? {}
    let values = every?.[name] ? undefined : this.stored(name)
    if (recipe) values = make(recipe, shape, (other) => this.values(other) as Float32Array | Uint8Array)
    else if (!values && t !== undefined && lo !== undefined && hi !== undefined)
      values = drawUniform(this.index.seed, t, elements(shape), lo, hi)
    if (!values) throw new Error(`${this.name}: the file has not the whole of ${name}`)
    this.whole.set(name, values)
    return values
  }
}

/** One thing to check in a case: a test of its own. */
export interface Part {
  name: string
  /** The case's tensors that take part, as inputs or as results. */
  tensors: readonly string[]
  /** Why this cannot be checked yet; the part is then listed as skipped. */
  pending?: string
  check?(gpu: Gpu): Promise<void> | void
  /** Frees what parts of the case share; called for each after the last. */
  release?(): Promise<void>
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
