/* Photos in and out of files. Needs Node; sharp is loaded on first use. */
export { comparePicture } from './compare.ts'
export { type EncodeOptions, encodePhoto, type OutputFormat } from './encode.ts'
export { ImageSupportError, OutputError, type OutputProblem, PhotoError } from './errors.ts'
export type { PhotoMetadata } from './exif.ts'
export type { Photo, PhotoFormat } from './photo.ts'
export { maxChange, psnr } from './quality.ts'
export { readPhoto } from './read.ts'
export { pendingFiles, removePendingFiles, writeFileAtomically } from './write.ts'
