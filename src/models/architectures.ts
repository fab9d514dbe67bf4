/** The networks that files of weights can hold. Each family is written in one file; to add one, add its line here. */
import { adafaceFamily } from './adaface.ts'
import { dlibFamily } from './dlib.ts'
import { foamliuFamily } from './foamliu.ts'
import { inceptionResnetFamily } from './inception-resnet.ts'
import { irFamily } from './ir.ts'
import { iresnetFamily } from './iresnet.ts'
import { lpipsFamily } from './lpips.ts'
import { siriusFamily } from './mobilefacenet.ts'
import { mtcnnFamily } from './mtcnn.ts'
import type { Architecture, Family } from './network.ts'
import { resnetFamily } from './resnet.ts'
import { treb1enFamily } from './treb1en.ts'
import { xiaoccerFamily } from './xiaoccer.ts'

/** All families; of two that a file fits as well, the first counts. */
export const families: readonly Family[] = [
  irFamily,
  resnetFamily,
  iresnetFamily,
  adafaceFamily,
  treb1enFamily,
  xiaoccerFamily,
  inceptionResnetFamily,
  foamliuFamily,
  siriusFamily,
  dlibFamily,
  lpipsFamily,
  mtcnnFamily,
]

const named = new Map<string, Architecture>(
  families.flatMap(({ published }) => published.map((architecture) => [architecture.id, architecture])),
)

/** Ids of the architectures there are, but for those that spell out their layers. */
export const architectureIds: readonly string[] = [...named.keys()]

/** The architecture of an id; undefined where there is none. */
export function architectureOf(id: string): Architecture | undefined {
  const known = named.get(id)
  if (known) return known
  for (const { spelled } of families) {
    const architecture = spelled?.(id)
    if (architecture) return architecture
  }
  return undefined
}

/** Networks that are imported in several files, and the architectures of these files. */
export const assemblies: Readonly<Record<string, readonly string[]>> = {
  'lpips-alex': ['alexnet', 'lpips-lin-alex'],
  'lpips-squeeze': ['squeezenet', 'lpips-lin-squeeze'],
  mtcnn: ['mtcnn-pnet', 'mtcnn-rnet', 'mtcnn-onet'],
}
