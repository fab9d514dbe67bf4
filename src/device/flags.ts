/** WebGPU's bit flags (https://www.w3.org/TR/webgpu/#buffer-usage), so that nothing depends on globals that Node lacks. */
export const BufferUsage = {
  MAP_READ: 0x1,
  COPY_SRC: 0x4,
  COPY_DST: 0x8,
  UNIFORM: 0x40,
  STORAGE: 0x80,
  INDIRECT: 0x100,
  QUERY_RESOLVE: 0x200,
} as const

/** Mode of `GPUBuffer.mapAsync` for reading. */
export const MAP_READ = 0x1
