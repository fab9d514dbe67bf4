/**
 * `node build/engine.ts [FOLDER]`: the engine as a package of its own in FOLDER (out/engine unless told), from the sources that `src/engine.ts`
 * and its two neighbours reach: a module for each, their declarations, and nothing to download, build or run at installation. `npm publish
 * FOLDER` publishes it. `lowkey-gpu` exports the same.
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { build } from 'esbuild'
import { compactKernels, separateModules } from './plugins.ts'

const repository = resolve(import.meta.dirname, '..')
const folder = resolve(process.argv[2] ?? join(repository, 'out/engine'))
const ENTRIES = { '.': 'engine', './node': 'engine-node', './browser': 'browser' }

const entryPoints = Object.values(ENTRIES).map((name) => join(repository, 'src', `${name}.ts`))
const shared = { absWorkingDir: repository, format: 'esm', target: 'node20.19', packages: 'external' } as const
const { metafile } = await build({
  ...shared,
  entryPoints,
  bundle: true,
  write: false,
  metafile: true,
  outdir: folder,
  platform: 'node',
})
const modules = Object.keys(metafile.inputs).filter((path) => path.startsWith('src/'))
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
await build({
  ...shared,
  entryPoints: modules,
  outbase: 'src',
  outdir: join(folder, 'dist'),
  bundle: true,
  platform: 'node',
  plugins: [compactKernels, separateModules],
})

// Declarations import each other as the sources do, types alone included.
const project = join(folder, 'tsconfig.json')
writeFileSync(
  project,
  JSON.stringify({
    extends: relative(folder, join(repository, 'build/tsconfig.types.json')),
    compilerOptions: {
      rootDir: join(repository, 'src'),
      outDir: join(folder, 'dist'),
      typeRoots: ['node_modules/@types', 'node_modules'].map((path) => join(repository, path)),
    },
    files: entryPoints,
    include: [],
  }),
)
execFileSync(process.execPath, [join(repository, 'node_modules/typescript/bin/tsc'), '-p', project], {
  stdio: 'inherit',
})
rmSync(project)

const product = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'))
const manifest = {
  name: 'lowkey-gpu-engine',
  version: product.version,
  description:
    'Tensors with gradients on WebGPU, in Node and in browsers: record a graph, compile it to a plan, run the plan.',
  keywords: ['webgpu', 'wgsl', 'tensor', 'autograd', 'gpu', 'machine-learning'],
  author: product.author,
  license: product.license,
  type: 'module',
  sideEffects: false,
  engines: product.engines,
  exports: {
    ...Object.fromEntries(
      Object.entries(ENTRIES).map(([path, name]) => [
        path,
        { types: `./dist/${name}.d.ts`, default: `./dist/${name}.js` },
      ]),
    ),
    './package.json': './package.json',
  },
  files: ['dist'],
  dependencies: { '@webgpu/types': product.dependencies['@webgpu/types'] },
  // Dawn, for Node alone: 130 MB that a page does not need.
  peerDependencies: { webgpu: product.dependencies.webgpu },
  peerDependenciesMeta: { webgpu: { optional: true } },
}
writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
copyFileSync(join(repository, 'build/engine/README.md'), join(folder, 'README.md'))
copyFileSync(join(repository, 'LICENSE'), join(folder, 'LICENSE'))
console.log(`${manifest.name} ${manifest.version}: ${modules.length} modules in ${relative(dirname(folder), folder)}`)
