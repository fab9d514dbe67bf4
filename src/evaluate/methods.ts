/** The ways of protecting a photo that are compared. */

import type { ProtectedFaces } from '../attack/apart.ts'
import { FawkesAttack } from '../attack/fawkes.ts'
import { extractorsOf, type FawkesMode, fawkesModes } from '../attack/fawkes-modes.ts'
import type { Preset } from '../attack/presets.ts'
import { NoFaceError, Protector, type ProtectorNetworks } from '../attack/protect.ts'
import type { Gpu } from '../device/gpu.ts'
import { startClock } from '../device/stopwatch.ts'
import type { Landmarks } from '../faces/alignment.ts'
import { findFaces } from '../faces/find.ts'
import { detectFaces } from '../faces/mtcnn.ts'
import { mtcnnNetworks } from '../models/mtcnn.ts'
import type { Pixels } from '../pixels/pixels.ts'
import { presetOf } from './preset-text.ts'

/** A protected photo, the faces that were, and the seconds it took without measuring the result. */
export interface ProtectedPhoto {
  photo: Pixels
  faces: Landmarks[]
  seconds: number
}

export interface MethodOptions {
  seed: number
  /** The photo is grey and stays so. */
  grey: boolean
  signal: AbortSignal
  /** Photos of the same person that were protected before, where the method keeps them apart. */
  person: ProtectedFaces
  /** What the photo is called. */
  name: string
}

/** A method that is ready for photos. */
export interface OpenMethod extends Disposable {
  /** Adds a photo that was protected in an earlier run; only where the method keeps a person's photos apart. */
  remember?(photo: Pixels, result: Pixels, options: Pick<MethodOptions, 'person' | 'name'>): Promise<void>
  /** Throws NoFaceError, PlanMemoryError, and the signal's reason. The photo given stays as it is. */
  protect(photo: Pixels, options: MethodOptions): Promise<ProtectedPhoto>
}

export interface Method {
  /** As the user names it. */
  name: string
  /** All numbers that decide the result, for its key. */
  constants: unknown
  /** Of the recognisers that are to be attacked, by their ids, those that it does attack. */
  attacks(surrogates: readonly string[]): readonly string[]
  /** What it makes of a photo depends on the person's photos before it. */
  apart: boolean
  /** Whether a file of src/attack has code that decides the result. */
  isCode(file: string): boolean
  open(gpu: Gpu, networks: ProtectorNetworks): Promise<OpenMethod>
}

/**
 * The method of a name: a preset of LowKey ("medium", "medium:steps=20") or a mode of Fawkes ("fawkes-high").
 * @throws RangeError for a name that there is not
 */
export function protectWith(name: string): Method {
  const mode = Object.values(fawkesModes).find((each) => each.name === name)
  return mode ? fawkes(mode) : lowkey(presetOf(name))
}

function lowkey(preset: Preset): Method {
  return {
    name: preset.name,
    constants: preset,
    attacks: (surrogates) => surrogates,
    apart: preset.apart > 0,
    // The presets' own file is not part of it: the constants that are used are.
    isCode: (file) => !['node.ts', 'presets.ts'].includes(file) && !file.startsWith('fawkes'),
    async open(gpu, networks) {
      const protector = await Protector.create(gpu, networks)
      return {
        remember: (photo, result, { person, name }) => protector.remember(photo, result, { apartFrom: person, name }),
        async protect(photo, { seed, grey, signal, person, name }) {
          const result = await protector.protect(photo, { preset, seed, grey, signal, apartFrom: person, name })
          const { total, measure } = result.seconds
          return { photo: result.photo, faces: result.faces.map((face) => face.landmarks), seconds: total - measure }
        },
        [Symbol.dispose]: () => protector[Symbol.dispose](),
      }
    },
  }
}

function fawkes(mode: FawkesMode): Method {
  return {
    name: mode.name,
    constants: mode,
    attacks: (surrogates) => extractorsOf(mode, surrogates),
    apart: false,
    isCode: (file) => file.startsWith('fawkes') || ['resample.ts', 'stepping.ts'].includes(file),
    async open(gpu, { detector, surrogates }) {
      const networks = await mtcnnNetworks(gpu, detector)
      const attacks = new Map<boolean, FawkesAttack>()
      return {
        async protect(photo, { seed, grey, signal }) {
          const clock = startClock()
          const upright = await detectFaces(networks, photo)
          const faces = upright.length > 0 ? upright : (await findFaces({ mtcnn: networks }, photo)).faces
          if (faces.length === 0) throw new NoFaceError('no face found')
          const attack = attacks.get(grey) ?? (await FawkesAttack.compile(gpu, surrogates, mode, { grey }))
          attacks.set(grey, attack)
          const result = await attack.run(photo, faces, { seed, signal })
          const seconds = clock()
          return { photo: result, faces: faces.map((face) => face.landmarks), seconds }
        },
        [Symbol.dispose]() {
          networks[Symbol.dispose]()
          for (const attack of attacks.values()) attack[Symbol.dispose]()
        },
      }
    },
  }
}
