/** examples/train.ts learns to tell real people apart; and the training form of the IR networks is the one that `ir` runs. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { compile, graph, type Plan } from '../../src/graph/index.ts'
import { elements } from '../../src/kernels/op.ts'
import { type IrArchitecture, ir, irTraining } from '../../src/models/ir.ts'
import { type Parameter, xavierBound } from '../../src/models/learned.ts'
import { readSafetensors } from '../../src/weights/safetensors.ts'
import { lowkey, type Outcome, room } from '../support/cli.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { installPackage } from '../support/package.ts'
import { uniform } from '../support/random.ts'
import { dataBeside, isAtHand } from '../support/scope.ts'

const repository = resolve(import.meta.dirname, '../..')
// Beside the package, as somebody who copied it has it.
const { folder: elsewhere } = installPackage()
cpSync(join(repository, 'examples'), join(elsewhere, 'examples'), { recursive: true })
const script = join(elsewhere, 'examples/train.ts')
const lfw = dataBeside('photos/lfw')

/** Runs the example in an empty folder. */
async function trained(...args: string[]): Promise<Outcome & { folder: string }> {
  const folder = room('train')
  const gpu = process.env.LOWKEY_GPU ? ['--gpu', process.env.LOWKEY_GPU] : []
  return { folder, ...(await lowkey([...args, ...gpu], { cwd: folder, script })) }
}

const here = isAtHand(lfw)
describe.skipIf(!here)(`examples/train.ts${here ? '' : ' (skipped: there is no ../shared/data/photos/lfw)'}`, () => {
  test('ArcFace and Adam teach a small IR network 16 people, also on photos that it has not seen', {
    timeout: 600_000,
  }, async () => {
    const settings = ['--align', 'centre', '--people', '16', '--batch', '32', '--steps', '40', '--rate', '0.003']
    const { stdout, stderr, code, created, folder } = await trained(lfw, ...settings)
    console.log(stdout.trim())
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(stdout).toContain('16 people: 128 faces to learn from, 32 held out\n')
    const figures = (when: string): [loss: number, rank1: number] => {
      const line = new RegExp(`^${when}: loss (\\S+), rank-1 (\\S+)% .*\\(chance 6.3%\\)$`, 'm').exec(stdout)
      return [Number(line?.[1]), Number(line?.[2]) / 100]
    }
    const [lossBefore, rankBefore] = figures('before')
    const [lossAfter, rankAfter] = figures('after')
    expect(lossAfter).toBeLessThan(lossBefore / 2)
    // By chance one in 16 is right: that 10 of 32 are, which is 0.31, happens less than once in 50,000 times.
    expect(rankAfter).toBeGreaterThan(0.31)
    expect(rankAfter).toBeGreaterThan(rankBefore + 0.15)

    expect(created).toEqual(['out/recogniser.safetensors'])
    const file = join(folder, created[0])
    const { tensors, metadata } = readSafetensors(readFileSync(file), file)
    const weights = {
      tensor(name: string) {
        const { shape, data } = tensors.get(name)!
        return { shape, data: data as Float32Array }
      },
    }
    const architecture = JSON.parse(metadata.architecture) as IrArchitecture
    expect(ir(graph().input('x', [1, 3, 112, 112]), weights, architecture).shape).toEqual([1, 64])
    for (const [name, { data }] of tensors) {
      expect((data as Float32Array).every(Number.isFinite), name).toBe(true)
      if (name.endsWith('running_var')) expect(Math.min(...(data as Float32Array)), name).toBeGreaterThan(0)
    }
  })

  test('the same seed gives the same weights, another seed others', async () => {
    const run = async (seed: string): Promise<Uint8Array> => {
      const settings = ['--align', 'centre', '--people', '2', '--batch', '4', '--steps', '2', '--seed', seed]
      const { folder, code } = await trained(lfw, ...settings, '-o', 'a.safetensors')
      expect(code).toBe(0)
      return readFileSync(join(folder, 'a.safetensors'))
    }
    const first = await run('7')
    expect(Buffer.compare(await run('7'), first)).toBe(0)
    expect(Buffer.compare(await run('8'), first)).not.toBe(0)
  })
})

