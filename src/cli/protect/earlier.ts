/** Photos that have results from before: a run's photos are kept apart from them, too, as from each other. */
import type { ProtectedFaces } from '../../attack/apart.ts'
import type { Protector } from '../../attack/protect.ts'
import { PhotoError, readPhoto, readPhotoFile, shown } from '../../images/index.ts'
import { Exit, exitCodeOf, Interrupted, messageOf } from '../exit.ts'
import { type Input, nameOf, pathOf } from '../listing.ts'
import type { Work } from './work.ts'

/** A photo and where its result lies. */
export interface EarlierPhoto {
  input: Input
  path: string
  /** A ledger says that it is the photo's result. */
  recorded: boolean
}

/**
 * Looks at photos and their results again, the last of them in the order of the listing, and adds their faces to `faces`: nothing of a face is
 * kept on the disk. Photos that could not be looked at are named in the notes of the run. Throws the signal's reason, and what ends all photos'
 * chances.
 */
export async function lookAgain(
  { options, earlier, found, signal, leaving }: Work,
  protector: Protector,
  faces: ProtectedFaces,
  say: (doing: string) => void,
): Promise<void> {
  const looked = options.earlier === 0 ? [] : earlier.slice(-options.earlier)
  const left = earlier.length - looked.length
  if (left > 0)
    found.notes.push(
      `${left} ${left === 1 ? 'photo' : 'photos'} with results from before ${left === 1 ? 'was' : 'were'} not looked at again ` +
        '(--earlier): photos of this run may match them',
    )
  for (const [k, { input, path, recorded }] of looked.entries()) {
    leaving.throwIfAborted()
    say(`looking at results from before, ${k + 1} of ${looked.length}`)
    try {
      const source = await readPhotoFile(pathOf(input), input.name)
      const [photo, result] = [await readPhoto(source, input.name, options), await readPhoto(path)]
      if (!recorded && !result.cloaked)
        throw new PhotoError(path, 'does not say that it is a result', 'give --output another folder')
      await protector.remember(photo, result, { ...options.choice, apartFrom: faces, name: nameOf(input) })
    } catch (error) {
      signal.throwIfAborted()
      const code = exitCodeOf(error)
      if (error instanceof Interrupted || code === Exit.noGpu || code === Exit.weights) throw error
      found.notes.push(
        `${nameOf(input)} and its result ${shown(path)} could not be looked at again, so photos of this run may match it: ${messageOf(error)}`,
      )
    }
  }
}
