/*
 * HEIC pictures through libheif's WebAssembly build (package libheif-js, which carries libde265 for HEVC). Nothing here
 * needs Node: a page can do the same with the package's module.
 */
/** The part of libheif's C interface that is used (heif.h of libheif 1.23); pointers are numbers. */
export interface LibHeif {
  HEAPU8: Uint8Array
  _malloc(bytes: number): number
  _free(pointer: number): void
  _heif_context_alloc(): number
  _heif_context_free(context: number): void
  _heif_context_read_from_memory_without_copy(
    error: number,
    context: number,
    data: number,
    size: number,
    options: number,
  ): void
  _heif_context_get_primary_image_handle(error: number, context: number, handle: number): void
  _heif_image_handle_get_width(handle: number): number
  _heif_image_handle_get_height(handle: number): number
  _heif_image_handle_has_alpha_channel(handle: number): number
  _heif_image_handle_get_luma_bits_per_pixel(handle: number): number
  _heif_image_handle_release(handle: number): void
  _heif_decode_image(error: number, handle: number, image: number, space: number, chroma: number, options: number): void
  _heif_image_get_width(image: number, channel: number): number
  _heif_image_get_height(image: number, channel: number): number
  _heif_image_get_bits_per_pixel_range(image: number, channel: number): number
  _heif_image_get_plane_readonly(image: number, channel: number, stride: number): number
  _heif_image_release(image: number): void
  _heif_image_handle_get_number_of_metadata_blocks(handle: number, filter: number): number
  _heif_image_handle_get_list_of_metadata_block_IDs(handle: number, filter: number, ids: number, count: number): number
  _heif_image_handle_get_metadata_size(handle: number, id: number): number
  _heif_image_handle_get_metadata(error: number, handle: number, id: number, data: number): void
}

/** Upright samples of the main picture, in its own colours: three a pixel, four with opacity. */
export interface HeifPixels {
  width: number
  height: number
  channels: 3 | 4
  samples: Uint8Array | Uint16Array
  /** The EXIF block, TIFF header first. */
  exif?: Uint8Array
}

const RGB = 1
const INTERLEAVED = 10
const CHROMA = { rgb8: 10, rgba8: 11, rgb16: 14, rgba16: 15 } as const

/**
 * Decodes the main picture, turned and mirrored as its boxes say, grids put together. Samples of more than 8 bit are
 * spread to the full 16.
 *
 * @param begins called before the picture is decoded, with its size in pixels; may throw
 * @throws {Error} with libheif's words
 */
export function decodeHeif(
  lib: LibHeif,
  file: Uint8Array,
  begins: (width: number, height: number) => void = () => {},
): HeifPixels {
  const scratch = lib._malloc(16)
  const data = lib._malloc(file.length)
  const context = lib._heif_context_alloc()
  let handle = 0
  let image = 0
  try {
    if (!data) throw new Error('out of memory')
    lib.HEAPU8.set(file, data)
    const u32 = (at: number) => new DataView(lib.HEAPU8.buffer).getUint32(at, true)
    const check = () => {
      if (u32(scratch) !== 0) throw new Error(text(lib.HEAPU8, u32(scratch + 8)) || `libheif's error ${u32(scratch)}`)
    }
    lib._heif_context_read_from_memory_without_copy(scratch, context, data, file.length, 0)
    check()
    lib._heif_context_get_primary_image_handle(scratch, context, scratch + 12)
    check()
    handle = u32(scratch + 12)
    begins(lib._heif_image_handle_get_width(handle), lib._heif_image_handle_get_height(handle))
    const alpha = lib._heif_image_handle_has_alpha_channel(handle) !== 0
    const deep = lib._heif_image_handle_get_luma_bits_per_pixel(handle) > 8
    const chroma = deep ? (alpha ? CHROMA.rgba16 : CHROMA.rgb16) : alpha ? CHROMA.rgba8 : CHROMA.rgb8
    lib._heif_decode_image(scratch, handle, scratch + 12, RGB, chroma, 0)
    check()
    image = u32(scratch + 12)
    const width = lib._heif_image_get_width(image, INTERLEAVED)
    const height = lib._heif_image_get_height(image, INTERLEAVED)
    const bits = lib._heif_image_get_bits_per_pixel_range(image, INTERLEAVED)
    const plane = lib._heif_image_get_plane_readonly(image, INTERLEAVED, scratch)
    const stride = u32(scratch)
    const channels = alpha ? 4 : 3
    const row = width * channels * (deep ? 2 : 1)
    if (!plane || width < 1 || height < 1 || stride < row) throw new Error('no pixels')
    const packed = new Uint8Array(row * height)
    for (let y = 0; y < height; y++) {
      packed.set(lib.HEAPU8.subarray(plane + y * stride, plane + y * stride + row), y * row)
    }
    const exif = exifOf(lib, handle, scratch)
    return { width, height, channels, samples: deep ? spread(packed, bits) : packed, ...(exif ? { exif } : {}) }
  } finally {
    if (image) lib._heif_image_release(image)
    if (handle) lib._heif_image_handle_release(handle)
    lib._heif_context_free(context)
    lib._free(data)
    lib._free(scratch)
  }
}

/** Samples of 9 to 16 bits, little endian, to 16. */
function spread(packed: Uint8Array, bits: number): Uint16Array {
  const samples = new Uint16Array(packed.buffer)
  const top = 2 ** bits - 1
  if (top === 65535) return samples
  for (let i = 0; i < samples.length; i++) samples[i] = Math.round((Math.min(top, samples[i]) * 65535) / top)
  return samples
}

/** The first block of EXIF, without the offset that HEIF puts before it (23008-12, A.2.1). */
function exifOf(lib: LibHeif, handle: number, scratch: number): Uint8Array | undefined {
  const filter = lib._malloc(8)
  try {
    lib.HEAPU8.set([0x45, 0x78, 0x69, 0x66, 0], filter)
    if (lib._heif_image_handle_get_number_of_metadata_blocks(handle, filter) < 1) return undefined
    lib._heif_image_handle_get_list_of_metadata_block_IDs(handle, filter, scratch, 1)
    const id = new DataView(lib.HEAPU8.buffer).getUint32(scratch, true)
    const size = lib._heif_image_handle_get_metadata_size(handle, id)
    if (size < 8 || size > 1 << 22) return undefined
    const data = lib._malloc(size)
    lib._heif_image_handle_get_metadata(scratch, handle, id, data)
    const block = lib.HEAPU8.slice(data, data + size)
    lib._free(data)
    const offset = new DataView(block.buffer).getUint32(0)
    return offset < size - 8 ? block.subarray(4 + offset) : undefined
  } finally {
    lib._free(filter)
  }
}

function text(memory: Uint8Array, at: number): string {
  if (!at) return ''
  const end = memory.indexOf(0, at)
  return new TextDecoder().decode(memory.subarray(at, Math.min(end < 0 ? at : end, at + 300)))
}
