/** The summary of a run as one HTML file that explains itself. */
import { day, documentOf, fact, type Section } from '../evaluate/report/document.ts'
import { count, decimal, duration } from '../evaluate/report/figures.ts'
import { type Content, html, type Markup } from '../evaluate/report/html.ts'
import { at, chart, type Frame, linear, panel, ticks, xAxis } from '../evaluate/report/plot.ts'
import { cell, columnHead } from '../evaluate/report/table.ts'
import { areaText } from '../faces/in-box.ts'
import { BINS, type RecogniserSummary, type RunSummary, type Unprotected } from './summary.ts'

/** Rows that a table shows; the JSON has all. */
const MOST_ROWS = 500

/** The whole page. Names of photos are escaped. */
export function renderRun(run: RunSummary, made: { version: string; at: string }): string {
  const { photos, faces, stillMatch, tasks, from, to } = run
  const [headline, note] = verdict(run)
  const header = html`<header><div><p class="eyebrow">lowkey-gpu ${made.version} · <time datetime="${made.at}">${day(made.at)}</time></p><h1>${headline}</h1><p>${note}</p><dl class="facts">${fact('protected', count(photos.protected))}${fact('faces', count(faces))}${fact('still match', count(stillMatch.length))}${fact('failed', count(photos.failed))}${fact('without a face', count(photos.withoutFace))}${run.mayBe.length > 0 && fact('places that may be faces', count(places(run)))}${photos.leftAlone > 0 && fact('left alone', count(photos.leftAlone))}${photos.unfinished > 0 && fact('unfinished', count(photos.unfinished))}</dl></div><dl class="made">${term('Tasks', tasksText(run))}${from && to && term('From, to', `${day(from)}, ${day(to)}`)}${run.settings.map(({ version, strength, key, photos }) => term('Made by', `version ${version}, strength ${strength}, settings ${key}: ${count(photos)} photos`))}${tasks.shardsWithout.length > 0 && term('Shards without a ledger', tasks.shardsWithout.join(', '))}</dl></header>`
  const sections: (Section | false)[] = [
    run.recognisers.length > 0 && { id: 'similarity', title: 'Similarity left', content: similarity(run) },
    stillMatch.length > 0 && { id: 'still-match', title: 'Faces that still match', content: stillTable(run) },
    run.mayBe.length > 0 && {
      id: 'may-be',
      title: 'Places that may be faces',
      content: html`<p>They stay as they are. Look at them: <code>lowkey-gpu protect PHOTO --box X,Y,WIDTH,HEIGHT</code> protects one.</p>${mayBeTable(run)}`,
    },
    run.failed.length > 0 && {
      id: 'failed',
      title: 'Failed',
      content: html`<p>These photos are not protected. The others of the run are not touched by it.</p>${reasons(run.failed)}`,
    },
    run.leftAlone.length > 0 && {
      id: 'left-alone',
      title: 'Left alone',
      content: html`<p>Pictures that were not read, and folders that were not looked into. A face in them is unprotected.</p>${reasons(run.leftAlone)}`,
    },
    run.withoutFace.length > 0 && {
      id: 'without-face',
      title: 'Without a face',
      content: html`<p>No face was found. Look at them: a face that no detector sees may still be seen by a person, or by another detector.</p>${reasons(run.withoutFace)}`,
    },
    run.unfinished.length > 0 && {
      id: 'unfinished',
      title: 'Unfinished',
      content: html`<p>Tasks began with these and wrote no more of them: they were stopped or killed, or are still at work. The same command with <code>--resume</code> does them.</p>${listed(run.unfinished.map((photo) => [photo]))}`,
    },
    { id: 'time', title: 'Time', content: time(run) },
  ]
  return documentOf(
    `Run of ${count(photos.protected)} photos`,
    header,
    sections.filter((section) => section !== false),
  )
}

const term = (name: string, value: Content): Markup => html`<div><dt>${name}</dt><dd>${value}</dd></div>`

const places = ({ mayBe }: RunSummary): number => mayBe.reduce((sum, { boxes }) => sum + boxes.length, 0)

