/** Markup as template literals that escape what is put into them: names of people and files are not to be trusted. */

/** Text that is markup already and is inserted as it is. Only `html` makes it. */
export class Markup {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

export type Content = Markup | string | number | null | undefined | false | readonly Content[]

/**
 * `html\`<td title="${name}">${name}</td>\``: strings and numbers are escaped, markup is kept, lists are joined; null,
 * undefined and false are nothing. Attributes must be quoted in the template.
 */
export function html(parts: TemplateStringsArray, ...values: readonly Content[]): Markup {
  return new Markup(parts.map((part, i) => part + (i < values.length ? textOf(values[i]) : '')).join(''))
}

function textOf(value: Content): string {
  if (value === null || value === undefined || value === false) return ''
  if (value instanceof Markup) return value.text
  if (Array.isArray(value)) return value.map(textOf).join('')
  return escapeText(String(value))
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
/**
 * Control characters and half a surrogate pair have no place in HTML; what turns the direction of writing would let a
 * file's name rearrange the text around it.
 */
const UNWANTED = /(?![\t\n\r])[\p{Cc}\p{Cs}\p{Bidi_Control}\p{Noncharacter_Code_Point}]/gu

/** Text for the content of elements and for quoted attributes. */
export function escapeText(text: string): string {
  return text.replace(UNWANTED, '\ufffd').replace(/[&<>"']/g, (character) => ENTITIES[character])
}
