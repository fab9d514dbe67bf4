/**
 * The process of one peer: `child.ts NAME SETUP`, with an IPC channel. It answers one request at a time, in order. A
 * process each gives every engine its own Dawn and driver state, and a crash of one ends nothing else.
 */
import type { Engine, Prepared, Setup, Task } from './engine.ts'

export type Request = { do: 'prepare'; task: Task } | { do: 'run'; times: number } | { do: 'release' }

export interface Reply {
  /** prepare: what the peer computes. */
  result?: Float32Array
  /** run: how long it took. */
  ms?: number
  error?: string
}

async function openEngine(name: string, setup: Setup): Promise<Engine> {
  switch (name) {
    case 'onnxruntime-webgpu':
      return (await import('./onnxruntime.ts')).open('webgpu')
    case 'onnxruntime-cpu':
      return (await import('./onnxruntime.ts')).open('cpu')
    case 'tfjs-webgpu':
      return (await import('./tfjs.ts')).open(setup)
    case 'jax-js':
      return (await import('./jax.ts')).open(setup)
    default:
      throw new Error(`there is no peer of the name ${name}`)
  }
}

let engine: Engine | undefined
let prepared: Prepared | undefined

async function answer(request: Request): Promise<Reply> {
  switch (request.do) {
    case 'prepare':
      engine ??= await openEngine(process.argv[2], JSON.parse(process.argv[3]) as Setup)
      prepared = await engine.prepare(request.task)
      return { result: await prepared.result() }
    case 'run': {
      const start = performance.now()
      await prepared!.run(request.times)
      return { ms: performance.now() - start }
    }
    case 'release':
      await prepared?.release()
      prepared = undefined
      return {}
  }
}

process.on('message', (request: Request) => {
  answer(request)
    .catch((error: unknown): Reply => ({ error: error instanceof Error ? error.message : String(error) }))
    .then((reply) => process.send!(reply))
})
// Not process.exit(): onnxruntime's destructors crash after its WebGPU provider was used.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
