/** The networks that files of weights can hold: which tensors they consist of, how they are computed, and what they want to be fed. */
import type { Tensor } from '../kernels/op.ts'
import type { ManifestEntry, NetworkInput, RecogniserEntry } from '../weights/registry.ts'
import { dlibResnet29 } from './dlib.ts'
import type { LayerWeights } from './ensemble.ts'
import { foamliuInput, foamliuMobilefacenet } from './foamliu.ts'
import { faceEvolveInput, type IrArchitecture, ir, irArchitectures } from './ir.ts'
import type { PixelMap } from './layers.ts'
import { mobilefacenet } from './mobilefacenet.ts'
import { resnet, resnetArchitectures } from './resnet.ts'
import {
  alexnetTensors,
  dlibTensors,
  foamliuTensors,
  irTensors,
  type lpipsChannels,
  lpipsLinTensors,
  mobilefacenetTensors,
  mtcnnTensors,
  resnetTensors,
  squeezenetTensors,
  type TensorShapes,
} from './tensors.ts'

interface ArchitectureBase {
  /** What entries call it. */
  readonly id: string
  /** What people call it. */
  readonly title: string
  readonly role: ManifestEntry['role']
  /** Made when it is asked for. */
  readonly tensors: () => TensorShapes
  /** What its published weights were trained with. */
  readonly input: NetworkInput
}

/** A network that makes embeddings of faces. */
export interface RecogniserArchitecture extends ArchitectureBase {
  readonly role: 'recogniser'
  readonly embedding: number
  readonly alignment: RecogniserEntry['alignment']
  /** Records the network; x is normalised as `input` says. See `Recogniser`. */
  readonly build: (x: Tensor, weights: LayerWeights) => Tensor
}

/** A network, or a part of one, that detects faces or compares images. */
export interface PartArchitecture extends ArchitectureBase {
  readonly role: 'detector' | 'perceptual'
}

export type Architecture = RecogniserArchitecture | PartArchitecture

const faces = (size: number, map: PixelMap): NetworkInput => ({ width: size, height: size, colours: 'RGB', ...map })
const anySize = (map: PixelMap): NetworkInput => ({ width: null, height: null, colours: 'RGB', ...map })

/** LPIPS takes images in -1..1 and normalises them by itself; see lpips.ts. */
const lpipsInput = anySize({ range: [-1, 1], mean: [-0.03, -0.088, -0.188], std: [0.458, 0.448, 0.45] })
const mtcnnInput = anySize({ range: [0, 255], mean: [127.5, 127.5, 127.5], std: [128, 128, 128] })

/** `IR_SE_50` is `ir-se-50`. */
const publishedIr = new Map<string, IrArchitecture>(
  Object.entries(irArchitectures).map(([name, architecture]) => [idOf(name), architecture]),
)
const publishedResnet = new Map<string, readonly number[]>(
  Object.entries(resnetArchitectures).map(([name, blocks]) => [idOf(name), blocks]),
)

function idOf(name: string): string {
  return name.toLowerCase().replaceAll('_', '-')
}

/** Units and channels of an IR network in its id, for those that are not published: `ir-1x8-1x16-1x24-1x32-e64`. */
const IR_ID = /^ir(-se)?-(\d{1,3})x(\d{1,4})-(\d{1,3})x(\d{1,4})-(\d{1,3})x(\d{1,4})-(\d{1,3})x(\d{1,4})-e(\d{1,5})$/

/** The id of an IR network: that of the published one, else one that spells it out. */
export function irId(architecture: IrArchitecture): string {
  const { units, channels, embedding, squeezeExcitation } = architecture
  const same = JSON.stringify([units, channels, embedding, squeezeExcitation])
  for (const [id, { units, channels, embedding, squeezeExcitation }] of publishedIr) {
    if (JSON.stringify([units, channels, embedding, squeezeExcitation]) === same) return id
  }
  return `ir${squeezeExcitation ? '-se' : ''}-${units.map((count, i) => `${count}x${channels[i]}`).join('-')}-e${embedding}`
}

function irOf(id: string): IrArchitecture | undefined {
  const published = publishedIr.get(id)
  const match = published ? undefined : IR_ID.exec(id)
  if (!match) return published
  const [u1, c1, u2, c2, u3, c3, u4, c4, embedding] = match.slice(2).map(Number)
  const architecture: IrArchitecture = {
    units: [u1, u2, u3, u4],
    channels: [c1, c2, c3, c4],
    embedding,
    squeezeExcitation: match[1] !== undefined,
  }
  return Math.min(u1, c1, u2, c2, u3, c3, u4, c4, embedding) > 0 ? architecture : undefined
}

function irArchitecture(id: string, architecture: IrArchitecture): RecogniserArchitecture {
  const { units, squeezeExcitation, embedding } = architecture
  const published = publishedIr.has(id)
  return {
    id,
    title: published ? id.toUpperCase() : `IR${squeezeExcitation ? '-SE' : ''} of ${units.join('/')} units`,
    role: 'recogniser',
    tensors: () => irTensors(architecture),
    input: faces(112, faceEvolveInput),
    embedding,
    alignment: 'arcface112',
    build: (x, weights) => ir(x, weights, architecture),
  }
}

