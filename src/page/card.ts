/** One photo on the page: what it shows in each state. */
import { pairSentence } from '../evaluate/verdict-words.ts'
import type { PhotoFormat } from '../images/photo.ts'
import { comparison } from './compare.ts'
import { element, fill } from './elements.ts'
import type { FaceOutcome, Failure, FoundFaceInfo, FromWorker } from './protocol.ts'
import { texts } from './texts.ts'

type Opened = Extract<FromWorker, { type: 'opened' }>
type Protected = Extract<FromWorker, { type: 'protected' }>

export type PhotoState =
  | 'waiting' // to be opened
  | 'ready' // its faces are known
  | 'queued' // to be protected
  | 'working'
  | 'done'
  | 'failed'

/** What cards ask of the page. */
export interface CardActions {
  remove(card: Card): void
  save(card: Card): void
  again(card: Card): void
  /** Shows the result that there is already, in the place of another one. */
  keep(card: Card): void
  /** Faces were switched on or off. */
  changed(): void
}

export class Card {
  readonly id: number
  readonly file: File
  /** With the folders that the photo came in. */
  readonly path: string
  /** What the file is, by its first bytes; undefined where it is no photo that is known. */
  kind: PhotoFormat | undefined
  /** Of the result. */
  format: 'jpeg' | 'png' = 'png'
  state: PhotoState = 'waiting'
  opened: Opened | undefined
  done: Protected | undefined
  failure: Failure | undefined
  saved = false
  readonly element = element('li', { class: 'card', tabindex: -1 })
  private readonly off = new Set<number>()
  private readonly actions: CardActions
  private readonly status = element('p', { class: 'status' })
  private readonly body = element('div', { class: 'body' })
  private readonly bar = element('progress', { max: 1, hidden: true })
  private preview: string | undefined
  private disposeComparison: (() => void) | undefined

  constructor(id: number, file: File, path: string, actions: CardActions) {
    this.id = id
    this.file = file
    this.path = path
    this.actions = actions
    this.bar.setAttribute('aria-label', texts.progressOf(path))
    const close = element(
      'button',
      { type: 'button', class: 'remove', 'aria-label': texts.remove(path), onclick: () => actions.remove(this) },
      '×',
    )
    const head = element('div', { class: 'head' }, element('h3', {}, path), close)
    this.element.append(head, this.status, this.bar, this.body)
    this.show()
  }

  /** Numbers of the faces to protect. */
  get faces(): number[] {
    return (this.opened?.faces ?? []).map(({ number }) => number).filter((number) => !this.off.has(number))
  }

  /** Whether pressing the button protects it. */
  get isProtectable(): boolean {
    return this.state === 'ready' && this.faces.length > 0
  }

  /** Shows the state anew. */
  show(): void {
    const { opened, done, state } = this
    this.element.dataset.state = state
    this.bar.hidden = state !== 'working'
    this.status.textContent = this.statusText()
    this.disposeComparison?.()
    this.disposeComparison = undefined
    if (state === 'done' && done) fill(this.body, ...this.result(done))
    else if (state === 'failed')
      fill(this.body, opened && element('div', { class: 'buttons' }, this.again(), this.keep()))
    else if (opened) fill(this.body, this.outlined(opened, state === 'ready'), this.choices(opened))
    else fill(this.body)
  }

  /**
   * Shows how far it is; returns what is done, in words.
   *
   * @param part of the work that is done, 0..1
   */
  progress(message: Extract<FromWorker, { type: 'progress' }>, part: number, left: number | undefined): string {
    const { phase, face, faces } = message
    this.bar.value = part
    const which = faces > 1 && phase === 'attack' ? `${texts.faceOf(face, faces)} ` : ''
    const text = `${which}${texts.phases[phase]}${left === undefined ? '' : ` ${texts.timeLeft(left)}`}`
    this.status.textContent = text
    return text
  }

  say(text: string): void {
    this.status.textContent = text
  }

  dispose(): void {
    if (this.preview) URL.revokeObjectURL(this.preview)
    this.disposeComparison?.()
    this.element.remove()
  }

