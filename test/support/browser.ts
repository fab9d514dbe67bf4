/**
 * A headless Chromium for tests of pages and for pictures of them, driven through its DevTools protocol over a pipe: no
 * driver package, no open port. `chromium.ts` says which browser it is.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { findChromium, NoBrowserError } from './chromium.ts'

export { NoBrowserError }

export interface View {
  /** Of the window, in CSS pixels. */
  width: number
  height: number
  /** What `prefers-color-scheme` says; light unless told. */
  dark?: boolean
  /** Lay out as on paper. */
  print?: boolean
}

export interface Page {
  /** Addresses asked for since the page was opened: the page itself first. `data:` addresses count too. */
  readonly requests: readonly string[]
  /** Errors and warnings of the console, uncaught exceptions, violations of the page's security policy. */
  readonly complaints: readonly string[]
  setView(view: View): Promise<void>
  /** Value of a JavaScript expression in the page, or of its promise. It must survive JSON. */
  evaluate<T>(expression: string): Promise<T>
  /** The same in the page's only worker, or in the one whose index is given. Waits until there is one. */
  evaluateInWorker<T>(expression: string, index?: number): Promise<T>
  /** Resolves when the expression is truthy in the page, with its value. Rejects after some time with what the page shows then. */
  until<T>(expression: string, milliseconds?: number): Promise<T>
  /** Gives files or folders to the file input that a CSS selector finds, as its dialog would. */
  choose(selector: string, paths: readonly string[]): Promise<void>
  /** Does what opens a file dialog, and answers it with files. */
  chooseInDialog(opening: () => Promise<void>, paths: readonly string[]): Promise<void>
  /** Drops files or folders on the middle of the window. */
  drop(paths: readonly string[]): Promise<void>
  /** Presses keys one after another, by their names: `Tab`, `Enter`, `Space`, `ArrowRight`, `Shift+Tab`. */
  press(...keys: string[]): Promise<void>
  /** Answers a question such as whether to leave; resolves when there is one. */
  answerDialog(accept: boolean): Promise<{ type: string }>
  /** A PNG of the window, of the whole page, or of the first element that a CSS selector finds. */
  screenshot(of?: 'window' | 'page' | { element: string }): Promise<Uint8Array>
  close(): Promise<void>
}

export interface Browser {
  /** Opens an address (`file:`, `http://localhost:...`) and resolves once it has loaded. */
  open(address: string, view?: View): Promise<Page>
  /** Where downloads of the pages opened after this go; a file is whole when it has its name. */
  saveTo(folder: string): Promise<void>
  /** Ends the process that drives the GPU, as a driver's failure does; the browser starts another one. */
  crashGpu(): Promise<void>
  close(): Promise<void>
}

const SWITCHES = [
  '--headless',
  '--no-sandbox', // The sandbox does not start for root, nor in most containers; only pages of ours are opened.
  '--remote-debugging-pipe',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--hide-scrollbars',
  '--font-render-hinting=none',
  '--force-color-profile=srgb',
  // Nothing leaves the machine, whatever a page asks for.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
]
/** For pages that compute: WebGPU on Chromium's software adapter. */
export const WEBGPU_SWITCHES: readonly string[] = [
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--use-angle=swiftshader',
  '--enable-unsafe-swiftshader',
]
const START_MILLISECONDS = 60_000
/** For what a page does at once, and for what it computes on a software adapter of a machine that does other work. */
const SOON_MILLISECONDS = 20_000
const PATIENCE_MILLISECONDS = 240_000

/**
 * Starts a browser of its own profile; `close()` ends it and removes the profile.
 * @param switches of Chromium, besides those that every test wants.
 * @throws NoBrowserError where none can be started.
 */
