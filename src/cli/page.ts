/** `lowkey-gpu page`: the page that protects photos in a browser, on this machine or as a file to take along. */
import { spawn } from 'node:child_process'
import { createServer, type Server } from 'node:http'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { shown, writeFileAtomically } from '../images/index.ts'
import { singleFile } from '../page/assemble.ts'
import { readPageParts } from '../page/node.ts'
import { Exit, exitCodes, UsageError } from './exit.ts'
import { integer, parse } from './options.ts'
import { checkFolder } from './outputs.ts'

export const pageHelp = `Usage: lowkey-gpu page [OPTIONS]
       lowkey-gpu page --output FILE.html

Opens a page that protects photos in your browser: drop photos, see their faces, save the results. The browser forbids the page every
connection, so nothing leaves it. It takes a browser with WebGPU. The page is one file of about 14 MB, which also works without this
command: from a disk, a stick or a web server, and offline.

      --port N            the port on this machine (127.0.0.1) at which the browser finds the page; any that is free
      --no-open           only print the address
  -o, --output FILE.html  write the page to a file, and open nothing
      --overwrite         replace the file

The command ends with Ctrl+C. The page that is open goes on working.

${exitCodes('page')}
`

const optionTable = {
  port: { type: 'string' },
  'no-open': { type: 'boolean' },
  output: { type: 'string', short: 'o' },
  overwrite: { type: 'boolean' },
} as const

/** Runs the command; resolves with the exit code when it is interrupted, or the file is written. */
export async function page(args: string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = parse(args, optionTable, 'page')
  if (positionals.length > 0) throw new UsageError(`page takes no names; got "${positionals[0]}"`)
  const { output } = values
  const port = integer('--port', values.port, 1, 65535)
  if (output !== undefined) {
    if (port !== undefined || values['no-open']) throw new UsageError('page: --output writes a file, and opens nothing')
    if (!/^\.html?$/i.test(extname(output)))
      throw new UsageError(`--output ${shown(output)}: name a file that ends in .html`)
    checkFolder(dirname(output))
  } else if (values.overwrite) throw new UsageError('page: --overwrite goes with --output FILE.html')
  process.stderr.write('putting the page together\n')
  const { parts, lacking } = await readPageParts(partsFolder())
  const bytes = await singleFile(parts)
  for (const text of lacking) process.stderr.write(`note: ${text}\n`)
  if (output !== undefined) {
    await writeFileAtomically(output, bytes, { overwrite: values.overwrite ?? false })
    process.stdout.write(`${shown(output)}\n`)
    return Exit.done
  }
  signal.throwIfAborted()
  const server = serverOf(bytes)
  const address = await listening(server, port)
  process.stdout.write(`${address}\n`)
  if (!values['no-open']) openBrowser(address)
  process.stderr.write('the page is there until Ctrl+C\n')
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  server.close()
  server.closeAllConnections()
  return Exit.done
}

/** Beside the command where it is built, else in the repository's build. */
function partsFolder(): string {
  const here = dirname(fileURLToPath(import.meta.url))
  return import.meta.url.endsWith('/cli.js') ? join(here, 'page-parts') : join(here, '../../dist/page-parts')
}

/** Serves the page and nothing else. */
function serverOf(bytes: Uint8Array): Server {
  return createServer(({ method, url }, response) => {
    const found = url?.replace(/[?#].*$/, '') === '/'
    const allowed = method === 'GET' || method === 'HEAD'
    response.writeHead(found ? (allowed ? 200 : 405) : 404, {
      'Content-Type': found ? 'text/html' : 'text/plain',
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      'Content-Security-Policy': "frame-ancestors 'none'",
    })
    response.end(found && allowed && method === 'GET' ? bytes : undefined)
  })
}

/** The address, once the server has it. Throws UsageError for a port that is taken or not allowed. */
async function listening(server: Server, port = 0): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        new UsageError(
          `--port ${port}: ${cause.code === 'EADDRINUSE' ? 'is taken' : cause.message}; choose another one`,
          { cause },
        ),
      ),
    )
    server.listen(port, '127.0.0.1', resolve)
  })
  const bound = server.address()
  return `http://127.0.0.1:${typeof bound === 'object' ? bound?.port : port}/`
}

/** Opens the system's browser. Where there is none the address that was printed remains. */
function openBrowser(address: string): void {
  const [command, ...args] =
    process.platform === 'darwin'
      ? ['open', address]
      : process.platform === 'win32'
        ? ['rundll32', 'url.dll,FileProtocolHandler', address]
        : ['xdg-open', address]
  const child = spawn(command, args, { stdio: 'ignore', detached: true })
  child.on('error', () => process.stderr.write(`no browser could be opened (${command}): open the address in one\n`))
  child.on('exit', (code) => {
    if (code)
      process.stderr.write(`no browser could be opened (${command} ended with ${code}): open the address in one\n`)
  })
  child.unref()
}
