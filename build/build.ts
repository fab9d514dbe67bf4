/** `npm run build`: dist/ for Node >= 20.19, which cannot run the TypeScript sources itself. */
import { execFileSync } from 'node:child_process'
import { chmod, rm } from 'node:fs/promises'
import { build } from 'esbuild'
import { compactKernels } from './compact-kernels.ts'

await rm('dist', { recursive: true, force: true })
await build({
  entryPoints: { index: 'src/index.ts', node: 'src/node.ts', browser: 'src/browser.ts', cli: 'src/cli/main.ts' },
  outdir: 'dist',
  bundle: true,
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  // Dependencies stay imports: webgpu and sharp are native, wgpu-matrix is shared with whoever uses it too.
  packages: 'external',
  sourcemap: true,
  plugins: [compactKernels],
})
await chmod('dist/cli.js', 0o755)
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'build/tsconfig.types.json'], {
  stdio: 'inherit',
})
