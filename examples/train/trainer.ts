/** A step of training as a plan: forward, backward and optimiser on the GPU. */
import {
  adamUpdates,
  arcFace,
  compile,
  crossEntropy,
  elements,
  type Gpu,
  graph,
  type IrArchitecture,
  irTraining,
  linear,
  normalize,
  type Parameter,
  type Plan,
  type Shape,
  type Tensor,
  xavierBound,
} from 'lowkey-gpu'
import type { Batch, Random } from './batches.ts'
import { SIDE } from './people.ts'

/** An eighth of IR-50's channels and less: without a GPU two cores take well under a second for a step. */
export const architecture: IrArchitecture = {
  units: [1, 1, 1, 1],
  channels: [8, 16, 24, 32],
  embedding: 64,
  squeezeExcitation: false,
}

/** A network's tensors by name. */
export type Weights = Map<string, { shape: Shape; data: Float32Array }>

/** The people's centres on the sphere of embeddings: part of the loss, not of the recogniser. */
const CENTRES = 'head.weight'

/** A step of training, compiled: parameters, their averages and the running statistics stay on the GPU from step to step. */
export class Trainer implements Disposable {
  private readonly parameters: readonly Parameter[]
  private readonly plan: Plan

  private constructor(parameters: readonly Parameter[], plan: Plan) {
    this.parameters = parameters
    this.plan = plan
  }

  static async compile(gpu: Gpu, batch: number, people: number): Promise<Trainer> {
    const g = graph()
    const parameters: Parameter[] = []
    const inputs = new Map<string, Tensor>()
    const parameter = (p: Parameter): Tensor => {
      const input = g.input(p.name, p.shape)
      parameters.push(p)
      inputs.set(p.name, input)
      return input
    }
    const { embedding, running } = irTraining(g.input('faces', [batch, 3, SIDE, SIDE]), parameter, architecture)
    const centres = parameter({
      name: CENTRES,
      shape: [people, architecture.embedding],
      initial: 'xavier',
      learned: true,
    })
    const cosines = linear(normalize(embedding), normalize(centres))
    const labels = g.input('labels', [batch])
    const loss = crossEntropy(arcFace(cosines, labels), labels)

    const rate = g.input('rate', [])
    const learned = parameters.filter((p) => p.learned).map((p) => inputs.get(p.name)!)
    const updates = adamUpdates(loss, learned, rate)
    for (const [name, value] of running) updates.push([inputs.get(name)!, value])
    return new Trainer(parameters, await compile(gpu, { loss }, { updates }))
  }

  /** Begins anew. */
  initialise(random: Random): void {
    this.plan.write('adam.step', 1)
    for (const { name, shape, initial, learned } of this.parameters) {
      const count = elements(shape)
      const value = initial === 'xavier' ? random(count, xavierBound(shape)) : new Float32Array(count).fill(initial)
      this.plan.write(name, value)
      if (!learned) continue
      this.plan.write(`${name}.mean`, new Float32Array(count))
      this.plan.write(`${name}.variance`, new Float32Array(count))
    }
  }

  /** Submits a step; resolves with the loss before it, one number. */
  step({ faces, labels }: Batch, rate: number): Promise<Float32Array> {
    this.plan.write('faces', faces)
    this.plan.write('labels', labels)
    this.plan.write('rate', Float32Array.of(rate))
    this.plan.run()
    return this.plan.read('loss')
  }

  /** The network's weights as `ir` takes them. */
  async weights(): Promise<Weights> {
    const kept = this.parameters.filter(({ name }) => name !== CENTRES)
    const read = kept.map(async ({ name, shape }) => [name, { shape, data: await this.plan.read(name) }] as const)
    return new Map(await Promise.all(read))
  }

  [Symbol.dispose](): void {
    this.plan.destroy()
  }
}

/** Trains, and gives the loss of every step. A step is submitted before the loss of the one before is waited for. */
export async function* train(
  trainer: Trainer,
  batches: Generator<Batch, never>,
  { steps, rate }: { steps: number; rate: number },
): AsyncGenerator<number> {
  let pending: Promise<Float32Array> | undefined
  for (let step = 0; step < steps; step++) {
    const next = trainer.step(batches.next().value, (rate / 2) * (1 + Math.cos((Math.PI * step) / steps)))
    if (pending) yield (await pending)[0]
    pending = next
  }
  if (pending) yield (await pending)[0]
}
