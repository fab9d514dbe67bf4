/// <reference types="@webgpu/types" preserve="true" />
/** The core: engine, networks and attack. Runs in Node and in browsers; an open device is passed in. */

export { type EarlierFace, ProtectedFaces } from './attack/apart.ts'
export type { Choice, ChosenFace, FaceChoice, LeftAlone } from './attack/choose.ts'
export type { Population } from './attack/directions.ts'
export { Embedder } from './attack/embedder.ts'
export { FawkesAttack, type FawkesOptions } from './attack/fawkes.ts'
export { type FawkesMode, fawkesModes } from './attack/fawkes-modes.ts'
export { Attack, AttackError, type AttackImages, type ObjectiveValue, type RunOptions } from './attack/loop.ts'
export {
  type Objective,
  type ObjectiveParts,
  type ObjectiveShape,
  type Perceptual,
  recordObjective,
  type Surrogate,
} from './attack/objective.ts'
export { type Preset, type PresetName, presets } from './attack/presets.ts'
export {
  type Apartness,
  FaceChoiceError,
  type FaceReport,
  NoFaceError,
  type Progress,
  type Protection,
  type ProtectOptions,
  Protector,
  type ProtectorNetworks,
  type RecogniserReport,
} from './attack/protect.ts'
export * from './engine.ts'
export { type Accuracy, accuracyOf, type EmbeddedFaces, embedFaces, type LabelledPhoto } from './evaluate/accuracy.ts'
export { presetOf } from './evaluate/preset-text.ts'
export {
  type Affine,
  type AlignmentName,
  align112,
  align150,
  alignmentOf,
  FaceGeometryError,
  type Landmarks,
  referenceLandmarks112,
} from './faces/alignment.ts'
export { cropFace } from './faces/crop.ts'
export {
  type FaceNetworks,
  type FindOptions,
  type FoundFace,
  type FoundFaces,
  findFaces,
  type WeakFace,
} from './faces/find.ts'
export { type Area, faceInArea, type PointedFace } from './faces/in-box.ts'
export { detectFaces, type Face, type MtcnnNetworks } from './faces/mtcnn.ts'
export { detectFacesYunet, type YunetNetworks } from './faces/yunet.ts'
export { type EnsembleWeights, ensembleWeights, type LayerWeights } from './models/ensemble.ts'
export {
  type IdentifiedNetwork,
  type ImportedNetwork,
  identifyNetwork,
  type NetworkFacts,
  NetworkFactsError,
  type NetworkFile,
  packTried,
} from './models/import-network.ts'
export { type IrArchitecture, type IrTrained, ir, irTraining } from './models/ir.ts'
export type { NetworkWeights } from './models/layers.ts'
export {
  type LearnedWeights,
  learnedWeights,
  type Parameter,
  type ParameterSource,
  xavierBound,
} from './models/learned.ts'
export { mtcnnNetworks } from './models/mtcnn.ts'
export { type OnnxNetwork, type OnnxNetworkOptions, onnxNetwork } from './models/onnx/network.ts'
export {
  type FaceNetwork,
  type OnnxRecogniser,
  type OnnxRecogniserOptions,
  recogniserFromOnnx,
} from './models/onnx/recogniser.ts'
export { isKnown, type Known, type OnnxValue } from './models/onnx/values.ts'
export { type Recogniser, recogniser, recogniserOf, similarityOf } from './models/recognisers.ts'
export { yunetNetworks } from './models/yunet.ts'
export type { Pixels } from './pixels/pixels.ts'
export { WeightsDamagedError, WeightsError, WeightsMissingError } from './weights/errors.ts'
export { readOnnx } from './weights/onnx.ts'
export type { OnnxModel } from './weights/onnx-model.ts'
export { type ExternalData, OnnxError } from './weights/onnx-tensor.ts'
export { type Manifest, type ManifestEntry, openWeights, type Weights } from './weights/registry.ts'
export { readSafetensors, writeSafetensors } from './weights/safetensors.ts'