  private statusText(): string {
    if (this.state === 'waiting') return texts.looking
    if (this.state === 'queued') return texts.waiting
    if (this.state === 'working') return texts.phases.decode
    if (this.state === 'failed') return this.failure ? texts.failure(this.failure) : ''
    if (this.state === 'done') return this.done ? texts.took(this.done.seconds) : ''
    if (this.faces.length === 0) return texts.noneChosen
    const maybe = this.opened!.maybe > 0 ? ` ${texts.maybe(this.opened!.maybe)}` : ''
    return `${texts.faces(this.opened!.faces.length)}${maybe}`
  }

  /** The photo with a frame around each face. A click on a frame is one on the face's switch. */
  private outlined({ preview, faces, width, height }: Opened, switchable: boolean): HTMLElement {
    this.preview ??= URL.createObjectURL(preview)
    const picture = element('div', { class: 'picture' })
    picture.style.aspectRatio = `${width} / ${height}`
    picture.style.maxWidth = `min(100%, ${Math.round((width / height) * 24)}rem)`
    picture.append(element('img', { src: this.preview, alt: texts.previewAlt(this.path) }))
    for (const { number, place } of faces) {
      const outline = element('label', { class: 'outline', for: this.switchId(number), 'aria-hidden': 'true' })
      const [x, y, w, h] = place.map((part) => `${100 * part}%`)
      Object.assign(outline.style, { left: x, top: y, width: w, height: h })
      outline.classList.toggle('off', this.off.has(number))
      if (faces.length > 1) outline.append(element('span', {}, String(number)))
      if (!switchable) outline.removeAttribute('for')
      picture.append(outline)
    }
    return picture
  }

  private switchId = (face: number): string => `photo-${this.id}-face-${face}`

  private choices({ faces }: Opened): Node | undefined {
    if (this.state !== 'ready') return undefined
    const toggle = ({ number }: FoundFaceInfo) => {
      if (this.off.has(number)) this.off.delete(number)
      else this.off.add(number)
      this.show()
      document.getElementById(this.switchId(number))?.focus()
      this.actions.changed()
    }
    return element(
      'div',
      { class: 'faces' },
      ...faces.map((face) =>
        element(
          'label',
          { class: 'switch' },
          element('input', {
            type: 'checkbox',
            id: this.switchId(face.number),
            checked: !this.off.has(face.number),
            onchange: () => toggle(face),
          }),
          element('span', {}, texts.protectFace(face.number, faces.length === 1)),
        ),
      ),
      this.keep(),
    )
  }

  private result(done: Protected): Node[] {
    const { figure, dispose } = comparison(this.path, done.views)
    this.disposeComparison = dispose
    const save = element(
      'button',
      { type: 'button', class: 'main', onclick: () => this.actions.save(this) },
      texts.save,
    )
    const warnings = [...(done.reduced ? [texts.reduced] : []), ...done.warnings]
    const words = element(
      'div',
      { class: 'words' },
      ...done.faces.map((face) => this.verdict(face, done.faces.length)),
      ...warnings.map((text) => element('p', { class: 'warning' }, text)),
      element('div', { class: 'buttons' }, save, this.again()),
      element('p', { class: 'hint' }, texts.metadataGone),
    )
    return [figure, words]
  }

  private verdict({ number, matches, earlier, recognisers }: FaceOutcome, count: number): HTMLElement {
    const name = count === 1 ? texts.theFace : texts.face(number)
    const kind = matches === null ? 'unknown' : matches ? 'matching' : 'clear'
    const matchedBy = matches === null ? 'old-place' : 'overlap'
    return element(
      'div',
      { class: `verdict ${kind}` },
      element('p', {}, texts.verdict(name, matches, recognisers.length)),
      earlier > 0 && element('p', {}, texts.apart(earlier)),
      element(
        'details',
        {},
        element('summary', {}, texts.verdictDetails),
        element(
          'ul',
          {},
          ...recognisers.map(({ id, similarity, threshold }) =>
            element(
              'li',
              {},
              pairSentence(
                { id, heldOut: false, similarity, threshold, matches: similarity >= threshold },
                { matchedBy },
              ),
            ),
          ),
        ),
        element('p', {}, texts.verdictNote),
      ),
    )
  }

  private keep = (): HTMLElement | undefined =>
    this.done && element('button', { type: 'button', onclick: () => this.actions.keep(this) }, texts.back)

  private again = (): HTMLElement =>
    element('button', { type: 'button', onclick: () => this.actions.again(this) }, texts.again)
}