export async function launchBrowser(switches: readonly string[] = []): Promise<Browser> {
  const { executable, environment, libraries } = await findChromium()
  try {
    return await start(executable, environment, switches)
  } catch (error) {
    // The package brings NSS and NSPR for systems without them; elsewhere the system's own are the better fit.
    if (!(error instanceof NoBrowserError) || !libraries || !error.message.includes('shared libraries')) throw error
    return start(executable, { ...environment, LD_LIBRARY_PATH: libraries }, switches)
  }
}

async function start(executable: string, environment: NodeJS.ProcessEnv, switches: readonly string[]) {
  const profile = mkdtempSync(join(tmpdir(), 'lowkey-chromium-'))
  const child = spawn(executable, [...SWITCHES, ...switches, `--user-data-dir=${profile}`, 'about:blank'], {
    env: environment,
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
  })
  const protocol = new Protocol(child)
  const close = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      protocol.send('Browser.close').catch(() => {})
      const timer = setTimeout(() => child.kill('SIGKILL'), 5000)
      await ended
      clearTimeout(timer)
    }
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), START_MILLISECONDS)
  try {
    await protocol.send('Browser.getVersion')
  } catch (error) {
    await close()
    throw new NoBrowserError(`${executable} did not start: ${(error as Error).message}`)
  } finally {
    clearTimeout(timer)
  }
  return {
    open: (address: string, view?: View) => open(protocol, address, view),
    saveTo: async (downloadPath: string) => {
      await protocol.send('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath })
    },
    crashGpu: async () => {
      await protocol.send('Browser.crashGpuProcess')
    },
    close,
  }
}

interface Answer {
  id?: number
  method?: string
  sessionId?: string
  // The protocol's own shapes, which differ by message.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  params?: any
  // biome-ignore lint/suspicious/noExplicitAny: see above
  result?: any
  error?: { message: string }
}

/** Messages in JSON, each ended by a zero byte, on file descriptors 3 (to the browser) and 4 (from it). */
class Protocol {
  readonly #waiting = new Map<number, { resolve: (result: Answer['result']) => void; reject: (error: Error) => void }>()
  readonly #listeners = new Map<string, (message: Answer) => void>()
  readonly #input: Writable
  #last = 0
  #ended: Error | undefined