describe('examples/train.ts, called wrongly', () => {
  test('says what is wrong with the arguments', async () => {
    const missing = await trained('no-such-folder')
    expect([missing.code, missing.stderr]).toEqual([2, 'train: no-such-folder is no folder\n'])
    const steps = await trained('.', '--steps', 'many')
    expect(steps.code).toBe(2)
    expect(steps.stderr).toContain('--steps takes a whole number from 1')
  })

  test('leaves out what is no photo and who has too few, and needs two people', async () => {
    const folder = room('people')
    mkdirSync(join(folder, 'people/A'), { recursive: true })
    writeFileSync(join(folder, 'people/A/1.jpg'), 'no photo')
    const { code, stderr, created } = await trained(join(folder, 'people'), '--align', 'centre')
    expect(code).toBe(2)
    expect(stderr).toMatch(/1\.jpg is called a photo, but holds text.*; left out\n/)
    expect(stderr).toContain('A: 0 faces are too few to hold 2 out; left out\n')
    expect(stderr).toContain('0 people have enough photos; two are needed at least\n')
    expect(created).toEqual([])
  })
})

describe('irTraining', async () => {
  const gpu = await testGpu()
  /** Both kinds of shortcut, units without one, and squeeze-and-excitation. */
  const architecture: IrArchitecture = {
    units: [2, 1, 1, 2],
    channels: [16, 32, 32, 48],
    embedding: 24,
    squeezeExcitation: true,
  }
  const batch = 3

  test('with the statistics of the batch gives what `ir` gives of them as running ones', async () => {
    const images = uniform(1, batch * 3 * 112 * 112)
    const g = graph()
    const parameters = new Map<string, Parameter & { data: Float32Array }>()
    const parameter = (p: Parameter) => {
      const count = elements(p.shape)
      const bound = p.initial === 'xavier' ? xavierBound(p.shape) : 0.5
      // Running values begin at 0, so that after the step they are a tenth of the batch's.
      const data = p.learned ? uniform(parameters.size, count, -bound, bound) : new Float32Array(count)
      parameters.set(p.name, { ...p, data })
      return g.constant(data, p.shape, p.name)
    }
    const { embedding, running } = irTraining(g.input('x', [batch, 3, 112, 112]), parameter, architecture)
    using plan: Plan = await compile(gpu, { embedding, ...Object.fromEntries(running) })
    plan.write('x', images)
    plan.run()
    const want = await plan.read('embedding')
    for (const name of running.keys()) {
      const count = batch * pixelsOf(name)
      // What runs is the unbiased variance; what normalises is the biased one.
      const share = name.endsWith('running_var') ? (count - 1) / count : 1
      parameters.get(name)!.data = (await plan.read(name)).map((value) => 10 * share * value)
    }

    const x = graph().input('x', [batch, 3, 112, 112])
    using inference = await compile(gpu, { y: ir(x, { tensor: (name) => parameters.get(name)! }, architecture) })
    inference.write('x', images)
    inference.run()
    expect(relmax(await inference.read('y'), want)).toBeLessThan(1e-3)
  })

  /** Pixels that the normalisation of this name sees of an image. */
  function pixelsOf(name: string): number {
    const [part, index, block, layer] = name.split('.')
    if (part === 'input_layer') return 112 ** 2
    if (part === 'output_layer') return index === '0' ? 49 : 1
    const stage = architecture.units.flatMap((count, s) => Array<number>(count).fill(s))
    const unit = Number(index)
    const side = 56 / 2 ** stage[unit]
    const first = unit === 0 || stage[unit] !== stage[unit - 1]
    return (block === 'res_layer' && layer === '0' && first ? 2 * side : side) ** 2
  }

  test('refuses a single image, which has no statistics', () => {
    const x = graph().input('x', [1, 3, 112, 112])
    const never = () => expect.unreachable()
    expect(() => irTraining(x, never, architecture)).toThrow('x must be [N,3,H,W] with N from 2, not [1,3,112,112]')
  })
})
