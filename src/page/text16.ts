/**
 * Bytes as text of 16-bit code units, for pages that carry binary data in themselves. Base64 makes data a third longer; here two bytes are
 * one unit, and the few units that HTML or Unicode would change are written as two. The page is UTF-16 then, which its byte order mark
 * tells every browser whatever a server says of it.
 */

/** Stands before a unit that could not stand there by itself, which follows with its highest bit turned over. */
const ESCAPE = 0x21
const HIGHEST = 0x8000

/** Controls and C1 (HTML changes some), `!`, `<` (ends the element), surrogates, and what Unicode calls noncharacters or the mark itself. */
function mustBeEscaped(unit: number): boolean {
  return (
    unit < 0x20 ||
    unit === ESCAPE ||
    unit === 0x3c ||
    (unit >= 0x7f && unit <= 0x9f) ||
    (unit >= 0xd800 && unit <= 0xdfff) ||
    (unit >= 0xfdd0 && unit <= 0xfdef) ||
    unit === 0xfeff ||
    unit >= 0xfffe
  )
}

/** The text of some bytes, its first character the parity of their number: `0` for even, `1` for odd. */
export function toText16(bytes: Uint8Array): string {
  const parts = [String(bytes.length % 2)]
  let units: number[] = []
  for (let at = 0; at < bytes.length; at += 2) {
    const unit = bytes[at] | ((bytes[at + 1] ?? 0) << 8)
    if (mustBeEscaped(unit)) units.push(ESCAPE, unit ^ HIGHEST)
    else units.push(unit)
    if (units.length > 8000) {
      parts.push(String.fromCharCode(...units))
      units = []
    }
  }
  return parts.join('') + String.fromCharCode(...units)
}

/** The bytes of a text that `toText16` made. Throws RangeError for one that was cut short. */
export function fromText16(text: string): Uint8Array<ArrayBuffer> {
  const units = new Uint16Array(text.length)
  let count = 0
  for (let at = 1; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    units[count++] = unit === ESCAPE ? text.charCodeAt(++at) ^ HIGHEST : unit
  }
  const odd = text[0] === '1'
  if (!/^[01]/.test(text) || (odd && count === 0)) throw new RangeError('a part of the page is damaged: load it again')
  // Units are little-endian in memory on every machine that has WebGPU.
  return new Uint8Array(units.buffer, 0, 2 * count - (odd ? 1 : 0))
}
