/** The page: photos in, protected photos out, all on this device. */

import { Card, type PhotoState } from './card.ts'
import { classOf } from './decode.ts'
import { frame } from './frame.ts'
import { canDecodeHeif, decodeHeif } from './heif.ts'
import type { Incoming } from './intake.ts'
import { ownFormat, resultName, resultNames } from './names.ts'
import { overridesOf } from './overrides.ts'
import { forgetPart, isHosted, rawPart, workerOf } from './parts.ts'
import type { Failure, FromWorker, Rgb, ToWorker } from './protocol.ts'
import { partDone, Remaining, WakingClock } from './remaining.ts'
import { save, zipped } from './saving.ts'
import { texts } from './texts.ts'
import { Turns } from './turns.ts'

const cards: Card[] = []
let worker: Worker | undefined
/** What was asked of the worker before it was there. */
const early: ToWorker[] = []
let ready = false
let unable = false
let lastId = 0

const clock = new WakingClock(() => {
  if (cards.some(({ state }) => state === 'working')) page.note(texts.asleep)
})
const remaining = new Remaining(clock)
const page = frame({
  add,
  protect,
  cancel,
  saveAll,
  removeAll: () => {
    for (const card of cards.slice()) remove(card)
  },
})

const send = (message: ToWorker): void => {
  if (worker) worker.postMessage(message)
  else early.push(message)
}

const turns = new Turns(send)

async function start(): Promise<void> {
  try {
    const [made, networks, jpeg] = await Promise.all([workerOf('worker'), rawPart('networks'), rawPart('jpeg')])
    made.onmessage = ({ data }: MessageEvent<FromWorker>) => receive(data)
    made.onerror = ({ message }) => stop('other', message)
    worker = made
    const transfer = [networks, jpeg].filter((data) => data instanceof ArrayBuffer)
    made.postMessage(
      { type: 'start', networks, jpeg, overrides: overridesOf(location.hash) } satisfies ToWorker,
      transfer,
    )
    for (const message of early.splice(0)) made.postMessage(message)
    forgetPart('networks')
  } catch (error) {
    stop('damaged', String(error))
  }
}

function stop(reason: keyof typeof texts.unable, detail: string): void {
  unable = true
  page.unable(reason, detail)
  for (const card of cards) if (card.state !== 'done') fail(card, { kind: 'other', message: texts.unableTitle })
  update()
}

/** Photos are named and shown at once; opened one after another. */
async function add(incoming: Promise<Incoming[]> | Incoming[]): Promise<void> {
  if (unable) return
  const files = await Promise.resolve(incoming).catch(() => undefined)
  if (!files) {
    page.note(texts.folderRefused)
    return
  }
  let others = 0
  for (const { file, path } of files) {
    const found = await classOf(file).catch(() => undefined)
    if (found && found.kind !== 'photo' && found.kind !== 'unreadable' && files.length > 1) {
      others++
      continue
    }
    const card = new Card(++lastId, file, path, { remove, save: saveOne, again, keep, changed: update })
    if (found?.kind === 'photo') card.kind = found.format
    cards.push(card)
    page.list.append(card.element)
    ask(card, 'waiting', (decoded) => ({ type: 'open', id: card.id, file, decoded }))
  }
  const isFirst = cards.length === files.length - others
  page.note(others > 0 ? texts.sideFiles(others) : files.length === 0 ? texts.nothingAdded : '')
  update()
  if (isFirst) page.showNext()
  else cards.at(-1)?.element.scrollIntoView({ block: 'nearest' })
}

/** Asks the worker when the photo's turn comes, if it is in that state then; decoded where that is not the browser's business. */
function ask(card: Card, state: PhotoState, message: (decoded?: Rgb) => ToWorker): void {
  turns.ask(
    card.id,
    () => cards.includes(card) && card.state === state,
    async () => message(card.kind === 'heic' && canDecodeHeif() ? await decodeHeif(card.file) : undefined),
    (error) => fail(card, { kind: 'unreadable', problem: error instanceof Error ? error.message : String(error) }),
  )
}

function receive(message: FromWorker): void {
  if (message.type === 'ready') {
    ready = true
    page.ready(message.adapter, message.software)
    update()
    return
  }
  if (message.type === 'unable') {
    stop(message.reason, message.detail)
    return
  }
  if (message.type === 'opened' || message.type === 'protected' || message.type === 'failed') turns.answered(message.id)
  const card = cards.find(({ id }) => id === message.id)
  if (!card) return
  if (message.type === 'opened') {
    card.opened = message
    set(card, 'ready')
  } else if (message.type === 'progress') {
    if (card.state === 'queued') {
      remaining.start(card.faces.length)
      set(card, 'working')
    }
    if (card.state !== 'working') return
    const { phase, done, total } = message
    const left = remaining.ofPhoto(phase, done, total)
    const part = partDone(phase, done, total)
    showOverall(part, left, card.progress(message, part, left))
  } else if (message.type === 'restarted') card.say(texts.restarted)
  else if (message.type === 'protected') {
    remaining.end()
    card.done = message
    card.saved = false
    set(card, 'done')
    page.note(texts.protectedOne(card.path))
  } else fail(card, message.failure)
}

