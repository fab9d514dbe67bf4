/** Where a photo has texture, in which changes are seen less than in flat areas. */

/** Standard deviation of luminance (0..1) among neighbours that counts as full texture. */
const FULL = 0.06

/** Pixels over which the deviation is taken, each way. */
const RADIUS = 3

/** For planes [3,height,width] in 0..1, from 0 (flat) to 1 (texture or edges within a few pixels) at every pixel, smooth. */
export function textureOf(planes: Float32Array, width: number, height: number): Float32Array {
  const size = width * height
  const luminance = Float32Array.from({ length: size }, (_, i) => {
    return 0.299 * planes[i] + 0.587 * planes[size + i] + 0.114 * planes[2 * size + i]
  })
  const mean = boxMean(luminance, width, height)
  const squares = boxMean(
    luminance.map((v) => v * v),
    width,
    height,
  )
  const deviation = mean.map((m, i) => Math.min(1, Math.sqrt(Math.max(0, squares[i] - m * m)) / FULL))
  return boxMean(deviation, width, height)
}

/** Mean over a square of 2 RADIUS + 1 pixels, cut off at the border; rows, then columns. */
function boxMean(plane: Float32Array, width: number, height: number): Float32Array {
  const along = (from: Float32Array, count: number, lines: number, step: number, line: number) => {
    const out = new Float32Array(from.length)
    for (let l = 0; l < lines; l++) {
      for (let i = 0; i < count; i++) {
        const first = Math.max(0, i - RADIUS)
        const last = Math.min(count - 1, i + RADIUS)
        let total = 0
        for (let k = first; k <= last; k++) total += from[l * line + k * step]
        out[l * line + i * step] = total / (last - first + 1)
      }
    }
    return out
  }
  return along(along(plane, width, height, 1, width), height, width, width, 1)
}
