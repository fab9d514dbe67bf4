/** WGSL shared by kernels: binding declarations, linear grids, workgroup reductions. */
import type { Dispatch } from './op.ts'

/** The whole shader of a dispatch: bindings in the order reads, writes, uniform `p`, then its code. */
export function shaderSource(dispatch: Dispatch): string {
  const lines: string[] = []
  let binding = 0
  for (const b of dispatch.reads) {
    lines.push(`@group(0) @binding(${binding++}) var<storage, read> ${b.name}: array<${b.type ?? 'f32'}>;`)
  }
  for (const b of dispatch.writes) {
    lines.push(`@group(0) @binding(${binding++}) var<storage, read_write> ${b.name}: array<${b.type ?? 'f32'}>;`)
  }
  const params = Object.entries(dispatch.params ?? {})
  if (params.length > 0) {
    lines.push(`struct Params { ${params.map(([name, { type }]) => `${name}: ${type}`).join(', ')} }`)
    lines.push(`@group(0) @binding(${binding}) var<uniform> p: Params;`)
  }
  return `${lines.join('\n')}\n${dispatch.code}`
}

/** Bytes of the uniform struct of a dispatch, in declaration order (every field is four bytes). */
export function paramBytes(dispatch: Dispatch): ArrayBuffer {
  const params = Object.values(dispatch.params ?? {})
  const view = new DataView(new ArrayBuffer(Math.ceil((params.length * 4) / 16) * 16))
  params.forEach(({ type, value }, i) => {
    if (type === 'f32') view.setFloat32(i * 4, value, true)
    else if (type === 'i32') view.setInt32(i * 4, value, true)
    else view.setUint32(i * 4, value, true)
  })
  return view.buffer
}

/** Workgroup size of kernels with one thread an element: it fits every adapter. */
export const LINEAR = 64

/**
 * A grid for `count` independent threads, folded into two dimensions where one would pass the 65,535 limit.
 * Its entry point comes from `linearEntry`.
 */
export function linearGrid(count: number): [number, number, number] {
  const groups = Math.max(1, Math.ceil(count / LINEAR))
  const x = Math.min(groups, 32768)
  return [x, Math.ceil(groups / x), 1]
}

/** Entry point with `i` the thread's number; the body must check `i < count`. */
export const linearEntry = (body: string): string => `
@compute @workgroup_size(${LINEAR})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * ${LINEAR}u + lane;
${body}
}
`
