/** TensorFlow.js on its WebGPU backend, in its own layouts (NHWC, HWIO): a network there pays for no conversion. */
import { createRequire, registerHooks } from 'node:module'
import { imageShape, weightShape } from '../../src/kernels/conv/geometry.ts'
import type { Shape } from '../../src/kernels/op.ts'
import type { Engine, Prepared, Setup } from './engine.ts'
import { prepareTfLoop, type TfLoop } from './loop-tfjs.ts'
import { provideNavigator } from './navigator.ts'
import { filled, type Problem, productOperands, shapesOf, transpose } from './problem.ts'

/** What is used of it, written down here so that types are checked without the package. */
interface TfTensor {
  readonly shape: number[]
  data(): Promise<Float32Array>
  dispose(): void
}
interface Tf {
  setBackend(name: string): Promise<boolean>
  tensor(values: Float32Array, shape: Shape): TfTensor
  slice(x: TfTensor, begin: number[], size: number[]): TfTensor
  engine(): { runKernel(name: string, inputs: Record<string, TfTensor>, attributes: object): TfTensor }
}

const TO_NHWC = [0, 2, 3, 1]
const TO_NCHW = [0, 3, 1, 2]
const TO_HWIO = [2, 3, 1, 0]
const TO_OIHW = [3, 2, 0, 1]

const reorder = (shape: Shape, order: readonly number[]): Shape => order.map((axis) => shape[axis])

/** Kernels are called by their registered names: the gradients are not all public operations, and this runs one alone. */
interface Call {
  kernel: string
  inputs: Record<string, readonly [data: Float32Array, shape: Shape]>
  attributes: object
  /** Axes of the result, for this engine's layout. */
  order?: readonly number[]
}

function convolution({ direction, geometry: g }: Problem & { kind: 'convolution' }): Call {
  const depthwise = g.groups > 1
  if (depthwise && (g.groups !== g.c || direction === 'weight')) throw new Error('no such grouped convolution')
  const [top, left, bottom, right] = g.padding
  const attributes = {
    strides: [...g.stride],
    pad: [
      [0, 0],
      [top, bottom],
      [left, right],
      [0, 0],
    ],
    dataFormat: 'NHWC',
    dilations: [...g.dilation],
    inputShape: reorder(imageShape(g), TO_NHWC),
    filterShape: reorder(weightShape(g), TO_HWIO),
  }
  const [a, b] = shapesOf({ kind: 'convolution', direction, geometry: g }).inputs
  const image = (shape: Shape) => [transpose(filled(shape), shape, TO_NHWC), reorder(shape, TO_NHWC)] as const
  // A depthwise filter is [height, width, channels, 1] there, and [channels, 1, height, width] here.
  const order = depthwise ? [2, 3, 0, 1] : TO_HWIO
  const filter = (shape: Shape) => [transpose(filled(shape), shape, order), reorder(shape, order)] as const
  switch (direction) {
    case 'forward':
      return {
        kernel: depthwise ? 'DepthwiseConv2dNative' : 'Conv2D',
        inputs: { x: image(a), filter: filter(b) },
        attributes,
        order: TO_NCHW,
      }
    case 'input':
      return {
        kernel: depthwise ? 'DepthwiseConv2dNativeBackpropInput' : 'Conv2DBackpropInput',
        inputs: { dy: image(a), filter: filter(b) },
        attributes,
        order: TO_NCHW,
      }
    case 'weight':
      return {
        kernel: 'Conv2DBackpropFilter',
        inputs: { x: image(a), dy: image(b) },
        attributes,
        order: TO_OIHW,
      }
  }
}

function product(problem: Problem & { kind: 'product' }): Call {
  const { m, k, n } = problem
  const { x, weights } = productOperands(problem)
  const inputs = { a: [x, [1, m, k]], b: [weights, [1, k, n]] } as const
  return { kernel: 'BatchMatMul', inputs, attributes: { transposeA: false, transposeB: false } }
}

/**
 * The build for Node comes without gradients; they lie beside it as modules, which import each other without file extensions, as bundlers
 * allow. They register themselves with the engine that is there already.
 */
async function registerGradients(require: NodeJS.Require): Promise<void> {
  const hooks = registerHooks({
    resolve(specifier, context, next) {
      const bare = specifier.startsWith('.') && context.parentURL?.includes('/@tensorflow/tfjs-core/')
      if (!bare || specifier.endsWith('.js')) return next(specifier, context)
      try {
        return next(`${specifier}.js`, context)
      } catch {
        return next(`${specifier}/index.js`, context)
      }
    },
  })
  try {
    await import(require.resolve('@tensorflow/tfjs-core/dist/register_all_gradients.js'))
  } finally {
    hooks.deregister()
  }
}

export async function open(setup: Setup): Promise<Engine> {
  const gpu = await provideNavigator(setup)
  // Both must be the CommonJS build: the backend registers itself with that one's engine.
  const require = createRequire(import.meta.url)
  const tf = require('@tensorflow/tfjs-core') as Tf & TfLoop
  require('@tensorflow/tfjs-backend-webgpu')
  if (!(await tf.setBackend('webgpu'))) throw new Error('its WebGPU backend does not start')

  return {
    async prepare(task): Promise<Prepared> {
      if (task.kind === 'loop') {
        await registerGradients(require)
        return prepareTfLoop(tf, gpu, task)
      }
      const problem = task
      const { kernel, inputs, attributes, order } = problem.kind === 'product' ? product(problem) : convolution(problem)
      const tensors = Object.fromEntries(
        Object.entries(inputs).map(([name, [data, shape]]) => [name, tf.tensor(data, shape)]),
      )
      const call = () => tf.engine().runKernel(kernel, tensors, attributes)
      return {
        async run(times) {
          let y = call()
          for (let i = 1; i < times; i++) {
            y.dispose()
            y = call()
          }
          // Reading one value submits what is pending and waits for it.
          const first = tf.slice(y, new Array(y.shape.length).fill(0), new Array(y.shape.length).fill(1))
          await gpu.settle(first.data())
          first.dispose()
          y.dispose()
        },
        async result() {
          const y = call()
          const data = await gpu.settle(y.data())
          await gpu.wait() // throws what went wrong on the device
          const result = order ? transpose(data, y.shape, order) : data
          y.dispose()
          return result
        },
        async release() {
          for (const tensor of Object.values(tensors)) tensor.dispose()
        },
      }
    },
  }
}
