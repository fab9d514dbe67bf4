/** WGSL shared by kernels: binding declarations, linear grids, workgroup reductions. */
import type { Binding, Dispatch, Param } from './op.ts'

/** The `store` of a dispatch that nothing is fused into. */
const plainStore = ({ writes, stores }: Dispatch): string =>
  `fn store(i: u32, c: u32, value: ${stores}) { ${writes[0].name}[i] = value; }`

/** The `load` of a dispatch that nothing is fused into. */
const plainLoad = ({ loads }: Dispatch): string => `fn load(i: u32) -> f32 { return ${loads}[i]; }`

/** How f16 are stored that code has as f32. */
const HALVES: Readonly<Record<string, string>> = { f32: 'f16', vec2f: 'vec2h', vec4f: 'vec4h' }

/**
 * The code with its accesses to a buffer of f16 converted: `name[i]` becomes an f32 (or a vector of them), and the value of
 * `name[i] = value;` is rounded, those beyond ±65504 to that. An access that this misses is an error of types, no other number.
 */
function withHalves(code: string, { name, type = 'f32' }: Binding): string {
  // The last first, so that what indices read is converted before what they lead to.
  for (const { index } of [...code.matchAll(new RegExp(`(?<![\\w.])${name}\\[`, 'g'))].reverse()) {
    let end = index + name.length + 1
    for (let depth = 1; depth > 0 && end < code.length; end++)
      depth += Number(code[end] === '[') - Number(code[end] === ']')
    const place = code.slice(index, end)
    const assigned = /^\s*=(?!=)([^;]*)/.exec(code.slice(end))
    const converted = assigned
      ? `${place} = ${HALVES[type]}(clamp(${assigned[1]}, ${type}(-65504), ${type}(65504)))`
      : `${type}(${place})`
    code = code.slice(0, index) + converted + code.slice(end + (assigned?.[0].length ?? 0))
  }
  return code
}

/** The whole shader of a dispatch: bindings in the order reads, writes, uniform `p`, then `load` and `store` if it uses them, then its code. */
export function shaderSource(dispatch: Dispatch): string {
  const bindings = [...dispatch.reads, ...dispatch.writes]
  const halves = bindings.filter((b) => b.half)
  const extensions = new Set([...(dispatch.enable ?? []), ...(halves.length > 0 ? ['f16'] : [])])
  const lines = [...extensions].map((extension) => `enable ${extension};`)
  bindings.forEach(({ name, type = 'f32', half }, k) => {
    const access = k < dispatch.reads.length ? 'read' : 'read_write'
    lines.push(`@group(0) @binding(${k}) var<storage, ${access}> ${name}: array<${half ? HALVES[type] : type}>;`)
  })
  const params = Object.entries(dispatch.params ?? {})
  if (params.length > 0) {
    lines.push(`struct Params { ${params.map(([name, { type }]) => `${name}: ${type}`).join(', ')} }`)
    lines.push(`@group(0) @binding(${bindings.length}) var<uniform> p: Params;`)
  }
  const store = dispatch.stores ? [dispatch.storeCode ?? plainStore(dispatch)] : []
  const load = dispatch.loads ? [dispatch.loadCode ?? plainLoad(dispatch)] : []
  return [...lines, halves.reduce(withHalves, [...load, ...store, dispatch.code].join('\n'))].join('\n')
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

/** The fields of `p` that the code mentions: one that is not used would be missing from the pipeline's layout. */
export function usedParams(code: string, params: Readonly<Record<string, Param>>): Record<string, Param> {
  const mentioned = new Set(Array.from(code.matchAll(/\bp\.(\w+)/g), ([, name]) => name))
  return Object.fromEntries(Object.entries(params).filter(([name]) => mentioned.has(name)))
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

/** A grid of one workgroup of LINEAR lanes per row, folded as in `linearGrid`. Its entry point comes from `rowEntry`. */
export function rowGrid(rows: number): [number, number, number] {
  const x = Math.min(rows, 32768)
  return [x, Math.ceil(rows / x), 1]
}

/** Entry point of one workgroup a row, `row` its number and `lane` the thread's; rows from `p.rows` on do nothing. */
export const rowEntry = (body: string): string => `
@compute @workgroup_size(${LINEAR})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
${body}
}
`

/**
 * Declares `fn NAME(lane, value) -> TYPE`, which combines the values of a workgroup's lanes (LINEAR unless told) in a tree (the same order
 * on every run) and returns the result to all of them. To be called by all lanes together.
 */
export const laneReduction = (
  name: string,
  type: string,
  combine: (a: string, b: string) => string,
  lanes: number = LINEAR,
): string => `
var<workgroup> ${name}_lanes: array<${type}, ${lanes}>;
fn ${name}(lane: u32, value: ${type}) -> ${type} {
  workgroupBarrier();
  ${name}_lanes[lane] = value;
  for (var half = ${lanes / 2}u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) { ${name}_lanes[lane] = ${combine(`${name}_lanes[lane]`, `${name}_lanes[lane + half]`)}; }
  }
  workgroupBarrier();
  return ${name}_lanes[0];
}
`

/** `laneReduction` that adds. */
export const laneSum = (name: string, type = 'f32', lanes: number = LINEAR): string =>
  laneReduction(name, type, (a, b) => `${a} + ${b}`, lanes)

/** 0 to n - 1: what generated code is unrolled over. */
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)
