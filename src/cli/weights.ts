/** `lowkey-gpu weights`: the networks of this machine. */
import { verifyWeights, weightsFolders } from '../weights/node.ts'
import { Exit, UsageError } from './exit.ts'
import { parse } from './options.ts'
import { table } from './table.ts'

export const weightsHelp = `Usage: lowkey-gpu weights list|verify|path [--json]

  list      the networks, what they are for, and their licences
  verify    checks every file's SHA-256; exit code 5 where one is missing or damaged
  path      the folders in which files are looked for, in order

  --json    one JSON object a line

'npm run weights' in the folder of lowkey-gpu fetches and builds what is missing.
`

/** Runs the command; resolves with the exit code. */
export async function weights(args: string[]): Promise<number> {
  const { values, positionals } = parse(args, { json: { type: 'boolean' } }, 'weights')
  const [action, ...rest] = positionals
  if (rest.length > 0) throw new UsageError(`weights ${action}: takes no further names, got "${rest[0]}"`)
  if (action === 'path') {
    print(weightsFolders().map((folder) => (values.json ? JSON.stringify({ folder }) : folder)))
    return Exit.done
  }
  if (action !== 'list' && action !== 'verify') {
    throw new UsageError(`weights takes list, verify or path; got ${action === undefined ? 'nothing' : `"${action}"`}`)
  }
  const statuses = await verifyWeights()
  if (values.json) print(statuses.map((status) => JSON.stringify(status)))
  else if (action === 'list') {
    const rows = statuses.map((s) => [s.id, s.role, s.ok ? 'ready' : 'missing or damaged', s.licence, s.title])
    print(table(['network', 'role', 'state', 'licence', 'what'], rows))
  } else {
    print(statuses.map((s) => (s.ok ? `ok       ${s.path}  ${s.sha256}` : `problem  ${s.path ?? s.id}: ${s.problem}`)))
  }
  return action === 'list' || statuses.every((s) => s.ok) ? Exit.done : Exit.weights
}

const print = (lines: readonly string[]): void => {
  process.stdout.write(`${lines.join('\n')}\n`)
}
