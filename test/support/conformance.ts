/**
 * ONNX' own test cases: folders with `model.onnx` and `test_data_set_K/{input,output}_J.pb`, as Debian's libonnx-testdata installs them
 * and as every release of ONNX has them.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Gpu } from '../../src/device/gpu.ts'
import { compile, graph } from '../../src/graph/index.ts'
import { sameShape, type Tensor } from '../../src/kernels/op.ts'
import { onnxNetwork } from '../../src/models/onnx/network.ts'
import { operators } from '../../src/models/onnx/operators.ts'
import { isKnown, type OnnxValue } from '../../src/models/onnx/values.ts'
import { readOnnx, readOnnxTensor } from '../../src/weights/onnx.ts'
import type { OnnxModel } from '../../src/weights/onnx-model.ts'
import { OnnxError, type OnnxTensor } from '../../src/weights/onnx-tensor.ts'

export type Outcome =
  | { state: 'passed' }
  | { state: 'failed'; problem: string }
  /** Operators that are not claimed, or why a case of claimed operators is not computed. */
  | { state: 'skipped'; operators: string[] }
  | { state: 'skipped'; reason: string }

/** Folders of cases below a folder, in alphabetical order. */
export function findCases(folder: string): string[] {
  if (existsSync(join(folder, 'model.onnx'))) return [folder]
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => findCases(join(folder, entry.name)))
    .sort()
}

class Skip extends Error {}

/** Runs a case, all its data sets. */
export async function runCase(gpu: Gpu, folder: string): Promise<Outcome> {
  try {
    const model = readOnnx(readFileSync(join(folder, 'model.onnx')), 'model.onnx')
    const unclaimed = model.nodes.filter(({ op, domain }) => domain !== '' || !operators.has(op)).map(({ op }) => op)
    if (unclaimed.length > 0) return { state: 'skipped', operators: [...new Set(unclaimed)] }
    const sets = readdirSync(folder).filter((name) => name.startsWith('test_data_set_'))
    if (sets.length === 0) throw new Skip('has no data')
    for (const set of sets) {
      const problem = await runDataSet(gpu, model, join(folder, set))
      if (problem) return { state: 'failed', problem: `${set}: ${problem}` }
    }
    return { state: 'passed' }
  } catch (error) {
    if (error instanceof OnnxError) return { state: 'skipped', reason: reasonOf(error.message) }
    if (error instanceof Skip) return { state: 'skipped', reason: error.message }
    return { state: 'failed', problem: String(error instanceof Error ? error.stack : error) }
  }
}

/** What stands in the way, without the names of file and node, so that cases of one kind have one reason. */
const reasonOf = (message: string): string =>
  message.replace(/^[\w.]+: /, '').replace(/^(?:the node of|node) "[^"]*" \((\w+)\): /, '$1: ')

/** The tensors of a data set by the names of inputs or outputs. */
function readSet(folder: string, kind: 'input' | 'output', names: readonly string[]): Map<string, OnnxTensor> {
  const files = readdirSync(folder).filter((name) => name.startsWith(`${kind}_`))
  if (files.length !== names.length) throw new Skip(`has ${files.length} files for ${names.length} ${kind}s`)
  return new Map(
    names.map((name, k) => {
      const file = `${kind}_${k}.pb`
      return [name, readOnnxTensor(readFileSync(join(folder, file)), file).tensor]
    }),
  )
}

/** Inputs that must be known while the network is recorded: numbers that are not f32, and what operators call their parameters. */
function parametersOf({ nodes }: OnnxModel, inputs: ReadonlyMap<string, OnnxTensor>): Set<string> {
  const names = new Set([...inputs].filter(([, { type }]) => type !== 'float32').map(([name]) => name))
  for (const { op, inputs: taken } of nodes) for (const k of operators.get(op)?.parameters ?? []) names.add(taken[k])
  return names
}

/** What is wrong with the results, if something is. */
async function runDataSet(gpu: Gpu, model: OnnxModel, folder: string): Promise<string | undefined> {
  const network = onnxNetwork(model)
  if ([...model.inputs, ...model.outputs].some(({ type }) => type === undefined))
    throw new Skip('takes or gives something else than tensors of numbers')
  const given = readSet(
    folder,
    'input',
    model.inputs.map(({ name }) => name),
  )
  const other = model.inputs.find(({ name, type }) => type !== given.get(name)!.type)
  if (other)
    throw new Skip(`has data of type ${given.get(other.name)!.type} for an input of ${other.type ?? 'another'}`)
  const wanted = readSet(folder, 'output', network.outputs)
  const parameters = parametersOf(model, given)
  const g = graph()
  const inputs = new Map<string, OnnxValue>()
  for (const [name, tensor] of given) {
    if (!parameters.has(name) && tensor.data.length === 0) throw new Skip('has an input without elements')
    inputs.set(name, parameters.has(name) ? tensor : g.input(name, tensor.shape))
  }
  const outputs = network.record(g, inputs)
  const computed: Record<string, Tensor> = {}
  for (const [name, value] of outputs) {
    const { type, shape } = wanted.get(name)!
    if (!sameShape(value.shape, shape)) return `${name} is [${value.shape}], not [${shape}]`
    if (isKnown(value)) {
      const problem = value.type === type ? compare(value.data, wanted.get(name)!) : `is ${value.type}, not ${type}`
      if (problem) return `${name} ${problem}`
    } else if (type === 'float32') computed[name] = value
    else throw new Skip(`has an output of type ${type}`)
  }
  if (Object.keys(computed).length === 0) return undefined
  using plan = await compile(gpu, computed, { poison: true })
  for (const [name, { data }] of given) if (plan.has(name)) plan.write(name, Float32Array.from(data))
  plan.run()
  for (const name of Object.keys(computed)) {
    const problem = compare(await plan.read(name), wanted.get(name)!)
    if (problem) return `${name} ${problem}`
  }
  return undefined
}

/** The tolerances of ONNX' own runner. */
const [RELATIVE, ABSOLUTE] = [1e-3, 1e-7]

function compare(got: ArrayLike<number>, { data: want }: OnnxTensor): string | undefined {
  if (got.length !== want.length) return `has ${got.length} elements, not ${want.length}`
  for (let i = 0; i < want.length; i++) {
    const same = Object.is(got[i], want[i]) || Math.abs(got[i] - want[i]) <= ABSOLUTE + RELATIVE * Math.abs(want[i])
    if (!same && got[i] !== want[i]) return `is ${got[i]} at ${i}, not ${want[i]}`
  }
  return undefined
}
