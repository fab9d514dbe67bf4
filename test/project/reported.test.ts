/** test/README.md's table of reported failures names tests and inputs that there are. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { inputs } from '../support/inputs/index.ts'

const folder = join(import.meta.dirname, '..')
const section = readFileSync(join(folder, 'README.md'), 'utf8').split('## Reported failures')[1].split('\n## ')[0]
const rows = section
  .split('\n')
  .filter((line) => line.startsWith('| '))
  .slice(1)
  .map((line) => line.slice(2, -2).split(' | '))

/** Files of tests with the titles that a row names, and inputs. */
function named(cell: string): { files: Map<string, string[]>; made: string[] } {
  const files = new Map<string, string[]>()
  const made: string[] = []
  let last: string[] | undefined
  let at = 0
  for (const [part, file, title, input] of cell.matchAll(/(?:`([^`]+)` )?(?:"([^"]+)"|\*([^*]+)\*)(?:; |$)/g)) {
    expect(cell.startsWith(part, at)).toBe(true)
    at += part.length
    if (file) {
      last = files.get(file) ?? []
      files.set(file, last)
    }
    if (input) made.push(input)
    else if (last) last.push(title)
  }
  expect(at, 'neither tests nor inputs').toBe(cell.length)
  return { files, made }
}

describe('reported failures', () => {
  test('are some forty, each with a test', () => {
    expect(rows.length).toBeGreaterThan(35)
    for (const row of rows) expect(row).toHaveLength(2)
  })

  test.each(rows)('%s', (_, cell) => {
    const { files, made } = named(cell)
    for (const [file, titles] of files) {
      expect(existsSync(join(folder, file)), file).toBe(true)
      const source = readFileSync(join(folder, file), 'utf8')
      for (const title of titles) expect(source.includes(title), `${file}: "${title}"`).toBe(true)
    }
    for (const name of made) expect(inputs.map((input) => input.name)).toContain(name)
  })
})