function fail(card: Card, failure: Failure): void {
  card.failure = failure
  // What was cancelled can be asked for again as it is; an earlier result stays.
  set(card, failure.kind !== 'cancelled' ? 'failed' : card.done ? 'done' : card.opened ? 'ready' : 'failed')
  if (failure.kind !== 'cancelled') page.note(texts.named(card.path, texts.failure(failure)))
}

function set(card: Card, state: PhotoState): void {
  card.state = state
  card.show()
  update()
}

const count = (...states: PhotoState[]): number => cards.filter(({ state }) => states.includes(state)).length

const isBusy = (): boolean => count('queued', 'working') > 0

/** @param doing what is done with the photo that is worked on, in words */
function showOverall(part: number, left: number | undefined, doing: string): void {
  const running = cards.filter(({ state }) => state === 'queued' || state === 'working')
  const later = running.filter(({ state }) => state === 'queued').reduce((sum, { faces }) => sum + faces.length, 0)
  const rest = remaining.ofFaces(later, left)
  const all = left !== undefined && rest !== undefined ? ` ${texts.timeLeftAll(left + rest)}` : ''
  const finished = inRun.filter(({ state }) => state !== 'queued' && state !== 'working').length
  const several = inRun.length > 1 ? `${texts.photoOf(finished + 1, inRun.length)}${all}` : ''
  page.progress((finished + part) / Math.max(1, inRun.length), several || doing)
}

function update(): void {
  page.show({
    photos: cards.length,
    protectable: cards.filter(({ isProtectable }) => isProtectable).length,
    done: count('done'),
    failed: count('failed'),
    opening: count('waiting'),
    busy: isBusy(),
    ready,
    unable,
  })
  if (!isBusy()) void wakeLock?.release().catch(() => {})
}

/** Photos of the run in progress. */
let inRun: Card[] = []
let wakeLock: WakeLockSentinel | undefined

function protect(): void {
  const { strength, format } = page.settings()
  inRun = cards.filter(({ isProtectable }) => isProtectable)
  for (const card of inRun) {
    set(card, 'queued')
    card.format = format === 'png' ? 'png' : ownFormat(card.kind)
    const { id, file, faces, kind = 'jpeg' } = card
    ask(card, 'queued', (decoded) => ({
      type: 'protect',
      id,
      file,
      kind,
      decoded,
      faces,
      strength,
      format: card.format,
    }))
  }
  page.note('')
  stayAwake()
}

/** A screen that goes dark puts the tab to sleep; where that cannot be kept off, the clock knows. */
function stayAwake(): void {
  navigator.wakeLock?.request('screen').then(
    (lock) => {
      wakeLock = lock
    },
    () => {},
  )
}
// The lock ends when the tab is hidden.
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible' && isBusy()) stayAwake()
})

function cancel(): void {
  for (const card of cards) {
    if (card.state !== 'queued' && card.state !== 'working') continue
    if (card.id === turns.current) send({ type: 'cancel', id: card.id })
    else set(card, card.done ? 'done' : 'ready')
  }
  page.note(texts.cancelled)
}

function remove(card: Card): void {
  send({ type: 'cancel', id: card.id })
  cards.splice(cards.indexOf(card), 1)
  card.dispose()
  update()
  page.focus()
}

function again(card: Card): void {
  card.failure = undefined
  set(card, 'ready')
  card.element.focus()
}

function keep(card: Card): void {
  set(card, 'done')
  card.element.focus()
}

function saveOne(card: Card): void {
  const name = resultName(card.file.name, card.format)
  save(card.done!.result, name)
  card.saved = true
  page.note(texts.saved(name))
}

async function saveAll(): Promise<void> {
  const finished = cards.filter(({ state, done }) => state === 'done' && done)
  if (finished.length === 1) return saveOne(finished[0])
  const names = resultNames(finished.map(({ path, format }) => ({ name: path, format })))
  try {
    save(await zipped(finished.map(({ done }, i) => ({ name: names[i], blob: done!.result }))), 'cloaked-photos.zip')
  } catch (error) {
    return page.note(texts.failure({ kind: 'other', message: String(error) }))
  }
  for (const card of finished) card.saved = true
  page.note(texts.saved('cloaked-photos.zip'))
}

addEventListener('beforeunload', (event) => {
  if (isBusy() || cards.some(({ done, saved }) => done && !saved)) event.preventDefault()
})

document.body.prepend(page.element)
document.title = texts.title
document.documentElement.lang = texts.language
void start()
if (isHosted && 'serviceWorker' in navigator) {
  // Without it the page works as well, but only online.
  navigator.serviceWorker.register('service-worker.js').catch(() => {})
}
