/**
 * Kernels for real GPUs, on whatever adapter there is: offered for its limits and features as if it were no processor. Matrix
 * units, which no software adapter has, are compiled by Dawn's null backend, which validates shaders and runs nothing.
 */
import { describe, expect, test } from 'vitest'
import { create } from 'webgpu'
import { compile, graph } from '../../src/graph/index.ts'
import type { ChooseKernel } from '../../src/graph/lower.ts'
import { convArgs } from '../../src/kernels/conv/geometry.ts'
import { convTranspose2dOp } from '../../src/kernels/conv-transpose2d.ts'
import { conv2dOp } from '../../src/kernels/conv2d.ts'
import { conv2dWeightGradientOp } from '../../src/kernels/conv2d-weight-gradient.ts'
import { matmulOp } from '../../src/kernels/matmul.ts'
import { type Binding, formatShape, type Kernel, type Op, type Target } from '../../src/kernels/op.ts'
import { shaderSource } from '../../src/kernels/wgsl.ts'
import type { Case } from '../operations/check.ts'
import { casesOf, referenceOf } from '../operations/index.ts'
import { inputsOf, largestError, tolerance } from '../support/check-operation.ts'
import { testGpu } from '../support/gpu.ts'
import { f16round, halfCopy, ROUNDING, singleCopy } from '../support/half.ts'
import { everything, kernelsToTry, LONG } from '../support/scope.ts'

const gpu = await testGpu({ fewLanes: true })
/** Must not be collected while its device lives. */
const nothing = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis'])
const asGpu: Target = { ...gpu.capabilities, software: false, products: gpu.capabilities.f16 ? 'f16' : 'f32' }

/**
 * Each operand rounded to f16 is off by up to 2^-11 of itself, so a product by 2^-10. In a sum of random signs errors grow as
 * the sum does, so that the largest of them stays about there relative to the largest sum; twice that is allowed.
 */
const HALF = 2 ** -9

/** @param half inputs and output are kept in f16 */
async function check(op: Op<unknown>, c: Case<unknown>, kernels: readonly Kernel[], half = false): Promise<void> {
  const values = inputsOf(c).map((v) => (half ? v.map(f16round) : v))
  const want = referenceOf(op)(
    c.args,
    values.map((v) => Float64Array.from(v)),
    c.shapes,
  )
  for (const kernel of kernels) {
    const g = graph()
    const x = c.shapes.map((shape, k) => g.input(`x${k}`, shape))
    const y = half ? singleCopy(g.apply(op, x.map(halfCopy), c.args)) : g.apply(op, x, c.args)
    const choose: ChooseKernel = (node, offered) => (node.op === (op as Op<never>) ? kernel : offered[0])
    using plan = await compile(
      gpu,
      { y },
      { poison: true, choose, products: half ? 'f16' : 'f32', storage: half ? 'f16' : 'f32' },
    )
    expect(plan.summary().halfTensors).toBe(half ? x.length + Number(op.half !== undefined) : 0)
    for (const [k, v] of values.entries()) plan.write(`x${k}`, v)
    plan.run()
    const allowed = tolerance(op, c) + (kernel.precision === 'f16' ? HALF : 0) + (half ? ROUNDING : 0)
    expect(largestError(await plan.read('y'), want), kernel.variant).toBeLessThan(allowed)
  }
}

const conv = (n: number, c: number, h: number, w: number, k: number, options: object) => ({
  shapes: [[n, c, h, w], [k, c, 3, 3], [k]],
  args: convArgs({ padding: 1, ...options }),
})

const erased = <A>(op: Op<A>) => op as unknown as Op<unknown>

