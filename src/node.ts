/// <reference types="@webgpu/types" preserve="true" />
/** What only Node can do: open an adapter through Dawn, find weights on disk, read and write photos. */
export { keepTuning } from './attack/kept-tuning.ts'
export {
  DEFAULT_SURROGATES,
  loadDetector,
  loadNetworks,
  loadPerceptual,
  loadRecogniser,
  loadSurrogates,
  UnknownModelError,
} from './attack/node.ts'
export * from './engine-node.ts'
export * from './images/index.ts'
export { writeNetwork } from './weights/imported.ts'
export {
  importFolder,
  knownNetworks,
  loadManifest,
  loadWeights,
  verifyWeights,
  weightsFolder,
  weightsFolders,
} from './weights/node.ts'
export { filesBeside } from './weights/onnx-node.ts'
