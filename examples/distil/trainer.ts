/** A step of distillation as a plan: teachers, the search for the change that the student minds most, and the step of the optimiser. */
import {
  type AlignmentName,
  adam,
  add,
  affineWarp,
  clip,
  compile,
  detach,
  div,
  elements,
  type Gpu,
  type Graph,
  gather,
  grad,
  graph,
  learnedWeights,
  linear,
  matmul,
  mean,
  mul,
  normalize,
  type Parameter,
  type Plan,
  type Recogniser,
  type Shape,
  sgd,
  sign,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  type Updates,
  uniformNoise,
  type Weights,
  where,
  xavierBound,
} from 'lowkey-gpu'
import type { Batch } from './batches.ts'
import { CANVAS } from './crops.ts'
import type { Run } from './options.ts'

/** A recogniser that knows people already. */
export interface Known {
  network: Recogniser
  weights: Weights
}

/** What is to learn; with the weights that it begins with, if it does not begin anew. */
export interface Student {
  network: Recogniser
  weights?: Weights
}

/** A student that began as its teacher speaks the teacher's language already; others learn to translate into it, beside. */
export const isOwn = ({ weights }: Student, teacher: Known): boolean => weights?.id === teacher.network.id

/** A network's tensors by name. */
export type Tensors = ReadonlyMap<string, { shape: Shape; data: Float32Array }>

/** Crops of a batch as recognisers of an alignment see them, [N,3,side,side] in 0..1. */
export function crops(canvases: Tensor, maps: Tensor, { size }: Recogniser, light?: Tensor): Tensor {
  const cut = affineWarp(canvases, maps, { size: [size, size] })
  return light ? clip(mul(cut, light), 0, 1) : cut
}

/** x changed by up to `radius` a value, in 0..1. */
export const changed = (x: Tensor, change: Tensor): Tensor => clip(add(x, change), 0, 1)

/** A step up the gradient's sign, not further than `radius` from no change at all. */
export const climbed = (change: Tensor, gradient: Tensor, step: number, radius: number): Tensor =>
  clip(add(change, mul(sign(gradient), step)), -radius, radius)

/** Means of 1 minus the cosines of rows, a scalar. `b` has unit rows. */
const apart = (a: Tensor, b: Tensor): Tensor => sub(1, mean(sum(mul(normalize(a), b), [1])))

/** 1 minus the correlation of the cosines among a batch's rows with those among a teacher's, a scalar. */
function unlike(a: Tensor, b: Tensor): Tensor {
  const [n] = a.shape
  const others = a.recorder.constant(
    Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 0 : 1)),
    [n, n],
    'others',
  )
  const centred = (rows: Tensor): Tensor => {
    const cosines = mul(matmul(rows, rows, { transposeB: true }), others)
    return mul(sub(cosines, div(sum(cosines), n * (n - 1))), others)
  }
  const [p, q] = [centred(normalize(a)), centred(b)]
  const norms = mul(sqrt(add(sum(square(p)), 1e-12)), sqrt(add(sum(square(q)), 1e-12)))
  return sub(1, div(sum(mul(p, q)), norms))
}

/** Names of the translations into a teacher's language, which are dropped at the end, begin so. */
const HEAD = 'head.'

export class Trainer implements Disposable {
  /** The ways to cut faces out that a batch needs maps for. */
  readonly alignments: readonly AlignmentName[]
  private readonly plan: Plan
  /** What is learned and averaged, by name. */
  private readonly tensors: ReadonlyMap<string, Tensor>
  /** All that a step leaves for the next, and so all that a checkpoint holds. */
  private readonly states: readonly Tensor[]

  private constructor(plan: Plan, tensors: Map<string, Tensor>, states: Tensor[], alignments: AlignmentName[]) {
    this.plan = plan
    this.tensors = tensors
    this.states = states
    this.alignments = alignments
  }

