/**
 * The wire format of protocol buffers, read strictly: every length is checked before it is used, and nothing is kept of a message
 * but what its visitor takes. https://protobuf.dev/programming-guides/encoding
 */

/** Refuses a message; what it says goes to the user behind the file's name. */
export type Refuse = (problem: string) => never

/** Wire types; groups (3 and 4) are as good as unused since 2008 and are refused. */
const VARINT = 0
const FIXED64 = 1
const BYTES = 2
const FIXED32 = 5
const NAMES: Record<number, string> = {
  [VARINT]: 'a varint',
  [FIXED64]: '64 bits',
  [BYTES]: 'bytes',
  [FIXED32]: '32 bits',
}

const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A varint's value as a signed 64-bit integer, and where the next byte is. Beyond 2^53 it is the nearest number. */
function varint(bytes: Uint8Array, start: number, end: number, refuse: Refuse): { value: number; next: number } {
  let low = 0
  let high = 0
  for (let i = 0; i < 10; i++) {
    if (start + i >= end) refuse('is cut short in the middle of a number')
    const byte = bytes[start + i]
    const part = byte & 0x7f
    // Bits 0..27 go into the low word, 28..31 of the fifth byte into both, the rest into the high word.
    if (i < 4) low |= part << (7 * i)
    else if (i === 4) {
      low |= part << 28
      high |= part >> 4
    } else high |= part << (7 * i - 32)
    if (byte < 0x80) {
      if (i === 9 && byte > 1) refuse('has a number of more than 64 bits')
      return { value: (high | 0) * 2 ** 32 + (low >>> 0), next: start + i + 1 }
    }
  }
  return refuse('has a number of more than ten bytes')
}

/** One field of a message, valid while it is visited. */
export class Field {
  /** Its number in the message's definition. */
  readonly id: number
  readonly #wire: number
  readonly #value: number
  readonly #bytes: Uint8Array
  readonly #refuse: Refuse

  constructor(id: number, wire: number, value: number, bytes: Uint8Array, refuse: Refuse) {
    this.id = id
    this.#wire = wire
    this.#value = value
    this.#bytes = bytes
    this.#refuse = refuse
  }

  #expect(wire: number): void {
    if (this.#wire !== wire) this.#refuse(`field ${this.id} holds ${NAMES[this.#wire]} instead of ${NAMES[wire]}`)
  }

  /** int64, int32, bool or an enumeration. */
  integer(): number {
    this.#expect(VARINT)
    return this.#value
  }

  float(): number {
    this.#expect(FIXED32)
    return new DataView(this.#bytes.buffer, this.#bytes.byteOffset, 4).getFloat32(0, true)
  }

  /** A nested message or bytes, as a view of the file. */
  bytes(): Uint8Array {
    this.#expect(BYTES)
    return this.#bytes
  }

  text(): string {
    this.#expect(BYTES)
    try {
      return text.decode(this.#bytes)
    } catch {
      return this.#refuse(`field ${this.id} is not UTF-8 text`)
    }
  }

  /** Visits the values of a repeated integer field, which may be packed; a field that is not has one. */
  visitIntegers(visit: (value: number) => void): void {
    if (this.#wire === VARINT) {
      visit(this.#value)
      return
    }
    this.#expect(BYTES)
    for (let at = 0; at < this.#bytes.length; ) {
      const { value, next } = varint(this.#bytes, at, this.#bytes.length, this.#refuse)
      visit(value)
      at = next
    }
  }

  /** The little-endian bytes of a repeated field of numbers of `size` bytes (4 or 8), packed or one by one. */
  fixed(size: 4 | 8): Uint8Array {
    if (this.#wire !== (size === 4 ? FIXED32 : FIXED64)) this.#expect(BYTES)
    if (this.#bytes.length % size !== 0) this.#refuse(`field ${this.id} ends within a number`)
    return this.#bytes
  }
}

/**
 * Visits the fields of a message in the order of the file.
 *
 * @param refuse called, and expected to throw, where the message breaks the format's rules
 */
export function visitFields(message: Uint8Array, refuse: Refuse, visit: (field: Field) => void): void {
  for (let at = 0; at < message.length; ) {
    const tag = varint(message, at, message.length, refuse)
    const id = Math.floor(tag.value / 8)
    const wire = tag.value & 7
    if (!(id > 0 && id < 2 ** 29)) refuse(`has a field of number ${id}`)
    let start = tag.next
    let value = 0
    let length = 0
    if (wire === VARINT) {
      const number = varint(message, start, message.length, refuse)
      value = number.value
      start = number.next
    } else if (wire === BYTES) {
      const number = varint(message, start, message.length, refuse)
      length = number.value
      start = number.next
    } else if (wire === FIXED64) length = 8
    else if (wire === FIXED32) length = 4
    else refuse(`field ${id} is of wire type ${wire}`)
    if (!(length >= 0 && length <= message.length - start))
      refuse(`field ${id} claims ${length} bytes where ${message.length - start} are left: it is damaged or cut short`)
    visit(new Field(id, wire, value, message.subarray(start, start + length), refuse))
    at = start + length
  }
}
