/**
 * Tiles by the matrix units of a GPU: f16 operands, sums in f32, by WGSL's experimental subgroup matrices (Dawn,
 * docs of `chromium_experimental_subgroup_matrix`). Four subgroups compute 32x32 each of a tile of 64x64.
 *
 * Operands lie in workgroup memory with rows of the left matrix, and columns of the right one, next to each other: that is how
 * neighbouring threads load them.
 */
import type { Dispatch, Kernel, Target } from '../op.ts'
import { range, usedParams } from '../wgsl.ts'
import { addParts, packedTileElements, packLeft, splitsOf, type TiledProduct, tileFrame } from './tile.ts'

const TILE = { rows: 64, columns: 64 }
/** Rows and columns of one subgroup, and the subgroups along each side. */
const PART = 32
const SIDE = TILE.rows / PART
/** Steps of the sums in workgroup memory at a time. */
const STEP = 32
/** Distance between steps: eight more than the tile, so that they begin in other banks, at whole 16 bytes. */
const ROW = TILE.rows + 8

/** Workgroup memory: both operands in f16, and a piece of the sums of each subgroup in f32. */
const bytes = (M: number, N: number): number => 2 * 2 * STEP * ROW + 4 * SIDE * SIDE * M * N

/** Kernels for adapters with matrix units of f16 with sums in f32, and subgroups of one size; else none. */
export function matrixKernels(t: TiledProduct, gpu: Target): Kernel[] {
  const fitting = gpu.subgroupMatrix.filter(
    ({ componentType, resultComponentType, M, N, K }) =>
      componentType === 'f16' && resultComponentType === 'f32' && PART % M === 0 && PART % N === 0 && STEP % K === 0,
  )
  const [size] = fitting.sort((a, b) => b.M * b.N * b.K - a.M * a.N * a.K)
  const lanes = gpu.subgroupMaxSize
  const threads = lanes * SIDE * SIDE
  if (!gpu.f16 || !size) return []
  const runs =
    gpu.subgroupMinSize === lanes &&
    lanes % size.N === 0 &&
    threads % TILE.columns === 0 &&
    threads <= Math.min(gpu.maxInvocations, (TILE.rows * STEP) / 4) &&
    bytes(size.M, size.N) <= gpu.maxWorkgroupStorage
  if (!runs) return []
  return splitsOf(t, TILE, STEP / 4, gpu).map(
    (parts): Kernel => ({
      variant: `matrix ${size.M}x${size.N}x${size.K}${parts > 1 ? ' split' : ''} f16`,
      precision: 'f16',
      dispatches: [
        packLeft(t, TILE.rows, STEP / 4, true, 'scratch0'),
        multiplyMatrices(t, size, lanes, parts),
        ...(parts > 1 ? [addParts(t, parts, 'scratch1')] : []),
      ],
      scratch: [packedTileElements(t, TILE.rows, STEP / 4, true), ...(parts > 1 ? [parts * t.elements] : [])],
    }),
  )
}