  /** @param rows what teachers who look once said of all faces, by their ids, [faces,embedding] */
  static async compile(
    gpu: Gpu,
    student: Student,
    teachers: readonly Known[],
    rows: Tensors,
    run: Run,
  ): Promise<Trainer> {
    const { batch, radius, inner, target } = run
    const g = graph()
    const states: Tensor[] = []
    const state = (name: string, shape: Shape, start?: Float32Array | number): Tensor => {
      const node = g.state(name, shape, start)
      states.push(node)
      return node
    }
    const tensors = new Map<string, Tensor>()
    const learned: Tensor[] = []
    const parameter = (p: Parameter): Tensor => {
      const known = tensors.get(p.name)
      if (known) return known
      const begun = p.name.startsWith(HEAD) ? undefined : student.weights?.tensor(p.name, p.shape).data
      const node = state(p.name, p.shape, begun ?? beginning(p))
      tensors.set(p.name, node)
      if (p.learned) learned.push(node)
      return node
    }
    const beginning = ({ initial, shape, name }: Parameter): Float32Array | number =>
      initial === 'xavier' ? uniformNoise(seedOf(name, run.seed), elements(shape), xavierBound(shape)) : initial

    const looking = run.once ? [student] : [student, ...teachers]
    const alignments = [...new Set(looking.map(({ network }) => network.alignment))]
    const maps = new Map(alignments.map((name) => [name, g.input(`maps.${name}`, [batch, 6])]))
    const photos = g.input('photos', [batch])
    const light = g.input('light', [batch, 1, 1, 1])
    const [canvases, degraded] = ['canvases', 'degraded'].map((name) => g.input(name, [batch, 3, CANVAS, CANVAS]))
    const seen = (network: Recogniser, of: Tensor) => crops(of, maps.get(network.alignment)!, network, light)

    const { network } = student
    const lessons = teachers.map((teacher) => {
      const { id, embedding } = teacher.network
      const told = rows.get(id)
      const taught = told
        ? gather(g.constant(told.data, told.shape), photos)
        : normalize(teacher.network.build(seen(teacher.network, canvases), teacher.weights))
      const plain = isOwn(student, teacher) || target === 'similarities'
      const shape = [embedding, network.embedding]
      const head = () => parameter({ name: `${HEAD}${id}`, shape, initial: 'xavier', learned: true })
      return { taught, translated: (y: Tensor) => (plain ? y : linear(y, head())) }
    })
    const studied = (x: Tensor) => {
      const weights = learnedWeights(parameter)
      const y = network.build(x, weights)
      const losses = lessons.map(({ taught, translated }) =>
        target === 'similarities' ? unlike(y, taught) : apart(translated(y), taught),
      )
      return {
        loss: div(
          losses.reduce((a, b) => add(a, b)),
          losses.length,
        ),
        running: weights.running,
      }
    }

    const x = seen(network, degraded)
    let change: Tensor | undefined
    if (radius > 0) {
      change = mul(g.input('noise', x.shape), radius)
      const step = radius * (inner === 1 ? 1.25 : 2 / inner)
      for (let k = 0; k < inner; k++) {
        const worse = changed(x, change)
        change = detach(climbed(change, grad(studied(worse).loss, [worse])[0], step, radius))
      }
    }
    let { loss, running } = studied(change ? changed(x, change) : x)
    if (change && run.clean > 0) {
      const clean = studied(x)
      loss = div(add(loss, mul(clean.loss, run.clean)), 1 + run.clean)
      running = clean.running
    }
    const updates = updatesOf(g, state, loss, learned, run)
    for (const [name, value] of running) updates.push([tensors.get(name)!, value])
    return new Trainer(await compile(gpu, { loss }, { updates }), tensors, states, alignments)
  }

  /** Submits a step; resolves with the loss before it, one number. `applied`: whether the weights change with it. */
  step(made: Batch, rate: number, applied: boolean): Promise<Float32Array> {
    const { maps, ...more } = made
    const values = { ...more, rate, applied: Number(applied) }
    for (const [name, value] of Object.entries(values)) if (this.plan.has(name)) this.plan.write(name, value)
    for (const [alignment, map] of maps) this.plan.write(`maps.${alignment}`, map)
    this.plan.run()
    return this.plan.read('loss')
  }

  /** The student's tensors as its network takes them. */
  weights(): Promise<Tensors> {
    return this.read([...this.tensors].filter(([name]) => !name.startsWith(HEAD)))
  }

  /** All that the next step needs. */
  save(): Promise<Tensors> {
    return this.read(this.states.map((node) => [node.name, node]))
  }

  restore(saved: Tensors): void {
    for (const { name } of this.states) this.plan.write(name, saved.get(name)!.data)
  }

  [Symbol.dispose](): void {
    this.plan.destroy()
  }

  private async read(nodes: (readonly [string, Tensor])[]): Promise<Tensors> {
    const read = nodes.map(async ([name, node]) => {
      return [name, { shape: node.shape, data: await this.plan.read(node.name) }] as const
    })
    return new Map(await Promise.all(read))
  }
}

/** Steps of the optimiser, after so many batches' gradients each. */
function updatesOf(
  g: Graph,
  state: (name: string, shape: Shape, start?: number) => Tensor,
  loss: Tensor,
  learned: readonly Tensor[],
  { accumulate, optimiser }: Run,
): Updates {
  const rate = g.input('rate', [])
  const applied = accumulate > 1 ? g.input('applied', []) : undefined
  const kept = (next: Tensor, before: Tensor) => (applied ? where(applied, next, before) : next)
  const gradients = grad(loss, learned)
  const updates: Updates = []
  const count = optimiser === 'adam' ? state('optimiser.step', [], 1) : undefined
  for (const [i, node] of learned.entries()) {
    const { name, shape } = node
    let gradient = gradients[i]
    if (applied) {
      const total = state(`${name}.total`, shape)
      gradient = add(total, div(gradient, accumulate))
      updates.push([total, where(applied, 0, gradient)])
    }
    if (count) {
      const [mean, variance] = [state(`${name}.mean`, shape), state(`${name}.variance`, shape)]
      const next = adam(node, gradient, { mean, variance }, count, rate)
      updates.push([node, kept(next.parameter, node)])
      updates.push([mean, kept(next.mean, mean)], [variance, kept(next.variance, variance)])
    } else {
      const velocity = state(`${name}.velocity`, shape)
      const next = sgd(node, gradient, velocity, rate, { momentum: 0.9 })
      updates.push([node, kept(next.parameter, node)], [velocity, kept(next.velocity, velocity)])
    }
  }
  if (count) updates.push([count, kept(add(count, 1), count)])
  return updates
}

/** A seed for each tensor. */
function seedOf(name: string, seed: number): number {
  let hash = 0
  for (const character of name) hash = (Math.imul(hash, 31) + character.charCodeAt(0)) | 0
  return (hash ^ Math.imul(seed, 0x9e3779b9)) >>> 0
}
