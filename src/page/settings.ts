/** What a person chooses for all photos: how strong, and the kind of file. */
import { element } from './elements.ts'
import { type SampleName, sampleAddress } from './parts.ts'
import type { Strength } from './protocol.ts'
import { texts } from './texts.ts'

/** Pictures of each strength; `auto` looks like `medium` on this portrait. */
const SAMPLES: Readonly<Record<Strength | 'before', SampleName>> = {
  before: 'sample-before',
  auto: 'sample-medium',
  low: 'sample-low',
  medium: 'sample-medium',
  high: 'sample-high',
}

export interface Settings {
  readonly strength: Strength
  /** `own`: the photo's own kind where that can be written. */
  readonly format: 'own' | 'png'
}

/** The part of the page that asks for the settings, and what is chosen at a moment. */
export function settings(): { section: HTMLElement; current(): Settings } {
  const addresses = new Map<SampleName, string>()
  const address = (name: SampleName): string => {
    if (!addresses.has(name)) addresses.set(name, sampleAddress(name))
    return addresses.get(name)!
  }
  let strength: Strength = 'auto'
  let format: Settings['format'] = 'own'
  const names = Object.keys(texts.strengths) as Strength[]
  const cards = names.map((name) => {
    const { name: title, what } = texts.strengths[name]
    return element(
      'label',
      { class: 'strength' },
      element('input', {
        type: 'radio',
        name: 'strength',
        value: name,
        checked: name === strength,
        onchange: () => {
          strength = name
        },
      }),
      element('img', { src: address(SAMPLES[name]), alt: texts.sampleAlt(title), width: 200, height: 200 }),
      element('span', { class: 'name' }, title),
      element('span', { class: 'what' }, what),
    )
  })
  const unprotected = element(
    'figure',
    { class: 'strength plain' },
    element('img', { src: address(SAMPLES.before), alt: '', width: 200, height: 200 }),
    element('figcaption', { class: 'name' }, texts.unprotectedSample),
  )
  const formats = (Object.keys(texts.formats) as Settings['format'][]).map((name) =>
    element(
      'label',
      { class: 'switch' },
      element('input', {
        type: 'radio',
        name: 'format',
        value: name,
        checked: name === format,
        onchange: () => {
          format = name
        },
      }),
      element('span', {}, texts.formats[name]),
    ),
  )
  const section = element(
    'section',
    { 'aria-labelledby': 'strength-title' },
    element('h2', { id: 'strength-title' }, texts.strength),
    element(
      'fieldset',
      { class: 'strengths' },
      element('legend', {}, texts.strengthHelp),
      element('div', { class: 'row' }, unprotected, ...cards),
    ),
    element(
      'details',
      { class: 'formats' },
      element('summary', {}, texts.format),
      element('fieldset', {}, element('legend', {}, texts.formatHelp), ...formats),
    ),
  )
  return { section, current: () => ({ strength, format }) }
}
