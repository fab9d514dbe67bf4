/** Before and after of a photo or a face: a slider between them, or their difference. */
import { element, newId } from './elements.ts'
import type { View } from './protocol.ts'
import { texts } from './texts.ts'

/** A figure that shows the first face, or any view that is chosen. `dispose` frees the pictures. */
export function comparison(name: string, views: readonly View[]): { figure: HTMLElement; dispose(): void } {
  const addresses: string[] = []
  const address = (blob: Blob) => {
    const made = URL.createObjectURL(blob)
    addresses.push(made)
    return made
  }
  const before = element('img', { class: 'before' })
  const after = element('img', { class: 'after' })
  const difference = element('img', { class: 'difference' })
  const slider = element('input', {
    type: 'range',
    min: 0,
    max: 100,
    value: 50,
    'aria-label': texts.slider,
    oninput: () => cut(),
  })
  const stage = element('div', { class: 'stage' }, before, after, difference, element('div', { class: 'edge' }))
  const labels = element(
    'div',
    { class: 'sides' },
    element('span', {}, texts.before),
    slider,
    element('span', {}, texts.after),
  )
  const help = element('p', { class: 'hint' }, texts.differenceHelp)
  const box = element('input', { type: 'checkbox', onchange: () => update() })
  const group = newId()
  const choices = element('fieldset', { class: 'views' }, element('legend', {}, texts.show))
  let chosen = views.find(({ face }) => face !== undefined) ?? views[0]
  for (const view of views) {
    const label = view.face === undefined ? texts.wholePhoto : texts.face(view.face)
    const input = element('input', {
      type: 'radio',
      name: group,
      checked: view === chosen,
      onchange: () => choose(view),
    })
    choices.append(element('label', {}, input, element('span', {}, label)))
  }

  function choose(view: View): void {
    chosen = view
    update()
  }
  function cut(): void {
    stage.style.setProperty('--cut', `${slider.value}%`)
  }
  function update(): void {
    const which = chosen.face === undefined ? texts.wholePhoto : texts.face(chosen.face)
    stage.style.aspectRatio = `${chosen.width} / ${chosen.height}`
    stage.style.maxWidth = `min(100%, ${Math.round((chosen.width / chosen.height) * 30)}rem)`
    for (const [image, blob, what] of [
      [before, chosen.before, texts.before],
      [after, chosen.after, texts.after],
      [difference, chosen.difference, texts.difference],
    ] as const) {
      image.src = address(blob)
      image.alt = texts.viewAlt(name, `${which}, ${what.toLowerCase()}`)
    }
    const different = box.checked
    difference.hidden = help.hidden = !different
    before.hidden = after.hidden = labels.hidden = different
    stage.classList.toggle('different', different)
    cut()
  }
  update()
  const figure = element(
    'div',
    { class: 'comparison', role: 'group', 'aria-label': texts.compare(name) },
    choices,
    stage,
    labels,
    element('label', { class: 'switch' }, box, element('span', {}, texts.difference)),
    help,
  )
  const dispose = () => {
    for (const each of addresses) URL.revokeObjectURL(each)
  }
  return { figure, dispose }
}
