/** What results are called: as the command line calls them. */

import type { PhotoFormat } from '../images/photo.ts'

/** Extensions that are kept as they are spelled, by the format that they stand for. */
const KEPT: Readonly<Record<string, 'jpeg' | 'png'>> = { '.jpg': 'jpeg', '.jpeg': 'jpeg', '.png': 'png' }
const EXTENSION = { jpeg: '.jpg', png: '.png' } as const

/** `holiday/me.JPG` becomes `holiday/me.cloaked.JPG`; `me.heic` as JPEG `me.cloaked.jpg`. */
export function resultName(name: string, format: 'jpeg' | 'png'): string {
  const [stem, extension] = split(name)
  const kept = KEPT[extension.toLowerCase()] === format
  return `${stem}.cloaked${kept ? extension : EXTENSION[format]}`
}

/**
 * Names for several results, no two alike also where capital letters count for nothing: photos whose names differ in the extension only keep
 * it (`a.heic.cloaked.jpg`); what is still alike is numbered.
 */
export function resultNames(photos: readonly { name: string; format: 'jpeg' | 'png' }[]): string[] {
  const names = photos.map(({ name, format }) => resultName(name, format))
  const count = new Map<string, number>()
  for (const name of names) count.set(name.toLowerCase(), (count.get(name.toLowerCase()) ?? 0) + 1)
  const taken = new Set<string>()
  return photos.map(({ name, format }, i) => {
    const whole = count.get(names[i].toLowerCase()) === 1 ? names[i] : `${name}.cloaked${EXTENSION[format]}`
    const [stem, extension] = split(whole)
    let free = whole
    for (let n = 2; taken.has(free.toLowerCase()); n++) free = `${stem} (${n})${extension}`
    taken.add(free.toLowerCase())
    return free
  })
}

/** The format of a photo's result: JPEG for what is JPEG or HEIC, else PNG, which loses nothing. */
export const ownFormat = (kind: PhotoFormat | undefined): 'jpeg' | 'png' =>
  kind === 'jpeg' || kind === 'heic' ? 'jpeg' : 'png'

function split(name: string): [stem: string, extension: string] {
  const at = name.lastIndexOf('.')
  return at <= name.lastIndexOf('/') + 1 ? [name, ''] : [name.slice(0, at), name.slice(at)]
}
