/** Tensors kept in f16 between operations: the conversion of shaders, every operation on such tensors, and which tensors are kept so. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { loadNetworks } from '../../src/attack/node.ts'
import { changeShape, matrixInput, recordObjective } from '../../src/attack/objective.ts'
import { presets } from '../../src/attack/presets.ts'
import { compile, type GraphTensor, grad, graph, type Plan } from '../../src/graph/index.ts'
import { lower, offerKernels, reachable } from '../../src/graph/lower.ts'
import { readPhoto } from '../../src/images/index.ts'
import {
  add,
  affine,
  averagePool2d,
  batchNorm,
  concat,
  conv2d,
  flatten,
  flip,
  linear,
  maxPool2d,
  mul,
  prelu,
  relu,
  reshape,
  signedStep,
  slice,
  square,
  sum,
} from '../../src/kernels/index.ts'
import { elements, formatShape, type Kernel, type Shape, type Tensor } from '../../src/kernels/op.ts'
import { shaderSource } from '../../src/kernels/wgsl.ts'
import type { Check } from '../operations/check.ts'
import { checks } from '../operations/index.ts'
import { inputsOf, largestError, tolerance } from '../support/check-operation.ts'
import { testGpu } from '../support/gpu.ts'
import { f16round, halfCopy, pretending, ROUNDING, singleCopy } from '../support/half.ts'
import { uniform } from '../support/random.ts'
import { everything, kernelsToTry, LONG } from '../support/scope.ts'

const gpu = await testGpu()
const everywhere = { products: 'f16', storage: 'f16' } as const

/** A shader of inputs x and dx and output y, of which those named are f16. */
const source = (code: string, halves: string, type?: 'vec4f'): string => {
  const binding = (name: string) => ({ name, buffer: 0, type, half: halves.split(' ').includes(name) })
  const [x, dx, y] = ['x', 'dx', 'y'].map(binding)
  return shaderSource({ label: '', code, reads: [x, dx], writes: [y], workgroups: [1, 1, 1] })
}

describe('accesses to buffers of f16 in a shader', () => {
  test('are converted where they are read and where they are written', () => {
    const text = source('y[i] = x[i] + dx[i];', 'x y')
    expect(text).toContain('enable f16;')
    expect(text).toContain('var<storage, read> x: array<f16>;')
    expect(text).toContain('var<storage, read> dx: array<f32>;')
    expect(text).toContain('var<storage, read_write> y: array<f16>;')
    expect(text).toContain('y[i] = f16(clamp( f32(x[i]) + dx[i], f32(-65504), f32(65504)));')
    const wide = source('y[i] = x[i];', 'x y', 'vec4f')
    expect(wide).toContain('var<storage, read> x: array<vec4h>;')
    expect(wide).toContain('y[i] = vec4h(clamp( vec4f(x[i]), vec4f(-65504), vec4f(65504)));')
  })

  test('also within indices and comparisons, and not those of other names', () => {
    expect(source('let v = x[u32(x[i]) + a[j]];', 'x')).toContain('let v = f32(x[u32(f32(x[i])) + a[j]]);')
    expect(source('if (y[i] == c.x[i]) { xx[i] = 1; }', 'x y')).toContain('if (f32(y[i]) == c.x[i]) { xx[i] = 1; }')
    expect(source('let v = x[i] * dx[i];', 'dx')).toContain('let v = x[i] * f32(dx[i]);')
  })

  test('are left alone where no buffer holds f16', () => {
    expect(source('y[i] = x[i];', '')).toMatch(/\ny\[i\] = x\[i\];$/)
    expect(source('y[i] = x[i];', '')).not.toContain('f16')
  })
})

