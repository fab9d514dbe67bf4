/**
 * MTCNN's three networks from face-api.js' `mtcnn_model`. Their numbers are those of the authors' Caffe models, which
 * were trained on images turned on their side (Matlab's column order): face-api.js turns the image, here the filters
 * are turned instead, so that the networks take images as they are.
 *
 * Names and layouts are face.evoLVe's (`features.` left out), with one difference: the first linear layers of R- and
 * O-Net take features flattened in the plain order channel, row, column.
 */
import type { WeightTensor } from '../registry.ts'
import { readTfjs } from '../tfjs.ts'
import { permute, reshape } from './layout.ts'
import { SourceTensors, sourceFile } from './source.ts'

/** Convolutions as [name, kernel, in, out], each followed by PReLU unless it is a head. */
const CONVOLUTIONS: Record<string, [name: string, kernel: number, from: number, to: number][]> = {
  pnet: [
    ['conv1', 3, 3, 10],
    ['conv2', 3, 10, 16],
    ['conv3', 3, 16, 32],
    ['conv4_1', 1, 32, 2],
    ['conv4_2', 1, 32, 4],
  ],
  rnet: [
    ['conv1', 3, 3, 28],
    ['conv2', 3, 28, 48],
    ['conv3', 2, 48, 64],
  ],
  onet: [
    ['conv1', 3, 3, 32],
    ['conv2', 3, 32, 64],
    ['conv3', 3, 64, 64],
    ['conv4', 2, 64, 128],
  ],
}
/** Linear layers as [face-api.js' name, face.evoLVe's name, in, out]. */
const LINEARS: Record<string, [source: string, name: string, from: number, to: number][]> = {
  pnet: [],
  rnet: [
    ['fc1', 'conv4', 576, 128],
    ['fc2_1', 'conv5_1', 128, 2],
    ['fc2_2', 'conv5_2', 128, 4],
  ],
  onet: [
    ['fc1', 'conv5', 1152, 256],
    ['fc2_1', 'conv6_1', 256, 2],
    ['fc2_2', 'conv6_2', 256, 4],
    ['fc2_3', 'conv6_3', 256, 10],
  ],
}

/**
 * @param files `mtcnn_model-weights_manifest.json` and its shard, by base name
 * @throws WeightsError if a tensor is missing, left over or of another shape
 */
export function convertMtcnn(files: ReadonlyMap<string, Uint8Array>): Map<string, WeightTensor> {
  const manifest = 'mtcnn_model-weights_manifest.json'
  const source = new SourceTensors(readTfjs(sourceFile(files, manifest), files, manifest), manifest)
  const out = new Map<string, WeightTensor>()
  for (const net of ['pnet', 'rnet', 'onet']) {
    for (const [name, k, from, to] of CONVOLUTIONS[net]) {
      // [column, row, in, out] -> [out, in, row, column]
      out.set(`${net}.${name}.weight`, permute(source.take(`${net}/${name}/weights`, [k, k, from, to]), [3, 2, 1, 0]))
      out.set(`${net}.${name}.bias`, source.take(`${net}/${name}/bias`, [to]))
      if (!name.includes('_')) takePrelu(net, name, to)
    }
    for (const [sourceName, name, from, to] of LINEARS[net]) {
      const weight = source.take(`${net}/${sourceName}/weights`, [from, to])
      out.set(`${net}.${name}.weight`, sourceName === 'fc1' ? flattenedAsChw(weight) : permute(weight, [1, 0]))
      out.set(`${net}.${name}.bias`, source.take(`${net}/${sourceName}/bias`, [to]))
      if (!name.includes('_')) takePrelu(net, name, to)
    }
  }
  source.end()
  return out

  function takePrelu(net: string, layer: string, channels: number): void {
    const prelu = layer.replace('conv', 'prelu')
    out.set(`${net}.${prelu}.weight`, source.take(`${net}/${prelu}_alpha`, [channels]))
  }
}

/** [3 columns x 3 rows x channels, out] -> [out, channels x 3 rows x 3 columns]; both nets arrive here with 3x3 pixels. */
function flattenedAsChw(weight: WeightTensor): WeightTensor {
  const [from, to] = weight.shape
  return reshape(permute(reshape(weight, [3, 3, from / 9, to]), [3, 2, 1, 0]), [to, from])
}
