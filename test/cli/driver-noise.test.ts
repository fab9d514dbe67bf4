import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { withoutNoise } from '../../src/cli/driver-noise.ts'

const NOISE =
  'Warning: maxDynamicUniformBuffersPerPipelineLayout artificially reduced from 1000000 to 16 to fit dynamic offset allocation limit.\n' +
  'Warning: maxDynamicStorageBuffersPerPipelineLayout artificially reduced from 500000 to 16 to fit dynamic offset allocation limit.\n'

test('two known lines of Dawn are left out, and nothing else', () => {
  expect(withoutNoise(NOISE)).toBe('')
  expect(withoutNoise(`before\n${NOISE}Warning: something else\n`)).toBe('before\nWarning: something else\n')
})

const code = (run: string) => `
import { writeSync } from 'node:fs'
import { quietly } from '${new URL('../../src/cli/driver-noise.ts', import.meta.url).href}'
process.stderr.write('begin\\n')
${run}
process.stderr.write('end\\n')`

/** What a script says on stderr where that is a shell's pipe. */
const said = (script: string) =>
  spawnSync('sh', ['-c', '"$0" --input-type=module 2>&1 >/dev/null | cat', process.execPath], {
    input: script,
    encoding: 'utf8',
  }).stdout

test.skipIf(process.platform !== 'linux')('stderr is put aside and comes back, with what was no noise', () => {
  const written = JSON.stringify(`a driver's words\n${NOISE}`)
  expect(said(code(`quietly(() => writeSync(2, ${written}))`))).toBe("begin\na driver's words\nend\n")
  expect(
    said(code('try { quietly(() => { throw new Error("no") }) } catch { process.stderr.write("caught\\n") }')),
  ).toBe('begin\ncaught\nend\n')
})

test.skipIf(process.platform !== 'linux').each(['>', '>>'])(
  'a file has it neither (2%s), and goes on at its end',
  (redirect) => {
    const folder = mkdtempSync(join(tmpdir(), 'noise-'))
    try {
      const written = JSON.stringify(`a driver's wörds\n${NOISE}`)
      const shell = `exec 2${redirect}'${folder}/said'; echo first >&2; "$0" --input-type=module; echo last >&2`
      writeFileSync(join(folder, 'said'), 'before\n')
      spawnSync('sh', ['-c', shell, process.execPath], { input: code(`quietly(() => writeSync(2, ${written}))`) })
      const there = redirect === '>>' ? 'before\n' : ''
      expect(readFileSync(join(folder, 'said'), 'utf8')).toBe(`${there}first\nbegin\na driver's wörds\nend\nlast\n`)
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)
