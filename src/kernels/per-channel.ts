/** Kernels over [N,C,...] that go with values per channel: maps of every element, and reductions to channels. */
import {
  type Binding,
  type Dispatch,
  elements,
  expectShape,
  formatShape,
  type Kernel,
  type Param,
  type Shape,
  u32,
} from './op.ts'
import { LINEAR, linearEntry, linearGrid, rowEntry, rowGrid } from './wgsl.ts'

/** Throws ShapeError unless x is [N,C,...]. */
export const expectChannels = (name: string, x: Shape): void =>
  expectShape(x.length >= 2, `${name}: x ${formatShape(x)} has no channels; it takes [N,C,...]`)

/** Elements of one channel of one image, and of one channel of all images. */
export function channelExtents(x: Shape): { channels: number; plane: number; count: number } {
  const plane = elements(x.slice(2))
  return { channels: x[1], plane, count: x[0] * plane }
}

/** A shape that broadcasts values per channel against x. */
export const channelShape = (x: Shape): Shape => [x[1], ...x.slice(2).map(() => 1)]

export interface ChannelMap {
  label: string
  /** Shape of the output and of the elements read. */
  shape: Shape
  /** Inputs by element, by name. */
  elements: Readonly<Record<string, number>>
  /** Inputs by channel, by name: arrays indexed with the channel `c`. */
  channels: Readonly<Record<string, number>>
  /** Up to four numbers that every element of channel c needs, a vec4f; `p.channels` is the count of channels. */
  table: string
  /** The element's value of the inputs by element and the channel's numbers `t`. */
  value: string
  params: Readonly<Record<string, Param>>
}

/**
 * Two dispatches: a table with four numbers per channel, which is computed once where it depends on constants alone, and
 * the elements.
 */
export function channelMap(map: ChannelMap): Kernel {
  const { channels, plane } = channelExtents(map.shape)
  const wide = plane % 4 === 0
  const unit = wide ? 4 : 1
  const type = wide ? 'vec4f' : 'f32'
  const count = elements(map.shape) / unit
  const names = Object.keys(map.elements)
  const bind = (inputs: Readonly<Record<string, number>>, suffix: string, as: Binding['type']): Binding[] =>
    Object.entries(inputs).map(([name, buffer]) => ({ name: name + suffix, buffer, type: as }))
  const table: Dispatch = {
    label: `${map.label}.table`,
    code: linearEntry(`  let c = i;
  if (c >= p.channels) { return; }
  ${map.table}`),
    reads: bind(map.channels, '', 'f32'),
    writes: [{ name: 'table', buffer: 'scratch0', type: 'vec4f' }],
    params: { ...map.params, channels: u32(channels) },
    workgroups: linearGrid(channels),
  }
  const every: Dispatch = {
    label: map.label,
    code: linearEntry(`  if (i >= p.count) { return; }
  let c = i / p.plane % p.channels;
  let t = table[c];
${names.map((name) => `  let ${name} = ${name}_[i];`).join('\n')}
  store(i, c, ${map.value});`),
    reads: [...bind(map.elements, '_', type), { name: 'table', buffer: 'scratch0', type: 'vec4f' }],
    writes: [{ name: 'y', buffer: 'output', type }],
    params: { count: u32(count), plane: u32(plane / unit), channels: u32(channels) },
    workgroups: linearGrid(count),
    stores: type,
  }
  return { variant: wide ? 'vec4' : 'scalar', dispatches: [table, every], scratch: [4 * channels] }
}

/** Elements of a channel that one workgroup reduces: 16 KiB, so that a second loop over them reads the cache. */
export const CHANNEL_CHUNK = 4096

/** Parts that the elements of one channel are reduced in. */
export const channelChunks = (x: Shape): number => Math.ceil(channelExtents(x).count / CHANNEL_CHUNK)

export interface ChannelReduction {
  label: string
  /** Shape of the elements read. */
  shape: Shape
  reads: readonly Binding[]
  writes: readonly Binding[]
  /** Declarations before the entry point. */
  declare: string
  /**
   * The workgroup's work: `channel` and `row` (channel * p.chunks + chunk) are its numbers, `size` the elements it has;
   * `everyElement` loops over them.
   */
  body: string
  params?: Readonly<Record<string, Param>>
}

/** One workgroup for each chunk of a channel's elements. */
export function channelReduction(reduction: ChannelReduction): Dispatch {
  const { channels, plane, count } = channelExtents(reduction.shape)
  const chunks = channelChunks(reduction.shape)
  // A lane goes on by LINEAR elements of its channel: `step` in memory, and past the other channels where an image ends.
  const images = Math.floor(LINEAR / plane)
  return {
    label: reduction.label,
    code: `${reduction.declare}
${rowEntry(`  let channel = row / p.chunks;
  let begin = (row - channel * p.chunks) * ${CHANNEL_CHUNK}u;
  let size = min(p.count - begin, ${CHANNEL_CHUNK}u);
  let image = (begin + lane) / p.plane;
  let first = begin + lane - image * p.plane;
  let start = (image * p.channels + channel) * p.plane + first;
${reduction.body}`)}`,
    reads: reduction.reads,
    writes: reduction.writes,
    params: {
      ...reduction.params,
      rows: u32(channels * chunks),
      chunks: u32(chunks),
      channels: u32(channels),
      plane: u32(plane),
      count: u32(count),
      step: u32(images * channels * plane + (LINEAR % plane)),
      ahead: u32(LINEAR % plane),
      skip: u32((channels - 1) * plane),
    },
    workgroups: rowGrid(channels * chunks),
  }
}

/** A loop over the lane's elements of a workgroup of `channelReduction`; `at` is the element's index. */
export const everyElement = (body: string): string => `  {
    var at = start;
    var ahead = first;
    for (var k = lane; k < size; k += ${LINEAR}u) {
      ${body}
      at += p.step;
      ahead += p.ahead;
      if (ahead >= p.plane) { ahead -= p.plane; at += p.skip; }
    }
  }`
