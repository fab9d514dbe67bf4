/** The parts of the page that are large: in the page itself, or, where it is hosted as several files, beside it. */
import { inflated } from './pack.ts'
import type { PartData } from './protocol.ts'
import { fromText16 } from './text16.ts'

/** `worker` and `heif` are scripts; `libheif-js` and `libheif` are HEIC's decoder, a script and WebAssembly, which some pages lack. All are deflated. */
export type PartName = 'worker' | 'networks' | 'jpeg' | 'heif' | 'libheif' | 'libheif-js' | SampleName

/** Pictures of the strengths, JPEG files as they are. */
export type SampleName = 'sample-before' | 'sample-low' | 'sample-medium' | 'sample-high'

/** Files of the hosted page by part, each with the hash that the browser checks it against. */
type Files = Partial<Record<PartName, { file: string; integrity: string }>>

const files: Files | undefined = JSON.parse(document.getElementById('parts')?.textContent ?? 'null') ?? undefined

/** Whether the page consists of several files. */
export const isHosted = files !== undefined

export const hasPart = (name: PartName): boolean =>
  files ? files[name] !== undefined : document.getElementById(name) !== null

/** A part as it lies in the page. Rejects where it cannot be had. */
export async function rawPart(name: PartName): Promise<PartData> {
  if (files) {
    const known = files[name]
    if (!known) throw new Error(`the page has no part "${name}"`)
    const response = await fetch(known.file, { integrity: known.integrity })
    if (!response.ok) throw new Error(`${known.file}: ${response.status} ${response.statusText}`)
    return response.arrayBuffer()
  }
  const block = document.getElementById(name)
  if (!block?.textContent) throw new Error(`the page has no part "${name}"`)
  return block.textContent
}

/** Gives a part's memory back that is needed once. */
export function forgetPart(name: PartName): void {
  document.getElementById(name)?.remove()
}

/** The address of a picture. */
export function sampleAddress(name: SampleName): string {
  if (files) return files[name]?.file ?? ''
  const text = document.getElementById(name)?.textContent
  return text ? URL.createObjectURL(new Blob([fromText16(text)], { type: 'image/jpeg' })) : ''
}

/** A part's bytes, unpacked. */
export async function part(name: PartName): Promise<Uint8Array<ArrayBuffer>> {
  const raw = await rawPart(name)
  return inflated(typeof raw === 'string' ? fromText16(raw) : new Uint8Array(raw))
}

/** A worker of scripts one after another. It has the page's own security policy, because its address is one of the page's. */
export async function workerOf(...names: PartName[]): Promise<Worker> {
  const scripts = await Promise.all(names.map(part))
  const address = URL.createObjectURL(
    new Blob(
      scripts.flatMap((script) => [script, '\n']),
      { type: 'text/javascript' },
    ),
  )
  try {
    return new Worker(address)
  } finally {
    // The worker has taken the script when its constructor returns; older browsers take it a moment later.
    setTimeout(() => URL.revokeObjectURL(address), 10_000)
  }
}
