/**
 * dlib's face recognition network (ResNet with 29 convolutions, Davis King) from face-api.js' `face_recognition_model`.
 * There each convolution is followed by a scale per channel, which is what became of dlib's batch normalisation:
 * `(conv(x) + bias) * scale + shift`. Scale and shift are folded into weight and bias here.
 *
 * Forward pass, x [N,3,150,150] RGB, (255 c - mean) / 255 (blocks in the order of `DLIB_BLOCKS`):
 *
 *     x = relu(conv1(x))                    7x7 stride 2, no padding                      -> [N,32,72,72]
 *     x = maxPool(x)                        3x3 stride 2, no padding                      -> [N,32,35,35]
 *     for each block:
 *       y = relu(block.conv1(x))            3x3; stride 1 padding 1, or stride 2 WITHOUT padding in a "down" block
 *       y = block.conv2(y)                  3x3 stride 1 padding 1
 *       s = x, or in a "down" block averagePool(x) 2x2 stride 2 without padding (an odd last row and column is dropped)
 *       where y is a row and column smaller than s, zeros are appended at y's bottom and right (after bias)
 *       where s has fewer channels than y, zero channels are appended to s
 *       x = relu(s + y)
 *     x = mean over rows and columns        [N,256,2,2] -> [N,256]
 *     embedding = fc.weight x               no bias -> [N,128], not normalised
 */
import type { WeightTensor } from '../registry.ts'
import { readTfjs } from '../tfjs.ts'
import { permute } from './layout.ts'
import { SourceTensors, sourceFile } from './source.ts'

/** Blocks by face-api.js' names, in the order of the forward pass; `blocks.{i}` in the result counts along this list. */
const DLIB_BLOCKS: [name: string, from: number, to: number][] = [
  ['conv32_1', 32, 32],
  ['conv32_2', 32, 32],
  ['conv32_3', 32, 32],
  ['conv64_down', 32, 64],
  ['conv64_1', 64, 64],
  ['conv64_2', 64, 64],
  ['conv64_3', 64, 64],
  ['conv128_down', 64, 128],
  ['conv128_1', 128, 128],
  ['conv128_2', 128, 128],
  ['conv256_down', 128, 256],
  ['conv256_1', 256, 256],
  ['conv256_2', 256, 256],
  ['conv256_down_out', 256, 256],
]

/**
 * @param files `face_recognition_model-weights_manifest.json` and its shard, by base name
 * @throws WeightsError if a tensor is missing, left over or of another shape
 */
export function convertDlib(files: ReadonlyMap<string, Uint8Array>): Map<string, WeightTensor> {
  const manifest = 'face_recognition_model-weights_manifest.json'
  const source = new SourceTensors(readTfjs(sourceFile(files, manifest), files, manifest), manifest)
  const out = new Map<string, WeightTensor>()
  convolution('conv32_down', 'conv1', 7, 3, 32)
  DLIB_BLOCKS.forEach(([name, from, to], i) => {
    convolution(`${name}/conv1`, `blocks.${i}.conv1`, 3, from, to)
    convolution(`${name}/conv2`, `blocks.${i}.conv2`, 3, to, to)
  })
  out.set('fc.weight', permute(source.take('fc', [256, 128]), [1, 0]))
  source.end()
  return out

  function convolution(from: string, to: string, kernel: number, inChannels: number, outChannels: number): void {
    const weight = permute(source.take(`${from}/conv/filters`, [kernel, kernel, inChannels, outChannels]), [3, 2, 0, 1])
    const bias = source.take(`${from}/conv/bias`, [outChannels]).data
    const scale = source.take(`${from}/scale/weights`, [outChannels]).data
    const shift = source.take(`${from}/scale/biases`, [outChannels]).data
    const fan = weight.data.length / outChannels
    // Each product and sum is computed in f64 and rounded to f32 once, when it is stored.
    out.set(`${to}.weight`, { shape: weight.shape, data: weight.data.map((w, i) => w * scale[Math.floor(i / fan)]) })
    out.set(`${to}.bias`, { shape: [outChannels], data: bias.map((b, c) => b * scale[c] + shift[c]) })
  }
}
