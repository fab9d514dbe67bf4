import { everything } from './support/scope.ts'

/**
 * Files that `npm test` leaves to `npm run test:all` as a whole: mostly the command line as one process after another, each of which opens a
 * device and compiles detectors.
 */
const LONG_FILES = [
  'cli/any-size',
  'cli/check-moved',
  'cli/choose-faces',
  'cli/driver-noise',
  'cli/eleven-files',
  'cli/environment',
  'cli/evaluate-command',
  'cli/faces-command',
  'cli/page',
  'cli/population',
  'cli/tasks',
  'cli/writing',
  'device/pci',
  'evaluate/report-page',
  'images/fuzz',
  'models/distil',
  'project/bench',
  'project/bundle',
  'weights/hostile',
].map((name) => `test/${name}.test.ts`)

const words = process.argv.slice(2).map((word) => word.replace(/^\.\//, ''))

/** Those that this run leaves out: all, but for those that it names (`npm test -- test/cli/writing.test.ts`, `npm test -- cli`). */
export const LEFT_OUT = everything
  ? []
  : LONG_FILES.filter((file) => !words.some((word) => file.includes(word) || word.endsWith(file)))
