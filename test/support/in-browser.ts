/** Programs of the sources in a browser: bundled as they are, with the cases of operations, and run in a page that has WebGPU. */
import { resolve } from 'node:path'
import { build } from 'esbuild'
import type { Browser, Page } from './browser.ts'
import { serving } from './page.ts'

const repository = resolve(import.meta.dirname, '../..')

/**
 * Opens a page with a program, TypeScript whose imports are relative to the repository (`./src/browser.ts`). What it exports is there as
 * `program` in the page: `page.evaluate('program.run(3)')`.
 *
 * @param files that the program can fetch, by name
 */
export async function openProgram(
  browser: Browser,
  program: string,
  files: ReadonlyMap<string, Uint8Array> = new Map(),
): Promise<{ page: Page; close(): Promise<void> }> {
  const { outputFiles } = await build({
    stdin: { contents: program, resolveDir: repository, loader: 'ts' },
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'program',
    platform: 'browser',
    target: 'chrome147',
    logLevel: 'silent',
  })
  const html = new TextEncoder().encode('<!doctype html><meta charset="utf-8"><script src="program.js"></script>')
  const host = await serving(new Map([...files, ['index.html', html], ['program.js', outputFiles[0].contents]]))
  const page = await browser.open(host.address)
  const close = async () => {
    await page.close()
    host.close()
  }
  return { page, close }
}
