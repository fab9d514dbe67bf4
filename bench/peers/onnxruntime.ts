/**
 * onnxruntime-node: its WebGPU provider, and its CPU provider, which is native code (MLAS, all cores) and shows what the
 * machine can do. The WebGPU provider has a Dawn of its own inside and waits in native code, where nothing polls from
 * the event loop: there is nothing for the throttle to do.
 */
import { createRequire } from 'node:module'
import { imageShape, outputShape, weightShape } from '../../src/kernels/conv/geometry.ts'
import type { Shape } from '../../src/kernels/op.ts'
import type { Engine, Prepared } from './engine.ts'
import { type OnnxModel, type OnnxNode, writeOnnx } from './onnx.ts'
import { filled, type Problem, productOperands, shapesOf } from './problem.ts'

/** What is used of it, written down here so that types are checked without the package. */
interface OrtTensor {
  readonly data: Float32Array
  dispose(): void
}
interface Session {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>
  release(): Promise<void>
}
interface Ort {
  Tensor: new (type: 'float32', data: Float32Array, shape: Shape) => OrtTensor
  InferenceSession: {
    create(
      model: Uint8Array,
      options: {
        executionProviders: string[]
        preferredOutputLocation?: 'gpu-buffer'
        logSeverityLevel: number
        extra: { session: Record<string, Record<string, string>> }
      },
    ): Promise<Session>
  }
}

/** One operation from x to y, with its weights as a constant: what a network's layer is. */
function modelOf(problem: Problem): { model: OnnxModel; x: Float32Array } {
  const { inputs, output } = shapesOf(problem)
  const build = (node: Omit<OnnxNode, 'inputs' | 'outputs'>, shape: Shape, data: Float32Array): OnnxModel => ({
    nodes: [{ ...node, inputs: ['x', 'weights'], outputs: ['y'] }],
    initializers: { weights: { shape, data } },
    inputs: { x: inputs[0] },
    outputs: { y: output },
  })
  if (problem.kind === 'product') {
    const { x, weights } = productOperands(problem)
    return { model: build({ op: 'MatMul' }, [problem.k, problem.n], weights), x }
  }
  const { direction, geometry: g } = problem
  if (direction === 'weight') throw new Error('ONNX has no operation for the weight gradient')
  const attributes = {
    kernel_shape: [g.kh, g.kw],
    pads: g.padding,
    strides: g.stride,
    dilations: g.dilation,
    group: g.groups,
  }
  const weights = filled(weightShape(g))
  if (direction === 'forward')
    return { model: build({ op: 'Conv', attributes }, weightShape(g), weights), x: filled(imageShape(g)) }
  // Rows and columns of the image that the last step of the stride left out.
  const rest = [g.h, g.w].map((extent, axis) => {
    const reach = g.dilation[axis] * ([g.kh, g.kw][axis] - 1) + 1
    return extent - (([g.oh, g.ow][axis] - 1) * g.stride[axis] - g.padding[axis] - g.padding[axis + 2] + reach)
  })
  const transposed = { op: 'ConvTranspose', attributes: { ...attributes, output_padding: rest } }
  return { model: build(transposed, weightShape(g), weights), x: filled(outputShape(g)) }
}

const copyOf = (shape: Shape): OnnxModel => ({
  nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }],
  inputs: { x: shape },
  outputs: { y: shape },
})

/** One number from all of a tensor, in place of its download. */
const maximumOf = (shape: Shape): OnnxModel => ({
  nodes: [{ op: 'ReduceMax', inputs: ['x'], outputs: ['y'], attributes: { axes: shape.map((_, i) => i) } }],
  inputs: { x: shape },
  outputs: { y: shape.map(() => 1) },
})

export async function open(provider: 'webgpu' | 'cpu'): Promise<Engine> {
  const ort = createRequire(import.meta.url)('onnxruntime-node') as Ort
  const session = (model: OnnxModel, location?: 'gpu-buffer') =>
    ort.InferenceSession.create(writeOnnx(model), {
      executionProviders: [provider],
      preferredOutputLocation: location,
      logSeverityLevel: 3,
      // Its threads go on spinning for 10 to 15 ms after a run, which the engine that is measured next would pay for.
      extra: { session: { intra_op: { allow_spinning: '0' } } },
    })
  const run = async (of: Session, x: OrtTensor): Promise<OrtTensor> => (await of.run({ x })).y
  // Results stay on the device (downloading one by `getData` ends the process in this version, so a session does it).
  const onDevice = provider === 'webgpu' ? 'gpu-buffer' : undefined

  return {
    async prepare(problem): Promise<Prepared> {
      if (problem.kind === 'loop')
        throw new Error('ONNX Runtime for Node computes no gradients, so it cannot run the loop')
      const { inputs, output } = shapesOf(problem)
      const { model, x } = modelOf(problem)
      const [upload, layer, maximum, download] = await Promise.all([
        session(copyOf(inputs[0]), onDevice),
        session(model, onDevice),
        session(maximumOf(output)),
        session(copyOf(output)),
      ])
      const image = new ort.Tensor('float32', x, inputs[0])
      const resident = onDevice ? await run(upload, image) : image
      return {
        async run(times) {
          let y = await run(layer, resident)
          for (let i = 1; i < times; i++) {
            y.dispose()
            y = await run(layer, resident)
          }
          // Sessions share the device's queue: a number on this side is there when all before it is done.
          if (onDevice) await run(maximum, y)
          y.dispose()
        },
        async result() {
          const y = await run(layer, resident)
          return (await run(download, y)).data.slice()
        },
        async release() {
          if (onDevice) resident.dispose()
          await Promise.all([upload, layer, maximum, download].map((each) => each.release()))
        },
      }
    },
  }
}
