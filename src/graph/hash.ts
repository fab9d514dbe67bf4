/**
 * FNV-1a over numbers, 32 bits of each. http://www.isthe.com/chongo/tech/comp/fnv/
 * @param start what it begins with: the published offset, or the hash of what came before
 * @returns 32 bits, with a sign
 */
export function fnv1a(words: Iterable<number>, start = 0x811c9dc5): number {
  let hash = start
  for (const word of words) hash = Math.imul(hash ^ word, 0x01000193)
  return hash
}

/** Of a text's UTF-16 units. */
export function textHash(text: string, start?: number): number {
  return fnv1a(
    Array.from({ length: text.length }, (_, i) => text.charCodeAt(i)),
    start,
  )
}
