/** The page as files: one that has everything in it, or several for those who host it. Pure: parts in, bytes out. */
import { deflated, packNetworks } from './pack.ts'
import type { PartName } from './parts.ts'
import { toText16 } from './text16.ts'
import { texts } from './texts.ts'

/** What a page is made of, as `build/page-parts.ts` and the weights give it. */
export interface PageParts {
  /** The code of the page itself, and its styles. */
  script: string
  styles: string
  /** Large parts in the form in which they are carried (parts.ts). */
  data: ReadonlyMap<PartName, Uint8Array<ArrayBuffer>>
}

/** What an inlined page needs and no more: nothing may be connected to, loaded or sent anywhere. */
const policy = (script: string, style: string): string =>
  [
    `default-src 'none'`,
    `connect-src 'none'`,
    `script-src ${script} 'wasm-unsafe-eval'`,
    `style-src ${style}`,
    'img-src blob:',
    'worker-src blob:',
    `base-uri 'none'`,
    `form-action 'none'`,
  ].join('; ')

/** One file, UTF-16 with its mark (text16.ts says why), that works from a disk, from any host, and without a network. */
export async function singleFile({ script, styles, data }: PageParts): Promise<Uint8Array<ArrayBuffer>> {
  const code = safe(script)
  const csp = policy(await hashOf(code, 'sha256'), await hashOf(styles, 'sha256'))
  const head = [
    meta('Content-Security-Policy', csp),
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="referrer" content="no-referrer">',
    '<meta name="color-scheme" content="light dark">',
    `<title>${texts.title}</title>`,
    `<style>${styles}</style>`,
  ]
  const blocks = Array.from(data, ([name, bytes]) => block(name, toText16(bytes)))
  const body = [`<noscript>${texts.noScript}</noscript>`, ...blocks, `<script>${code}</script>`]
  return utf16(page(head, body))
}

/** Files by name, for any host of static files. */
export async function severalFiles(parts: PageParts, version: string): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>()
  const known: Record<string, { file: string; integrity: string }> = {}
  for (const [name, bytes] of parts.data) {
    const file = `${name}${name.startsWith('sample-') ? '.jpg' : '.bin'}`
    files.set(file, bytes)
    known[name] = { file, integrity: plain(await hashOf(bytes, 'sha384')) }
  }
  const encoder = new TextEncoder()
  files.set('page.js', encoder.encode(parts.script))
  files.set('page.css', encoder.encode(parts.styles))
  files.set('icon.svg', encoder.encode(ICON))
  files.set('manifest.webmanifest', encoder.encode(JSON.stringify(manifest(), undefined, 2)))
  const listed = JSON.stringify(known)
  const csp = [
    `default-src 'none'`,
    `connect-src 'self'`,
    `script-src 'self' ${await hashOf(listed, 'sha256')} 'wasm-unsafe-eval'`,
    `style-src 'self'`,
    `img-src 'self' blob:`,
    `worker-src 'self' blob:`,
    `manifest-src 'self'`,
    `base-uri 'none'`,
    `form-action 'none'`,
  ].join('; ')
  const [script, styles] = [await hashOf(parts.script, 'sha384'), await hashOf(parts.styles, 'sha384')].map(plain)
  const html = page(
    [
      '<meta charset="utf-8">',
      meta('Content-Security-Policy', csp),
      '<meta name="viewport" content="width=device-width, initial-scale=1">',
      '<meta name="referrer" content="no-referrer">',
      '<meta name="color-scheme" content="light dark">',
      `<title>${texts.title}</title>`,
      '<link rel="icon" href="icon.svg" type="image/svg+xml">',
      '<link rel="manifest" href="manifest.webmanifest">',
      `<link rel="stylesheet" href="page.css" integrity="${styles}">`,
    ],
    [
      `<noscript>${texts.noScript}</noscript>`,
      `<script id="parts" type="application/json">${listed}</script>`,
      `<script src="page.js" integrity="${script}"></script>`,
    ],
  )
  files.set('index.html', encoder.encode(html))
  const content = await Promise.all(Array.from(files.values(), (bytes) => hashOf(bytes, 'sha256')))
  const cache = `lowkey-gpu-${version}-${plain(await hashOf(content.join(), 'sha256'))
    .slice(7, 19)
    .replace(/\W/g, '')}`
  files.set('service-worker.js', encoder.encode(serviceWorker(cache, ['./', ...files.keys()])))
  return files
}

/** The networks' part from their weights, and parts that are scripts or WebAssembly in the form in which they are carried. */
export const carriedNetworks = packNetworks
export const carried = (bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> => deflated([bytes])

const page = (head: readonly string[], body: readonly string[]): string =>
  `<!doctype html>\n<html lang="${texts.language}">\n<head>\n${head.join('\n')}\n</head>\n<body>\n${body.join('\n')}\n</body>\n</html>\n`

const meta = (name: string, content: string): string => `<meta http-equiv="${name}" content="${content}">`

/** Data in a script element of a type that no browser runs. */
const block = (id: string, text: string): string =>
  `<script id="${id}" type="application/octet-stream">${text}</script>`

/** Code that may stand in a script element: what would end it, or begin a comment of old, in another spelling. */
const safe = (script: string): string => script.replaceAll('</script', '<\\/script').replaceAll('<!--', '<\\!--').trim()

/** A source of the policy, `'sha256-...'`: of UTF-8, whatever the page is in. */
async function hashOf(content: string | Uint8Array<ArrayBuffer>, algorithm: 'sha256' | 'sha384'): Promise<string> {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content
  const digest = new Uint8Array(await crypto.subtle.digest(algorithm.replace('sha', 'SHA-'), bytes))
  return `'${algorithm}-${btoa(String.fromCharCode(...digest))}'`
}

/** The same as `integrity` takes it. */
const plain = (hash: string): string => hash.slice(1, -1)

function utf16(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(2 + 2 * text.length)
  const data = new DataView(bytes.buffer)
  data.setUint16(0, 0xfeff, true)
  for (let i = 0; i < text.length; i++) data.setUint16(2 + 2 * i, text.charCodeAt(i), true)
  return bytes
}

/** A face behind a veil. */
const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" rx="14" fill="#0b6655"/><circle cx="32" cy="26" r="12" fill="#fff"/><path d="M12 56c2-12 10-17 20-17s18 5 20 17z" fill="#fff"/><path d="M16 22h32M16 30h32" stroke="#0b6655" stroke-width="3" stroke-dasharray="4 3"/></svg>`

const manifest = () => ({
  name: texts.title,
  short_name: 'lowkey',
  start_url: './',
  display: 'standalone',
  background_color: '#f6f5f1',
  theme_color: '#0b6655',
  icons: [{ src: 'icon.svg', sizes: 'any', type: 'image/svg+xml' }],
})

/** Keeps the page's files, so that it works offline; a page of another version has another cache. It asks for nothing else. */
const serviceWorker = (cache: string, names: readonly string[]): string => `const cache = ${JSON.stringify(cache)}
const files = ${JSON.stringify(names)}
addEventListener('install', (event) => {
  event.waitUntil(caches.open(cache).then((kept) => kept.addAll(files)).then(() => skipWaiting()))
})
addEventListener('activate', (event) => {
  const old = (name) => name.startsWith('lowkey-gpu-') && name !== cache
  event.waitUntil(
    caches.keys().then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name)))).then(() => clients.claim()),
  )
})
addEventListener('fetch', (event) => {
  event.respondWith(caches.match(event.request, { ignoreSearch: true }).then((kept) => kept ?? fetch(event.request)))
})
`
