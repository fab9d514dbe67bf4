import { WeightsError } from './errors.ts'
import { ALIGNMENTS, type Manifest, type ManifestEntry, type PublishedFile } from './registry.ts'

type Check = (value: unknown) => boolean

const text: Check = (value) => typeof value === 'string' && value.length > 0
const natural: Check = (value) => Number.isSafeInteger(value) && (value as number) > 0
const cosine: Check = (value) => typeof value === 'number' && value > -1 && value < 1
const matching =
  (pattern: RegExp): Check =>
  (value) =>
    typeof value === 'string' && pattern.test(value)
const oneOf =
  (...values: unknown[]): Check =>
  (value) =>
    values.includes(value)
const numbers =
  (count: number): Check =>
  (value) =>
    Array.isArray(value) && value.length === count && value.every((n) => typeof n === 'number' && Number.isFinite(n))
const sha256: Check = matching(/^[0-9a-f]{64}$/)
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value)
const authors: Check = (value) => Array.isArray(value) && value.length > 0 && value.every(text)
const id: Check = matching(/^[a-z0-9][a-z0-9-]*$/)

/** What each field must be. `?` marks a field that may be left out; nothing else may be there. */
const ENTRY: Record<string, Check> = {
  id,
  title: text,
  role: oneOf('detector', 'recogniser', 'perceptual'),
  architecture: id,
  file: matching(/^[a-z0-9][a-z0-9-]*\.safetensors$/),
  bytes: natural,
  sha256,
  licence: text,
  authors,
  source: (value) => typeof value === 'object',
  input: (value) => typeof value === 'object',
}
const RECOGNISER: Record<string, Check> = {
  ...ENTRY,
  embedding: natural,
  alignment: oneOf(...ALIGNMENTS),
  threshold: cosine,
  thresholdSource: text,
  'l2Threshold?': (value) => typeof value === 'object',
}
const INPUT: Record<string, Check> = {
  width: (value) => value === null || natural(value),
  height: (value) => value === null || natural(value),
  colours: oneOf('RGB', 'BGR'),
  range: numbers(2),
  mean: numbers(3),
  std: (value) => numbers(3)(value) && (value as number[]).every((n) => n > 0),
}
const NPM: Record<string, Check> = {
  kind: oneOf('npm'),
  package: matching(/^(@[a-z0-9-]+\/)?[a-z0-9-]+$/),
  version: matching(/^[0-9]+\.[0-9]+\.[0-9]+$/),
  integrity: matching(/^sha512-[A-Za-z0-9+/]{86}==$/),
  tarballBytes: natural,
  licence: text,
  files: (value) => Array.isArray(value) && value.length > 0,
}
const PACKAGE_FILE: Record<string, Check> = { path: matching(/^package\/[\w./-]+$/), bytes: natural, sha256 }
const REPOSITORY: Record<string, Check> = { kind: oneOf('repository'), note: text }
const IMPORT: Record<string, Check> = {
  kind: oneOf('import'),
  file: text,
  bytes: natural,
  sha256,
  date: matching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
}
const PUBLISHED: Record<string, Check> = {
  id,
  title: text,
  architecture: id,
  file: matching(/^[\w.-]+$/),
  bytes: orNull(natural),
  sha256: orNull(matching(/^[0-9a-f]{8,64}$/)),
  url: orNull(matching(/^https:\/\/[\w.-]+\/[\w./-]+$/)),
  where: text,
  licence: text,
  authors,
}
const L2: Record<string, Check> = {
  raw: (n) => typeof n === 'number' && n > 0,
  unit: (n) => typeof n === 'number' && n > 0,
}

/**
 * Checks the text of `weights/manifest.json`.
 *
 * @throws WeightsError naming the field that is missing, unknown or wrong
 */
export function parseManifest(json: string, file: string): Manifest {
  const { version, networks, published } = fields(
    parseJson(json, file),
    { version: oneOf(1), networks: Array.isArray, published: Array.isArray },
    '',
    file,
  )
  const entries = (networks as unknown[]).map((network, i) => parseEntry(network, `networks[${i}]`, file))
  const files = (published as unknown[]).map((each, i) => {
    fields(each, PUBLISHED, `published[${i}]`, file)
    return each as PublishedFile
  })
  const ids = [...entries, ...files].map((entry) => entry.id)
  const twice = ids.find((id, i) => ids.indexOf(id) !== i)
  if (twice !== undefined) throw new WeightsError(file, `describes network "${twice}" twice`)
  return { version: version as 1, networks: entries, published: files }
}

/**
 * Checks the text of the entry that lies beside an imported network.
 *
 * @throws WeightsError naming the field that is missing, unknown or wrong
 */
export function parseImported(json: string, file: string): ManifestEntry {
  const entry = parseEntry(parseJson(json, file), '', file)
  if (entry.source.kind !== 'import') throw new WeightsError(file, 'source.kind is not "import"')
  if (entry.file !== `${entry.id}.safetensors`) throw new WeightsError(file, `file is not "${entry.id}.safetensors"`)
  return entry
}

function parseJson(json: string, file: string): unknown {
  try {
    return JSON.parse(json)
  } catch (cause) {
    throw new WeightsError(file, 'is not JSON', { cause })
  }
}

const SOURCES: Record<string, Record<string, Check>> = { npm: NPM, repository: REPOSITORY, import: IMPORT }

function parseEntry(value: unknown, at: string, file: string): ManifestEntry {
  const path = (name: string) => (at ? `${at}.${name}` : name)
  const isRecogniser = (value as { role?: unknown } | null)?.role === 'recogniser'
  const kind = (value as { source?: { kind?: unknown } } | null)?.source?.kind
  const known = isRecogniser ? RECOGNISER : ENTRY
  // Who made a file that a user brings is often not known.
  const entry = fields(value, kind === 'import' ? { ...known, authors: Array.isArray } : known, at, file)
  fields(entry.input, INPUT, path('input'), file)
  if (entry.l2Threshold !== undefined) fields(entry.l2Threshold, L2, path('l2Threshold'), file)
  const checks = typeof kind === 'string' && Object.hasOwn(SOURCES, kind) ? SOURCES[kind] : REPOSITORY
  const source = fields(entry.source, checks, path('source'), file)
  for (const [i, each] of kind === 'npm' ? (source.files as unknown[]).entries() : []) {
    fields(each, PACKAGE_FILE, path(`source.files[${i}]`), file)
  }
  return value as ManifestEntry
}

function fields(value: unknown, checks: Record<string, Check>, at: string, file: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new WeightsError(file, `${at || 'it'} is not an object`)
  }
  const record = value as Record<string, unknown>
  const path = (name: string) => (at ? `${at}.${name}` : name)
  for (const [key, check] of Object.entries(checks)) {
    const name = key.replace('?', '')
    if (record[name] === undefined && key.endsWith('?')) continue
    if (!check(record[name])) throw new WeightsError(file, `${path(name)} cannot be ${JSON.stringify(record[name])}`)
  }
  for (const name of Object.keys(record)) {
    if (!(name in checks) && !(`${name}?` in checks)) throw new WeightsError(file, `${path(name)} is not a known field`)
  }
  return record
}
