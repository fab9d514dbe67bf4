/**
 * Choice among rivals: kernels of which no fact of the adapter says which is the fastest. Each is run on the adapter once, on random
 * numbers of the operation's shapes; one that gives other numbers than the operation's last kernel is never used, and of the others
 * the fastest is. The choice is kept in a cache, so that later the same kernels run and give the same bits.
 *
 * What it costs: nothing where an operation has no rivals or the cache knows it; else the compilation of the rivals, and at most about
 * half a second an operation of other arguments or shapes (a few milliseconds on a GPU). After TUNING_MS of one `compile` the remaining
 * operations take their first kernel (the last, where the first is experimental), and are tried by the next `compile`.
 */
import { type Capabilities, DeviceLostError, type Gpu, type TuningCache, type TuningChoice } from '../device/gpu.ts'
import { median, timePass } from '../device/stopwatch.ts'
import { elements, type Kernel, type Op, type Target, type Tensor } from '../kernels/op.ts'
import { shaderSource } from '../kernels/wgsl.ts'
import { type Call, dispatch } from './calls.ts'
import { exactNumber, Graph, type GraphTensor } from './graph.ts'
import { textHash } from './hash.ts'
import { type Adapter, type ChooseKernel, costOf, kernelsOf } from './lower.ts'
import { uniformNoise } from './noise.ts'
import { pipelineFor } from './pipelines.ts'

/** A trial's compiled operation, output `y`; a `Plan` is one. */
interface TrialPlan {
  readonly gpu: Gpu
  has(name: string): boolean
  write(name: string, data: Float32Array): void
  run(): void
  read(name: string): Promise<Float32Array>
  calls(): readonly Call[]
  destroy(): void
}

/** Compiles one operation with the kernel chosen, temporaries and output filled with NaN before each run. */
export type CompileTrial = (outputs: Readonly<Record<string, Tensor>>, choose: ChooseKernel) => Promise<TrialPlan>

/** Time of one `compile` after which no further trial begins. */
const TUNING_MS = 20_000
/** Time of one operation's trial after which no further round of measurements begins. */
const TRIAL_MS = 300
const ROUNDS = 5
/** Runs are repeated until they last this long together, so that neither clock nor submission counts. */
const LEAST_MICROSECONDS = 2000
/** Rivals so many times slower than the fastest are not measured further. */
const HOPELESS = 3
/** A later kernel of the list must be this much faster: near ties go the same way each time. */
const LEAD = 1.03
/** Operations with more bytes of inputs and output take their first kernel: a trial needs them several times over. */
const LARGEST_BYTES = 2 ** 28

/** Letters, digits and dashes that tell adapters with their drivers apart, for the name of a file. */
export const adapterSlug = (gpu: Capabilities): string =>
  adapterFacts(gpu)
    .join(' ')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')
    .slice(0, 100) || 'adapter'

const adapterFacts = ({ vendor, architecture, device, description }: Capabilities): string[] => [
  vendor,
  architecture,
  device,
  description,
]

/** An operation of which kernels are to be tried. */
interface Contest {
  node: GraphTensor
  kernels: readonly Kernel[]
  rivals: readonly Kernel[]
}

/**
 * How the kernels of these nodes are to be chosen: by the cache's choices, after trials for those that it lacks.
 * @throws DeviceLostError
 */
export async function chooseByTrial(
  gpu: Gpu,
  { target, offers }: Adapter,
  nodes: readonly GraphTensor[],
  tuning: TuningCache,
  compile: CompileTrial,
): Promise<ChooseKernel> {
  const contests = new Map<string, Contest>()
  const keys = new Map<GraphTensor, string>()
  for (const node of nodes) {
    // What is computed once, from constants, is not worth a trial.
    if (!node.op || node.op.view || node.rate === 'constant') continue
    const kernels = kernelsOf(node, offers)
    const rivals = rivalsOf(node, kernels)
    if (rivals.length < 2 && !rivals.some((kernel) => kernel.experimental)) continue
    const key = keyOf(target, node, kernels, rivals)
    contests.set(key, { node, kernels, rivals })
    keys.set(node, key)
  }
  if (contests.size === 0) return (_, kernels) => untried(kernels)
  const choices = new Map<string, string>()
  /** Takes over what the cache knows; those that it does not know, or not any more, are left. */
  const consult = () =>
    [...contests].filter(([key, { kernels }]) => {
      const variant = tuning.get(key)?.variant
      const known = variant !== undefined && kernels.some((k) => k.variant === variant)
      if (known) choices.set(key, variant)
      return !known
    })
  if (consult().length > 0) {
    await exclusively(gpu, async () => {
      // Another `compile` may have tried some of them in the meantime.
      const left = consult()
      const end = performance.now() + TUNING_MS
      await compileAll(gpu, left)
      for (const [key, contest] of left) {
        if (performance.now() > end) break
        const choice = await tryRivals(contest, compile)
        if (!choice) continue
        tuning.set(key, choice)
        choices.set(key, choice.variant)
      }
    })
  }
  return (node, kernels) => {
    const variant = choices.get(keys.get(node) ?? '')
    return kernels.find((k) => k.variant === variant) ?? untried(kernels)
  }
}

