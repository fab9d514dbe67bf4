/** docs/add-a-network.md says what is so: its file and its line make a network that is known, imported, and computed. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { compile, grad, graph } from '../../src/graph/index.ts'
import { sum } from '../../src/kernels/index.ts'
import { elements } from '../../src/kernels/op.ts'
import type { architectureIds as Ids, architectureOf as Of } from '../../src/models/architectures.ts'
import { ensembleWeights } from '../../src/models/ensemble.ts'
import type { recogniseNetwork as Recognise } from '../../src/models/recognise.ts'
import type { StoredTensor } from '../../src/weights/numbers.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { uniform } from '../support/random.ts'
import { everything, LONG } from '../support/scope.ts'

const repository = resolve(import.meta.dirname, '../..')
const page = readFileSync(join(repository, 'docs/add-a-network.md'), 'utf8')
const blockOf = (path: string): string => {
  const blocks = Array.from(page.matchAll(/^```ts (\S+)\n(.*?)^```$/gms)).filter(([, of]) => of === path)
  expect(blocks, path).toHaveLength(1)
  return blocks[0][2]
}

mkdirSync(join(repository, 'out'), { recursive: true })
const folder = mkdtempSync(join(repository, 'out/network-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Writes a file as it would lie in src/models, beside the others. */
function place(name: string, code: string, beside: readonly string[] = []): string {
  const path = join(folder, name)
  const moved = code
    .replaceAll(/from '\.\.\/(.*?)'/g, `from '../../src/$1'`)
    .replaceAll(/from '\.\/(.*?)'/g, (whole, file) =>
      beside.includes(file) ? whole : `from '../../src/models/${file}'`,
    )
  writeFileSync(path, moved)
  return path
}

const source = (name: string): string => readFileSync(join(repository, 'src/models', name), 'utf8')

describe('docs/add-a-network.md', async () => {
  const line = blockOf('src/models/architectures.ts')
  place('sphereface.ts', blockOf('src/models/sphereface.ts'))
  const listed = source('architectures.ts').replace(/^ {2}mtcnnFamily,\n/m, (last) => `${last}${line}`)
  const withImport = `import { spherefaceFamily } from './sphereface.ts'\n${listed}`
  const { architectureIds, architectureOf } = (await import(
    place('architectures.ts', withImport, ['sphereface.ts'])
  )) as { architectureIds: typeof Ids; architectureOf: typeof Of }
  const { recogniseNetwork } = (await import(place('recognise.ts', source('recognise.ts'), ['architectures.ts']))) as {
    recogniseNetwork: typeof Recognise
  }
  const architecture = architectureOf('sphereface-20')
  if (architecture?.role !== 'recogniser') throw new Error('the line adds no recogniser')

  /** Its tensors by the class in sphereface_pytorch: convolutions with biases, slopes, one matrix, and the classifier. */
  const published = (): [string, number[]][] => {
    const list: [string, number[]][] = []
    let from = 3
    for (const [i, [out, count]] of [
      [64, 3],
      [128, 5],
      [256, 9],
      [512, 3],
    ].entries()) {
      for (let k = 1; k <= count; k++) {
        list.push([`conv${i + 1}_${k}.weight`, [out, from, 3, 3]], [`conv${i + 1}_${k}.bias`, [out]])
        list.push([`relu${i + 1}_${k}.weight`, [out]])
        from = out
      }
    }
    return [...list, ['fc5.weight', [512, 512 * 7 * 6]], ['fc5.bias', [512]], ['fc6.weight', [512, 10]]]
  }
  const file = new Map(
    published().map(([name, shape], i): [string, StoredTensor] => {
      const bound = shape.length > 1 ? Math.sqrt(3 / elements(shape.slice(1))) : 0.3
      return [`module.${name}`, { dtype: 'F32', shape, data: uniform(i, elements(shape), -bound, bound) }]
    }),
  )

  test('the network is listed, and its file is known by its tensors', () => {
    expect(architectureIds).toContain('sphereface-20')
    const found = recogniseNetwork(file, 'sphere20a.pth')
    expect(found.architecture.id).toBe('sphereface-20')
    expect(found.prefix).toBe('module.')
    expect(found.leftOut).toEqual(['1 the classifier that it was trained with'])
    expect([...found.tensors].map(([name, { shape }]) => [name, shape])).toEqual(published().slice(0, -1))
    const cut = new Map(file)
    cut.delete('module.relu3_4.weight')
    expect(() => recogniseNetwork(cut, 'sphere20a.pth')).toThrow(/SphereFace of 20 layers .*misses "relu3_4.weight"/s)
  })

  test.skipIf(!everything)(`it computes embeddings, alone and as an ensemble, and has gradients${LONG}`, async () => {
    const gpu = await testGpu()
    const { tensors } = recogniseNetwork(file, 'sphere20a.pth')
    const weights = { tensor: (name: string) => tensors.get(name)! }
    const halved = new Map(
      [...tensors].map(([name, { shape, data }]) => [name, { shape, data: data.map((v) => 0.9 * v) }]),
    )
    const other = { tensor: (name: string) => halved.get(name)! }
    const x = graph().input('x', [1, 3, 112, 112])
    const [a, b] = [architecture.build(x, weights), architecture.build(x, other)]
    const both = architecture.build(x, ensembleWeights([weights, other]))
    using plan = await compile(gpu, { a, b, both, gradient: grad(sum(a), x) }, { poison: true })
    const image = uniform(1, 3 * 112 * 112)
    const first = await plan.run({ x: image })
    expect(relmax(first.both.subarray(0, 512), first.a)).toBeLessThan(1e-5)
    expect(relmax(first.both.subarray(512), first.b)).toBeLessThan(1e-5)
    // It sees the middle columns alone.
    expect(first.gradient.some((v) => v !== 0)).toBe(true)
    expect(first.gradient.every((v, i) => v === 0 || (i % 112 >= 8 && i % 112 < 104))).toBe(true)
  })
})
