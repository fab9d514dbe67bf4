/** What of a user's folders cannot be used, said once: nothing in them is needed. */

import { codeOf, shown } from '../images/index.ts'
import { importedNetworks } from '../weights/imported.ts'
import { cacheFolder, weightsFolders } from '../weights/node.ts'

/** Warns on standard error of a cache folder that is there and cannot be read. */
export async function warnOfUnread(): Promise<void> {
  const { unread } = await importedNetworks(weightsFolders())
  for (const { file, cause } of unread) {
    process.stderr.write(
      `lowkey-gpu: ${shown(file)} cannot be read (${codeOf(cause)}): networks imported there are not seen; ` +
        `set LOWKEY_HOME to another folder than ${shown(cacheFolder())}, or change its permissions\n`,
    )
  }
}
