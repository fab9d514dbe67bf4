/** What CI says at its end, on tests that fail in each way: test/reporter.ts names them, .ci/run repeats them. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, expect, test } from 'vitest'

const repository = resolve(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'ci-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('.ci/run ends with the failed tests of every stage, with their errors, and the counts', () => {
  symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'))
  const reporter = JSON.stringify(join(repository, 'test/reporter.ts'))
  writeFileSync(join(folder, 'vitest.config.mjs'), `export default { test: { reporters: ['default', ${reporter}] } }`)
  writeFileSync(
    join(folder, 'a.test.mjs'),
    `import { beforeAll, describe, expect, test } from 'vitest'
     test('a name of\\ntwo lines', () => expect({ a: 1 }).toEqual({ a: 2 }))
     test('passes', () => {})
     test.skip('left out', () => {})
     describe('suite', () => {
       beforeAll(() => { throw new TypeError('of a hook') })
       test('not reached', () => {})
     })`,
  )
  writeFileSync(join(folder, 'b.test.mjs'), `throw new Error('of a file')`)

  const ci = readFileSync(join(repository, '.ci/run'), 'utf8')
  const stages = ci.slice(ci.indexOf('\npassed=0'), ci.indexOf('\n# As nobody'))
  const end = ci.slice(ci.indexOf('\nif [[ -s $work/failures.log'))
  const run = `${stages}
    stage 'tests that fail' node_modules/.bin/vitest run
    stage 'fails without a count' bash -c 'echo why; exit 3'
    stage 'passes' echo '5 passed, 0 failed, 1 skipped'${end}`
  const { stdout, status } = spawnSync('bash', ['-uo', 'pipefail', '-c', run], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, work: folder },
  })
  expect(stdout.slice(stdout.indexOf('== what failed'))).toBe(`== what failed
-- tests that fail
failed: a.test.mjs > suite
  TypeError: of a hook
failed: a.test.mjs > a name of two lines
  AssertionError: expected { a: 1 } to deeply equal { a: 2 }
failed: b.test.mjs
  Error: of a file
-- fails without a count
ended with 3:
why
6 passed, 4 failed, 3 skipped
`)
  expect(status).toBe(1)
})
