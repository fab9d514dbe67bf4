/**
 * Files that `npm test` leaves to `npm run test:all` as a whole: mostly the command line as one process after another, each of which opens a
 * device and compiles detectors. What they test has a test of its own below, without a process, in the short run. A file that is named
 * (`npm test -- test/cli/writing.test.ts`) runs.
 */
export const LONG_FILES = [
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