  constructor(child: ChildProcess) {
    this.#input = child.stdio[3] as Writable
    this.#input.on('error', () => {}) // The exit that broke the pipe says more.
    let errors = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-2000)
    })
    let rest = Buffer.alloc(0)
    ;(child.stdio[4] as Readable).on('data', (bytes: Buffer) => {
      rest = Buffer.concat([rest, bytes])
      for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0)) {
        this.#receive(JSON.parse(rest.toString('utf8', 0, end)))
        rest = rest.subarray(end + 1)
      }
    })
    const fail = (reason: string) => {
      this.#ended ??= new Error(reason)
      for (const { reject } of this.#waiting.values()) reject(this.#ended)
      this.#waiting.clear()
    }
    child.once('error', (error) => fail(error.message))
    child.once('close', (code, signal) => fail(`it ended (${signal ?? code}) ${errors.trim()}`))
  }

  #receive(message: Answer): void {
    if (message.id === undefined) {
      if (message.sessionId) this.#listeners.get(message.sessionId)?.(message)
      return
    }
    const waiting = this.#waiting.get(message.id)
    this.#waiting.delete(message.id)
    if (message.error) waiting?.reject(new Error(message.error.message))
    else waiting?.resolve(message.result)
  }

  send(method: string, params: object = {}, sessionId?: string): Promise<Answer['result']> {
    if (this.#ended) return Promise.reject(this.#ended)
    const id = ++this.#last
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`)
    })
  }

  listen(sessionId: string, listener: (message: Answer) => void): void {
    this.#listeners.set(sessionId, listener)
  }
}

async function open(protocol: Protocol, address: string, view: View = { width: 1200, height: 900 }): Promise<Page> {
  const { targetId } = await protocol.send('Target.createTarget', { url: 'about:blank' })
  const { sessionId } = await protocol.send('Target.attachToTarget', { targetId, flatten: true })
  const send = (method: string, params?: object) => protocol.send(method, params, sessionId)
  const requests: string[] = []
  const complaints: string[] = []
  /** Sessions of the page's dedicated workers, oldest first. */
  const workers: string[] = []
  /** Inputs whose dialogs were opened. */
  const choosers: number[] = []
  const dialogs: { type: string }[] = []
  const loaded = new Promise<void>((resolve) => {
    const onMessage = ({ method, params }: Answer) => {
      if (method === 'Page.loadEventFired') resolve()
      else if (method === 'Target.attachedToTarget') {
        workers.push(params.sessionId)
        protocol.listen(params.sessionId, onMessage)
        for (const domain of ['Network', 'Runtime', 'Log'])
          protocol.send(`${domain}.enable`, {}, params.sessionId).catch(() => {})
        protocol.send('Runtime.runIfWaitingForDebugger', {}, params.sessionId).catch(() => {})
      } else if (method === 'Target.detachedFromTarget') workers.splice(workers.indexOf(params.sessionId), 1)
      else if (method === 'Page.javascriptDialogOpening') dialogs.push(params)
      else if (method === 'Page.fileChooserOpened') choosers.push(params.backendNodeId)
      else if (method === 'Network.requestWillBeSent') requests.push(params.request.url)
      else if (method === 'Network.webSocketCreated') requests.push(params.url)
      else if (method === 'Runtime.exceptionThrown')
        complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text)
      else if (method === 'Runtime.consoleAPICalled' && /^(error|warning|assert)$/.test(params.type))
        complaints.push(
          params.args.map((a: { value?: unknown; description?: string }) => a.value ?? a.description).join(' '),
        )
      else if (method === 'Log.entryAdded' && /^(error|warning)$/.test(params.entry.level))
        complaints.push([params.entry.text, params.entry.url].filter(Boolean).join(' '))
    }
    protocol.listen(sessionId, onMessage)
  })
  const setView = async ({ width, height, dark = false, print = false }: View) => {
    await send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false })
    await send('Emulation.setEmulatedMedia', {
      media: print ? 'print' : 'screen',
      features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }],
    })
  }
  const evaluate = async <T>(expression: string, session = sessionId): Promise<T> => {
    const options = { expression, returnByValue: true, awaitPromise: true }
    const { result, exceptionDetails } = await protocol.send('Runtime.evaluate', options, session)
    if (exceptionDetails)
      throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`)
    return result.value
  }
  const evaluateInWorker = async <T>(expression: string, index = 0): Promise<T> => {
    await waitFor(() => workers[index], 'a worker', SOON_MILLISECONDS)
    return evaluate<T>(expression, workers[index])
  }
  const until = async <T>(expression: string, milliseconds = PATIENCE_MILLISECONDS): Promise<T> => {
    const end = performance.now() + milliseconds
    for (;;) {
      const value = await evaluate<T>(expression)
      if (value) return value
      if (performance.now() > end) {
        const shown = await evaluate<string>('document.body.innerText')
        throw new Error(
          `${expression} is not so after ${milliseconds / 1000} s; the page shows:\n${shown}\n${complaints.join('\n')}`,
        )
      }
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  const choose = async (selector: string, files: readonly string[]) => {
    const { root } = await send('DOM.getDocument')
    const { nodeId } = await send('DOM.querySelector', { nodeId: root.nodeId, selector })
    if (!nodeId) throw new Error(`the page has no element ${selector}`)
    await send('DOM.setFileInputFiles', { files, nodeId })
  }
  const chooseInDialog = async (opening: () => Promise<void>, files: readonly string[]) => {
    await send('Page.setInterceptFileChooserDialog', { enabled: true })
    await opening()
    await waitFor(() => choosers[0], 'a dialog for files', SOON_MILLISECONDS)
    await send('DOM.setFileInputFiles', { files, backendNodeId: choosers.shift() })
    await send('Page.setInterceptFileChooserDialog', { enabled: false })
  }
  const drop = async (files: readonly string[]) => {
    const [x, y] = await evaluate<number[]>('[innerWidth / 2, innerHeight / 2]')
    const data = { items: [], files, dragOperationsMask: 1 }
    for (const type of ['dragEnter', 'dragOver', 'drop']) await send('Input.dispatchDragEvent', { type, x, y, data })
  }
  const press = async (...keys: string[]) => {
    for (const pressed of keys) {
      const [, shift, name] = /^(Shift\+)?(.+)$/.exec(pressed)!
      const { key, code, text } = keyOf(name)
      const modifiers = shift ? 8 : 0
      const common = { key, code: name, windowsVirtualKeyCode: code, modifiers }
      await send('Input.dispatchKeyEvent', { type: text ? 'keyDown' : 'rawKeyDown', text, ...common })
      await send('Input.dispatchKeyEvent', { type: 'keyUp', ...common })
    }
  }
  const answerDialog = async (accept: boolean) => {
    await waitFor(() => dialogs[0], 'a question of the page', SOON_MILLISECONDS)
    await send('Page.handleJavaScriptDialog', { accept })
    return dialogs.shift()!
  }
  const screenshot = async (of: 'window' | 'page' | { element: string } = 'window') => {
    let clip: object | undefined
    if (of === 'page') {
      const { cssContentSize } = await send('Page.getLayoutMetrics')
      clip = { ...cssContentSize, scale: 1 }
    } else if (of !== 'window') {
      const box = await evaluate<object | null>(`(() => {
        const box = document.querySelector(${JSON.stringify(of.element)})?.getBoundingClientRect()
        return box ? { x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height } : null
      })()`)
      if (!box) throw new Error(`the page has no element ${of.element}`)
      clip = { ...box, scale: 1 }
    }
    const { data } = await send('Page.captureScreenshot', {
      format: 'png',
      captureBeyondViewport: of !== 'window',
      clip,
    })
    return new Uint8Array(Buffer.from(data, 'base64'))
  }
  for (const domain of ['Page', 'Network', 'Runtime', 'Log', 'DOM']) await send(`${domain}.enable`)
  await send('Target.setAutoAttach', { autoAttach: true, waitForDebuggerOnStart: true, flatten: true })
  await setView(view)
  const { errorText } = await send('Page.navigate', { url: address })
  if (errorText) throw new Error(`${address}: ${errorText}`)
  await loaded
  return {
    requests,
    complaints,
    setView,
    evaluate: (expression) => evaluate(expression),
    evaluateInWorker,
    until,
    choose,
    chooseInDialog,
    drop,
    press,
    answerDialog,
    screenshot,
    close: async () => {
      await protocol.send('Target.closeTarget', { targetId })
    },
  }
}

/** Names of keys as the protocol wants them: DOM's key, Windows' code, and the text that the key writes. */
function keyOf(name: string): { key: string; code: number; text?: string } {
  const known: Readonly<Record<string, { key: string; code: number; text?: string }>> = {
    Tab: { key: 'Tab', code: 9 },
    Enter: { key: 'Enter', code: 13, text: '\r' },
    Space: { key: ' ', code: 32, text: ' ' },
    Escape: { key: 'Escape', code: 27 },
    ArrowLeft: { key: 'ArrowLeft', code: 37 },
    ArrowUp: { key: 'ArrowUp', code: 38 },
    ArrowRight: { key: 'ArrowRight', code: 39 },
    ArrowDown: { key: 'ArrowDown', code: 40 },
  }
  if (!Object.hasOwn(known, name)) throw new RangeError(`no key ${name} is known`)
  return known[name]
}

async function waitFor(condition: () => unknown, what: string, milliseconds: number): Promise<void> {
  for (const end = performance.now() + milliseconds; !condition(); ) {
    if (performance.now() > end) throw new Error(`there is not ${what} after ${milliseconds / 1000} s`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