/** Every kernel of an operation gives the reference's numbers, to the rounding of its output, where inputs and output are in f16. */
async function check(
  { op, reference }: Check<unknown>,
  c: Check<unknown>['cases'][number],
  kernels: readonly Kernel[],
): Promise<void> {
  // Numbers that a case gives itself, such as places far outside of an image, stay as they are: f16 may not have them.
  const drawn = c.shapes.map((_, k) => !(c.fill?.[k] instanceof Float32Array))
  const values = inputsOf(c).map((v, k) => (drawn[k] ? v.map(f16round) : v))
  const want = reference(
    c.args,
    values.map((v) => Float64Array.from(v)),
    c.shapes,
  )
  const largest = Math.max(...c.shapes.map(elements))
  const follows = c.shapes.every((shape, k) => drawn[k] || elements(shape) < largest)
  const rounded = op.half === 'always' || (op.half === 'follows' && follows)
  const variants = op.view ? [''] : kernels.map((k) => k.variant)
  for (const variant of variants) {
    const g = graph()
    const x = c.shapes.map((shape, k) => {
      const input = g.input(`x${k}`, shape)
      return drawn[k] ? halfCopy(input) : input
    })
    const outputs = { y: singleCopy(g.apply(op, x, c.args)) }
    const choose = (node: { op: unknown }, kernels: readonly { variant: string }[]) =>
      (node.op === op && kernels.find((k) => k.variant === variant)) || kernels[0]
    using plan = await compile(gpu, outputs, { poison: true, ...everywhere, choose: choose as never })
    expect(plan.summary().halfTensors).toBe(drawn.filter(Boolean).length + Number(rounded))
    for (const [k, v] of values.entries()) plan.write(`x${k}`, v)
    plan.run()
    const allowed = tolerance(op, c) + (rounded ? ROUNDING : 0)
    expect(largestError(await plan.read('y'), want), variant).toBeLessThan(allowed)
  }
}

describe.skipIf(!gpu.capabilities.f16)('operations on tensors in f16', async () => {
  for (const held of checks) {
    for (const [c, kernels] of await kernelsToTry(held.op, held.cases, gpu.capabilities)) {
      test(`${held.op.name} ${c.shapes.map(formatShape).join(' ')} ${JSON.stringify(c.args)}`, () =>
        check(held, c, kernels))
    }
  }
})

/** A residual network with about everything that networks of face recognition have. x [N,3,16,16] to [N,10]. */
function network(x: Tensor): Tensor {
  const g = x.recorder
  const weight = (seed: number, shape: Shape, low = -1, high = 1) => {
    const spread = Math.sqrt(3 / elements(shape.slice(1)))
    const data = uniform(seed, elements(shape)).map((v) => ((v + 1) / 2) * (high - low) + low)
    return g.constant(shape.length > 3 || shape[0] === 10 ? data.map((v) => v * spread) : data, shape)
  }
  const both = concat([x, flip(x, 3)], 0)
  const first = prelu(
    conv2d(both, weight(1, [8, 3, 3, 3]), weight(2, [8]), { padding: 1 }),
    weight(3, [8, 1, 1], 0, 0.5),
  )
  const norm = batchNorm(first, weight(4, [8]), weight(5, [8]), weight(6, [8]), weight(7, [8], 0.5, 2))
  const inner = relu(conv2d(norm, weight(8, [8, 1, 3, 3]), undefined, { padding: 1, groups: 8 }))
  const block = add(first, conv2d(inner, weight(9, [8, 8, 3, 3]), undefined, { padding: 1 }))
  const pooled = averagePool2d(maxPool2d(block, { kernel: 3, stride: 2, padding: 1 }), { kernel: 2 })
  const y = linear(flatten(pooled), weight(10, [10, 8 * 16]))
  const n = x.shape[0]
  return add(slice(y, 0, 0, n), slice(y, 0, n, 2 * n))
}

const cosine = (a: Float32Array, b: Float32Array): number => {
  const dot = (p: Float32Array, q: Float32Array) => p.reduce((s, v, i) => s + v * q[i], 0)
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
}

/** Share of the elements of `a` that are not zero and have the same sign in `b`. */
const sameSigns = (a: Float32Array, b: Float32Array): number => {
  const others = a.reduce((n, v, i) => n + Number(v !== 0 && Math.sign(v) !== Math.sign(b[i])), 0)
  return 1 - others / a.reduce((n, v) => n + Number(v !== 0), 0)
}