function verdict({ photos, stillMatch, mayBe, failed, leftAlone, unfinished }: RunSummary): [string, string] {
  const open = failed.length + leftAlone.length + unfinished.length
  if (photos.protected === 0) return ['No photo was protected', 'The tables below say why.']
  if (open > 0) return ['Not all photos are protected', 'Those that are not are named below, with the reason.']
  if (stillMatch.length > 0)
    return [
      'All photos are done, and some faces still match',
      'They are named below: do not publish these, or protect the originals again with a higher strength.',
    ]
  if (mayBe.length > 0)
    return ['All photos are done, and some places may be faces', 'They stay as they are, and are named below.']
  return [
    'All photos are done, and no face still matches',
    'By the recognisers of this run; others may see it otherwise.',
  ]
}

/** `16 on 4 machines: 14 ended, 1 stopped (exit code 75), 1 without an end`. */
export function tasksText({ tasks }: RunSummary): string {
  const { count: all, hosts, ended, stopped, withoutEnd } = tasks
  const parts = [`${ended} ended`]
  for (const [code, number] of Object.entries(stopped)) parts.push(`${number} stopped (exit code ${code})`)
  if (withoutEnd > 0) parts.push(`${withoutEnd} without an end (killed, or at work)`)
  return `${all} on ${hosts} ${hosts === 1 ? 'machine' : 'machines'}: ${parts.join(', ')}`
}

function similarity({ recognisers, notFoundAgain, lpips, psnr }: RunSummary): Content {
  const columns = ['recogniser', 'faces', 'before', 'left: mean', 'median', 'highest', 'matches from', 'still match']
  const row = (r: RecogniserSummary) =>
    html`<tr role="row"><th role="rowheader" scope="row"><bdi>${r.id}</bdi> <span class="badge${r.heldOut && ' held'}">${r.heldOut ? 'held out' : 'attacked'}</span></th>${[
      count(r.faces),
      ...[r.meanBefore, r.meanAfter, r.medianAfter, r.worstAfter, r.threshold].map((value) => decimal(value, 3)),
      count(r.stillMatch),
    ].map((value, i) => cell(columns[i + 1], value))}</tr>`
  return [
    html`<p>Cosine similarity of each face with itself before protection, as every recogniser sees it: 1 is the same picture. From its threshold on a recogniser takes two faces for one person. Recognisers that were held out were not attacked, and show how far the protection carries.</p>`,
    table(columns, recognisers.map(row)),
    html`<div class="panels">${recognisers.map((r) => panel(html`<bdi>${r.id}</bdi>`, histogram(r)))}</div>`,
    notFoundAgain > 0 &&
      html`<p>${count(notFoundAgain)} ${notFoundAgain === 1 ? 'face was' : 'faces were'} not found again in the result and measured at the old place, which is no verdict.</p>`,
    lpips &&
      psnr &&
      html`<p>Visible change, the median photo and the worst: LPIPS ${decimal(lpips.median, 4)} and ${decimal(lpips.worst, 4)}, PSNR ${decimal(psnr.median, 1)} and ${decimal(psnr.worst, 1)} dB.</p>`,
  ]
}

const FRAME: Frame = { width: 320, height: 170, left: 14, right: 14, top: 26, bottom: 36 }

/** Faces by what similarity is left; those at and above the threshold are filled stronger. */
function histogram({ id, histogram: bins, threshold, stillMatch, faces }: RecogniserSummary): Markup {
  const used = bins.flatMap((faces, bin) => (faces > 0 ? [bin] : []))
  const edge = (bin: number) => -1 + (2 * bin) / BINS
  const [low, high] = [
    Math.min(edge(used[0] ?? 0), threshold - 0.1),
    Math.max(edge((used.at(-1) ?? 0) + 1), threshold + 0.1),
  ]
  const x = linear(low, high, FRAME.left, FRAME.width - FRAME.right)
  const bottom = FRAME.height - FRAME.bottom
  const y = linear(
    0,
    bins.reduce((a, b) => Math.max(a, b), 1),
    bottom,
    FRAME.top,
  )
  const bar = (bin: number) => {
    const [left, right] = [x(edge(bin)), x(edge(bin + 1))]
    const style = edge(bin) >= threshold ? 'above' : 'below'
    return html`<rect class="${style}" x="${at(left)}" y="${at(y(bins[bin]))}" width="${at(Math.max(0.5, right - left))}" height="${at(bottom - y(bins[bin]))}"/>`
  }
  const line = at(x(threshold))
  return chart(FRAME, `${id}: ${stillMatch} of ${faces} faces still match`, [
    html`<g class="protected">${used.map(bar)}</g>`,
    html`<line class="own-threshold" x1="${line}" x2="${line}" y1="${FRAME.top - 8}" y2="${bottom}"/><text x="${line}" y="${FRAME.top - 12}" text-anchor="middle">matches from here</text>`,
    xAxis(FRAME, x, { values: ticks(low, high, 5), format: (value) => decimal(value, 2), title: 'similarity left' }),
  ])
}

