/** jax-js on its WebGPU backend: jitted functions, gradients by its own differentiation. */
import type { Shape } from '../../src/kernels/op.ts'
import type { Engine, Prepared, Setup } from './engine.ts'
import { type JaxLoop, prepareJaxLoop } from './loop-jax.ts'
import { provideNavigator } from './navigator.ts'
import { filled, type Problem, productOperands, shapesOf } from './problem.ts'

/** What is used of it, written down here so that types are checked without the package. */
interface JaxArray {
  /** A further reference: every operation consumes the one it is given. */
  readonly ref: JaxArray
  reshape(shape: Shape): JaxArray
  mul(other: JaxArray): JaxArray
  data(): Promise<Float32Array>
  blockUntilReady(): Promise<unknown>
  dispose(): void
}
type Fn = (...args: JaxArray[]) => JaxArray
interface Jax {
  init(device: string): Promise<string[]>
  defaultDevice(device: string): unknown
  jit(f: Fn): Fn & { dispose?: () => void }
  grad(f: Fn, options: { argnums: number }): Fn
  numpy: { array(data: Float32Array): JaxArray; sum: Fn; matmul: Fn }
  lax: {
    convGeneralDilated(
      x: JaxArray,
      weights: JaxArray,
      strides: number[],
      padding: [number, number][],
      options: { rhsDilation: number[]; featureGroupCount: number },
    ): JaxArray
  }
}

/** The function to jit, and its arguments. */
function functionOf({ numpy, lax, grad }: Jax, problem: Problem): { f: Fn; args: JaxArray[] } {
  const array = (data: Float32Array, shape: Shape) => numpy.array(data).reshape([...shape])
  if (problem.kind === 'product') {
    const { x, weights } = productOperands(problem)
    const { m, k, n } = problem
    return { f: numpy.matmul, args: [array(x, [m, k]), array(weights, [k, n])] }
  }
  const { direction, geometry: g } = problem
  const [top, left, bottom, right] = g.padding
  const convolve: Fn = (x, weights) =>
    lax.convGeneralDilated(
      x,
      weights,
      [...g.stride],
      [
        [top, bottom],
        [left, right],
      ],
      { rhsDilation: [...g.dilation], featureGroupCount: g.groups },
    )
  const { inputs } = shapesOf({ kind: 'convolution', direction: 'forward', geometry: g })
  const [x, weights] = inputs.map((shape) => array(filled(shape), shape))
  if (direction === 'forward') return { f: convolve, args: [x, weights] }
  const { output } = shapesOf({ kind: 'convolution', direction: 'forward', geometry: g })
  const dy = array(filled(output), output)
  // The loss has dy for its gradient; what only its value needs, the convolution, falls out of the jitted function.
  const loss: Fn = (x, weights, dy) => numpy.sum(convolve(x, weights).mul(dy))
  return { f: grad(loss, { argnums: direction === 'input' ? 0 : 1 }), args: [x, weights, dy] }
}

export async function open(setup: Setup): Promise<Engine> {
  const gpu = await provideNavigator(setup)
  const name = '@jax-js/jax' // not a literal in the import: the package may be absent where types are checked
  const jax = (await import(name)) as Jax & JaxLoop
  if (!(await jax.init('webgpu')).includes('webgpu')) throw new Error('its WebGPU backend does not start')
  jax.defaultDevice('webgpu')

  return {
    async prepare(task): Promise<Prepared> {
      if (task.kind === 'loop') return prepareJaxLoop(jax, gpu, task)
      const problem = task
      const { f, args } = functionOf(jax, problem)
      const jitted = jax.jit(f)
      const call = () => jitted(...args.map((arg) => arg.ref))
      return {
        async run(times) {
          const results = Array.from({ length: times }, call)
          // Arrays are lazy: asking for one submits its work.
          await gpu.settle(Promise.all(results.map((y) => y.blockUntilReady())))
          for (const y of results) y.dispose()
        },
        async result() {
          const data = await gpu.settle(call().data())
          await gpu.wait() // throws what went wrong on the device
          return data
        },
        async release() {
          for (const arg of args) arg.dispose()
          jitted.dispose?.()
        },
      }
    },
  }
}
