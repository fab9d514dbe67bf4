/**
 * Where a Chromium is: that of the development dependency `@sparticuz/chromium` (Linux x64, unpacked once into node_modules/.cache), else
 * one that is installed; `CHROMIUM=PATH` names another.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/** Chromium cannot be started on this machine; the message says why. A reason to skip a test. */
export class NoBrowserError extends Error {
  override name = 'NoBrowserError'
}

const PACKAGE = '@sparticuz/chromium'
const INSTALLED = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

export interface Chromium {
  executable: string
  environment: NodeJS.ProcessEnv
  /** Folder of libraries to try where the system lacks them. */
  libraries?: string
}

/** Throws NoBrowserError where there is none. */
export async function findChromium(): Promise<Chromium> {
  const { CHROMIUM } = process.env
  if (CHROMIUM) return { executable: CHROMIUM, environment: process.env }
  const reasons: string[] = []
  if (process.platform === 'linux' && process.arch === 'x64') {
    try {
      const folder = await unpackChromium()
      return {
        executable: join(folder, 'chromium'),
        environment: { ...process.env, FONTCONFIG_FILE: join(folder, 'fonts.conf') },
        libraries: join(folder, 'al2023', 'lib'),
      }
    } catch (error) {
      reasons.push(`${PACKAGE}: ${(error as Error).message}`)
    }
  } else reasons.push(`${PACKAGE} is for linux-x64, this is ${process.platform}-${process.arch}`)
  for (const name of INSTALLED) {
    try {
      execFileSync(name, ['--version'], { stdio: 'ignore' })
      return { executable: name, environment: process.env }
    } catch {
      reasons.push(`${name}: not installed`)
    }
  }
  throw new NoBrowserError(`no Chromium: ${reasons.join('; ')} (CHROMIUM=PATH names one)`)
}

/** The package's browser, fonts and libraries, unpacked into a folder that is renamed into place when it is complete. */
async function unpackChromium(): Promise<string> {
  const root = dirname(createRequire(import.meta.url).resolve(PACKAGE)).replace(/\/build\/.*$/, '')
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  const cache = join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 'chromium')
  const folder = join(cache, version)
  if (existsSync(folder)) return folder
  mkdirSync(cache, { recursive: true })
  const pending = mkdtempSync(join(cache, 'pending-'))
  const { default: chromium } = await import(PACKAGE)
  // The package unpacks into the folder for temporary files, and its libraries only where it believes to be on Lambda.
  const { TMPDIR, AWS_EXECUTION_ENV } = process.env
  Object.assign(process.env, { TMPDIR: pending, AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x' })
  try {
    await chromium.executablePath()
    writeFileSync(join(pending, 'fonts.conf'), fontsConfiguration(folder))
    renameSync(pending, folder)
  } catch (error) {
    if (!existsSync(folder)) throw error // Another process may have been faster.
  } finally {
    restore('TMPDIR', TMPDIR)
    restore('AWS_EXECUTION_ENV', AWS_EXECUTION_ENV)
    rmSync(pending, { recursive: true, force: true })
  }
  return folder
}

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name]
  else process.env[name] = value
}

/** The package's Open Sans before the system's fonts, so that pictures of pages look alike on all machines. */
function fontsConfiguration(folder: string): string {
  const prefer = (family: string, font: string) =>
    `<alias binding="strong"><family>${family}</family><prefer><family>${font}</family></prefer></alias>`
  return `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>${join(folder, 'fonts')}</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>${join(folder, 'fonts-cache')}</cachedir>
  ${prefer('system-ui', 'Open Sans')}
  ${prefer('sans-serif', 'Open Sans')}
  ${prefer('monospace', 'DejaVu Sans Mono')}
</fontconfig>
`
}
