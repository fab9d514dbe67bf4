/** What the documents say is what was measured, what the program says of itself, and what is there: figures, references, links. */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  documents,
  drawings,
  filledDocuments,
  readMeasurements,
  references,
  strengthsSource,
} from '../../build/docs/generate.ts'
import { filled, withoutGenerated, wrapped } from '../../build/docs/markers.ts'
import { ProtectionParts } from '../../build/docs/protection.ts'
import { helpInMarkdown } from '../../build/docs/reference.ts'
import { resultsOf } from '../../build/docs/results.ts'
import { tradeOff } from '../../build/docs/trade-off.ts'
import { wrapMarkdown } from '../../build/docs/wrap.ts'
import { protectHelp } from '../../src/cli/protect/options.ts'
import { syntheticEvaluation } from '../support/evaluation.ts'
import { everything, LONG } from '../support/scope.ts'

const repository = resolve(import.meta.dirname, '../..')
const read = (file: string): string => readFileSync(join(repository, file), 'utf8')
const CURRENT = 'is not current: npm run docs'

describe('generated parts', () => {
  test('are those of the committed measurements, and paragraphs are wrapped one way', () => {
    for (const [file, text] of Object.entries(filledDocuments(repository, readMeasurements(repository))))
      expect(read(file) === text, `${file} ${CURRENT}`).toBe(true)
  })

  test('and so are the drawings', () => {
    const measurements = readMeasurements(repository)
    for (const [file, text] of Object.entries(drawings(measurements)))
      expect(existsSync(join(repository, file)) && read(file) === text, `${file} ${CURRENT}`).toBe(true)
  })

  test('in --help, too', () => {
    expect(read('src/cli/protect/strengths.ts'), CURRENT).toBe(strengthsSource(readMeasurements(repository)))
  })

  test.skipIf(!everything)(`the references are those of the sources${LONG}`, () => {
    for (const [file, text] of Object.entries(references(repository)))
      expect(existsSync(join(repository, file)) && read(file) === text, `${file} ${CURRENT}`).toBe(true)
  })

  test('a figure of README that is changed by hand is put back', () => {
    const measurements = readMeasurements(repository)
    const readme = filledDocuments(repository, measurements)['README.md']
    const parts = Array.from(readme.matchAll(/<!-- ([\w-]+) -->(?:(?!<!--).)*?\d(?:(?!<!--).)*<!-- \/\1 -->/gs))
    for (const { 0: part } of parts) {
      const [, before, digit] = part.match(/^(.*?-->.*?)(\d)/s)!
      const other = before + ((Number(digit) + 1) % 10) + part.slice(before.length + 1)
      const changed = readme.replace(part, () => other)
      expect(changed).not.toBe(readme)
      expect(filled(changed, new Proxy({}, partsOf(readme)), 'README.md')).toBe(readme)
    }
  })
})

/** The parts of a text as something that makes them. */
function partsOf(text: string): ProxyHandler<Record<string, () => string>> {
  const content = (name: string) => text.match(new RegExp(`<!-- ${name} -->\n?(.*?)\n?<!-- /${name} -->`, 's'))?.[1]
  return {
    get: (_, name) => () => content(String(name)) ?? '',
    getOwnPropertyDescriptor: () => ({ configurable: true, enumerable: true, value: undefined }),
  }
}

