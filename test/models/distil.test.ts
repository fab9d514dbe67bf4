/** examples/distil.ts teaches a small network what a recogniser knows; and networks that are recorded to learn are those that are used. */
import type { ChildProcess } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { compile, grad, graph } from '../../src/graph/index.ts'
import { sum } from '../../src/kernels/index.ts'
import type { Shape, Tensor } from '../../src/kernels/op.ts'
import { architectureIds, architectureOf } from '../../src/models/architectures.ts'
import { learnedWeights } from '../../src/models/learned.ts'
import { recogniser, recogniserOf } from '../../src/models/recognisers.ts'
import { loadManifest, loadWeights } from '../../src/weights/node.ts'
import { readSafetensors } from '../../src/weights/safetensors.ts'
import { type Invocation, lowkey, room, says } from '../support/cli.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { raw } from '../support/made-photos.ts'
import { installPackage } from '../support/package.ts'
import { random, uniform } from '../support/random.ts'

const repository = resolve(import.meta.dirname, '../..')
// Beside the package, as somebody who copied it has it.
const { folder: elsewhere } = installPackage()
cpSync(join(repository, 'examples'), join(elsewhere, 'examples'), { recursive: true })
const script = join(elsewhere, 'examples/distil.ts')
const gpuOptions = process.env.LOWKEY_GPU ? ['--gpu', process.env.LOWKEY_GPU] : []

/** Two pictures of each of four "people": waves of their own, and a little noise. */
async function peopleIn(folder: string): Promise<void> {
  for (let person = 0; person < 4; person++) {
    const next = random(person + 1)
    const waves = Array.from({ length: 9 }, () => 6 * next())
    mkdirSync(join(folder, `person-${person}`), { recursive: true })
    for (let k = 0; k < 2; k++) {
      const side = 96
      const rgb = Uint8Array.from({ length: 3 * side * side }, (_, i) => {
        const [c, x, y] = [i % 3, Math.floor(i / 3) % side, Math.floor(i / 3 / side)]
        const [a, b, phase] = waves.slice(3 * c, 3 * c + 3)
        return 128 + 80 * Math.sin((a * x + b * y) / 20 + phase) + 30 * next()
      })
      await raw(rgb, side, side)
        .png()
        .toFile(join(folder, `person-${person}`, `${k}.png`))
    }
  }
}

