// A recogniser in an ONNX file: from a photo to embeddings, one face at a time and three. node examples/onnx.mjs MODEL.onnx PHOTO
import { readFile } from 'node:fs/promises'
import { align112, compile, cropFace, detectFaces, graph, mtcnnNetworks, onnxNetwork, readOnnx } from 'lowkey-gpu'
import { acquire, knownNetworks, loadDetector, readPhoto } from 'lowkey-gpu/node'

const [model, file] = process.argv.slice(2)
const gpu = await acquire()
const photo = await readPhoto(file)
const detector = await mtcnnNetworks(gpu, await loadDetector(await knownNetworks()))
const [face] = await detectFaces(detector, photo)
if (!face) throw new Error(`${file}: no face was found`)
const crop = cropFace(photo, align112(face.landmarks), 112).map((value) => 2 * value - 1)

const network = onnxNetwork(readOnnx(await readFile(model), model))
for (const batch of [1, 3]) {
  const g = graph()
  const plan = await compile(gpu, { y: network.build(g.input('x', [batch, 3, 112, 112])) })
  const x = new Float32Array(batch * crop.length)
  for (let n = 0; n < batch; n++) x.set(crop, n * crop.length)
  const { y } = await plan.run({ x })
  console.log(
    `batch ${batch}: ${y.length} numbers, the first ${y[0].toFixed(4)}, the last ${y[y.length - 1].toFixed(4)}`,
  )
  plan.destroy()
}
gpu.destroy()
