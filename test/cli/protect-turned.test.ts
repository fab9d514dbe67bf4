/** Faces that lie on their side or lean are protected as they look upright: with the default strength, measured by turning the result. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Embedder } from '../../src/attack/embedder.ts'
import { loadNetworks } from '../../src/attack/node.ts'
import { presets } from '../../src/attack/presets.ts'
import { Protector } from '../../src/attack/protect.ts'
import { detectFaces } from '../../src/faces/mtcnn.ts'
import { turned } from '../../src/faces/turning.ts'
import { readPhoto } from '../../src/images/index.ts'
import { mtcnnNetworks } from '../../src/models/mtcnn.ts'
import { similarityOf } from '../../src/models/recognisers.ts'
import { cutOut, type Pixels } from '../../src/pixels/pixels.ts'
import { resize } from '../../src/pixels/resize.ts'
import { testGpu } from '../support/gpu.ts'
import { everything, LONG } from '../support/scope.ts'
import { beside, leaning } from '../support/turned-photos.ts'

const gpu = await testGpu()
const SIDE = 160
const LEAN = 60

test.skipIf(!everything)(
  `turned upright, no recogniser that was attacked knows them, and all know the clean photo${LONG}`,
  async () => {
    const { width, height, rgb } = await readPhoto(join(import.meta.dirname, '../../examples/astronaut.png'))
    const portrait = resize(cutOut({ width, height, rgb }, 80, 0, 399, 319), SIDE, SIDE)
    const photo = beside(turned(portrait, 90), leaning(portrait, LEAN).photo)
    const networks = await loadNetworks()
    using protector = await Protector.create(gpu, networks)
    const result = await protector.protect(photo, { preset: presets.auto })
    expect(result.faces.map(({ number, by, sure, foundAgain }) => ({ number, by, sure, foundAgain }))).toEqual(
      [1, 2].map((number) => ({ number, by: 'detector', sure: true, foundAgain: true })),
    )
    expect(result.warnings).toEqual([
      expect.stringMatching(/^face 1 at \(.*\) lies on its side; it was found by turning the photo$/),
      expect.stringMatching(/^face 2 at \(.*\) lies on its side; it was found by turning the photo$/),
    ])
    for (const { recognisers } of result.faces) {
      for (const { id, heldOut, after, threshold } of recognisers)
        if (!heldOut) expect(after, id).toBeLessThan(threshold)
    }

    // As a service sees them that turns photos upright: by the landmarks of the upright portrait.
    using detector = await mtcnnNetworks(gpu, networks.detector)
    using embedder = await Embedder.compile(gpu, networks.surrogates)
    const [{ landmarks }] = await detectFaces(detector, portrait)
    const [known] = await embedder.embedAll(portrait, [landmarks])
    const part = (of: Pixels, index: number) => cutOut(of, index * SIDE, 0, (index + 1) * SIDE - 1, SIDE - 1)
    const upright = (of: Pixels) => [turned(part(of, 0), 270), leaning(part(of, 1), -LEAN).photo]
    const [clean, after] = [upright(photo), upright(result.photo)]
    for (const i of [0, 1]) {
      const [before] = await embedder.embedAll(clean[i], [landmarks])
      const [seen] = await embedder.embedAll(after[i], [landmarks])
      for (const { network } of networks.surrogates) {
        const cosine = (embeddings: typeof seen) => similarityOf(known.get(network.id)!, embeddings.get(network.id)!)
        expect(cosine(before), `${network.id}, clean`).toBeGreaterThan(0.9)
        expect(cosine(seen), `${network.id}, protected`).toBeLessThan(network.threshold)
      }
    }
  },
)