describe('examples/distil.ts', () => {
  const folder = room('distil')
  const settings = [
    ...['--student', 'ir-1x4-1x6-1x8-1x10-e16', '--align', 'centre', '--batch', '4', '--steps', '12', '--every', '4'],
    ...['--radius', '4', '--rate', '0.01', '--warm-up', '1', '--jpeg', '0.5', '--blur', '0.5', '--accumulate', '2'],
  ]
  const heldOut = ['--held-out', 'photos', '--attacks', '8', '--attacked', '2']
  const distil = (output: string, more: readonly string[] = [], invocation: Partial<Invocation> = {}) =>
    lowkey(['photos', '-o', output, ...settings, ...more, ...gpuOptions], { cwd: folder, script, ...invocation })
  const student = (output: string) => readFileSync(join(folder, output, 'student.safetensors'))

  test('the loss falls; what is kept out is judged; interrupted and resumed gives the same weights', {
    timeout: 600_000,
  }, async () => {
    await peopleIn(join(folder, 'photos'))
    const whole = await distil('whole', ['--once', ...heldOut])
    console.log(whole.stdout.trim())
    expect([whole.stderr, whole.code]).toEqual(['', 0])
    const report = JSON.parse(readFileSync(join(folder, 'whole/report.json'), 'utf8'))
    const losses = report.losses.map(({ loss }: { loss: number }) => loss)
    expect(losses).toHaveLength(3)
    expect(losses[2]).toBeLessThan(losses[0] - 0.03)
    const { recognisers } = report.heldOut
    expect(Object.keys(recognisers)).toEqual(['student', 'sirius'])
    for (const each of [recognisers.student, recognisers.sirius]) {
      expect(each).toMatchObject({ faces: 8, people: 4, genuinePairs: 4, impostorPairs: 24, attackedFaces: 2 })
      expect(Math.abs(each.underAttack[8])).toBeLessThan(1)
    }
    const { rank1, equalErrorRate } = recognisers.student
    expect(report.losses[2].heldOut).toEqual({ rank1, equalErrorRate })
    // It knows which two pictures are of the same waves, and was not taught to bear attacks.
    expect(recognisers.sirius.rank1).toBe(1)
    expect(recognisers.sirius.underAttack[8]).toBeLessThan(0.5)

    const during = (child: ChildProcess) => void says(child, /^step 4 /m).then(() => child.kill('SIGINT'))
    const stopped = await distil('parts', ['--once'], { during })
    expect(stopped.code).toBe(130)
    expect(stopped.stdout).toMatch(/stopped after step \d+; --resume goes on\n$/)
    expect(existsSync(join(folder, 'parts/student.safetensors'))).toBe(false)
    const other = await distil('parts', ['--once', '--resume', '--seed', '2'])
    expect([other.code, other.stderr]).toEqual([
      2,
      `distil: --resume: ${join('parts', 'checkpoint.safetensors')} was written with another seed\n`,
    ])
    const resumed = await distil('parts', ['--once', '--resume'], { replaces: ['parts/checkpoint.safetensors'] })
    expect([resumed.stderr, resumed.code]).toEqual(['', 0])
    expect(Buffer.compare(student('parts'), student('whole'))).toBe(0)
  })

  test('the file is a recogniser that can be imported, and is listed', { timeout: 120_000 }, async () => {
    const env = { LOWKEY_HOME: room('distil-home') }
    const run = (...args: string[]) => lowkey(['weights', ...args], { cwd: folder, env })
    const imported = await run('import', 'whole/student.safetensors', '--name', 'mine', ...gpuOptions)
    expect(imported.code).toBe(0)
    expect(imported.stderr).toContain('IR of 1/1/1/1 units (ir-1x4-1x6-1x8-1x10-e16)')
    const listed = await run('list')
    expect(listed.stdout).toMatch(/^mine +recogniser +ready .*IR of 1\/1\/1\/1 units *$/m)
  })

  test('learns similarities too, from several teachers, with momentum', { timeout: 300_000 }, async () => {
    const more = ['--teachers', 'sirius,dlib', '--target', 'similarities', '--optimiser', 'sgd', '--steps', '2']
    const { stdout, stderr, code } = await distil('similar', [...more, '--every', '1', '--radius', '0', '--f16'])
    expect([stderr, code]).toEqual(['', 0])
    expect(stdout).toContain('sirius, dlib teach ir-1x4-1x6-1x8-1x10-e16')
    expect(stdout).toContain('nothing was kept out, so nothing is known of its accuracy')
    const { tensors } = readSafetensors(student('similar'), 'student')
    expect(new Set([...tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(['F16']))
    expect([...tensors.keys()]).not.toContain('head.dlib')
  })

  test('called wrongly, it says what is wrong', async () => {
    const nothing = await lowkey(['no-such-folder'], { cwd: folder, script })
    expect([nothing.code, nothing.stderr]).toEqual([2, 'distil: no-such-folder is no folder\n'])
    const radius = await lowkey(['.', '--radius', 'wide'], { cwd: folder, script })
    expect([radius.code, radius.stderr]).toEqual([2, 'distil: --radius takes a number from 0 to 255; got "wide"\n'])
  })
})

describe('learnedWeights', async () => {
  const gpu = await testGpu()

  test('asks of every recogniser for exactly the tensors that its files hold', () => {
    for (const id of architectureIds) {
      const architecture = architectureOf(id)!
      if (architecture.role !== 'recogniser') continue
      const g = graph()
      const asked = new Map<string, Shape>()
      const weights = learnedWeights(({ name, shape, learned }) => {
        asked.set(name, shape)
        expect(learned, name).toBe(!/running_(mean|var)$/.test(name))
        return g.input(name, shape)
      })
      const { size, build } = recogniserOf(id)
      expect(build(g.input('x', [2, 3, size, size]), weights).shape, id).toEqual([2, architecture.embedding])
      expect(new Map([...asked].sort()), id).toEqual(new Map([...architecture.tensors()].sort()))
      const statistics = [...asked.keys()].filter((name) => /running_(mean|var)$/.test(name))
      expect([...weights.running.keys()].sort(), id).toEqual(statistics.sort())
    }
  })

  test('with the weights of a network it computes that network, and what it asked for has gradients', async () => {
    const entry = (await loadManifest()).networks.find(({ id }) => id === 'sirius')!
    const weights = await loadWeights('sirius')
    const network = recogniser(entry)
    const images = uniform(1, 2 * 3 * 112 * 112, 0, 1)
    const g = graph()
    const x = g.input('x', [2, 3, 112, 112])
    const parameters = new Map<string, Tensor>()
    const learned = learnedWeights(({ name, shape }) => {
      const known = parameters.get(name)
      if (known) return known
      const parameter = g.state(name, shape, weights.tensor(name).data)
      parameters.set(name, parameter)
      return parameter
    })
    const y = network.build(x, learned)
    const gradients = grad(sum(y), [...parameters.values()])
    using plan = await compile(gpu, { y, used: network.build(x, weights), bias: gradients.at(-1)! })
    const values = await plan.run({ x: images })
    expect(relmax(values.y, values.used)).toBeLessThan(1e-5)
    // The last layer's bias is added to both embeddings.
    expect([...values.bias]).toEqual(Array(192).fill(2))
  })

  test('a network that came as an ONNX file, or is none, is refused by name', async () => {
    const entry = (await loadManifest()).networks.find(({ id }) => id === 'faceplugin')!
    const x = graph().input('x', [2, 3, 112, 112])
    const never = learnedWeights(() => expect.unreachable())
    expect(() => recogniser(entry).build(x, never)).toThrow('came as an ONNX file: its layers cannot be learned anew')
    expect(() => recogniserOf('mtcnn')).toThrow('mtcnn: is no architecture of a recogniser; known are ir-50')
  })
})
