/** `lowkey-gpu report`: what the tasks of a run did, joined from their ledgers. */
import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import { ledgersIn } from '../batch/ledger.ts'
import { type RunSummary, summarise, type Unprotected } from '../batch/summary.ts'
import { renderRun, tasksText } from '../batch/summary-page.ts'
import { areaText } from '../faces/in-box.ts'
import { PhotoError, shown, whyUnread, writeFileAtomically } from '../images/index.ts'
import { Exit, exitCodes, UsageError } from './exit.ts'
import { parse } from './options.ts'
import { checkFolder, makeOutputFolder } from './outputs.ts'
import { duration, perMinute } from './progress.ts'
import { table } from './table.ts'
import { version } from './version.ts'

export const reportHelp = `Usage: lowkey-gpu report LEDGER|FOLDER... [OPTIONS]

Joins the ledgers that tasks of protect --shard or --resume wrote (all of a folder, where one is named): photos done, failed and why, faces,
seconds, the similarity that is left, and the faces that still match. Of a photo that several tasks wrote of, the last word counts.

  --json                  one JSON object on standard output instead of text
  --html FILE             also a page: one file, no script, nothing fetched
  --overwrite             replace FILE where it exists

${exitCodes('report')}
`

/** Runs the command; resolves with the exit code. */
export async function report(args: string[]): Promise<number> {
  const options = { json: { type: 'boolean' }, html: { type: 'string' }, overwrite: { type: 'boolean' } } as const
  const { values, positionals } = parse(args, options, 'report')
  if (positionals.length === 0) throw new UsageError('report: name ledgers, or the folder they lie in')
  const run = summarise([...new Set(positionals.flatMap(ledgersOf))])
  if (values.html !== undefined) {
    checkFolder(dirname(values.html))
    makeOutputFolder(dirname(values.html))
    const page = renderRun(run, { version, at: new Date().toISOString() })
    await writeFileAtomically(values.html, Buffer.from(page), { overwrite: values.overwrite ?? false })
  }
  process.stdout.write(values.json ? `${JSON.stringify(run)}\n` : `${lines(run).join('\n')}\n`)
  return Exit.done
}

/** The ledgers that a path names. Throws PhotoError where there is nothing, UsageError for a folder without any. */
function ledgersOf(path: string): string[] {
  let folder: boolean
  try {
    folder = statSync(path).isDirectory()
  } catch (error) {
    const { problem, advice } = whyUnread(error)
    throw new PhotoError(path, problem, advice, { cause: error })
  }
  if (!folder) return [path]
  const ledgers = ledgersIn(path)
  if (ledgers.length === 0) throw new UsageError(`${shown(path)} holds no ledgers (lowkey-ledger*.jsonl)`)
  return ledgers
}

/** Photos that a list on a terminal names. */
const MOST_NAMED = 20

function lines(run: RunSummary): string[] {
  const { photos, recognisers, stillMatch, seconds, adapters, tasks } = run
  const all = photos.protected + photos.withoutFace + photos.failed + photos.leftAlone + photos.unfinished
  const counts = [
    `${photos.protected} protected`,
    `${photos.withoutFace} without a face`,
    `${photos.failed} failed`,
    `${photos.leftAlone} left alone`,
    ...(photos.unfinished > 0 ? [`${photos.unfinished} unfinished`] : []),
  ]
  const out = [`${all} photos: ${counts.join(', ')}`, `tasks: ${tasksText(run)}`]
  if (tasks.shardsWithout.length > 0)
    out.push(`no ledger of shards ${tasks.shardsWithout.join(', ')}: they had nothing to do, or never ran`)
  if (run.damagedLines > 0)
    out.push(`lines that cannot be read: ${run.damagedLines}, of tasks that were killed, or damage`)
  if (run.again > 0) out.push(`protected more than once: ${run.again}`)
  if (run.settings.length > 1) out.push(`results were made with ${run.settings.length} different settings or versions`)
  if (recognisers.length > 0) {
    const rows = recognisers.map((r) => [
      ...[r.id, r.heldOut ? 'held out' : 'attacked', String(r.faces)],
      ...[r.meanBefore, r.meanAfter, r.worstAfter, r.threshold].map((value) => value.toFixed(3)),
      String(r.stillMatch),
    ])
    const head = ['recogniser', 'role', 'faces', 'before', 'left', 'highest', 'matches from', 'still match']
    out.push('', `${run.faces} faces; similarity with the face before protection:`, ...table(head, rows))
  }
  if (seconds) {
    const each = adapters.map(
      ({ name, photos, seconds }) => `${perMinute(photos, seconds)} a minute on ${name} (${photos})`,
    )
    out.push(
      '',
      `${duration(seconds.sum)} of work, ${seconds.median.toFixed(1)} s a photo (median): ${each.join('; ')}`,
    )
  }
  out.push(
    ...named(
      'still match',
      stillMatch.map(({ photo, recognisers }) => {
        const which = recognisers.map(
          ({ id, after, threshold }) => `${id} ${after.toFixed(3)} of ${threshold.toFixed(3)}`,
        )
        return `${shown(photo)} (${which.join(', ')})`
      }),
    ),
    ...named(
      'places that may be faces, and stay as they are',
      run.mayBe.map(({ photo, boxes }) => `${shown(photo)}: ${boxes.map(areaText).join(' ')}`),
    ),
    ...named('failed', run.failed.map(reason)),
    ...named('left alone', run.leftAlone.map(reason)),
    ...named('without a face', run.withoutFace.map(reason)),
    ...named('unfinished', run.unfinished.map(shown)),
  )
  return out
}

const reason = ({ photo, message, retry }: Unprotected): string =>
  `${shown(photo)}: ${message.split('\n').map(shown).join(' ')}${retry ? ' (another try may do better)' : ''}`

function named(what: string, list: readonly string[]): string[] {
  if (list.length === 0) return []
  const more = list.length > MOST_NAMED ? [`  ... and ${list.length - MOST_NAMED} more; --json names all`] : []
  return ['', `${what}:`, ...list.slice(0, MOST_NAMED).map((line) => `  ${line}`), ...more]
}
