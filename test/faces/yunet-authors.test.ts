/** YuNet's own file, if it is beside the clone, against what OpenCV finds with it. */
import { copyFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { loadOtherDetector } from '../../src/attack/node.ts'
import { align112 } from '../../src/faces/alignment.ts'
import { cropFace } from '../../src/faces/crop.ts'
import { detectFaces, type Face, type MtcnnNetworks } from '../../src/faces/mtcnn.ts'
import { detectFacesYunet, type YunetNetworks } from '../../src/faces/yunet.ts'
import { readPhoto } from '../../src/images/index.ts'
import { mtcnnNetworks } from '../../src/models/mtcnn.ts'
import { recogniser } from '../../src/models/recognisers.ts'
import { storeYunet, yunetNetworks } from '../../src/models/yunet.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import { knownNetworks, loadWeights } from '../../src/weights/node.ts'
import { readOnnx } from '../../src/weights/onnx.ts'
import { type ManifestEntry, type RecogniserEntry, weightsOf } from '../../src/weights/registry.ts'
import { writeSafetensors } from '../../src/weights/safetensors.ts'
import { evaluate } from '../golden/case.ts'
import { lowkey, room } from '../support/cli.ts'
import { cosine } from '../support/compare.ts'
import { dataBeside, isAtHand } from '../support/scope.ts'
import { gpu } from '../support/yunet.ts'

afterEach(() => vi.unstubAllEnvs())

const shared = dataBeside('')

const original = join(shared, 'weights/yunet/yunet_n_dynamic.onnx')

/** What OpenCV 5.0's FaceDetectorYN finds with the same file: x, y, width and height of the box, landmarks as x, y, score. */
const openCv: Record<string, readonly number[]> = {
  'astronaut.png': [
    ...[178.11292, 64.95203, 91.36104, 111.414696, 203.351071, 103.620926, 247.521027, 104.447746],
    ...[224.104034, 127.688805, 203.96225, 143.137466, 242.913147, 143.671875, 0.9356303],
  ],
  'lfw/Abdullah_Gul/Abdullah_Gul_0001.jpg': [
    ...[93.49994, 65.90107, 90.08335, 123.43266, 108.616608, 112.275414, 150.098755, 111.563522],
    ...[123.34169, 135.034744, 112.850441, 155.052246, 148.717514, 154.169449, 0.9298311],
  ],
}

describe.skipIf(!isAtHand(original))('the authors’ file', () => {
  // Not in the body, which runs where the tests are skipped too.
  let yunet: YunetNetworks
  let mtcnn: MtcnnNetworks
  let parameters: number
  beforeAll(async () => {
    const stored = storeYunet(readOnnx(readFileSync(original), 'yunet.onnx'))
    const entry = { id: 'yunet', file: 'yunet.safetensors' } as ManifestEntry
    const file = writeSafetensors(stored.tensors, { ...stored.metadata }, entry.file)
    parameters = stored.parameters
    yunet = await yunetNetworks(gpu, weightsOf(entry, file, entry.file))
    mtcnn = await mtcnnNetworks(gpu, await loadWeights('mtcnn'))
  })

  const photoOf = async (name: string): Promise<Pixels> => {
    const { width, height, rgb } = await readPhoto(join(shared, 'photos', name))
    return { width, height, rgb }
  }

  /** The faces that both find, MTCNN's and YuNet's in pairs. */
  async function pairs(photo: Pixels): Promise<[Face, Face][]> {
    const others = await detectFacesYunet(yunet, photo)
    return (await detectFaces(mtcnn, photo)).map((face): [Face, Face] => {
      const other = others.find(({ box: [x1, y1, x2, y2] }) => {
        const [x, y] = face.landmarks[2]
        return x > x1 && x < x2 && y > y1 && y < y2
      })
      expect(other, `a face at ${face.box}`).toBeDefined()
      return [face, other!]
    })
  }

  test('is imported', () => expect(parameters).toBe(73_848))

  test.each(Object.keys(openCv))('finds the face of %s where OpenCV does', async (name) => {
    const [face, ...others] = await detectFacesYunet(yunet, await photoOf(name))
    expect(others).toEqual([])
    const [x1, y1, x2, y2] = face.box
    const got = [x1, y1, x2 - x1 + 1, y2 - y1 + 1, ...face.landmarks.flat(), face.score]
    for (const [k, value] of openCv[name].entries()) expect(Math.abs(got[k] - value), `${k}`).toBeLessThan(1e-3)
  })

  test.each([
    ['astronaut.png', 1],
    ['highres/two_people.jpg', 2],
    ['highres/multiface.jpg', 6],
  ])('has every landmark of %s near MTCNN’s', async (name, count) => {
    const found = await pairs(await photoOf(name))
    expect(found.length).toBe(count)
    for (const [face, other] of found) {
      const [left, right] = face.landmarks
      const eyes = Math.hypot(left[0] - right[0], left[1] - right[1])
      const distances = face.landmarks.map(([x, y], k) =>
        Math.hypot(x - other.landmarks[k][0], y - other.landmarks[k][1]),
      )
      // Left and right, or two of the points exchanged, would be far beyond.
      expect(Math.max(...distances) / eyes).toBeLessThan(0.3)
      expect(distances.reduce((sum, d) => sum + d, 0) / 5 / eyes).toBeLessThan(0.2)
    }
  })

  test('aligns faces so that a recogniser knows them', async () => {
    const sirius = await loadWeights('sirius')
    const { build, threshold } = recogniser(sirius.entry as RecogniserEntry)
    const photos = await Promise.all(['multiface', 'img5', 'img6'].map((name) => photoOf(`highres/${name}.jpg`)))
    const crops: Float32Array[] = []
    for (const photo of photos)
      for (const both of await pairs(photo))
        for (const { landmarks } of both) crops.push(cropFace(photo, align112(landmarks), 112))
    const data = Float32Array.from(crops.flatMap((crop) => [...crop]))
    const { y } = await evaluate(gpu, { x: { shape: [crops.length, 3, 112, 112], data } }, ({ x }) => ({
      y: build(x, sirius),
    }))
    const embedding = (k: number) => y.slice((k * y.length) / crops.length, ((k + 1) * y.length) / crops.length)
    // Six people, then one in two photos; MTCNN's crop and YuNet's of each face.
    expect(crops.length).toBe(16)
    for (let face = 0; face < 8; face++)
      expect(cosine(embedding(2 * face), embedding(2 * face + 1)), `face ${face}`).toBeGreaterThan(threshold + 0.2)
    expect(cosine(embedding(12), embedding(15))).toBeGreaterThan(threshold)
    expect(cosine(embedding(13), embedding(15))).toBeGreaterThan(threshold)
    for (let a = 0; a < 7; a++)
      for (let b = 0; b < a; b++)
        expect(cosine(embedding(2 * a + 1), embedding(2 * b + 1)), `${a}, ${b}`).toBeLessThan(threshold)
  })

  test('finds a face of a tenth and of a twenty-fifth of the photo', async () => {
    const face = await photoOf('lfw/Abdullah_Gul/Abdullah_Gul_0001.jpg')
    for (const [width, height] of [
      [1000, 1200],
      [3000, 2000],
    ]) {
      const photo = { width, height, rgb: new Uint8Array(3 * width * height).fill(120) }
      // 250x250 pixels with a face of 90 x 123.
      for (let y = 0; y < 250; y++)
        photo.rgb.set(face.rgb.subarray(750 * y, 750 * (y + 1)), 3 * ((y + 333) * width + 444))
      const found = await detectFacesYunet(yunet, photo)
      expect(found.length, `${width}x${height}`).toBe(1)
      const [x, y] = found[0].landmarks[2]
      expect(Math.hypot(x - 444 - 123, y - 333 - 135)).toBeLessThan(8)
    }
  })
})

describe.skipIf(!isAtHand(original))('weights import of the authors’ file', () => {
  test('in half precision too', async () => {
    const cwd = room('yunet-original')
    copyFileSync(original, join(cwd, 'yunet_n_dynamic.onnx'))
    const { code } = await lowkey(['weights', 'import', 'yunet_n_dynamic.onnx', '--f16', 'yes'], {
      cwd,
      env: { LOWKEY_HOME: join(cwd, 'home') },
    })
    expect(code).toBe(0)
    vi.stubEnv('LOWKEY_HOME', join(cwd, 'home'))
    const weights = await loadOtherDetector(await knownNetworks())
    using networks = await yunetNetworks(gpu, weights!)
    const { width, height, rgb } = await readPhoto(join(shared, 'photos/astronaut.png'))
    const [face] = await detectFacesYunet(networks, { width, height, rgb })
    const wanted = openCv['astronaut.png']
    for (const [k, value] of face.landmarks.flat().entries()) expect(Math.abs(value - wanted[4 + k])).toBeLessThan(0.5)
  })
})