function multiplyMatrices(
  t: TiledProduct,
  { M, N, K }: Target['subgroupMatrix'][number],
  lanes: number,
  parts: number,
): Dispatch {
  const threads = lanes * SIDE * SIDE
  const frame = tileFrame(t, TILE, STEP / 4, parts)
  const split = parts > 1
  const loads = (TILE.rows * STEP) / 4 / threads
  const across = range(PART / M)
  const down = range(PART / N)
  const fetch = [
    ...range(loads).map((s) => `l${s} = packed[at + ${s * threads}u];`),
    `at += ${(STEP / 4) * TILE.rows}u;`,
    ...range(loads).map((s) => {
      const q = `step * ${STEP / 4}u + index / ${TILE.columns}u + ${(s * threads) / TILE.columns}u`
      return `{ let q = ${q}; r${s} = vec4h(); if (q < fours) { r${s} = vec4h(four(q, own)); } }`
    }),
  ].join('\n    ')
  const put = range(loads).flatMap((s) => {
    const to = `(index / ${TILE.rows}u + ${(s * threads) / TILE.rows}u) * ${4 * ROW}u + index % ${TILE.rows}u`
    return range(4).map((e) => {
      const c = 'xyzw'[e]
      return `left[${to} + ${e * ROW}u] = l${s}.${c}; right[${to} + ${e * ROW}u] = r${s}.${c};`
    })
  })
  const multiplies = range(STEP / K).flatMap((k) => [
    ...across.map(
      (i) =>
        `let a${k}_${i} = subgroupMatrixLoad<subgroup_matrix_left<f16, ${K}, ${M}>, col_major>(&left, ${k * K * ROW + i * M}u + partRow, ${ROW}u);`,
    ),
    ...down.map(
      (j) =>
        `let b${k}_${j} = subgroupMatrixLoad<subgroup_matrix_right<f16, ${N}, ${K}>, row_major>(&right, ${k * K * ROW + j * N}u + partColumn, ${ROW}u);`,
    ),
    ...across.flatMap((i) =>
      down.map((j) => `s${i}_${j} = subgroupMatrixMultiplyAccumulate(a${k}_${i}, b${k}_${j}, s${i}_${j});`),
    ),
  ])
  const value = `sums[piece + r * ${N}u + lane % ${N}u]${t.bias && !split ? ' + bias[channel]' : ''}`
  const write = split
    ? `partial[part * p.elements + to + row * p.rowTo] = ${value};`
    : t.fusible
      ? `store(to + row * p.rowTo, channel, ${value});`
      : `result[to + row * p.rowTo] = ${value};`
  const channel = split || !(t.fusible || t.bias) ? '' : `let channel = ${t.channel}; `
  const stores = down.map((jj) => {
    const pieces = across.map(
      (i) => `subgroupMatrixStore<row_major>(&sums, piece, s${i}_${jj}, ${N}u);
    workgroupBarrier();
    for (var r = lane / ${N}u; r < ${M}u; r += ${lanes / N}u) {
      let row = firstRow + partRow + ${i * M}u + r;
      if (alive && row < p.rows) { ${channel}${write} }
    }
    workgroupBarrier();`,
    )
    return `{
    let j = firstColumn + partColumn + ${jj * N}u + lane % ${N}u;
    let to = column(min(j, p.columns - 1u), z).to;
    let alive = j < p.columns && to != NOWHERE;
    ${pieces.join('\n    ')}
  }`
  })
  const code = `var<workgroup> left: array<f16, ${STEP * ROW}>;
var<workgroup> right: array<f16, ${STEP * ROW}>;
var<workgroup> sums: array<f32, ${SIDE * SIDE * M * N}>;
${frame.head}
// Offsets depend on the subgroup alone, which the compiler cannot see from the invocation's index.
@diagnostic(off, chromium.subgroup_matrix_uniformity)
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
${frame.begin}
  let lane = index % ${lanes}u;
  let piece = index / ${lanes}u * ${M * N}u;
  let partRow = index / ${lanes * SIDE}u * ${PART}u;
  let partColumn = index / ${lanes}u % ${SIDE}u * ${PART}u;
  ${range(loads)
    .map((s) => `var l${s}: vec4h; var r${s}: vec4h;`)
    .join(' ')}
  ${across.flatMap((i) => down.map((j) => `var s${i}_${j}: subgroup_matrix_result<f32, ${N}, ${M}>;`)).join('\n  ')}
  var step = begin;
  if (step < end) {
    ${fetch}
  }
  while (step < end) {
    ${put.join('\n    ')}
    workgroupBarrier();
    step++;
    if (step < end) {
    ${fetch}
    }
    ${multiplies.join('\n    ')}
    workgroupBarrier();
  }
  ${stores.join('\n  ')}
}
`
  return {
    label: t.label,
    enable: ['f16', 'chromium_experimental_subgroup_matrix'],
    code,
    reads: [
      { name: 'packed', buffer: 'scratch0', type: 'vec4h' },
      ...t.reads.filter((b) => !split || b.name !== 'bias'),
    ],
    writes: [split ? { name: 'partial', buffer: 'scratch1' } : { name: 'result', buffer: 'output' }],
    params: usedParams(code, frame.params),
    workgroups: frame.grid,
    stores: t.fusible && !split ? 'f32' : undefined,
  }
}