/** What is used without a trial: the first kernel, but none that must prove itself. */
const untried = (kernels: readonly Kernel[]): Kernel =>
  kernels[0].experimental ? kernels[kernels.length - 1] : kernels[0]

/** The kernels at the top of the list that no fact ranks. */
function rivalsOf(node: GraphTensor, kernels: readonly Kernel[]): Kernel[] {
  const rivals = kernels.slice(0, 1)
  for (const kernel of kernels.slice(1)) {
    if (!kernel.rival) break
    rivals.push(kernel)
  }
  if (rivals.length > 1 && new Set(kernels.map((k) => k.variant)).size < kernels.length) {
    throw new Error(`${node.op?.name}(${node.name}): kernels share a name: ${kernels.map((k) => k.variant).join(', ')}`)
  }
  return rivals
}

/**
 * What a choice holds for: the adapter and its driver, the operation with its arguments, shapes and constant inputs (their packing is not
 * timed), and the code of the kernels, so that a changed kernel is tried again.
 */
function keyOf(gpu: Target, node: GraphTensor, kernels: readonly Kernel[], rivals: readonly Kernel[]): string {
  const code = [...rivals, kernels[kernels.length - 1]].flatMap((k) => k.dispatches.map(shaderSource)).join('\n')
  const inputs = node.inputs.map(({ shape, rate }) => `${shape.join('x')}${rate === 'constant' ? ' constant' : ''}`)
  const names = rivals.map((k) => k.variant)
  return JSON.stringify([adapterFacts(gpu), node.op?.name, node.args, inputs, names, hash(code)], exactNumber)
}

/** Two hashes from different offsets: 16 hexadecimal digits. */
const hash = (text: string): string =>
  [undefined, 0x5bd1e995].map((start) => (textHash(text, start) >>> 0).toString(16).padStart(8, '0')).join('')

const QUEUE = Symbol('trials')

/** Trials on one device come one after another: at the same time they would time each other. */
function exclusively<T>(gpu: Gpu, work: () => Promise<T>): Promise<T> {
  const queue = gpu.keep(QUEUE, () => ({ last: Promise.resolve() as Promise<unknown> }))
  const result = queue.last.then(work)
  queue.last = result.catch(() => {})
  return result
}

/** All shaders at once; those that do not compile are found out by their trial. */
async function compileAll(gpu: Gpu, contests: readonly (readonly [string, Contest])[]): Promise<void> {
  const kernels = contests.flatMap(([, { rivals, kernels }]) => [...rivals, kernels[kernels.length - 1]])
  await Promise.allSettled(kernels.flatMap((k) => k.dispatches).map((dispatch) => pipelineFor(gpu, dispatch)))
}

/** Tries the rivals of one operation; undefined where that is not possible and the first is to be taken. */
async function tryRivals({ node, kernels, rivals }: Contest, compile: CompileTrial): Promise<TuningChoice | undefined> {
  const total = [node, ...node.inputs].reduce((n, { shape }) => n + 4 * elements(shape), 0)
  if (total > LARGEST_BYTES) return undefined
  const g = new Graph()
  const data = node.inputs.map(({ shape }, k) => uniformNoise(k + 1, elements(shape), 1))
  const inputs = node.inputs.map(({ shape, rate }, k) =>
    rate === 'constant' ? g.constant(data[k], shape, `x${k}`) : g.input(`x${k}`, shape),
  )
  const y = g.apply(node.op as Op<unknown>, inputs, node.args)
  const plans = new Map<Kernel, TrialPlan>()
  /** Compiles a kernel and runs it once. */
  const outputOf = async (kernel: Kernel): Promise<Float32Array> => {
    const plan = await compile({ y }, () => kernel)
    plans.set(kernel, plan)
    data.forEach((values, k) => {
      if (inputs[k].rate !== 'constant' && plan.has(`x${k}`)) plan.write(`x${k}`, values)
    })
    plan.run()
    return plan.read('y')
  }
  const safe = kernels[kernels.length - 1]
  const { flop } = costOf(node)
  const excluded: Record<string, string> = {}
  try {
    let right: Float32Array
    try {
      right = await outputOf(safe)
    } catch (error) {
      if (error instanceof DeviceLostError) throw error
      return undefined // nothing to compare with
    }
    if (!rivals.includes(safe)) {
      plans.get(safe)!.destroy()
      plans.delete(safe)
    }
    const outputs = new Map<Kernel, Float32Array>()
    const exclude = (kernel: Kernel, reason: string) => {
      excluded[kernel.variant] = reason
      outputs.delete(kernel)
      plans.get(kernel)?.destroy()
      plans.delete(kernel)
    }
    for (const kernel of rivals) {
      try {
        const output = kernel === safe ? right : await outputOf(kernel)
        const reason = disagreement(output, right, toleranceOf(kernel, flop / right.length))
        if (reason === undefined) outputs.set(kernel, output)
        else exclude(kernel, reason)
      } catch (error) {
        if (error instanceof DeviceLostError) throw error
        exclude(kernel, reasonOf(error))
      }
    }
    const times = await race(new Map([...outputs.keys()].map((kernel) => [kernel, plans.get(kernel)!])))
    for (const [kernel, before] of outputs) {
      // Of the last timed run, to which the NaN are no help.
      const after = await plans.get(kernel)!.read('y')
      if (!sameBits(before, after)) exclude(kernel, 'it gives other bits when it is run again')
    }
    const microseconds = [...outputs.keys()].map((kernel) => [kernel.variant, times.get(kernel)!] as const)
    const fastest = Math.min(...microseconds.map(([, time]) => time))
    const winner = microseconds.find(([, time]) => time <= fastest * LEAD)
    return { variant: winner?.[0] ?? safe.variant, microseconds: Object.fromEntries(microseconds), excluded }
  } finally {
    for (const plan of plans.values()) plan.destroy()
  }
}

