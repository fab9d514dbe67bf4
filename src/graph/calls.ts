/** Dispatches as a run encodes them: pipelines, bind groups and uniforms made beforehand. */
import { BufferUsage } from '../device/flags.ts'
import { paramBytes } from '../kernels/wgsl.ts'
import type { PlacedDispatch } from './lower.ts'

/** A dispatch that is ready to be encoded. */
export interface Call {
  pipeline: GPUComputePipeline
  group: GPUBindGroup
  workgroups: readonly [number, number, number]
  placed: PlacedDispatch
}

export function dispatch(pass: GPUComputePassEncoder, { pipeline, group, workgroups }: Call): void {
  pass.setPipeline(pipeline)
  pass.setBindGroup(0, group)
  pass.dispatchWorkgroups(workgroups[0], workgroups[1], workgroups[2])
}

/** All uniform structs in one buffer, each at the 256 bytes that every device aligns to. */
export interface Params {
  buffer: GPUBuffer
  /** The struct of the i-th dispatch, if it has one. */
  at(i: number): GPUBufferBinding | undefined
}

/** Puts the uniform structs of the dispatches into one buffer. */
export function uploadParams(device: GPUDevice, placed: readonly PlacedDispatch[]): Params {
  const structs = placed.map((each) => paramBytes(each.dispatch))
  const offsets: number[] = []
  let size = 0
  for (const bytes of structs) {
    offsets.push(size)
    size += Math.ceil(bytes.byteLength / 256) * 256
  }
  const buffer = device.createBuffer({
    label: 'params',
    size: Math.max(size, 256),
    usage: BufferUsage.UNIFORM,
    mappedAtCreation: true,
  })
  try {
    const target = new Uint8Array(buffer.getMappedRange())
    structs.forEach((bytes, i) => {
      target.set(new Uint8Array(bytes), offsets[i])
    })
    buffer.unmap()
  } catch (error) {
    buffer.destroy()
    throw error
  }
  return {
    buffer,
    at: (i) => (structs[i].byteLength > 0 ? { buffer, offset: offsets[i], size: structs[i].byteLength } : undefined),
  }
}
