/** A real Slurm on this machine: a controller and two node daemons, without munge, systemd or containers. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const DAEMONS = ['/usr/sbin/slurmctld', '/usr/sbin/slurmd', '/usr/sbin/slurmstepd']
const CLIENTS = ['/usr/bin/sbatch', '/usr/bin/scontrol', '/usr/bin/squeue']
const PLUGINS = '/usr/lib/x86_64-linux-gnu/slurm-wlm'

/** Why no Slurm can be started here, in words for the name of a skipped test; undefined where one can. */
export function whyNoSlurm(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root, which starts its daemons'
  const missing = [...DAEMONS, ...CLIENTS, PLUGINS].filter((path) => !existsSync(path))
  if (missing.length > 0) return 'needs slurmctld slurmd slurm-client slurm-wlm-basic-plugins (Debian)'
  return undefined
}

/** One line of `squeue`. */
export interface QueuedTask {
  /** Of the array. */
  task: number
  state: string
  node: string
}

export class Slurm {
  readonly nodes = ['n1', 'n2'] as const
  private readonly folder: string
  private readonly daemons = new Map<string, ChildProcess>()

  /** @param folder empty; keeps the configuration, state and logs. @param port and the two after it are free */
  constructor(folder: string, port: number) {
    this.folder = folder
    for (const name of ['state', 'log']) mkdirSync(join(folder, name))
    const host = hostname()
    writeFileSync(
      this.configuration,
      `ClusterName=test
SlurmctldHost=${host}(127.0.0.1)
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
SlurmctldPort=${port}
PluginDir=${PLUGINS}
StateSaveLocation=${folder}/state
SlurmdSpoolDir=${folder}/spool-%n
SlurmctldPidFile=${folder}/slurmctld.pid
SlurmdPidFile=${folder}/slurmd-%n.pid
SlurmctldLogFile=${folder}/log/slurmctld.log
SlurmdLogFile=${folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
# A node that does not answer for 10 seconds is down, and its tasks are queued again.
SlurmdTimeout=10
# A task that was queued again waits until its first start's credentials have expired (2 minutes by default), and for the next look.
AuthInfo=cred_expire=5
SchedulerParameters=bf_interval=2,sched_interval=2
ReturnToService=2
NodeName=n1 NodeHostName=${host} NodeAddr=127.0.0.1 Port=${port + 1} CPUs=2 RealMemory=8000 State=UNKNOWN
NodeName=n2 NodeHostName=${host} NodeAddr=127.0.0.1 Port=${port + 2} CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=p Nodes=ALL Default=YES MaxTime=INFINITE State=UP
`,
    )
  }

  private get configuration(): string {
    return join(this.folder, 'slurm.conf')
  }

  /** Resolves when both nodes take work. */
  async start(): Promise<void> {
    this.daemon('slurmctld', DAEMONS[0], ['-D'])
    for (const node of this.nodes) this.startNode(node)
    await this.until('both nodes are idle', () => {
      const states = this.run('scontrol', ['--oneliner', 'show', 'nodes'])
      return (states.match(/ State=IDLE /g) ?? []).length === this.nodes.length
    })
  }

  startNode(node: string): void {
    this.daemon(node, DAEMONS[1], ['-D', '-N', node])
  }

  /**
   * What a power cut does to a node: its daemon, and all that it started, is gone at once; nothing of it tells the controller. Resolves
   * when it is.
   */
  async cutPower(node: string): Promise<void> {
    const daemon = this.daemons.get(node)!
    const gone = new Promise((done) => daemon.once('exit', done))
    daemon.kill('SIGKILL')
    await gone
    this.daemons.delete(node)
    await this.killTasks((environment) => environment.includes(`SLURMD_NODENAME=${node}`))
  }

  /** Ends the daemons and everything that runs under them. */
  async stop(): Promise<void> {
    const exits = [...this.daemons.values()].map((child) => new Promise((done) => child.once('exit', done)))
    for (const child of this.daemons.values()) child.kill('SIGKILL')
    await Promise.all(exits)
    this.daemons.clear()
    await this.killTasks(() => true)
  }

