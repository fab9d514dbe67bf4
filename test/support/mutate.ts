/** Damages files as disks, transfers and malice do; the same number gives the same damage. */

/** Numbers that code trips over where it takes them for a size or an offset. */
const EXTREMES = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff]

/** A damaged copy: one or two of bits turned over, bytes replaced, ranges lost, doubled, moved or put in, sizes made extreme, the end lost. */
export function mutated(file: Uint8Array, other: Uint8Array, random: () => number): Uint8Array {
  let bytes = Buffer.from(file)
  const upTo = (n: number) => Math.floor(random() * n)
  // Half of the time in the headers, where every byte means something.
  const place = () => upTo(random() < 0.4 ? Math.min(bytes.length, 400) : bytes.length)
  const kinds: (() => void)[] = [
    () => {
      for (let i = upTo(8); i >= 0; i--) bytes[place()] ^= 1 << upTo(8)
    },
    () => {
      for (let i = upTo(8); i >= 0; i--) bytes[place()] = upTo(256)
    },
    () => {
      const at = Math.min(place(), bytes.length - 4)
      if (at < 0) return
      const value = EXTREMES[upTo(EXTREMES.length)]
      if (random() < 0.5) bytes.writeUInt32BE(value, at)
      else bytes.writeUInt32LE(value, at)
    },
    () => {
      const at = Math.min(place(), bytes.length - 2)
      if (at < 0) return
      const value = EXTREMES[upTo(7)]
      if (random() < 0.5) bytes.writeUInt16BE(value, at)
      else bytes.writeUInt16LE(value, at)
    },
    () => {
      const [at, length] = [place(), upTo(64)]
      bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)])
    },
    () => {
      const [at, length] = [place(), upTo(64)]
      bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)])
    },
    () => {
      const [at, from] = [place(), upTo(other.length)]
      bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(from, from + upTo(200)), bytes.subarray(at)])
    },
    () => {
      bytes = bytes.subarray(0, place())
    },
  ]
  for (let i = upTo(2); i >= 0; i--) if (bytes.length > 0) kinds[upTo(kinds.length)]()
  return bytes
}
