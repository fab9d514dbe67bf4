/** Boxes of faces and their alignment. */
import { describe, expect, test } from 'vitest'
import {
  type Affine,
  align112,
  align150,
  cropCorners,
  FaceGeometryError,
  inverse,
  type Landmarks,
  type Point,
  referenceEyes150,
  referenceLandmarks112,
  similarity,
  transform,
} from '../../src/faces/alignment.ts'
import {
  calibrate,
  clipped,
  nonMaximumSuppression,
  roundedSquare,
  roundHalfEven,
  type ScoredBox,
} from '../../src/faces/boxes.ts'
import {
  box,
  detectorCases,
  expectClose,
  goldenCases,
  landmarksOf,
  numbers,
  random,
  rows,
} from '../support/detections.ts'

describe('boxes', () => {
  const crowd = (count: number, seed: number): ScoredBox[] => {
    const next = random(seed)
    return Array.from({ length: count }, () => {
      const [x, y, side] = [100 * next(), 100 * next(), 10 + 30 * next()]
      return box(x, y, x + side, y + side * (0.7 + 0.6 * next()), next())
    })
  }
  const overlap = (a: ScoredBox, b: ScoredBox, mode: 'union' | 'min') => {
    const area = ({ x1, y1, x2, y2 }: ScoredBox) => (x2 - x1 + 1) * (y2 - y1 + 1)
    const width = Math.max(0, Math.min(a.x2, b.x2) - Math.max(a.x1, b.x1) + 1)
    const height = Math.max(0, Math.min(a.y2, b.y2) - Math.max(a.y1, b.y1) + 1)
    const both = width * height
    return both / (mode === 'min' ? Math.min(area(a), area(b)) : area(a) + area(b) - both)
  }

  test('halves round to the even neighbour', () => {
    const values = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999999999999994, 1.2, -1.2, 1.7, -1.7, 3]
    expect(values.map((value) => roundHalfEven(value) + 0)).toEqual([0, 2, 2, 0, -2, -2, 0, 1, -1, 2, -2, 3])
  })

  for (const mode of ['union', 'min'] as const) {
    test(`suppression (${mode}): what stays is apart, what goes is covered by a better one, twice is once`, () => {
      for (let seed = 1; seed <= 20; seed++) {
        const boxes = crowd(60, seed)
        const kept = nonMaximumSuppression(boxes, 0.4, mode)
        expect(kept.length).toBeGreaterThan(1)
        expect(kept.length).toBeLessThan(60)
        boxes.forEach((candidate, index) => {
          const better = kept.filter((k) => k !== index && boxes[k].score >= candidate.score)
          const covered = better.some((k) => overlap(boxes[k], candidate, mode) > 0.4)
          expect(covered).toBe(!kept.includes(index))
        })
        const survivors = kept.map((index) => boxes[index])
        expect(survivors.map((b) => b.score)).toEqual(survivors.map((b) => b.score).sort((a, b) => b - a))
        expect(nonMaximumSuppression(survivors, 0.4, mode)).toEqual(survivors.map((_, index) => index))
      }
    })
  }

  test('suppression: a small box in a large one goes only by the smaller area; an overlap at the threshold stays', () => {
    const nested = [box(0, 0, 99, 99, 0.9), box(10, 10, 19, 19, 0.8)]
    expect(nonMaximumSuppression(nested, 0.5)).toEqual([0, 1])
    expect(nonMaximumSuppression(nested, 0.5, 'min')).toEqual([0])
    // 10x10 and its left half: the intersection over the union is exactly 1/2.
    const halves = [box(0, 0, 9, 9, 0.9), box(0, 0, 4, 9, 0.8)]
    expect(nonMaximumSuppression(halves, 0.5)).toEqual([0, 1])
    expect(nonMaximumSuppression(halves, 0.49)).toEqual([0])
    expect(nonMaximumSuppression([box(0, 0, 9, 9), box(0, 0, 9, 9)], 0.7)).toEqual([1])
    expect(nonMaximumSuppression([], 0.7)).toEqual([])
  })

  test('calibration moves the sides in units of the box, from rows and from planes', () => {
    expect(calibrate(box(10, 20, 19, 39), Float32Array.of(9, -0.5, 0.25, 1, 0), 1)).toEqual(box(5, 25, 29, 39))
    const planes = Float32Array.of(9, -0.5, 9, 0.25, 9, 1, 9, 0)
    expect(calibrate(box(10, 20, 19, 39), planes, 1, 2)).toEqual(box(5, 25, 29, 39))
  })

  test('the square keeps the centre and the longer side, on whole pixels', () => {
    expect(roundedSquare(box(10, 20, 19, 39))).toEqual(box(5, 20, 24, 39))
    // Sides 10 and 13: x1 is 8.5, which goes to the even 8; x2 is 20.5, to 20.
    expect(roundedSquare(box(10, 20, 19, 32))).toEqual(box(8, 20, 20, 32))
    for (const candidate of crowd(200, 7)) {
      const square = roundedSquare(candidate)
      const side = Math.max(candidate.x2 - candidate.x1, candidate.y2 - candidate.y1)
      expect(Math.abs(square.x2 - square.x1 - side)).toBeLessThanOrEqual(1)
      expect(Math.abs(square.y2 - square.y1 - side)).toBeLessThanOrEqual(1)
      expect(Math.abs(square.x1 + square.x2 - candidate.x1 - candidate.x2)).toBeLessThanOrEqual(1)
    }
  })

  test('clipping keeps what lies inside, and nothing of what does not', () => {
    expect(clipped(box(-5, 3, 12, 30), 10, 20)).toEqual(box(0, 3, 9, 19))
    expect(clipped(box(-9, -9, 0, 0), 10, 20)).toEqual(box(0, 0, 0, 0))
    for (const outside of [box(10, 3, 12, 5), box(-9, 3, -1, 5), box(2, 20, 4, 25), box(5, 5, 4, 9)]) {
      expect(clipped(outside, 10, 20)).toBeNull()
    }
    expect(clipped(box(Number.NaN, 1, 2, 3), 10, 20)).toBeNull()
  })
})

