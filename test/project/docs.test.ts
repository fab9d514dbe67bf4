/** The documents say what is so: their code is taken out of them, checked for types, and run. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { transformSync } from 'esbuild'
import { afterAll, describe, expect, test } from 'vitest'
import { compile, graph } from '../../src/graph/index.ts'
import * as kernels from '../../src/kernels/index.ts'
import type { Op, Tensor } from '../../src/kernels/op.ts'
import type { PointwiseArgs } from '../../src/kernels/pointwise.ts'
import type { Case, Check } from '../operations/check.ts'
import { pointwiseCheck } from '../operations/check.ts'
import { checks } from '../operations/index.ts'
import { describeOperation } from '../support/check-operation.ts'
import { testGpu } from '../support/gpu.ts'
import { onnxFile } from '../support/onnx.ts'
import { installPackage } from '../support/package.ts'

const repository = resolve(import.meta.dirname, '../..')
const run = promisify(execFile)

interface Block {
  language: string
  /** The file that it is, or is a part of, where it says so. */
  path: string
  code: string
}

/** The fenced blocks of a document, in order. */
const blocksOf = (document: string): Block[] =>
  Array.from(document.matchAll(/^```(\w+) ?(\S*)\n(.*?)^```$/gms), ([, language, path, code]) => ({
    language,
    path,
    code,
  }))

const read = (name: string): string => readFileSync(join(repository, 'docs', name), 'utf8')