const resnetArchitecture = (id: string, blocks: readonly number[]): RecogniserArchitecture => ({
  id,
  title: `ResNet-${id.slice('resnet-'.length)} of face.evoLVe`,
  role: 'recogniser',
  tensors: () => resnetTensors(blocks),
  input: faces(112, faceEvolveInput),
  embedding: 512,
  alignment: 'arcface112',
  build: (x, weights) => resnet(x, weights, blocks),
})

const joined = (...parts: (() => TensorShapes)[]): TensorShapes => new Map(parts.flatMap((tensors) => [...tensors()]))

const lpipsParts = (trunk: keyof typeof lpipsChannels): PartArchitecture => ({
  id: `lpips-lin-${trunk}`,
  title: `LPIPS v0.1's weights of the channels (${trunk})`,
  role: 'perceptual',
  tensors: () => lpipsLinTensors(trunk),
  input: lpipsInput,
})

const mtcnnPart = (net: 'pnet' | 'rnet' | 'onet'): PartArchitecture => ({
  id: `mtcnn-${net}`,
  title: `MTCNN's ${net[0].toUpperCase()}-Net`,
  role: 'detector',
  tensors: () => mtcnnTensors(net),
  input: mtcnnInput,
})

const others: readonly Architecture[] = [
  {
    id: 'mobilefacenet-foamliu',
    title: 'MobileFaceNet of foamliu',
    role: 'recogniser',
    tensors: foamliuTensors,
    input: faces(112, foamliuInput),
    embedding: 128,
    alignment: 'arcface112',
    build: foamliuMobilefacenet,
  },
  {
    id: 'mobilefacenet',
    title: 'MobileFaceNet of sirius-ai',
    role: 'recogniser',
    tensors: mobilefacenetTensors,
    input: faces(112, { range: [0, 255], mean: [127.5, 127.5, 127.5], std: [128, 128, 128] }),
    embedding: 192,
    alignment: 'arcface112',
    build: mobilefacenet,
  },
  {
    id: 'dlib-resnet-29',
    title: "dlib's ResNet with 29 convolutions",
    role: 'recogniser',
    tensors: dlibTensors,
    input: faces(150, { range: [0, 255], mean: [122.782, 117.001, 104.298], std: [255, 255, 255] }),
    embedding: 128,
    alignment: 'dlib150',
    build: dlibResnet29,
  },
  {
    id: 'alexnet',
    title: "AlexNet's convolutions, the trunk of LPIPS-alex",
    role: 'perceptual',
    tensors: alexnetTensors,
    input: lpipsInput,
  },
  {
    id: 'squeezenet',
    title: "SqueezeNet 1.1's convolutions, the trunk of LPIPS-squeeze",
    role: 'perceptual',
    tensors: squeezenetTensors,
    input: lpipsInput,
  },
  lpipsParts('alex'),
  lpipsParts('squeeze'),
  {
    id: 'lpips-alex',
    title: 'LPIPS on AlexNet',
    role: 'perceptual',
    tensors: () => joined(alexnetTensors, () => lpipsLinTensors('alex')),
    input: lpipsInput,
  },
  {
    id: 'lpips-squeeze',
    title: 'LPIPS on SqueezeNet',
    role: 'perceptual',
    tensors: () => joined(squeezenetTensors, () => lpipsLinTensors('squeeze')),
    input: lpipsInput,
  },
  mtcnnPart('pnet'),
  mtcnnPart('rnet'),
  mtcnnPart('onet'),
  {
    id: 'mtcnn',
    title: 'MTCNN',
    role: 'detector',
    tensors: () => joined(...(['pnet', 'rnet', 'onet'] as const).map((net) => () => mtcnnTensors(net))),
    input: mtcnnInput,
  },
]

const named = new Map<string, Architecture>(
  [
    ...[...publishedIr].map(([id, architecture]) => irArchitecture(id, architecture)),
    ...[...publishedResnet].map(([id, blocks]) => resnetArchitecture(id, blocks)),
    ...others,
  ].map((architecture) => [architecture.id, architecture]),
)

/** Ids of the architectures there are, but for IR networks that spell out their layers. */
export const architectureIds: readonly string[] = [...named.keys()]

/** The architecture of an id; undefined where there is none. */
export function architectureOf(id: string): Architecture | undefined {
  const known = named.get(id)
  if (known) return known
  const unpublished = irOf(id)
  return unpublished && irId(unpublished) === id ? irArchitecture(id, unpublished) : undefined
}

/** Networks that are imported in several files, and the architectures of these files. */
export const assemblies: Readonly<Record<string, readonly string[]>> = {
  'lpips-alex': ['alexnet', 'lpips-lin-alex'],
  'lpips-squeeze': ['squeezenet', 'lpips-lin-squeeze'],
  mtcnn: ['mtcnn-pnet', 'mtcnn-rnet', 'mtcnn-onet'],
}
