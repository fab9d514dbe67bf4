/** `lowkey-gpu weights`: the networks of this machine. */
import { verifyPopulations } from '../../attack/populations.ts'
import { removeImported } from '../../weights/imported.ts'
import { importFolder, loadManifest, verifyWeights, weightsFolders } from '../../weights/node.ts'
import type { PublishedFile } from '../../weights/registry.ts'
import { Exit, UsageError } from '../exit.ts'
import { parse } from '../options.ts'
import { table } from '../table.ts'
import { accuracy, accuracyHelp } from './accuracy.ts'
import { fetchHelp, fetchWeights } from './fetch.ts'
import { importHelp, importWeights } from './import.ts'
import { population, populationHelp } from './population.ts'

export const weightsHelp = `Usage: lowkey-gpu weights list|verify|path [--json]
       lowkey-gpu weights import FILE... [OPTIONS]
       lowkey-gpu weights fetch [NAME...]
       lowkey-gpu weights remove NAME...
       lowkey-gpu weights accuracy FOLDER [OPTIONS]
       lowkey-gpu weights population FOLDER [OPTIONS]

  list      the networks, what they are for, and their licences; and published ones that can be fetched
  verify    checks every file's SHA-256, also of populations; exit code 5 where one is missing or damaged
  path      the folders in which files are looked for, in order
  remove    deletes networks that were imported

  --json    one JSON object a line

${importHelp}
${fetchHelp}
${accuracyHelp}
${populationHelp}
'npm run weights' in the folder of lowkey-gpu fetches and builds what is missing of its own networks.
`

type Action = (args: string[], signal: AbortSignal) => Promise<number>

const actions: Readonly<Record<string, Action>> = {
  list,
  fetch: fetchWeights,
  import: importWeights,
  remove,
  verify,
  accuracy,
  population,
  path,
}

/** Runs the command; resolves with the exit code. */
export async function weights(args: string[], signal: AbortSignal): Promise<number> {
  const at = args.findIndex((arg) => !arg.startsWith('-'))
  const name = args[at]
  if (name === undefined || !Object.hasOwn(actions, name)) {
    const names = Object.keys(actions)
    const known = `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`
    throw new UsageError(`weights takes ${known}; got ${name === undefined ? 'nothing' : `"${name}"`}`)
  }
  return actions[name](args.toSpliced(at, 1), signal)
}

/** For actions that take `--json` and nothing else: whether it was given. */
function onlyJson(args: string[], action: string): boolean {
  const { values, positionals } = parse(args, { json: { type: 'boolean' } }, `weights ${action}`)
  if (positionals.length > 0) throw new UsageError(`weights ${action}: takes no further names, got "${positionals[0]}"`)
  return values.json ?? false
}

async function path(args: string[]): Promise<number> {
  const json = onlyJson(args, 'path')
  print(weightsFolders().map((folder) => (json ? JSON.stringify({ folder }) : folder)))
  return Exit.done
}

async function verify(args: string[]): Promise<number> {
  const json = onlyJson(args, 'verify')
  const statuses = [...(await verifyWeights()), ...(await verifyPopulations())]
  if (json) print(statuses.map((status) => JSON.stringify(status)))
  else
    print(statuses.map((s) => (s.ok ? `ok       ${s.path}  ${s.sha256}` : `problem  ${s.path ?? s.id}: ${s.problem}`)))
  return statuses.every((s) => s.ok) ? Exit.done : Exit.weights
}

async function list(args: string[]): Promise<number> {
  const json = onlyJson(args, 'list')
  const statuses = await verifyWeights()
  const { published } = await loadManifest()
  const others = published.filter(({ id }) => !statuses.some((status) => status.id === id))
  if (json) {
    print([...statuses, ...others.map((file) => ({ ...file, ok: false, fetched: isFetchable(file) }))].map(toLine))
    return Exit.done
  }
  const rows = statuses.map((s) => [s.id, s.role, s.ok ? 'ready' : 'missing or damaged', s.licence, s.title])
  print(table(['network', 'role', 'state', 'licence', 'what'], rows))
  if (others.length > 0) {
    const how = (file: PublishedFile) => (isFetchable(file) ? `weights fetch ${file.id}` : 'weights import FILE')
    print([''])
    print(
      table(
        ['published', 'file', 'how', 'what'],
        others.map((file) => [file.id, file.file, how(file), file.title]),
      ),
    )
  }
  return Exit.done
}

const toLine = (value: object): string => JSON.stringify(value)

const isFetchable = ({ url, sha256 }: PublishedFile): boolean => url !== null && sha256 !== null

async function remove(args: string[]): Promise<number> {
  const { positionals } = parse(args, {}, 'weights remove')
  if (positionals.length === 0) throw new UsageError('weights remove: name a network that was imported')
  for (const id of positionals) {
    const removed = await removeImported(id, importFolder())
    if (removed.length === 0)
      throw new UsageError(`weights remove: there is no imported network "${id}" in ${importFolder()}`)
    print(removed)
  }
  return Exit.done
}

const print = (lines: readonly string[]): void => {
  process.stdout.write(`${lines.join('\n')}\n`)
}