/**
 * Microseconds of so many runs without updates, one after another in one pass, by the GPU's own clock where there is one. For short
 * plans: it is one submission, and drivers reset a GPU that is busy with one for seconds.
 */
export function timeRuns(plan: Pick<TrialPlan, 'gpu' | 'calls'>, runs: number): Promise<number> {
  const calls = plan.calls()
  return timePass(plan.gpu, (pass) => {
    for (let i = 0; i < runs; i++) for (const call of calls) dispatch(pass, call)
  })
}

/** Median microseconds of one run, measured in turns; those that fall far behind stop early. */
async function race(plans: ReadonlyMap<Kernel, TrialPlan>): Promise<Map<Kernel, number>> {
  const measured = new Map<Kernel, number[]>()
  const repeats = new Map<Kernel, number>()
  for (const [kernel, plan] of plans) {
    const once = Math.min(await timeRuns(plan, 1), await timeRuns(plan, 1))
    repeats.set(kernel, Math.min(1000, Math.max(1, Math.ceil(LEAST_MICROSECONDS / Math.max(once, 1)))))
    measured.set(kernel, [once])
  }
  const best = (kernel: Kernel) => Math.min(...measured.get(kernel)!)
  const end = performance.now() + TRIAL_MS
  for (let round = 0; round < ROUNDS && plans.size > 1; round++) {
    if (round > 0 && performance.now() > end) break
    const fastest = Math.min(...[...plans.keys()].map(best))
    for (const [kernel, plan] of plans) {
      if (best(kernel) > HOPELESS * fastest) continue
      const runs = repeats.get(kernel)!
      const time = (await timeRuns(plan, runs)) / runs
      // The single runs were only to find out how many there should be.
      measured.set(kernel, round === 0 ? [time] : [...measured.get(kernel)!, time])
    }
  }
  return new Map([...measured].map(([kernel, times]) => [kernel, median(times)]))
}

/**
 * Largest error of a right kernel relative to the largest value: f32 sums of n products lose about sqrt(n) roundings of 2^-24, 16 of
 * those leave room for the order of addition and for functions that WGSL lets be a few units off; both kernels may be that far from
 * the truth, and Winograd's transforms cost as much again. Operands rounded to f16 are each off by up to 2^-11 of themselves, products
 * by 2^-10, and sums of random signs about as much; twice that is allowed. What is wrong is wrong by far more.
 */
const toleranceOf = ({ precision }: Kernel, flopPerElement: number): number =>
  4 * Math.max(2e-6, 16 * Math.sqrt(flopPerElement) * 2 ** -24) + (precision === 'f16' ? 2 ** -9 : 0)

/** How two outputs differ by more than the tolerance, if they do. The same infinities and NaN in both are no difference. */
function disagreement(got: Float32Array, want: Float32Array, tolerance: number): string | undefined {
  let largest = 1e-30
  for (const value of want) if (Math.abs(value) > largest && Number.isFinite(value)) largest = Math.abs(value)
  let worst = 0
  for (let i = 0; i < want.length; i++) {
    if (Object.is(got[i], want[i])) continue
    const error = Math.abs(got[i] - want[i]) / largest
    if (!(error <= worst)) worst = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error
  }
  if (worst <= tolerance) return undefined
  const measure = Number.isFinite(worst) ? `by ${worst.toExponential(1)} of the largest value` : 'in what is finite'
  return `it differs from the operation's last kernel ${measure}`
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  const [x, y] = [a, b].map((v) => new Uint32Array(v.buffer, v.byteOffset, v.length))
  return x.every((bits, i) => bits === y[i])
}

/** The beginning of an error's message: that of a shader has its whole code. */
const reasonOf = (error: unknown): string =>
  String(error instanceof Error ? error.message : error)
    .split('\n')
    .slice(0, 2)
    .join(' ')
    .slice(0, 300)
