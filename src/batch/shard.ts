/** Which part of many photos a task works on: the same for all tasks, whatever else lies in the folders, without a word between them. */
import { createHash } from 'node:crypto'

/** One of `count` parts, counted from 1. */
export interface Shard {
  index: number
  count: number
}

/** More tasks than engines allow in one array. */
export const MOST_SHARDS = 100_000

/** A shard that there is not, or variables of an engine that do not fit together. */
export class ShardError extends Error {
  override name = 'ShardError'
}

/** The shard of a text `K/N`, K from 1 to N. Throws ShardError. */
export function parseShard(text: string): Shard {
  const [, index, count] = /^(\d+)\/(\d+)$/.exec(text)?.map(Number) ?? []
  if (index === undefined) throw new ShardError(`a shard is K/N, for example 3/16, or auto; got "${text}"`)
  return checked({ index, count }, `"${text}"`)
}

/** The shard itself. Throws ShardError unless it is one of 1 to `count`. */
export function checked(shard: Shard, where: string): Shard {
  const { index, count } = shard
  if (!(count >= 1 && count <= MOST_SHARDS)) throw new ShardError(`${where}: there are 1 to ${MOST_SHARDS} shards`)
  if (!(index >= 1 && index <= count))
    throw new ShardError(`${where}: of ${count} shards there is no ${index}; they are counted from 1 to ${count}`)
  return shard
}

/** Digits that are a number; longer ones are times and the like, of which the end counts. */
const DIGITS = 9

/**
 * The shard, 1 to `count`, of the photo at a path relative to the folder that was named, with / between folders. It depends on nothing
 * else, so that adding and removing photos moves none, and every task knows it alone.
 *
 * Photos are numbered by cameras and programs. Of `count` photos with consecutive numbers (from a multiple of `count` on) each gets another
 * shard, so that the shards of a numbered folder have as many photos as nearly as can be; where the turn begins is decided by a hash of
 * all else in the path. So photos of one occasion, which are alike in size and faces, are spread evenly, too. Names without numbers, or
 * with such that are not counted on, go by the hash alone: there the shards differ as chance has it, by some 1 / sqrt(photos a shard).
 */
export function shardOf(path: string, count: number): number {
  // One name has two spellings: Macs write accents apart.
  const name = path.normalize('NFC')
  const start = name.lastIndexOf('/') + 1
  const dot = name.lastIndexOf('.')
  const end = dot > start ? dot : name.length
  const [, digits = ''] = /(\d+)\D*$/.exec(name.slice(start, end)) ?? []
  if (digits === '') return (hashed(name) % count) + 1
  const at = name.lastIndexOf(digits, end - 1)
  const number = Number(digits.slice(-DIGITS))
  const rest = `${name.slice(0, at)}${digits.slice(0, -DIGITS)}/${name.slice(at + digits.length)}`
  const turn = hashed(`${Math.floor(number / count)}/${rest}`)
  return ((number + turn) % count) + 1
}

/** 48 bits of the SHA-256. */
const hashed = (text: string): number => createHash('sha256').update(text).digest().readUIntBE(0, 6)
