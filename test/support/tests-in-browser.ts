/** Test files as they are, run in a browser: what they take of vitest and of Node is stood in for, the engine and the tests are the same. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { build, type Plugin } from 'esbuild'
import { readPhoto } from '../../src/images/index.ts'
import type { Browser } from './browser.ts'
import { serving } from './page.ts'

const repository = resolve(import.meta.dirname, '../..')
const standIn = (name: string): string => join(repository, `test/support/in-browser/${name}.ts`)

/** By the end of what a file imports. */
const STAND_INS: readonly [RegExp, string][] = [
  [/^vitest$/, 'vitest'],
  [/^node:(fs|path)$/, 'node'],
  [/support\/gpu\.ts$/, 'gpu'],
  [/images\/index\.ts$/, 'node'],
  [/weights\/node\.ts$/, 'node'],
]

const standIns: Plugin = {
  name: 'stand-ins',
  setup(builder) {
    builder.onResolve({ filter: /./ }, ({ path, importer }) => {
      if (importer.includes('test/support/in-browser/')) return undefined
      const found = STAND_INS.find(([pattern]) => pattern.test(path))
      return found && { path: standIn(found[1]) }
    })
  },
}

/** What the golden results are read from, by name. */
async function goldenFiles(): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>()
  const data = join(repository, 'test/golden/data')
  for (const name of readdirSync(data)) files.set(name, readFileSync(join(data, name)))
  const weights = join(repository, 'weights')
  files.set('manifest.json', readFileSync(join(weights, 'manifest.json')))
  for (const name of readdirSync(weights).filter((file) => file.endsWith('.safetensors')))
    files.set(name, readFileSync(join(weights, name)))
  const { width, height, rgb } = await readPhoto(join(repository, 'examples/astronaut.png'))
  files.set('astronaut.png.rgb', Buffer.concat([new Uint8Array(Uint32Array.of(width, height).buffer), rgb]))
  return files
}

export interface InBrowser {
  /** Names of the file's tests, in their order. */
  names: readonly string[]
  /** Runs one; undefined where it passes, else why not. */
  run(index: number): Promise<string | undefined>
  close(): Promise<void>
}

/** Opens a page with a test file, its path relative to `test`. */
export async function testsInBrowser(browser: Browser, file: string): Promise<InBrowser> {
  const files = /golden/.test(file) ? await goldenFiles() : new Map<string, Uint8Array>()
  const { outputFiles } = await build({
    stdin: {
      contents: `import { fetchFiles } from './test/support/in-browser/node.ts'
        import { tests } from './test/support/in-browser/vitest.ts'
        await fetchFiles(${JSON.stringify([...files.keys()])})
        await import('./test/${file}')
        globalThis.tests = tests.map(({ name }) => name)
        globalThis.run = async (index) => {
          try { await tests[index].run() } catch (error) { return String(error?.message ?? error) }
        }`,
      resolveDir: repository,
      loader: 'ts',
    },
    plugins: [standIns],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'chrome147',
    define: {
      'import.meta.dirname': '"/test"',
      'process.env': JSON.stringify({ LOWKEY_TEST_ALL: '' }),
    },
    logLevel: 'silent',
  })
  const html = `<!doctype html><meta charset="utf-8"><script type="module">
    window.opened = import('./tests.js').then(() => window.tests, (error) => { throw error })
  </script>`
  const host = await serving(
    new Map([...files, ['index.html', new TextEncoder().encode(html)], ['tests.js', outputFiles[0].contents]]),
  )
  const page = await browser.open(host.address)
  const names = await page.evaluate<string[]>('window.opened')
  return {
    names,
    run: async (index) => (await page.evaluate<string | undefined>(`run(${index})`)) ?? undefined,
    async close() {
      await page.close()
      host.close()
    },
  }
}
