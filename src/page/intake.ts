/** Files from drops, pastes and dialogs, folders included. */

export interface Incoming {
  file: File
  /** The file's name with the folders above it, as they were dropped or chosen. */
  path: string
}

/** What the system puts beside files; nobody means it when dropping a folder. */
const HIDDEN = /(^|\/)(\.|Thumbs\.db$|desktop\.ini$)/i

/** Of an input element; folders come with the paths of their files. */
export function filesOf(list: FileList | null): Incoming[] {
  return Array.from(list ?? [], (file) => ({ file, path: file.webkitRelativePath || file.name })).filter(isWanted)
}

/**
 * Of a drop or a paste. Must be called before the event's handler ends, and may be awaited afterwards.
 * Rejects where the browser does not let the page look into a folder.
 */
export async function filesIn(transfer: DataTransfer | null): Promise<Incoming[]> {
  const items = Array.from(transfer?.items ?? []).filter(({ kind }) => kind === 'file')
  if (items.length === 0) return filesOf(transfer?.files ?? null).map(named)
  const entries = items.map((item) => item.webkitGetAsEntry?.() ?? null)
  // Files by this way, not by their entries, which a page that was opened from a disk may not read.
  const plain = items.map((item) => item.getAsFile())
  const found = await Promise.all(
    entries.map((entry, i) => {
      if (entry?.isDirectory) return inside(entry, '')
      return plain[i] ? [{ file: plain[i], path: plain[i].name }] : []
    }),
  )
  return found.flat().filter(isWanted).map(named)
}

const isWanted = ({ path }: Incoming): boolean => !HIDDEN.test(path)

/** Pasted pictures are all called image.png; they get the time in their name. */
function named(incoming: Incoming): Incoming {
  if (incoming.path !== 'image.png') return incoming
  const time = new Date().toTimeString().slice(0, 8).replaceAll(':', '.')
  return { ...incoming, path: `pasted ${time}.png` }
}

async function inside(entry: FileSystemEntry, folder: string): Promise<Incoming[]> {
  const path = folder + entry.name
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))
    return [{ file, path }]
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  const children: FileSystemEntry[] = []
  // A reader gives a hundred entries at a time, then none.
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
    if (some.length === 0) break
    children.push(...some)
  }
  const found: Incoming[] = []
  for (const child of children.sort((a, b) => a.name.localeCompare(b.name)))
    found.push(...(await inside(child, `${path}/`)))
  return found
}