describe.skipIf(!gpu.capabilities.f16)('a network with tensors in f16', () => {
  const shape = [2, 3, 16, 16]
  const record = () => {
    const g = graph()
    const x = g.input('x', shape)
    const y = network(x)
    const loss = sum(square(y))
    const gradient = grad(affine(loss, 2 ** 10, 0), x)
    const next = signedStep(x, gradient, 2 ** -7)
    return { x, y, loss, gradient, next }
  }
  const run = async (device: typeof gpu, options: Parameters<typeof compile>[2]) => {
    const { x, y, loss, gradient, next } = record()
    using plan: Plan = await compile(device, { y, loss, gradient }, { poison: true, updates: [[x, next]], ...options })
    const start = uniform(90, elements(shape))
    plan.write('x', start)
    plan.run()
    const [values, slopes, after] = await Promise.all(['y', 'gradient', 'x'].map((name) => plan.read(name)))
    return { values, slopes, start, after, summary: plan.summary() }
  }

  test.each([
    { name: 'fused', fuse: true, software: gpu.capabilities.software },
    { name: 'not fused', fuse: false, software: gpu.capabilities.software },
    { name: 'by kernels for GPUs', fuse: true, software: false },
  ])('$name: outputs and gradients are those of f32 but for rounding', async ({ fuse, software }) => {
    const single = await run(gpu, { fuse })
    const half = await run(pretending(gpu, { software }), { fuse, ...everywhere, tuning: false })
    expect(half.summary.halfTensors).toBeGreaterThanOrEqual(fuse ? 12 : 20)
    expect(largestError(half.values, single.values)).toBeLessThan(4 * ROUNDING)
    // Gradients jump where a rounded number is on the other side of a kink.
    expect(cosine(half.slopes, single.slopes)).toBeGreaterThan(0.999)
    expect(sameSigns(single.slopes, half.slopes)).toBeGreaterThan(0.98)
    expect(half.values).not.toEqual(single.values)
    // The step itself loses nothing: what it changes is no f16.
    const expected = half.start.map((v, i) => v + Math.sign(half.slopes[i]) * 2 ** -7)
    expect(half.after).toEqual(expected)
  })

  test('gives the same bits again', async () => {
    const [a, b] = [await run(gpu, everywhere), await run(gpu, everywhere)]
    expect(a.slopes).toEqual(b.slopes)
  })

  test('is the same as ever where the adapter has no f16, and where only products may be rounded on a processor', async () => {
    const single = await run(gpu, {})
    for (const half of [
      await run(pretending(gpu, { f16: false }), everywhere),
      await run(pretending(gpu, { software: true }), { products: 'f16' }),
    ]) {
      expect(half.summary).toEqual(single.summary)
      expect(half.slopes).toEqual(single.slopes)
    }
  })
})

describe.skipIf(!gpu.capabilities.f16)('which tensors are in f16', () => {
  const lowered = async (outputs: Tensor[], half: boolean) => {
    const offers = await offerKernels(reachable(outputs as GraphTensor[]), gpu.capabilities)
    return lower(outputs as GraphTensor[], gpu.capabilities, { half, fuse: false, offers })
  }
  const halves = async (outputs: Tensor[]): Promise<string[]> => {
    const { placed } = await lowered(outputs, true)
    return placed.flatMap(({ writes }) => writes.filter((v) => v.half).map((v) => v.name))
  }
  const image = () => {
    const g = graph()
    const x = g.input('x', [1, 3, 8, 8])
    return { g, x, y: conv2d(x, g.constant(uniform(1, 108), [4, 3, 3, 3]), undefined, { padding: 1 }) }
  }

  test('those that convolutions make, and what is made of them element by element', async () => {
    const { g, x, y } = image()
    const z = concat([relu(y), slice(y, 1, 0, 2)], 1)
    expect(await halves([sum(mul(z, g.input('gate', [1, 6, 1, 1])))])).toEqual([
      'conv2d',
      'relu',
      'slice',
      'concat',
      'mul',
    ])
    expect(await halves([sum(relu(affine(x, 2, 0)))])).toEqual([])
    expect(await halves([sum(square(y))])).toEqual(['conv2d'])
  })

  test('not what is read or carried on, also under another shape, and what follows that', async () => {
    const { y } = image()
    expect(await halves([y])).toEqual([])
    expect(await halves([reshape(y, [256]), sum(relu(y))])).toEqual([])
    const { x, y: other } = image()
    const three = slice(other, 1, 0, 3)
    expect(await halves([sum(signedStep(x, three, 1)), sum(add(three, x))])).toEqual(['conv2d', 'slice'])
  })

  test('not what is computed once, nor sums', async () => {
    const g = graph()
    const weights = g.constant(uniform(1, 108), [4, 3, 3, 3])
    const made = conv2d(g.constant(uniform(2, 192), [1, 3, 8, 8]), weights)
    expect(await halves([mul(sum(made), g.input('x', []))])).toEqual([])
    expect(await halves([sum(conv2d(g.fixed('photo', [1, 3, 8, 8]), weights), [2, 3])])).toEqual(['conv2d'])
  })

  test('take half the memory, and half the traffic in profiles', async () => {
    const g = graph()
    const x = g.input('x', [1, 1, 256, 256])
    const y = relu(halfCopy(x))
    const outputs = { y: sum(affine(y, 2, 0)) }
    using single = await compile(gpu, outputs, { fuse: false })
    using half = await compile(gpu, outputs, { fuse: false, ...everywhere })
    // The input, and two tensors one after the other.
    expect(single.summary().mib).toBeCloseTo(0.75, 2)
    expect(half.summary().mib).toBeCloseTo(0.5, 2)
    expect(half.summary().halfTensors).toBe(3)
    const bytes = async (precise: boolean) =>
      (await lowered([outputs.y], !precise)).placed.map((s) => s.bytes / 2 ** 18)
    expect((await bytes(true)).slice(0, 3)).toEqual([2, 2, 2])
    expect((await bytes(false)).slice(0, 3)).toEqual([1.5, 1, 1])
  })

  test('numbers beyond f16 become its largest, those below its smallest zero', async () => {
    const g = graph()
    const x = g.input('x', [5])
    using plan = await compile(gpu, { y: singleCopy(halfCopy(x)) }, everywhere)
    plan.write('x', Float32Array.of(1e6, -1e30, 65504, 1e-9, -0.125))
    plan.run()
    expect(await plan.read('y')).toEqual(Float32Array.of(65504, -65504, 65504, 0, -0.125))
  })
})

