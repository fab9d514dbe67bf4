import { WeightsError } from '../errors.ts'
import { readOnnx } from '../onnx.ts'
import { type StoredOnnx, storeOnnx } from '../onnx-store.ts'

/**
 * Any network that comes as an ONNX file with one output. Its graph goes along: it says how the network is computed.
 *
 * @param files the ONNX file, and files beside it in which it keeps constants, by base name
 * @throws WeightsError if there is not one ONNX file, OnnxError if it cannot be read
 */
export function convertOnnx(files: ReadonlyMap<string, Uint8Array>): StoredOnnx {
  const names = [...files.keys()].filter((file) => file.endsWith('.onnx'))
  const [name] = names
  const bytes = files.get(name)
  if (!bytes || names.length > 1) throw new WeightsError('the package', `has ${names.length} ONNX files, not one`)
  const model = readOnnx(bytes, name, (location) => files.get(location))
  if (model.outputs.length !== 1) throw new WeightsError(name, `has ${model.outputs.length} outputs, not one`)
  return storeOnnx(model, [model.outputs[0].name])
}
