/// <reference types="@webgpu/types" preserve="true" />
/** What the engine does in Node alone: open an adapter through Dawn, and keep choices among kernels in a file. */
export {
  type AcquireOptions,
  type AdapterEntry,
  adapterName,
  describeAdapter,
  listAdapters,
  NoAdapterError,
} from './device/node.ts'
export { acquire, fileTuning } from './graph/node.ts'
