import { relative } from 'node:path'
import type { Reporter, TestModule } from 'vitest/node'

/**
 * Ends every run with one plain line, `N passed, N failed, N skipped`, which CI reads. Before it, in a run of many files, the ten that
 * took longest.
 */
export default class PlainSummary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    const count = { passed: 0, failed: unhandled.length, skipped: 0 }
    for (const module of modules) {
      if (module.errors().length > 0) count.failed++
      for (const test of module.children.allTests()) {
        const state = test.result().state
        if (state === 'passed') count.passed++
        else if (state === 'failed') count.failed++
        else count.skipped++
      }
    }
    if (modules.length > 10) console.log(`\nslowest files, in seconds: ${slowest(modules)}`)
    console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`)
  }
}

function slowest(modules: readonly TestModule[]): string {
  const seconds = (module: TestModule) => {
    const { duration, collectDuration } = module.diagnostic()
    return (duration + collectDuration) / 1000
  }
  return [...modules]
    .sort((a, b) => seconds(b) - seconds(a))
    .slice(0, 10)
    .map((module) => `${relative('test', relative('.', module.moduleId))} ${seconds(module).toFixed(0)}`)
    .join(', ')
}
