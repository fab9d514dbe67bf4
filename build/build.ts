/**
 * `npm run build`, `node build/build.ts [FOLDER]`: dist/ (or FOLDER) for Node >= 20.19, which cannot run the TypeScript sources itself. The library is a module for each of its
 * sources, so that bundlers leave out what is not used (`sideEffects` counts by files); the command is one file, which starts quickest. The page's code lies
 * in dist/page-parts, from which `lowkey-gpu page` and `npm run page` put it together.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { chmod, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type BuildOptions, build } from 'esbuild'
import { buildPageParts } from './page-parts.ts'
import { compactKernels, separateModules } from './plugins.ts'

const folder = process.argv[2] ?? 'dist'
const options: BuildOptions = {
  outdir: folder,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  // Dependencies stay imports: webgpu and sharp are native, wgpu-matrix is shared with whoever uses it too.
  packages: 'external',
}
const modules = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !/^(cli|page)[\\/]/.test(name))
  .map((name) => join('src', name))

await rm(folder, { recursive: true, force: true })
await build({ ...options, entryPoints: modules, outbase: 'src', plugins: [compactKernels, separateModules] })
await build({ ...options, entryPoints: { cli: 'src/cli/main.ts' }, plugins: [compactKernels] })
await buildPageParts(join(folder, 'page-parts'))
await chmod(join(folder, 'cli.js'), 0o755)
const tsc = ['node_modules/typescript/bin/tsc', '-p', 'build/tsconfig.types.json', '--outDir', resolve(folder)]
execFileSync(process.execPath, tsc, { stdio: 'inherit' })
