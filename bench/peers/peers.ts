/** The engines measured beside this one, each in a process of its own (child.ts), seen from the bench. */
import { type ChildProcess, fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { acquire, type Gpu } from '../../src/device/node.ts'
import { unpackSwiftShader } from '../../src/device/swiftshader.ts'
import type { Reply, Request } from './child.ts'
import type { Setup, Task } from './engine.ts'

/** How the peers are installed: they are no dependencies of this package. */
export const INSTALL = 'npm ci --prefix bench/peers --ignore-scripts'

/** `webgpu`: runs on the same adapter; the others are a ceiling for comparison, and no peers in a ratio. */
const PEERS = [
  { name: 'onnxruntime-webgpu', webgpu: true, packages: ['onnxruntime-node'] },
  { name: 'tfjs-webgpu', webgpu: true, packages: ['@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-webgpu'] },
  { name: 'jax-js', webgpu: true, packages: ['@jax-js/jax'] },
  { name: 'onnxruntime-cpu', webgpu: false, packages: ['onnxruntime-node'] },
] as const

/**
 * A peer that takes longer for one answer is ended. On a busy software adapter the slowest compilation of an operation takes 30 s, that of
 * the loop minutes.
 */
const LONGEST_ANSWER_MS = { operation: 150_000, loop: 900_000 }
/** Of what a peer wrote on stderr, so much is kept for the message when it ends. */
const STDERR_TAIL = 400

export class Peer {
  readonly name: string
  /** Whether it runs on the adapter, through WebGPU. */
  readonly webgpu: boolean
  readonly #setup: Setup
  readonly #env: NodeJS.ProcessEnv
  #child: ChildProcess | undefined
  #patience: number = LONGEST_ANSWER_MS.operation

  constructor(name: string, webgpu: boolean, setup: Setup, env: NodeJS.ProcessEnv) {
    this.name = name
    this.webgpu = webgpu
    this.#setup = setup
    this.#env = env
  }

  /**
   * Sets the task up, starting the process where there is none (any more), and gives what the peer computes.
   * @throws Error in the peer's words when it cannot, or saying how its process ended.
   */
  async prepare(task: Task): Promise<Float32Array> {
    this.#patience = LONGEST_ANSWER_MS[task.kind === 'loop' ? 'loop' : 'operation']
    return (await this.#ask({ do: 'prepare', task })).result!
  }

  /** Runs what was prepared so many times, and gives how long all of it took, ms. */
  async run(times: number): Promise<number> {
    return (await this.#ask({ do: 'run', times })).ms!
  }

  async release(): Promise<void> {
    if (this.#child) await this.#ask({ do: 'release' })
  }

  close(): void {
    this.#child?.kill('SIGKILL')
  }

  #start(): ChildProcess {
    const child = fork(fileURLToPath(new URL('child.ts', import.meta.url)), [this.name, JSON.stringify(this.#setup)], {
      env: this.#env,
      serialization: 'advanced', // typed arrays as they are
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    child.once('exit', () => {
      if (this.#child === child) this.#child = undefined
    })
    return child
  }

  #ask(request: Request): Promise<Reply> {
    const child = (this.#child ??= this.#start())
    return new Promise((resolve, reject) => {
      let stderr = ''
      const listen = (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-STDERR_TAIL))
      const settle = (act: () => void) => {
        clearTimeout(timer)
        child.off('message', onMessage)
        child.off('close', onClose)
        child.stderr!.off('data', listen)
        child.stderr!.resume() // nobody reads it now, and a full pipe would stop the peer
        act()
      }
      const onMessage = (reply: Reply) =>
        settle(() => (reply.error === undefined ? resolve(reply) : reject(new Error(reply.error))))
      const onClose = (code: number | null, signal: string | null) =>
        settle(() => reject(new Error(`its process ended with ${signal ?? code}: ${stderr.trim() || 'no message'}`)))
      const timer = setTimeout(() => {
        this.#child = undefined
        child.kill('SIGKILL')
        settle(() => reject(new Error(`no answer within ${this.#patience / 1000} s`)))
      }, this.#patience)
      child.stderr!.on('data', listen)
      child.on('message', onMessage)
      child.on('close', onClose)
      child.send(request, (error) => error && settle(() => reject(error)))
    })
  }
}

/**
 * The peers that are installed, to run on the adapter that `gpu` is. What is missing is reported, with what to do.
 * @param named what `acquire` was given as `gpu`.
 */
export async function findPeers(gpu: Gpu, named: string | undefined, report: (line: string) => void): Promise<Peer[]> {
  const installed = ({ packages }: (typeof PEERS)[number]) =>
    packages.every((name) => existsSync(new URL(`node_modules/${name}/package.json`, import.meta.url)))
  const absent = PEERS.filter((peer) => !installed(peer))
  if (absent.length > 0) report(`not installed: ${absent.map(({ name }) => name).join(', ')}; ${INSTALL}`)
  const peers: Peer[] = []
  for (const { name, webgpu } of PEERS.filter(installed)) {
    const env = name === 'onnxruntime-webgpu' ? await environmentFor(gpu, named) : process.env
    if (env) peers.push(new Peer(name, webgpu, { gpu: named }, env))
    else report(`${name}: left out, because it takes this machine's preferred adapter and no other`)
  }
  return peers
}

/**
 * An engine with its own Dawn takes the preferred adapter of the drivers that its Vulkan loader finds. The environment
 * in which that is the adapter of `gpu`; nothing where that cannot be had.
 */
async function environmentFor(gpu: Gpu, named: string | undefined): Promise<NodeJS.ProcessEnv | undefined> {
  const { driver, device, description } = gpu.capabilities
  if (driver === 'swiftshader' && process.platform === 'linux') {
    const { loader, manifest } = unpackSwiftShader()
    const libraries = [dirname(loader), process.env.LD_LIBRARY_PATH].filter(Boolean).join(delimiter)
    return { ...process.env, LD_LIBRARY_PATH: libraries, VK_DRIVER_FILES: manifest, VK_ICD_FILENAMES: manifest }
  }
  if (named === undefined) return process.env
  using preferred = await acquire()
  const same = preferred.capabilities.device === device && preferred.capabilities.description === description
  return same ? process.env : undefined
}
