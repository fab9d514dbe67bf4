/** Tables of earlier versions, from docs/results/earlier.json. */
import { markdownTable, wrapped } from './markers.ts'

export interface Earlier {
  format: 'lowkey-gpu earlier results'
  version: 1
  /** Where the figures were taken from. */
  source: string
  about: string
  sections: readonly {
    title: string
    text: string
    command: string | null
    tables: readonly { title?: string; columns: readonly string[]; rows: readonly (readonly string[])[] }[]
    list?: readonly string[]
  }[]
}

export const earlierResults = ({ source, about, sections }: Earlier): string =>
  [
    wrapped(`**${source}**`),
    wrapped(about),
    ...sections.flatMap(({ title, text, command, tables, list }) => [
      `### ${title}`,
      wrapped(text),
      ...(command ? [`\`\`\`sh\n${command}\n\`\`\``] : []),
      ...tables.flatMap(({ title, columns, rows }) => [
        ...(title ? [wrapped(`${title}:`)] : []),
        markdownTable(columns, rows),
      ]),
      ...(list ? [list.map((item) => `- ${wrapped(item, undefined, '  ')}`).join('\n')] : []),
    ]),
  ].join('\n\n')