describe('tables of measurements', () => {
  const evaluation = { ...syntheticEvaluation(), processor: 'Some Processor, 2 cores', commit: 'abc' }
  const SHIPPED = ['sirius', 'dlib', 'faceplugin']
  const { parts } = new ProtectionParts(resultsOf([evaluation], 'Photos of somebody', 'auto'), 'auto', SHIPPED)

  test('have the figures of the file', () => {
    const table = parts['protection-table']()
    const [dlib, faceplugin] = ['dlib', 'faceplugin'].map((id) =>
      (100 * evaluation.presets.default.victims[id].protected.identification.rank1).toFixed(0),
    )
    const row = table.split('\n').find((line) => line.startsWith('| **auto**'))
    expect(row).toContain(`${evaluation.presets.default.psnr.toFixed(1)} dB`)
    expect(row).toContain(` / ${faceplugin} / ${dlib} %`)
  })

  test('say how many people and photos, on which processor', () => {
    const basis = parts['protection-basis']().replaceAll('\n', ' ')
    for (const text of [
      '6 people',
      '24 protected photos',
      '18 clean photos',
      'Some Processor, 2 cores',
      'commit abc',
      'foamliu did not ship',
    ])
      expect(basis).toContain(text)
  })

  test('after handling and by size, a star marks a recogniser that was attacked', () => {
    const { victims, scales } = evaluation.presets.default
    const short = (value: number) => value.toFixed(3).replace('0.', '.')
    const cell = (figure: (id: string) => string) =>
      evaluation.victims.map(({ id }) => `${figure(id)}${victims[id].heldOut ? '' : '\\*'}`).join(' / ')
    const handled = parts['results-handlings']().split('\n')
    const cosines = handled.find((line) => line.startsWith('| auto, c-p cosine |'))
    expect(handled[0]).toContain('| as saved | JPEG 95 |')
    expect(cosines).toContain(`| ${cell((id) => short(victims[id].handlings.jpeg75!.verification.meanCosine))} |`)
    const size = parts['results-sizes']()
      .split('\n')
      .find((line) => line.startsWith('| auto, 3x |'))
    expect(size).toContain(`| ${cell((id) => short(scales[3][id].meanCosine))} |`)
    expect(new Set(evaluation.victims.map(({ id }) => victims[id].heldOut))).toEqual(new Set([true, false]))
  })

  test('a run that leaves a recogniser out without handling does not hide what one that attacks it measured', () => {
    const [{ id }] = evaluation.victims
    const preset = evaluation.presets.default
    const without: typeof evaluation = {
      ...evaluation,
      presets: {
        default: {
          ...preset,
          surrogates: [],
          victims: { ...preset.victims, [id]: { ...preset.victims[id], heldOut: true, handlings: {} } },
          scales: {},
        },
      },
    }
    const both = resultsOf([evaluation, without], 'Photos of somebody', 'auto')
    const together = new ProtectionParts(both, 'auto', SHIPPED).parts
    expect(preset.victims[id].heldOut).toBe(false)
    expect(together['results-figures']()).not.toBe(parts['results-figures']())
    for (const part of ['results-handlings', 'results-sizes']) expect(together[part]()).toBe(parts[part]())
  })

  test('the drawing has a mark for each strength and recogniser that was left out', () => {
    const drawing = tradeOff(resultsOf([evaluation], 'Photos of somebody', 'auto'))
    expect(drawing.match(/<circle/g)).toHaveLength(4 * 2)
    for (const name of ['auto', 'low', 'paper', 'dlib', 'faceplugin']) expect(drawing).toContain(`>${name}</text>`)
    expect(drawing).not.toMatch(/NaN|undefined|>sirius</)
  })

  test('where nothing was measured, they say so', () => {
    const none = new ProtectionParts(undefined, 'auto', ['sirius'])
    for (const part of Object.values(none.parts)) expect(part()).toMatch(/not been measured/)
    expect(none.summaries()).toEqual({})
  })
})

/** Measured figures: shares, dB, seconds. */
const FIGURE = /\d\s?(?:%|dB\b|s a photo|ms\b|seconds?\b|minutes?\b|times (?:as|faster))|\b\d+ of \d+\b/
/** What looks like one and is a definition. */
const DEFINED = ["1 % of a large photo's side", '2 % for faces on their side', '0.1 % false matches']

