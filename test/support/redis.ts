/** A real Redis on this machine, which keeps nothing on the disk. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from './ports.ts'

/** Why no Redis can be started here, in words for the name of a skipped test; undefined where one can. */
export function whyNoRedis(): string | undefined {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'needs redis-server (Debian)'
  }
}

export interface RunningRedis {
  url: string
  stop(): Promise<void>
}

/** Resolves when it takes connections. @param folder where its process stands */
export async function startRedis(folder: string): Promise<RunningRedis> {
  const [port] = await freePorts(1)
  const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--maxmemory-policy', 'noeviction']
  const child: ChildProcess = spawn('redis-server', args, { cwd: folder, stdio: 'ignore' })
  const ended = new Promise<void>((done) => child.once('exit', () => done()))
  for (let tries = 0; ; tries++) {
    try {
      execFileSync('redis-cli', ['-p', `${port}`, 'ping'], { stdio: 'ignore' })
      break
    } catch (error) {
      if (tries === 100 || child.exitCode !== null) throw new Error('redis-server does not start', { cause: error })
      await sleep(100)
    }
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    stop: () => {
      child.kill('SIGKILL')
      return ended
    },
  }
}
