import { relative } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import type { Reporter, TestModule } from 'vitest/node'
import { LEFT_OUT } from './long-files.ts'

/**
 * Ends every run with one plain line, `N passed, N failed, N skipped`, which CI reads. Before it, in a run of many files, the ten that
 * took longest; and what failed, each in lines of its own of which the first begins with `failed: `, which CI repeats at its end.
 */
export default class PlainSummary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    const count = { passed: 0, skipped: 0 }
    const failed: string[] = unhandled.map((error) => failure('outside of the tests', [error]))
    for (const module of modules) {
      if (module.errors().length > 0) failed.push(failure(pathOf(module), module.errors()))
      // Of hooks: the tests of the suite are then skipped.
      for (const suite of module.children.allSuites())
        if (suite.errors().length > 0) failed.push(failure(`${pathOf(module)} > ${suite.fullName}`, suite.errors()))
      for (const test of module.children.allTests()) {
        const { state, errors } = test.result()
        if (state === 'passed') count.passed++
        else if (state === 'failed') failed.push(failure(`${pathOf(module)} > ${test.fullName}`, errors))
        else count.skipped++
      }
    }
    if (modules.length > 10) console.log(`\nslowest files, in seconds: ${slowest(modules)}`)
    if (modules.length > 10 && LEFT_OUT.length > 0)
      console.log(`${LEFT_OUT.length} more files are left to \`npm run test:all\``)
    for (const each of failed) console.log(each)
    console.log(`${count.passed} passed, ${failed.length} failed, ${count.skipped} skipped`)
  }
}

/** What failed, and below it the first lines of its errors, which begin with blanks. */
function failure(name: string, errors: readonly unknown[]): string {
  const lines = errors.flatMap((error) => {
    const { name: kind, message } = error as Partial<Error>
    return stripVTControlCharacters(message === undefined ? String(error) : `${kind ?? 'Error'}: ${message}`)
      .split('\n')
      .filter((line) => line.trim())
      .slice(0, 3)
  })
  return [`failed: ${name.replaceAll(/\s+/g, ' ')}`, ...lines.map((line) => `  ${line.slice(0, 300)}`)].join('\n')
}

const pathOf = (module: TestModule) => relative('.', module.moduleId)

function slowest(modules: readonly TestModule[]): string {
  const seconds = (module: TestModule) => {
    const { duration, collectDuration } = module.diagnostic()
    return (duration + collectDuration) / 1000
  }
  return [...modules]
    .sort((a, b) => seconds(b) - seconds(a))
    .slice(0, 10)
    .map((module) => `${relative('test', pathOf(module))} ${seconds(module).toFixed(0)}`)
    .join(', ')
}