const weights = fileURLToPath(new URL('../../weights/sirius.safetensors', import.meta.url))

describe.skipIf(!gpu.capabilities.f16 || !existsSync(weights) || !everything)(
  `the gradient of the attack${LONG}`,
  () => {
    test('with tensors in f16 and the objective scaled points where that of f32 does', {
      timeout: 300_000,
    }, async () => {
      const side = 128
      const photo = await readPhoto(fileURLToPath(new URL('../../examples/astronaut.png', import.meta.url)))
      const planes = Float32Array.from({ length: 3 * side * side }, (_, i) => {
        const [c, y, x] = [Math.floor(i / side / side), Math.floor(i / side) % side, i % side]
        return photo.rgb[3 * ((y + 50) * photo.width + x + 165) + c] / 255
      })
      const { surrogates, lpips } = await loadNetworks(['sirius'])
      const shape = { height: side, width: side, faces: 1, grey: false }
      const change = uniform(7, elements(changeShape(shape)), -0.01, 0.01)
      const scale = 2 ** 18
      const [single, half] = await Promise.all(
        [undefined, everywhere].map(async (asked) => {
          const g = graph()
          const { total } = recordObjective(g, {
            shape,
            surrogates,
            perceptual: lpips,
            preset: presets.paper,
            masked: false,
          })
          const delta = g.nodes.find((node) => node.name === 'delta')!
          const gradient = grad(affine(total, scale, 0), delta)
          using plan = await compile(gpu, { total, gradient }, asked)
          const matrix = Float32Array.of(side / 112, 0, 0, 0, side / 112, 0)
          for (const [name, data] of Object.entries({ clean: planes, base: planes, delta: change }))
            plan.write(name, data)
          plan.write(matrixInput('arcface112'), matrix)
          plan.run()
          return { total: await plan.read('total'), slopes: await plan.read('gradient'), mib: plan.bytes / 2 ** 20 }
        }),
      )
      expect(largestError(half.total, single.total)).toBeLessThan(0.01)
      expect(cosine(half.slopes, single.slopes)).toBeGreaterThan(0.999)
      expect(sameSigns(single.slopes, half.slopes)).toBeGreaterThan(0.99)
      const largest = half.slopes.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
      expect(largest).toBeGreaterThan(0)
      expect(largest).toBeLessThan(65504 / 8)
      expect(half.mib).toBeLessThan(single.mib)
      console.log(
        `cosine ${cosine(half.slopes, single.slopes).toFixed(6)}, signs ${sameSigns(single.slopes, half.slopes).toFixed(4)}, ` +
          `largest ${largest.toFixed(1)}, ${single.mib.toFixed(0)} and ${half.mib.toFixed(0)} MiB`,
      )
    })
  },
)
