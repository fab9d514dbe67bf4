/** The page around the photos: what it is, where photos go in, what is chosen, and the bar that starts it all. */
import { element, fill } from './elements.ts'
import { filesIn, filesOf, type Incoming } from './intake.ts'
import { isHosted } from './parts.ts'
import type { Inability } from './protocol.ts'
import { settings } from './settings.ts'
import { texts } from './texts.ts'

/** What the page does when somebody presses something. */
export interface FrameActions {
  add(files: Promise<Incoming[]> | Incoming[]): void
  protect(): void
  cancel(): void
  saveAll(): void
  removeAll(): void
}

/** How many photos are in which state, for the buttons. */
export interface Counts {
  photos: number
  protectable: number
  done: number
  failed: number
  /** Whose faces are looked for. */
  opening: number
  busy: boolean
  ready: boolean
  unable: boolean
}

export function frame(actions: FrameActions) {
  const list = element('ul', { class: 'photos' })
  const { section: chosen, current } = settings()
  const notice = element('div', { class: 'notice', hidden: true })
  const adapter = element('p', { class: 'hint adapter' }, texts.starting)
  const said = element('p', { class: 'said', role: 'status' })
  const left = element('p', { class: 'left' })
  const bar = element('progress', { max: 1, value: 0, 'aria-label': texts.photos, hidden: true })
  const go = button('main', texts.protectNone, actions.protect)
  const cancel = button('', texts.cancel, actions.cancel)
  const saveAll = button('main', '', actions.saveAll)
  const removeAll = button('', texts.removeAll, actions.removeAll)
  const bottom = element(
    'div',
    { class: 'bottom', role: 'region', 'aria-label': texts.next, hidden: true },
    element(
      'div',
      { class: 'inner' },
      bar,
      left,
      said,
      element('div', { class: 'buttons' }, go, saveAll, cancel, removeAll),
    ),
  )
  const intake = choosing(actions.add)
  const work = element(
    'section',
    { 'aria-labelledby': 'photos-title' },
    element('h2', { id: 'photos-title' }, texts.photos),
    list,
  )
  const main = element('main', {}, header(), notice, intake.section, chosen, work, limits(), adapter)
  chosen.hidden = work.hidden = true

  return {
    element: element('div', { class: 'page' }, main, bottom),
    list,
    settings: current,
    focus: () => intake.focus(),
    /** Shows what comes after choosing photos. */
    showNext: () => chosen.scrollIntoView({ block: 'start' }),
    /** Says something to everybody, also to those who do not see. */
    note(text: string): void {
      said.textContent = text
      bottom.hidden = bottom.hidden && text === ''
    },
    ready(name: string, software: boolean): void {
      adapter.textContent = texts.adapter(name)
      if (software) tell('warning', element('p', {}, texts.software))
    },
    unable(reason: Inability, detail: string): void {
      adapter.textContent = ''
      intake.section.hidden = chosen.hidden = true
      tell(
        'unable',
        element('h2', {}, texts.unableTitle),
        element('p', {}, texts.unable[reason]),
        element('p', {}, texts.unableCli, ' ', element('code', {}, texts.cli)),
        element('details', {}, element('summary', {}, texts.details), element('p', {}, detail)),
      )
    },
    /** @param part of the work that is done, 0..1 */
    progress(part: number, text: string): void {
      bar.value = part
      left.textContent = text
    },
    show({ photos, protectable, done, failed, opening, busy, ready, unable }: Counts): void {
      work.hidden = photos === 0
      intake.section.classList.toggle('compact', photos > 0)
      chosen.hidden = photos === 0 || unable
      bottom.hidden = photos === 0 && said.textContent === ''
      go.textContent = protectable > 0 ? texts.protect(protectable) : texts.protectNone
      go.disabled = protectable === 0 || !ready
      go.hidden = busy || photos === 0 || unable || (protectable === 0 && opening === 0 && done > 0)
      cancel.hidden = !busy
      saveAll.textContent = texts.saveAll(done)
      saveAll.hidden = done === 0 || busy
      removeAll.hidden = busy || photos < 2
      bar.hidden = !busy
      if (!busy)
        left.textContent = photos > 1 && done + failed > 0 && opening === 0 ? texts.summary(done, failed, photos) : ''
    },
  }

  function tell(kind: string, ...children: Node[]): void {
    notice.className = `notice ${kind}`
    notice.hidden = false
    notice.setAttribute('role', 'status')
    fill(notice, ...children)
  }
}

const button = (kind: string, text: string, onclick: () => void): HTMLButtonElement =>
  element('button', { type: 'button', class: kind, onclick }, text)

function header(): HTMLElement {
  return element(
    'header',
    {},
    element('h1', {}, texts.title),
    element('p', { class: 'lead' }, texts.lead),
    element(
      'div',
      { class: 'private' },
      element('p', {}, element('strong', {}, texts.privacy), ' ', isHosted ? texts.privacyHosted : texts.privacyMore),
      element(
        'details',
        {},
        element('summary', {}, texts.howToCheck),
        element('ol', {}, ...texts.checks.map((text) => element('li', {}, text))),
      ),
    ),
  )
}

const limits = (): HTMLElement =>
  element(
    'details',
    { class: 'limits' },
    element('summary', {}, texts.limits),
    element('ul', {}, ...texts.limitsList.map((text) => element('li', {}, text))),
  )

/** The area that takes photos; anywhere on the page a drop and a paste are taken as well. */
function choosing(add: FrameActions['add']): { section: HTMLElement; focus(): void } {
  const input = (name: string, attributes: Readonly<Record<string, boolean | string>>) => {
    const made = element('input', {
      type: 'file',
      multiple: true,
      hidden: true,
      'aria-label': name,
      ...attributes,
      onchange: () => {
        add(filesOf(made.files))
        // So that the same files can be chosen again after they were removed.
        made.value = ''
      },
    })
    return made
  }
  const photos = input(texts.choosePhotos, { accept: 'image/*,.heic,.heif', id: 'choose-photos' })
  const folder = input(texts.chooseFolder, { webkitdirectory: true, id: 'choose-folder' })
  const choose = button('main', texts.choosePhotos, () => photos.click())
  const area = element(
    'div',
    { class: 'drop' },
    element('p', { class: 'invitation' }, texts.drop),
    element('p', { class: 'hint' }, texts.orPaste),
    element(
      'div',
      { class: 'buttons' },
      choose,
      button('', texts.chooseFolder, () => folder.click()),
    ),
    photos,
    folder,
  )
  const section = element(
    'section',
    { 'aria-labelledby': 'choose-title' },
    element('h2', { id: 'choose-title' }, texts.choose),
    area,
  )
  const invitation = area.firstElementChild!
  let over = 0
  const hover = (by: number) => {
    over = Math.max(0, over + by)
    area.classList.toggle('over', over > 0)
    invitation.textContent = over > 0 ? texts.dropNow : texts.drop
  }
  addEventListener('dragenter', () => hover(1))
  addEventListener('dragleave', () => hover(-1))
  addEventListener('dragover', (event) => event.preventDefault())
  addEventListener('drop', (event) => {
    event.preventDefault()
    hover(-over)
    add(filesIn(event.dataTransfer))
  })
  addEventListener('paste', (event) => add(filesIn(event.clipboardData)))
  return { section, focus: () => choose.focus() }
}
