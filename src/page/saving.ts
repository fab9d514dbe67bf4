/** Results to files: one through a link, several in a zip. */
import { Zip, ZipPassThrough } from 'fflate'

/** Has the browser save a file under a name. */
export function save(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob)
  const link = document.createElement('a')
  link.href = address
  link.download = name
  document.body.append(link)
  link.click()
  link.remove()
  // The browser reads it after the click; how long that takes it does not say.
  setTimeout(() => URL.revokeObjectURL(address), 60_000)
}

/** A zip of files, stored as they are: photos are compressed already. One file is in memory at a time; the parts lie where the browser puts blobs. */
export async function zipped(files: readonly { name: string; blob: Blob }[]): Promise<Blob> {
  const parts: Blob[] = []
  let failed: Error | undefined
  const zip = new Zip((error, chunk) => {
    if (error) failed ??= error
    else parts.push(new Blob([chunk as Uint8Array<ArrayBuffer>]))
  })
  for (const { name, blob } of files) {
    const entry = new ZipPassThrough(name)
    zip.add(entry)
    entry.push(new Uint8Array(await blob.arrayBuffer()), true)
  }
  zip.end()
  if (failed) throw failed
  return new Blob(parts, { type: 'application/zip' })
}