describe('what is written by hand', () => {
  test.each(['README.md', 'docs/faq.md', 'docs/results.md', 'docs/threat-model.md', 'docs/how-it-works.md'])(
    '%s has no measured figure outside of the generated parts',
    (file) => {
      const text = DEFINED.reduce(
        (all, part) => all.replaceAll(part, ''),
        withoutGenerated(read(file)).replaceAll(/\s+/g, ' '),
      )
      expect(text.match(FIGURE)?.[0]).toBeUndefined()
    },
  )

  test('examples of README run on the Node that is promised', () => {
    const blocks = Array.from(read('README.md').matchAll(/^```ts\n(.*?)^```$/gms), ([, code]) => code)
    expect(blocks.length).toBeGreaterThan(0)
    mkdirSync(join(repository, 'out'), { recursive: true })
    const folder = mkdtempSync(join(repository, 'out/readme-'))
    try {
      for (const [i, code] of blocks.entries()) {
        expect(code).not.toMatch(/^\s*(?:await )?using /m)
        const mapped = code
          .replaceAll(`from 'lowkey-gpu/node'`, `from '../../src/node.ts'`)
          .replaceAll(`from 'lowkey-gpu'`, `from '../../src/index.ts'`)
        writeFileSync(join(folder, `${i}.ts`), mapped)
      }
      writeFileSync(
        join(folder, 'tsconfig.json'),
        JSON.stringify({ extends: '../../tsconfig.json', include: ['*.ts'] }),
      )
      execFileSync(process.execPath, [join(repository, 'node_modules/typescript/bin/tsc'), '-p', folder])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

describe('links', () => {
  /** Relative targets of links and pictures, without their anchors. */
  const linksOf = (text: string): string[] =>
    Array.from(
      text.replace(/^```.*?^```$/gms, '').matchAll(/\]\((?!\w+:|#)([^)#\s]+)(?:#[^)]*)?\)/g),
      ([, target]) => target,
    )

  test.each([...documents(repository), 'docs/api/README.md'])('%s links to what is there', (file) => {
    for (const target of linksOf(read(file)))
      expect(existsSync(join(repository, dirname(file), target)), `${file}: ${target}`).toBe(true)
  })

  test('those of README are in the package', () => {
    // Without the weights and the code, whose megabytes pack slowly.
    const folder = mkdtempSync(join(tmpdir(), 'pack-'))
    try {
      for (const file of [
        'package.json',
        'LICENSE',
        'docs',
        ...documents(repository).filter((each) => !each.startsWith('docs')),
      ])
        cpSync(join(repository, file), join(folder, file), { recursive: true })
      const pack = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
        cwd: folder,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      const [{ files }] = JSON.parse(pack) as [{ files: { path: string }[] }]
      const packed = new Set(files.map(({ path }) => path))
      const targets = linksOf(read('README.md'))
      expect(targets.length).toBeGreaterThan(10)
      for (const target of targets) expect(packed, target).toContain(target)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

describe('the command reference', () => {
  test('has every option of protect, with its help', () => {
    const reference = read('docs/cli.md')
    const options = Array.from(protectHelp.matchAll(/^ +(?:-\w, )?(--[\w-]+)/gm), ([, name]) => name)
    expect(options.length).toBeGreaterThan(10)
    for (const name of options) expect(reference).toMatch(new RegExp(`^\\| \`(?:-\\w, )?${name}[ \`]`, 'm'))
  })

  test('turns help into tables', () => {
    const help =
      'Usage: x FILE\n\nDoes it.\n\n  -o, --output PATH       where to,\n                          or not\n      --all               everything\n'
    expect(helpInMarkdown(help)).toBe(
      '```text\nUsage: x FILE\n```\n\nDoes it.\n\n| option |  |\n|---|---|\n| `-o, --output PATH` | where to, or not |\n| `--all` | everything |',
    )
  })
})

describe('wrapping', () => {
  test('keeps words, tables, code and lists', () => {
    const text = `# A ${'heading '.repeat(20)}\n\n${'word '.repeat(60).trim()}\n\n- item ${'word '.repeat(40).trim()}\n  1. deep\n\n| a | b |\n|---|---|\n\n\`\`\`sh\n${'x '.repeat(90)}\n\`\`\`\n`
    const once = wrapMarkdown(text)
    expect(once.split(/\s+/)).toEqual(text.split(/\s+/))
    expect(wrapMarkdown(once)).toBe(once)
    const prose = once.split('\n').filter((line) => /^(?:word|- item| {2}word)/.test(line))
    for (const line of prose) expect(line.length).toBeLessThanOrEqual(110)
    expect(once).toContain('\n  1. deep\n')
  })

  test('begins no line with what Markdown takes for a list', () => {
    const lines = wrapped(`${'word '.repeat(30)}- 1. # > ${'- word '.repeat(60)}`).split('\n')
    expect(lines.filter((line) => /^(?:[-+*>#]|\d+\.) /.test(line))).toEqual([])
  })
})
