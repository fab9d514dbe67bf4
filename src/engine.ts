/// <reference types="@webgpu/types" preserve="true" />
/** The engine by itself: devices, graphs, operations, and what it takes to add one. Runs in Node and in browsers. */

export {
  type Capabilities,
  DeviceLostError,
  Gpu,
  GpuError,
  openDevice,
  type TuningCache,
  type TuningChoice,
} from './device/gpu.ts'
export { measureRoofs, type Roofs } from './device/roofs.ts'
export * from './graph/index.ts'
export { uniformNoise } from './graph/noise.ts'
export type { Expression, FunctionName } from './kernels/expression.ts'
export * from './kernels/index.ts'
export {
  type Backward,
  type Binding,
  type Cost,
  type Dispatch,
  elements,
  expectShape,
  f32,
  formatShape,
  i32,
  type Kernel,
  type Op,
  type Operand,
  type Param,
  type PointwiseForm,
  type Recorder,
  type Shape,
  ShapeError,
  type Target,
  type Tensor,
  tensorsOf,
  u32,
} from './kernels/op.ts'
export { type PointwiseArgs, pointwise } from './kernels/pointwise.ts'
export { linearEntry, linearGrid } from './kernels/wgsl.ts'