/** Larger than the operations' own cases: several tiles, sums long enough to be cut into parts. */
const LARGER: readonly (readonly [Op<unknown>, Case<unknown>])[] = [
  [erased(conv2dOp), conv(1, 32, 25, 40, 128, {})],
  [erased(conv2dOp), conv(1, 6, 30, 41, 200, {})],
  [erased(conv2dOp), conv(2, 37, 9, 11, 70, {})],
  [erased(conv2dOp), conv(1, 64, 12, 7, 33, { stride: 2 })],
  [
    erased(convTranspose2dOp),
    {
      shapes: [
        [1, 64, 6, 5],
        [64, 35, 3, 3],
      ],
      args: { ...convArgs({ padding: 1, stride: 2 }), size: [11, 10] },
    },
  ],
  [
    erased(convTranspose2dOp),
    { shapes: [[2, 70, 5, 7], [70, 130, 3, 3], [130]], args: { ...convArgs({ padding: 1 }), size: [5, 7] } },
  ],
  [
    erased(conv2dWeightGradientOp),
    {
      shapes: [
        [2, 9, 13, 11],
        [2, 66, 13, 11],
      ],
      args: { ...convArgs({ padding: 1 }), kernel: [3, 3] },
    },
  ],
  [erased(matmulOp), { shapes: [[70, 300], [131, 300], [131]], args: { transposeA: false, transposeB: true } }],
  [erased(matmulOp), { shapes: [[5, 512], [512, 72], [72]], args: { transposeA: false, transposeB: false } }],
  [
    erased(matmulOp),
    {
      shapes: [
        [6, 2308],
        [10, 2308],
      ],
      args: { transposeA: false, transposeB: true },
    },
  ],
  [erased(matmulOp), { shapes: [[3, 5, 132], [3, 9, 132], [9]], args: { transposeA: false, transposeB: true } }],
  [
    erased(matmulOp),
    {
      shapes: [
        [2, 6, 36],
        [2, 36, 68],
      ],
      args: { transposeA: false, transposeB: false },
    },
  ],
]

const title = (op: Op<unknown>, c: Case<unknown>) =>
  `${op.name} ${c.shapes.map(formatShape).join(' ')} ${JSON.stringify(c.args)}`

describe('kernels for GPUs', async () => {
  // In the short run a kernel that convolutions share is tried on one of them.
  const tried = { convolution: new Set<string>(), matmul: new Set<string>() }
  for (const op of [erased(conv2dOp), erased(convTranspose2dOp), erased(conv2dWeightGradientOp), erased(matmulOp)]) {
    const larger = LARGER.flatMap(([other, c]) => (other === op ? [c] : []))
    const shared = op === erased(matmulOp) ? tried.matmul : tried.convolution
    const [{ variant: first }] = await op.kernels(larger[0].args, larger[0].shapes, asGpu)
    shared.delete(first)
    const onLarger = await kernelsToTry(op, larger, asGpu, shared)
    for (const [c, kernels] of [...onLarger, ...(await kernelsToTry(op, casesOf(op), asGpu, shared))])
      test(title(op, c), () => check(op, c, kernels))
    for (const [c, kernels] of onLarger)
      test.skipIf(!gpu.capabilities.f16 || !everything)(`tensors in f16: ${title(op, c)}${LONG}`, () =>
        check(op, c, kernels, true),
      )
  }

  test('every one of them was tried', async () => {
    const offered = await Promise.all(LARGER.map(([op, c]) => op.kernels(c.args, c.shapes, asGpu)))
    const tried = new Set(offered.flat().map((k) => k.variant))
    const tiles = ['128x64', '64x64', '32x32'].flatMap((tile) => [`tile ${tile}`, `tile ${tile} split`])
    const names = ['winograd 4x4', 'winograd 2x2', 'rows', 'tile']
    if (asGpu.maxWorkgroupStorage < 24576) tiles.splice(0, 2)
    const half = asGpu.products === 'f16' ? ['rows', ...tiles].map((name) => `${name} f16`) : []
    expect([...tried].sort()).toEqual([...names, ...tiles, ...half].sort())
  })
})

/** Shapes of NVIDIA's, Apple's and Intel's matrix units, as far as they have subgroups of one size. */
const UNITS = [
  [16, 16, 16],
  [16, 8, 16],
  [8, 8, 8],
] as const

const withUnits = ([M, N, K]: (typeof UNITS)[number]): Target => ({
  ...asGpu,
  products: 'f16',
  f16: true,
  subgroups: true,
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  maxWorkgroupStorage: 16384,
  subgroupMatrix: [{ componentType: 'f16', resultComponentType: 'f32', M, N, K }],
})

const matrixKernels = (kernels: readonly Kernel[]) => kernels.filter((k) => k.variant.startsWith('matrix'))

/**
 * The kernel with the matrix units' functions written out: a thread of a subgroup of 32 has every 32nd element of a sum, and operands
 * are read where they lie. Loops have bounds that the compiler does not know, or it would unroll them for minutes.
 */