function stillTable({ stillMatch }: RunSummary): Content {
  return [
    html`<p>Do not publish these, or protect the originals again with a higher strength.</p>`,
    limited(stillMatch.length),
    table(
      ['photo', 'face at', 'recogniser', 'similarity left', 'matches from'],
      stillMatch
        .slice(0, MOST_ROWS)
        .flatMap(({ photo, box, recognisers }) =>
          recognisers.map(
            ({ id, heldOut, after, threshold }) =>
              html`<tr role="row"><th role="rowheader" scope="row"><bdi>${photo}</bdi></th>${cell('face at', box.map(Math.round).join(', '))}${cell('recogniser', html`<bdi>${id}</bdi>${heldOut && ' (held out)'}`)}${cell('similarity left', decimal(after, 3))}${cell('matches from', decimal(threshold, 3))}</tr>`,
          ),
        ),
    ),
  ]
}

function mayBeTable({ mayBe }: RunSummary): Content {
  return [
    limited(mayBe.length),
    listed(
      mayBe.map(({ photo, boxes }) => [photo, boxes.map(areaText).join(' ')]),
      ['photo', 'x,y,width,height'],
    ),
  ]
}

function reasons(list: readonly Unprotected[]): Content {
  return [
    limited(list.length),
    listed(
      list.slice(0, MOST_ROWS).map(({ photo, message, retry }) => [photo, message, retry ? 'yes' : 'no']),
      ['photo', 'why', 'may another try do better'],
    ),
  ]
}

function listed(rows: readonly (readonly string[])[], columns: readonly string[] = ['photo']): Markup {
  return table(
    columns,
    rows
      .slice(0, MOST_ROWS)
      .map(
        ([name, ...rest]) =>
          html`<tr role="row"><th role="rowheader" scope="row"><bdi>${name}</bdi></th>${rest.map((text, i) => cell(columns[i + 1], text, 'text'))}</tr>`,
      ),
    'reasons',
  )
}

const limited = (count: number): Content =>
  count > MOST_ROWS && html`<p>The first ${MOST_ROWS} of ${count}; <code>lowkey-gpu report --json</code> has all.</p>`

function time({ seconds, adapters, again }: RunSummary): Content {
  if (!seconds) return html`<p>No photo was protected.</p>`
  const columns = ['adapter', 'photos', 'seconds a photo', 'photos a minute and task']
  return [
    html`<p>${duration(seconds.sum)} of work in all tasks together; a photo took ${duration(seconds.median)} (median), at most ${duration(seconds.longest)}.${again > 0 && ` ${count(again)} photos were protected more than once.`}</p>`,
    table(
      columns,
      adapters.map(
        ({ name, photos, seconds }) =>
          html`<tr role="row"><th role="rowheader" scope="row"><bdi>${name}</bdi></th>${[count(photos), decimal(seconds / photos, 2), decimal((60 * photos) / seconds, 1)].map((value, i) => cell(columns[i + 1], value))}</tr>`,
      ),
    ),
  ]
}

const table = (columns: readonly string[], rows: readonly Content[], style = ''): Markup =>
  html`<table role="table" class="cards ${style}"><thead role="rowgroup"><tr role="row">${columns.map((name) => columnHead(name, style && 'text'))}</tr></thead><tbody role="rowgroup">${rows}</tbody></table>`
