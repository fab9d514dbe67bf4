/** The partition of photos by their paths: complete, disjoint, the same whatever else there is, and even. */
import { describe, expect, test } from 'vitest'
import { parseShard, ShardError, shardOf } from '../../src/batch/shard.ts'
import { random } from '../support/random.ts'

const pad = (n: number, digits: number): string => String(n).padStart(digits, '0')

/** Names as cameras, scanners and programs give them. */
const numbered: Record<string, (i: number, next: () => number) => string> = {
  'one folder of a camera': (i) => `DCIM/100CANON/IMG_${pad(i + 1, 4)}.JPG`,
  'a card with a folder every hundred': (i) => `DCIM/${100 + Math.floor(i / 100)}CANON/IMG_${pad(i, 4)}.JPG`,
  'scans without leading zeros': (i) => `archive/box 7/scan${i}.tif`,
  'numbers far from zero': (i) => `${2_000_000_000_000 + i}.jpg`,
  'numbers with something after them': (i) => `portraits/p${pad(i, 5)}-final.jpeg`,
  copies: (i) => `holiday (${i}).jpg`,
  'every name twice, in two formats': (i) => `a/IMG_${pad(i >> 1, 4)}.${i % 2 === 0 ? 'HEIC' : 'JPG'}`,
}
/** Names of which nothing can be counted on. */
const unnumbered: Record<string, (i: number, next: () => number) => string> = {
  'random names': (i, next) => `u/${i}x${Math.floor(next() * 2 ** 32).toString(16)}/photo.jpg`,
  'times of a day': (_, next) =>
    `2024-05-${pad(1 + Math.floor(next() * 28), 2)}/IMG_${pad(Math.floor(next() * 86_400), 6)}_${pad(Math.floor(next() * 1e9), 9)}.jpg`,
  'multiples of a hundred': (i) => `x/${i * 100}.png`,
  people: (i, next) => `people/${Math.floor(next() * 2 ** 48).toString(36)} ${i % 7 === 0 ? 'é' : 'e'}/portrait.jpg`,
}

function paths(name: (i: number, next: () => number) => string, count: number, seed = 1): string[] {
  const next = random(seed)
  return Array.from({ length: count }, (_, i) => name(i, next))
}

function sizes(photos: readonly string[], shards: number): number[] {
  const each = new Array<number>(shards).fill(0)
  for (const photo of photos) each[shardOf(photo, shards) - 1]++
  return each
}

describe('shards', () => {
  for (const [what, name] of Object.entries({ ...numbered, ...unnumbered })) {
    test(`of ${what} are complete and disjoint, and adding and removing photos moves none`, () => {
      for (const [seed, count] of [1, 2, 3, 7, 16, 100, 1000].entries()) {
        const photos = paths(name, 300, seed)
        const before = photos.map((photo) => shardOf(photo, count))
        for (const shard of before) {
          expect(Number.isInteger(shard)).toBe(true)
          expect(shard).toBeGreaterThanOrEqual(1)
          expect(shard).toBeLessThanOrEqual(count)
        }
        // Each task makes its own list, of what is there when it looks, in an order of its own.
        const more = [...photos.slice(50), ...paths(name, 100, seed + 100).map((photo) => `new/${photo}`)].reverse()
        const after = new Map(more.map((photo) => [photo, shardOf(photo, count)]))
        expect(photos.slice(50).map((photo) => after.get(photo))).toEqual(before.slice(50))
      }
    })
  }

  for (const [what, name] of Object.entries(numbered)) {
    test(`of ${what}: 1,000 photos in 16 shards differ by less than 10 % from a sixteenth`, () => {
      for (const size of sizes(paths(name, 1000), 16)) expect(Math.abs(size / (1000 / 16) - 1)).toBeLessThan(0.1)
    })
  }

  for (const [what, name] of Object.entries(unnumbered)) {
    test(`of ${what} differ as chance has it`, () => {
      for (const [photos, shards] of [
        [1000, 16],
        [20_000, 16],
      ]) {
        const mean = photos / shards
        const each = sizes(paths(name, photos), shards)
        // Chi squared with 15 degrees of freedom: 1 in 100,000 is above 50, and far below 15 would be no chance.
        expect(each.reduce((sum, size) => sum + (size - mean) ** 2 / mean, 0)).toBeLessThan(50)
        // The larger the archive, the less chance matters.
        if (photos === 20_000) for (const size of each) expect(Math.abs(size / mean - 1)).toBeLessThan(0.1)
      }
    })
  }

  test('cost alike, where photos of one folder are alike: 20 folders of 160, in each another number of faces', () => {
    const cost = new Array<number>(16).fill(0)
    let all = 0
    for (let folder = 0; folder < 20; folder++) {
      for (let i = 0; i < 160; i++) {
        const faces = 1 + folder
        cost[shardOf(`${folder} occasion/DSC_${pad(1000 * folder + i, 5)}.jpg`, 16) - 1] += faces
        all += faces
      }
    }
    for (const each of cost) expect(Math.abs(each / (all / 16) - 1)).toBeLessThan(0.1)
  })

  test('do not depend on how accents are written', () => {
    for (const count of [2, 16, 1000])
      expect(shardOf('Zoë/é.jpg'.normalize('NFD'), count)).toBe(shardOf('Zoë/é.jpg', count))
  })

  test('are what they were: another partition would do photos of a running archive twice, or not at all', () => {
    const photos = ['IMG_0001.JPG', 'a/IMG_0002.JPG', 'a/b/portrait.png', 'ä/2024-05-18 14.30.05.heic', '.hidden', '7']
    expect(photos.map((photo) => shardOf(photo, 16))).toEqual([7, 15, 9, 9, 9, 8])
    expect(photos.map((photo) => shardOf(photo, 1))).toEqual([1, 1, 1, 1, 1, 1])
  })
})

test('K/N is read, and nothing else', () => {
  expect(parseShard('3/16')).toEqual({ index: 3, count: 16 })
  expect(parseShard('1/1')).toEqual({ index: 1, count: 1 })
  for (const text of [
    '0/16',
    '17/16',
    '3',
    '3/',
    '/3',
    '3/0',
    '-1/3',
    '3/16/2',
    '1.5/3',
    ' 3/16',
    '1/100001',
    'Auto',
    '',
  ]) {
    expect(() => parseShard(text), text).toThrow(ShardError)
  }
})
