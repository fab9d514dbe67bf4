#!/usr/bin/env node
/** The command line: `lowkey-gpu COMMAND ...`. */
import { check, checkHelp } from './check.ts'
import { doctor, doctorHelp } from './doctor/doctor.ts'
import { evaluate } from './evaluate/evaluate.ts'
import { evaluateHelp } from './evaluate/options.ts'
import { Exit, exitCodeOf, exitCodes, messageOf, UsageError } from './exit.ts'
import { Interruption } from './interruption.ts'
import { page, pageHelp } from './page.ts'
import { protect, protectHelp } from './protect/protect.ts'
import { report, reportHelp } from './report.ts'
import { warnOfUnread } from './surroundings.ts'
import { version } from './version.ts'
import { weights, weightsHelp } from './weights/weights.ts'

interface Command {
  summary: string
  help: string
  /** Resolves with the exit code. */
  run(args: string[]): Promise<number>
}

const commands: Readonly<Record<string, Command>> = {
  protect: {
    summary: 'protect the faces in photos',
    help: protectHelp,
    run: (args) => protect(args, Interruption.ofProcess()),
  },
  report: { summary: 'what the tasks of a run over many photos did', help: reportHelp, run: report },
  page: {
    summary: 'protect photos in a browser, from which nothing goes out',
    help: pageHelp,
    run: (args) => page(args, Interruption.ofProcess().signal),
  },
  check: {
    summary: 'whether recognisers still take a protected face for the same person',
    help: checkHelp,
    run: check,
  },
  doctor: { summary: 'what this machine offers, and whether everything works', help: doctorHelp, run: doctor },
  evaluate: {
    summary: 'measure protection on folders of people',
    help: evaluateHelp,
    run: (args) => evaluate(args, Interruption.ofProcess().signal),
  },
  weights: {
    summary: 'the networks: list, import, fetch, remove, verify, accuracy, population, path',
    help: weightsHelp,
    run: (args) => weights(args, Interruption.ofProcess().signal),
  },
}

const help = `lowkey-gpu ${version}: changes faces in photos so that face recognition does not match them to you

Usage: lowkey-gpu COMMAND [OPTIONS]

${Object.entries(commands)
  .map(([name, { summary }]) => `  ${name.padEnd(10)} ${summary}`)
  .join('\n')}

  lowkey-gpu COMMAND --help says more. Nothing but 'weights fetch' and 'npm run weights' ever uses the network.

${exitCodes()}
`

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...args] = argv
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    if (name !== undefined) process.stdout.write(help)
    else process.stderr.write(help)
    return name === undefined ? Exit.usage : Exit.done
  }
  if (name === '--version' || name === '-v') {
    process.stdout.write(`${version}\n`)
    return Exit.done
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) throw new UsageError(`there is no command "${name}"; there are ${Object.keys(commands).join(', ')}`)
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(command.help)
    return Exit.done
  }
  await warnOfUnread()
  return command.run(args)
}

/** Everything written before the process ends: stdout may be a pipe, whose writes are not done when they return. */
function flush(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write('', () => resolve()))
}

// A reader that has seen enough (`| head`) is no error: the results are files, and the work goes on.
process.stderr.on('error', () => {})
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return
  process.stderr.write(`lowkey-gpu: standard output cannot be written (${error.message})\n`)
  process.exit(Exit.failed)
})

let code: number
try {
  code = await main(process.argv.slice(2))
} catch (error) {
  code = exitCodeOf(error)
  process.stderr.write(`lowkey-gpu: ${messageOf(error)}\n`)
  if (code === Exit.usage) process.stderr.write(`lowkey-gpu --help tells how it is used\n`)
}
await flush(process.stdout)
// Explicit, because drivers may keep threads of their own.
process.exit(code)