describe('alignment', () => {
  const goldenLandmarks: Landmarks = [
    [108.37, 113.15],
    [149.5, 112.01],
    [122.03, 135.88],
    [112.28, 156.18],
    [148.2, 154.91],
  ]
  const scaleOf = ([a, , , c]: Affine) => Math.hypot(a, c)

  test("fits the error in the crop; the other way round it is what LowKey's own code computes", () => {
    // face.evoLVe's port of MATLAB's cp2tform fits reference -> landmarks (the error in the photo) and inverts that.
    const cp2tform = [0.90099194, -0.02294341, -56.28509399, 0.02294341, 0.90099194, -52.1544621]
    expectClose(inverse(similarity(referenceLandmarks112, goldenLandmarks)), cp2tform, 5e-5)
    // The two differ where the landmarks do not fit exactly: here by 1.9% in scale.
    expect(scaleOf(align112(goldenLandmarks)) / Math.hypot(cp2tform[0], cp2tform[3])).toBeCloseTo(0.9817, 4)
  })

  test('recovers a known scale, angle and shift, for five points and for two', () => {
    const next = random(11)
    for (let round = 0; round < 200; round++) {
      const [scale, angle] = [0.05 + 10 * next(), 2 * Math.PI * next()]
      const [cos, sin] = [scale * Math.cos(angle), scale * Math.sin(angle)]
      const known: Affine = [cos, -sin, 4000 * (next() - 0.5), sin, cos, 4000 * (next() - 0.5)]
      const points = goldenLandmarks.map(([x, y]): Point => [x + 20 * next(), y + 20 * next()])
      const targets = points.map((point) => transform(known, point))
      expectClose(similarity(points, targets), known, 1e-9)
      expectClose(similarity(points.slice(0, 2), targets.slice(0, 2)), known, 1e-9)
    }
  })

  test('is the least-squares fit: every change of its four numbers makes it worse', () => {
    const error = ([a, b, tx, c, d, ty]: Affine) =>
      goldenLandmarks.reduce((sum, [x, y], k) => {
        const [u, v] = referenceLandmarks112[k]
        return sum + (a * x + b * y + tx - u) ** 2 + (c * x + d * y + ty - v) ** 2
      }, 0)
    const fit = align112(goldenLandmarks)
    const [a, , tx, c, , ty] = fit
    for (const step of [-1e-3, 1e-3]) {
      expect(error([a + step, -c, tx, c, a + step, ty])).toBeGreaterThan(error(fit))
      expect(error([a, -c - step, tx, c + step, a, ty])).toBeGreaterThan(error(fit))
      expect(error([a, -c, tx + step, c, a, ty])).toBeGreaterThan(error(fit))
      expect(error([a, -c, tx, c, a, ty + step])).toBeGreaterThan(error(fit))
    }
  })

  test('never mirrors, even where a mirror image would fit exactly', () => {
    const mirrored = referenceLandmarks112.map(([x, y]): Point => [112 - x, y]) as Landmarks
    const [a, b, , c, d] = align112(mirrored)
    expect([a - d, b + c]).toEqual([0, 0])
    expect(a * d - b * c).toBeGreaterThan(0)
    expect(align112(referenceLandmarks112).map((value) => Math.round(value * 1e9) / 1e9 + 0)).toEqual([
      1, 0, 0, 0, 1, 0,
    ])
  })

  test('the 150 crop has the eyes where dlib wants them', () => {
    const map = align150(goldenLandmarks)
    expectClose(transform(map, goldenLandmarks[0]), referenceEyes150[0], 1e-9)
    expectClose(transform(map, goldenLandmarks[1]), referenceEyes150[1], 1e-9)
  })

  test('the inverse leads back, and the corners of the crop are where it came from', () => {
    const map = align112(goldenLandmarks)
    const next = random(5)
    for (let round = 0; round < 50; round++) {
      const point: Point = [3000 * next(), 3000 * next()]
      expectClose(transform(inverse(map), transform(map, point)), point, 1e-9)
    }
    expectClose(inverse(inverse(map)), map, 1e-9)
    const corners = cropCorners(map, 112)
    expectClose(
      corners.flatMap((corner) => transform(map, corner)),
      [0, 0, 112, 0, 112, 112, 0, 112],
      1e-9,
    )
    const [[x1, y1], [x2, y2]] = corners
    expect(Math.hypot(x2 - x1, y2 - y1)).toBeCloseTo(112 / scaleOf(map), 9)
    // A general affine map too, not only a similarity.
    expectClose(inverse([2, 1, 3, 0, 4, 5]), [0.5, -0.125, -0.875, 0, 0.25, -1.25], 1e-12)
  })

  test('landmarks without a face in them are a named error', () => {
    const all = (point: Point) => Array.from({ length: 5 }, () => point) as Landmarks
    // The mean of five times 0.1 is not 0.1 in binary: rounding must not pass for a face.
    for (const point of [
      [0, 0],
      [0.1, 0.1],
      [1234.5678, 0.1],
    ] satisfies Point[]) {
      expect(() => align112(all(point))).toThrow(FaceGeometryError)
      expect(() => align150(all(point))).toThrow(FaceGeometryError)
    }
    for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const landmarks = goldenLandmarks.with(2, [wrong, 3]) as Landmarks
      expect(() => align112(landmarks)).toThrow(/not finite/)
    }
    const square: Point[] = [
      [0, 0],
      [1, 0],
      [1, 1],
      [0, 1],
    ]
    const mirrored = square.map(([x, y]): Point => [1 - x, y])
    expect(() => similarity(mirrored, square)).toThrow(/resemble no face/)
    expect(() => similarity(square, goldenLandmarks)).toThrow('similarity: 4 points for 5 targets')
    expect(() => inverse([1, 2, 0, 2, 4, 0])).toThrow(FaceGeometryError)
    expect(() => cropCorners([Number.NaN, 0, 0, 0, 1, 0], 112)).toThrow(FaceGeometryError)
  })

  describe('agrees with the golden results', () => {
    test.each(detectorCases)('$name: the map of every face', ({ golden }) => {
      const expected = rows(numbers(golden, 'M'), 6)
      rows(numbers(golden, 'landmarks'), 10).forEach((row, face) => {
        expectClose(align112(landmarksOf(row)), expected[face], 1e-4)
      })
    })

    const withEyes = goldenCases.filter(({ golden }) => golden.tensors.includes('dlib.M'))
    test.each(withEyes)('$name: the map by two eyes belongs to a face of the detector cases', ({ golden }) => {
      const expected = numbers(golden, 'dlib.M')
      const differences = detectorCases.flatMap(({ golden: detected }) =>
        rows(numbers(detected, 'landmarks'), 10).map((row) =>
          Math.max(...align150(landmarksOf(row)).map((value, i) => Math.abs(value - expected[i]))),
        ),
      )
      expect(Math.min(...differences)).toBeLessThan(1e-4)
    })
  })
})
