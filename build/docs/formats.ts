/** The tables of docs/formats.md. */
import { markdownTable } from './markers.ts'

/** What came of a file that a test made: a row of docs/results/formats.json, written by test/images/every-format.test.ts. */
export interface FormatRow {
  input: string
  readBy: string
  /** Depth, colours, density, opacity of the photo; absent where it is refused. */
  photo?: string
  /** Format of the result, where none is asked for. */
  result?: string
  /** How far samples outside of the region of a face are from the input's. */
  outside?: string
  /** What is not in the result, or was put right, and what is said where it is refused. */
  says: string[]
}

/** What `node bench/jpeg-quality.ts --save` writes. */
export interface JpegQualities {
  photo: string
  adapter: string
  thresholds: readonly { id: string; threshold: number }[]
  /** Similarity of the protected face to the clean one, by recogniser, without any loss. */
  lossless: Readonly<Record<string, number>>
  rows: readonly {
    quality: number
    chroma: '4:4:4' | '4:2:0'
    bytes: number
    /** The clean photo at the same quality, with colours at half resolution as cameras save them. */
    cleanBytes: number
    similarity: Readonly<Record<string, number>>
  }[]
}

export function formatsTable(rows: readonly FormatRow[]): string {
  return markdownTable(
    ['input', 'read by', 'photo', 'result', 'outside of the face', 'said'],
    rows.map(({ input, readBy, photo, result, outside, says }) => [
      input,
      photo === undefined ? '**not read**' : readBy,
      photo ?? '',
      result ?? '',
      outside ?? '',
      says.join('; '),
    ]),
  )
}

export function jpegQualityTable({ photo, thresholds, lossless, rows }: JpegQualities): string {
  const ids = thresholds.map(({ id }) => id)
  const seen = (similarity: Readonly<Record<string, number>>) => ids.map((id) => similarity[id].toFixed(3)).join(' / ')
  const limits = Object.fromEntries(thresholds.map(({ id, threshold }) => [id, threshold]))
  const full = rows.filter(({ chroma }) => chroma === '4:4:4')
  const table = markdownTable(
    ['quality', 'size', 'of the clean photo at that quality, 4:2:0', `similarity: ${ids.join(' / ')}`],
    [
      ['lossless', '', '', seen(lossless)],
      ...full.map(({ quality, bytes, cleanBytes, similarity }) => [
        String(quality),
        `${Math.round(bytes / 1000)} kB`,
        `${(bytes / cleanBytes).toFixed(2)} times`,
        seen(similarity),
      ]),
    ],
  )
  const most = Math.max(
    ...full
      .filter(({ quality }) => quality >= 75)
      .flatMap(({ similarity }) => ids.map((id) => Math.abs(similarity[id] - lossless[id]))),
  )
  return (
    `What that costs of the protection, for ${photo} at the default strength (thresholds ${seen(limits)}; \`node bench/jpeg-quality.ts --save\`): ` +
    `from quality 98 to 75 no similarity is more than ${most.toFixed(3)} from the lossless result's.\n\n${table}`
  )
}
