/*
 * A limit to the memory of a WebAssembly module (core specification, 5.5.8, memory section). A module says how much it may
 * grow to; the decoders of this program say 2 or 4 GiB, which a damaged file of a few kilobytes can ask for.
 */

const MEMORY = 5
const PAGE = 65536

/**
 * The module with a memory that ends at so many bytes, or unchanged where it has a smaller limit or none of its own.
 *
 * @throws {RangeError} it needs more to start with
 */
export function withMemoryLimit(wasm: Uint8Array, bytes: number): Uint8Array {
  const pages = Math.floor(bytes / PAGE)
  for (let at = 8; at < wasm.length; ) {
    const size = readNumber(wasm, at + 1)
    const end = size.end + size.value
    if (wasm[at] !== MEMORY) {
      at = end
      continue
    }
    const count = readNumber(wasm, size.end)
    if (count.value !== 1) return wasm
    const kind = wasm[count.end]
    const least = readNumber(wasm, count.end + 1)
    if (least.value > pages)
      throw new RangeError(`the module needs ${least.value} pages of memory, ${pages} are allowed`)
    // Bit 0: there is a limit. Other bits are shared memory and 64 bit.
    const most = kind & 1 ? readNumber(wasm, least.end).value : Number.POSITIVE_INFINITY
    if (most <= pages) return wasm
    const body = [1, kind | 1, ...writtenNumber(least.value), ...writtenNumber(pages)]
    return Buffer.concat([
      wasm.subarray(0, at),
      Uint8Array.of(MEMORY, ...writtenNumber(body.length), ...body),
      wasm.subarray(end),
    ])
  }
  return wasm
}

/** LEB128, unsigned. */
function readNumber(bytes: Uint8Array, start: number): { value: number; end: number } {
  let value = 0
  for (let at = start, scale = 1; ; at++, scale *= 128) {
    value += (bytes[at] & 127) * scale
    if (!(bytes[at] & 128)) return { value, end: at + 1 }
  }
}

function writtenNumber(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) | 128, ...writtenNumber(Math.floor(value / 128))]
}
