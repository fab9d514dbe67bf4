/** A page in one file: no script, nothing fetched, its style in it. */
import { type Content, html, Markup } from './html.ts'
import { STYLE } from './style.ts'

export interface Section {
  id: string
  title: Content
  content: Content
}

/** The whole page; text that is put into it is escaped. */
export function documentOf(title: string, header: Content, sections: readonly Section[]): string {
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
${header}
<nav aria-label="Contents"><ul>${sections.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>
<main>
${sections.map(({ id, title, content }) => html`<section id="${id}"><h2>${title}</h2>${content}</section>\n`)}</main>
</body>
</html>
`
  return page.text
}

/** A number with its name, for the list at the top. */
export const fact = (name: string, value: string): Markup => html`<div><dt>${name}</dt><dd>${value}</dd></div>`

/** `2026-11-23T12:00:00.000Z` without fractions and letters; anything else as it is. */
export const day = (date: string): string =>
  date.replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?Z$/, '$1 $2 UTC')
