/** The page's code, styles and pictures, for `src/page/node.ts` to put together with the networks. */
import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type BuildOptions, build } from 'esbuild'
import { compactKernels } from './plugins.ts'

const options: BuildOptions = {
  bundle: true,
  minify: true,
  format: 'iife',
  platform: 'browser',
  // The oldest browsers that have WebGPU.
  target: ['chrome113', 'safari26', 'firefox141'],
  legalComments: 'inline',
  plugins: [compactKernels],
  logLevel: 'warning',
  // The JPEG encoder is given its WebAssembly, and looks for no file beside it.
  define: { 'import.meta.url': '"https://page.invalid/"' },
}

/** Writes the parts into a folder, which is made. */
export async function buildPageParts(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const script = (source: string, name: string) =>
    build({ ...options, entryPoints: [`src/page/${source}`], outfile: join(folder, name) })
  await Promise.all([
    script('main.ts', 'page.js'),
    script('worker.ts', 'worker.js'),
    script('heif-worker.ts', 'heif.js'),
    build({
      entryPoints: ['src/page/page.css'],
      outfile: join(folder, 'page.css'),
      minify: true,
      target: options.target,
    }),
    copyFile('node_modules/@jsquash/jpeg/codec/enc/mozjpeg_enc.wasm', join(folder, 'jpeg.wasm')),
    ...['before', 'low', 'medium', 'high'].map((name) =>
      copyFile(`docs/images/face-${name}.jpg`, join(folder, `face-${name}.jpg`)),
    ),
  ])
}