function emulated(kernel: Kernel, [M, N, K]: (typeof UNITS)[number]): Kernel {
  const own = (M * N) / 32
  const functions = `
var<private> thread: u32;
var<private> none: u32;
fn place(at: u32, stride: u32) -> vec2u { return vec2u(at, stride); }
fn multiply(a: vec2u, b: vec2u, c: array<f32, ${own}>) -> array<f32, ${own}> {
  var sums = c;
  for (var s = 0u; s < ${own}u + none; s++) {
    let i = thread + s * 32u;
    for (var k = 0u; k < ${K}u + none; k++) {
      sums[s] += f32(left[a.x + k * a.y + i / ${N}u]) * f32(right[b.x + k * b.y + i % ${N}u]);
    }
  }
  return sums;
}
fn storeSums(at: u32, value: array<f32, ${own}>, stride: u32) {
  var own = value;
  for (var s = 0u; s < ${own}u + none; s++) {
    let i = thread + s * 32u;
    sums[at + i / ${N}u * stride + i % ${N}u] = own[s];
  }
}
`
  const dispatches = kernel.dispatches.map((dispatch) => ({
    ...dispatch,
    enable: dispatch.enable?.filter((name) => name === 'f16'),
    code:
      dispatch.code
        .replace(/@diagnostic.*\n/, '')
        .replace('let lane = index % 32u;', 'let lane = index % 32u; thread = lane; none = index >> 20u;')
        .replaceAll(/subgroupMatrixLoad<subgroup_matrix_left<.*?>, col_major>\(&left,/g, 'place(')
        .replaceAll(/subgroupMatrixLoad<subgroup_matrix_right<.*?>, row_major>\(&right,/g, 'place(')
        .replaceAll('subgroupMatrixStore<row_major>(&sums,', 'storeSums(')
        .replaceAll('subgroupMatrixMultiplyAccumulate', 'multiply')
        .replaceAll(/subgroup_matrix_result<.*?>/g, `array<f32, ${own}>`) +
      (dispatch.code.includes('subgroupMatrix') ? functions : ''),
  }))
  return { ...kernel, dispatches }
}

describe('kernels for matrix units', async () => {
  const adapter = await nothing.requestAdapter()
  const requiredFeatures = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'] as GPUFeatureName[]
  const device = await adapter?.requestDevice({ requiredFeatures })
  for (const unit of UNITS) {
    test.skipIf(!device)(`${unit.join('x')}: the shaders are valid`, async () => {
      const names = new Set<string>()
      for (const [op, c] of LARGER) {
        const kernels = await op.kernels(c.args, c.shapes, withUnits(unit))
        expect(kernels[0].variant).not.toContain('matrix')
        for (const kernel of matrixKernels(kernels)) {
          names.add(kernel.variant)
          expect(kernel.rival).toBe(true)
          for (const dispatch of kernel.dispatches) {
            // Inputs and output in f32, and in f16.
            const bound = (b: Binding) => (/^scratch/.test(`${b.buffer}`) ? b : { ...b, half: true })
            const halves = { reads: dispatch.reads.map(bound), writes: dispatch.writes.map(bound) }
            for (const tensors of [{}, halves]) {
              const module = device!.createShaderModule({ code: shaderSource({ ...dispatch, ...tensors }) })
              const { messages } = await module.getCompilationInfo()
              expect(messages.map((m) => `${m.lineNum}: ${m.message}`)).toEqual([])
              await device!.createComputePipelineAsync({ layout: 'auto', compute: { module } })
            }
          }
        }
      }
      expect([...names].sort()).toEqual([`matrix ${unit.join('x')} f16`, `matrix ${unit.join('x')} split f16`])
    })
  }

  for (const unit of everything ? UNITS : UNITS.slice(1, 2)) {
    test.skipIf(!gpu.capabilities.f16)(`${unit.join('x')}: right with the units' functions written out`, async () => {
      for (const [op, c] of LARGER.slice(2, unit === UNITS[0] ? undefined : 3)) {
        const kernels = matrixKernels(await op.kernels(c.args, c.shapes, withUnits(unit)))
        expect(kernels.length).toBeGreaterThan(0)
        await check(
          op,
          c,
          kernels.map((kernel) => emulated(kernel, unit)),
        )
      }
    })
  }
})
