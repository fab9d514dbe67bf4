/**
 * Cells of tables that become cards on narrow pages: each cell carries its heading, which the style sheet shows there. The
 * roles are spelled out because `display` takes them away.
 */
import { type Content, html, type Markup } from './html.ts'

export const cell = (label: string, content: Content, style = ''): Markup =>
  html`<td role="cell" class="${style}" data-label="${label}">${content}</td>`

export const columnHead = (content: Content, style = ''): Markup =>
  html`<th role="columnheader" scope="col" class="${style}">${content}</th>`

/** Over several columns. */
export const groupHead = (content: Content, columns: number, style = 'first'): Markup =>
  html`<th role="columnheader" scope="colgroup" colspan="${columns}" class="${style}">${content}</th>`
