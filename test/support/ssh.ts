/** A real ssh server on this machine, for the user who runs the tests, with keys of its own. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from './ports.ts'

const SERVER = '/usr/sbin/sshd'

/** Whether one can be started: sshd, which has to be root to let its user in. */
export const hasSsh = (): boolean => process.getuid?.() === 0 && existsSync(SERVER)

export interface RunningSsh {
  /** The command that reaches it, as GNU parallel takes it for a machine. */
  command: string
  stop(): Promise<void>
}

/** Resolves when it lets its user in. @param folder empty; keeps keys and configuration */
export async function startSsh(folder: string): Promise<RunningSsh> {
  chmodSync(folder, 0o700)
  mkdirSync('/run/sshd', { recursive: true })
  const [port] = await freePorts(1)
  const file = (name: string): string => join(folder, name)
  for (const key of ['host', 'user'])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file(key)], { stdio: 'ignore' })
  writeFileSync(file('authorized'), readFileSync(file('user.pub')), { mode: 0o600 })
  const server = [
    ...[
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${file('host')}`,
      `AuthorizedKeysFile ${file('authorized')}`,
    ],
    ...['PasswordAuthentication no', 'UsePAM no', 'PermitRootLogin prohibit-password', `PidFile ${file('pid')}`],
    ...['StrictModes no', 'MaxStartups 100'],
  ]
  writeFileSync(file('server'), `${server.join('\n')}\n`)
  const child: ChildProcess = spawn(SERVER, ['-D', '-f', file('server')], { stdio: 'ignore' })
  const ended = new Promise<void>((done) => child.once('exit', () => done()))
  const client = [
    ...['Host *', `Port ${port}`, `User ${userInfo().username}`, `IdentityFile ${file('user')}`, 'IdentitiesOnly yes'],
    ...['StrictHostKeyChecking no', 'UserKnownHostsFile /dev/null', 'LogLevel ERROR', 'BatchMode yes'],
  ]
  writeFileSync(file('client'), `${client.join('\n')}\n`)
  for (let tries = 0; ; tries++) {
    try {
      execFileSync('ssh', ['-F', file('client'), '127.0.0.1', 'true'], { stdio: 'ignore', timeout: 10_000 })
      break
    } catch (error) {
      if (tries === 50 || child.exitCode !== null) throw new Error('sshd does not start', { cause: error })
      await sleep(200)
    }
  }
  return {
    command: `ssh -F ${file('client')} 127.0.0.1`,
    stop: () => {
      child.kill('SIGKILL')
      return ended
    },
  }
}