  /** Runs one of Slurm's commands; returns what it prints. */
  run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): string {
    return execFileSync(command, args, {
      encoding: 'utf8',
      env: { ...process.env, ...env, SLURM_CONF: this.configuration },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
    })
  }

  /** The tasks of an array that wait, run or are ending. */
  queued(job: string): QueuedTask[] {
    // A finished job stays known for minutes.
    const lines = this.run('squeue', ['--array', '--noheader', '--job', job, '--format', '%K|%T|%N']).split('\n')
    return lines.filter(Boolean).map((line) => {
      const [task, state, node] = line.split('|')
      return { task: Number(task), state, node }
    })
  }

  /** How each task of an array ended, by its number: `COMPLETED 0:0`, and how often it was queued again. */
  outcomes(job: string): Map<number, { ended: string; restarts: number }> {
    const field = (line: string, name: string) => new RegExp(`\\b${name}=(\\S+)`).exec(line)?.[1]
    return new Map(
      this.run('scontrol', ['--oneliner', 'show', 'job', job])
        .split('\n')
        .filter(Boolean)
        .map((line) => [
          Number(field(line, 'ArrayTaskId')),
          { ended: `${field(line, 'JobState')} ${field(line, 'ExitCode')}`, restarts: Number(field(line, 'Restarts')) },
        ]),
    )
  }

  /** Resolves when it holds; rejects with the logs, and with what else helps, after four minutes. */
  async until(what: string, holds: () => boolean, more = () => ''): Promise<void> {
    for (let waited = 0; waited < 240_000; waited += 250) {
      if (this.holds(holds)) return
      await sleep(250)
    }
    const log = join(this.folder, 'log')
    const logs = readdirSync(log).map((name) => `${name}:\n${readFileSync(join(log, name), 'utf8').slice(-3000)}`)
    throw new Error(`waited in vain until ${what}\n${more()}\n${logs.join('\n')}`)
  }

  /** While daemons start, commands fail. */
  private holds(condition: () => boolean): boolean {
    try {
      return condition()
    } catch (error) {
      if (/Unable to contact|timed out|refused/i.test(String((error as { stderr?: string }).stderr))) return false
      throw error
    }
  }

  private daemon(name: string, path: string, args: readonly string[]): void {
    const output = openSync(join(this.folder, 'log', `${name}.out`), 'a')
    const child = spawn(path, args, {
      env: { ...process.env, SLURM_CONF: this.configuration },
      stdio: ['ignore', output, output],
    })
    this.daemons.set(name, child)
  }

  /**
   * Kills tasks and the keepers above them (slurmstepd), which have left the daemon's process. All are stopped first: a keeper that saw its
   * task die would report that, which a machine without power does not.
   */
  private async killTasks(chosen: (environment: string[]) => boolean): Promise<void> {
    for (let round = 0; round < 40; round++) {
      const found = processes().filter(
        ({ environment }) => environment.includes(`SLURM_CONF=${this.configuration}`) && chosen(environment),
      )
      if (found.length === 0) return
      const keepers = found.flatMap(({ parent }) => (nameOf(parent) === 'slurmstepd' ? [parent] : []))
      const all = [...new Set([...keepers, ...found.map(({ pid }) => pid)])]
      for (const signal of ['SIGSTOP', 'SIGKILL'] as const) for (const pid of all) send(pid, signal)
      await sleep(50)
    }
    throw new Error('processes of a node cannot be killed')
  }
}

function processes(): { pid: number; parent: number; environment: string[] }[] {
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name)
    if (!Number.isInteger(pid) || pid === process.pid) return []
    try {
      const environment = readFileSync(`/proc/${name}/environ`, 'utf8').split('\0')
      const parent = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'))![1])
      return [{ pid, parent, environment }]
    } catch {
      return [] // it ended
    }
  })
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
  } catch {
    return ''
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {} // it ended meanwhile
}