// Inside the repository, so that the library is found by relative paths.
mkdirSync(join(repository, 'out'), { recursive: true })
const folder = mkdtempSync(join(repository, 'out/docs-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Writes a file of the document among the repository's, as it were: what it imports from beside itself is in `beside`. */
function place(name: string, beside: string, code: string): string {
  const path = join(folder, name)
  const moved = code
    .replaceAll(/from '\.\/(.*?)'/g, `from '../../${beside}/$1'`)
    .replace("'../../src/kernels/rms-norm.ts'", "'./rms-norm.ts'")
  writeFileSync(path, moved)
  return path
}

/** Programs for users are beside the package that users get. */
const installed = installPackage()

const added = blocksOf(read('add-an-operation.md'))
const partOf = (path: string): string => {
  const parts = added.filter((block) => block.path === path)
  expect(parts, path).toHaveLength(1)
  return parts[0].code
}
const rmsNormFile = place('rms-norm.ts', 'src/kernels', partOf('src/kernels/rms-norm.ts'))
const rmsNormCheckFile = place('rms-norm-check.ts', 'test/operations', partOf('test/operations/rms-norm.ts'))
const hardSwishFile = place(
  'hard-swish.ts',
  'src/kernels',
  `import { pointwise } from './pointwise.ts'
${partOf('src/kernels/elementwise.ts')}
export const cases = {\n${partOf('test/operations/elementwise.ts')}}\nexport { hardSwishOp }\n`,
)
const engine = blocksOf(read('engine.md'))
const programs = engine.flatMap(({ code }, i) => {
  const output = engine[i + 1]
  if (output?.language !== 'text') return []
  const file = join(installed.folder, `engine-${i}.mjs`)
  writeFileSync(file, code)
  return [{ file, code, printed: output.code }]
})

describe('docs/add-an-operation.md', async () => {
  const gpu = await testGpu()
  const { rmsNorm } = (await import(rmsNormFile)) as {
    rmsNorm: (x: Tensor, weight: Tensor, epsilon?: number) => Tensor
  }
  const { rmsNormCheck } = (await import(rmsNormCheckFile)) as { rmsNormCheck: Check<unknown> }
  const { hardSwishOp, cases } = (await import(hardSwishFile)) as {
    hardSwishOp: Op<PointwiseArgs>
    cases: Record<string, Case<PointwiseArgs>[]>
  }

  describeOperation(gpu, rmsNormCheck)
  describeOperation(gpu, pointwiseCheck(hardSwishOp, cases[hardSwishOp.name]))

  test('the function records the operation, and names what does not fit', async () => {
    const g = graph()
    const x = g.input('x', [1, 4])
    const y = rmsNorm(x, g.constant([1, 1, 1, 10], [4]), 0)
    using plan = await compile(gpu, { y })
    plan.write('x', Float32Array.of(1, -1, 7, 7))
    plan.run()
    expect(Array.from(await plan.read('y'), (v) => v.toFixed(4))).toEqual(['0.2000', '-0.2000', '1.4000', '14.0000'])
    expect(() => rmsNorm(x, g.constant([1, 1], [2]))).toThrow(
      'weight [2] has not one value for each element of the last axis of x [1,4] (x [1,4], weight [2])',
    )
  })

  test('the lines name what the file has, in the form of the others there', () => {
    const renamed = (line: string) => line.replaceAll('rmsNorm', 'gaussianBlur').replace('rms-norm', 'gaussian-blur')
    const functions = read('../src/kernels/index.ts').split('\n')
    expect(functions).toContain(renamed(partOf('src/kernels/index.ts').trim()))
    const imported = partOf('test/operations/index.ts').trim()
    expect(imported).toBe(`import { rmsNormCheck } from './rms-norm.ts'`)
    const list = read('../test/operations/index.ts')
    expect(list).toMatch(/^import \{.*gaussianBlurCheck.*\} from '.\/gaussian-blur.ts'$/m)
    // As a row of the table there, its cases would be these.
    expect(read('../test/operations/elementwise.ts')).toMatch(/^ {2}less_equal: /m)
  })

  test('the library has it of other operations, as the page says, with the same values', async () => {
    expect(checks.map(({ op }) => op.name)).not.toContain('rms_norm')
    const g = graph()
    const [x, weight] = [g.input('x', [3, 4]), g.input('weight', [4])]
    using plan = await compile(gpu, { own: rmsNorm(x, weight), made: kernels.rmsNorm(x, weight) })
    const { own, made } = await plan.run({
      x: Float32Array.from({ length: 12 }, (_, i) => i - 5),
      weight: [1, 2, 3, 4],
    })
    for (const [i, value] of own.entries()) expect(Math.abs(value - made[i])).toBeLessThan(1e-5)
  })
})

describe('docs/engine.md', () => {
  test('has five programs that print something', () => expect(programs).toHaveLength(5))

  test('is JavaScript that Node 20 runs: without types, and without `using`', () => {
    for (const { code } of engine.filter(({ language }) => language === 'js')) {
      expect(transformSync(code, { loader: 'js', format: 'esm', target: 'node20.19' }).code).not.toMatch(/__using/)
    }
    expect(engine.filter(({ language }) => language === 'ts')).toEqual([])
  })

  for (const { file, printed } of programs) {
    test(`prints ${printed.trim().split('\n')[0]}`, async () => {
      const { stdout } = await run(process.execPath, [file], {
        cwd: repository,
        env: { ...process.env, NODE_OPTIONS: '' },
      })
      expect(stdout).toBe(printed)
    })
  }

  test('examples/onnx.mjs goes from a photo to what a model gives, for one face and for three', async () => {
    const model = join(installed.folder, 'mean.onnx')
    const nodes = [
      { op: 'GlobalAveragePool', inputs: 'x', outputs: 'p' },
      { op: 'Flatten', inputs: 'p' },
    ]
    writeFileSync(model, onnxFile({ inputs: { x: ['N', 3, 112, 112] }, nodes }))
    const program = join(installed.folder, 'onnx.mjs')
    writeFileSync(program, readFileSync(join(repository, 'examples/onnx.mjs'), 'utf8'))
    const { stdout } = await run(process.execPath, [program, model, 'examples/astronaut.png'], {
      cwd: repository,
      env: { ...process.env, NODE_OPTIONS: '' },
    })
    const [one, three] = stdout.trim().split('\n')
    expect(one).toMatch(/^batch 1: 3 numbers, the first 0\.\d+, the last -0\.\d+$/)
    expect(three).toBe(one.replace('batch 1: 3', 'batch 3: 9'))
  })

  test('lists every operation that the library has', () => {
    const table = read('engine.md').split('## Operations')[1]
    const listed = Array.from(table.matchAll(/`(\w+)(?:\(.*?\))?`/g), ([, name]) => name)
    const functions = Object.entries(kernels).flatMap(([name, value]) => (typeof value === 'function' ? [name] : []))
    expect(functions.filter((name) => !listed.includes(name))).toEqual([])
    const first = Array.from(table.matchAll(/^\| (`.*?) \| /gm), ([, cell]) => cell)
    const names = first.flatMap((cell) => Array.from(cell.matchAll(/`(\w+)/g), ([, name]) => name))
    expect(names.filter((name) => !functions.includes(name))).toEqual([])
  })

  test('names the files it speaks of', () => {
    for (const name of ['engine.md', 'add-an-operation.md']) {
      const text = read(name)
      const paths = Array.from(text.matchAll(/(?:src|test|examples)\/[\w./-]+\.\w+/g), ([path]) => path)
      const links = Array.from(text.matchAll(/\]\(([^)#:]+)\)/g), ([, path]) => join('docs', path))
      for (const path of [...paths, ...links].filter((p) => !p.endsWith('rms-norm.ts'))) {
        expect(() => readFileSync(join(repository, path)), `${name}: ${path}`).not.toThrow()
      }
    }
  })
})

const tscOf = async (project: string): Promise<string> => {
  const tsc = join(repository, 'node_modules/typescript/bin/tsc')
  const outcome = await run(process.execPath, [tsc, '-p', project]).catch((error: { stdout: string }) => error)
  return outcome.stdout
}

test('the code of the documents has the right types', async () => {
  const config = { extends: '../../tsconfig.json', compilerOptions: { noUnusedLocals: false }, include: ['*.ts'] }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
  expect(await tscOf(folder)).toBe('')
  // The programs, against the types of the package.
  const strict = {
    target: 'es2023',
    lib: ['es2023', 'dom'],
    module: 'nodenext',
    types: ['node'],
    strict: true,
    // Programs say no types.
    noImplicitAny: false,
    skipLibCheck: true,
    noUnusedLocals: true,
    allowJs: true,
    checkJs: true,
    noEmit: true,
  }
  writeFileSync(
    join(installed.folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: strict, include: ['*.mjs'] }),
  )
  expect(await tscOf(installed.folder)).toBe('')
})
