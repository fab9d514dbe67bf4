/** What the system's errors about files mean to a user, for everything that reads or writes one. */
import type { OutputProblem } from './errors.ts'

/** The rest of a sentence that starts with the file, and what can be done. */
export interface Explanation {
  problem: string
  advice: string
}

/** The code of a system's error, such as ENOENT; empty for any other. */
export const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException | undefined)?.code ?? ''

/** Why a file or folder could not be read. */
export function whyUnread(error: unknown): Explanation {
  const code = codeOf(error)
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return { problem: 'does not exist', advice: 'check the path' }
    case 'EACCES':
    case 'EPERM':
      return { problem: 'may not be read', advice: 'check its permissions, and those of the folders above it' }
    case 'ELOOP':
      return { problem: 'is a link that leads in a circle', advice: 'name the photo itself' }
    case 'ENAMETOOLONG':
      return { problem: 'has a longer name than this system allows', advice: 'check the path' }
    case 'EISDIR':
      return { problem: 'is a folder', advice: 'give a photo file' }
    case 'EMFILE':
    case 'ENFILE':
      return {
        problem: `cannot be opened, because too many files are open (${code})`,
        advice: 'close programs, or allow more (`ulimit -n 1024`)',
      }
    case 'ENOMEM':
      return { problem: `cannot be read for lack of memory (${code})`, advice: 'close programs' }
    case 'ESTALE':
    case 'ENOTCONN':
    case 'ETIMEDOUT':
    case 'EHOSTDOWN':
    case 'EHOSTUNREACH':
      return { problem: `cannot be read (${code})`, advice: 'check the connection to the network drive it lies on' }
    default:
      return { problem: `cannot be read (${code || String(error)})`, advice: 'check the disk it lies on' }
  }
}

/** Why a file could not be written into `folder`: the kind of problem, and the rest of a sentence that starts with the file. */
export function whyUnwritten(error: unknown, folder: string): { problem: OutputProblem; detail: string } {
  const code = codeOf(error)
  switch (code) {
    case 'EEXIST':
      return { problem: 'exists', detail: 'exists already: choose another name, or allow overwriting' }
    case 'ENOENT':
    case 'ENOTDIR':
      return { problem: 'no-folder', detail: `cannot be written: the folder ${folder} does not exist` }
    case 'EACCES':
    case 'EPERM':
    case 'EROFS': {
      const detail = `cannot be written: the folder ${folder} is not writable (${code}); choose another, or change its permissions`
      return { problem: 'unwritable', detail }
    }
    case 'ENOSPC':
    case 'EDQUOT':
      return { problem: 'full', detail: `cannot be written: no space is left (${code}); free some` }
    case 'EFBIG':
      return {
        problem: 'full',
        detail: `cannot be written: the disk or \`ulimit -f\` allows no file as large (${code})`,
      }
    case 'ENAMETOOLONG':
      return { problem: 'failed', detail: `cannot be written: its name is too long (${code}); choose a shorter one` }
    case 'ELOOP':
      return { problem: 'no-folder', detail: `cannot be written: a link on the way leads in a circle (${code})` }
    case 'EMFILE':
    case 'ENFILE':
      return {
        problem: 'failed',
        detail: `cannot be written, because too many files are open (${code}): close programs, or allow more (\`ulimit -n 1024\`)`,
      }
    default:
      return { problem: 'failed', detail: `cannot be written (${code || String(error)})` }
  }
}
