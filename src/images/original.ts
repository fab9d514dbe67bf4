/** Between the samples of a file and the 8-bit sRGB that is worked on: there for every pixel, back for the changed ones. */
import type { Original } from './photo.ts'
import { inverse3, multiply3, type Profile, srgbLight, srgbSample, xyzToSrgb } from './profile.ts'

/** The 8-bit sRGB view of samples (three a pixel): by the profile, or rounded where there is none. */
export function viewOf(samples: Uint8Array | Uint16Array, profile?: Profile): Uint8Array {
  const view = new Uint8Array(samples.length)
  const top = samples instanceof Uint16Array ? 65535 : 255
  if (!profile) {
    if (top === 255) return samples as Uint8Array
    for (let i = 0; i < samples.length; i++) view[i] = (samples[i] + 128) / 257
    return view
  }
  const [r, g, b] = lights(profile, top)
  const [a0, a1, a2, b0, b1, b2, c0, c1, c2] = multiply3(xyzToSrgb, profile.toXyz)
  // Linear light in 65536 steps to 8-bit samples; a step near black is a twentieth of a sample.
  const sample = Uint8Array.from({ length: 65537 }, (_, i) => 255 * srgbSample(i / 65536) + 0.5)
  const at = (v: number): number => sample[v <= 0 ? 0 : v >= 1 ? 65536 : (v * 65536 + 0.5) | 0]
  for (let i = 0; i < samples.length; i += 3) {
    const [x, y, z] = [r[samples[i]], g[samples[i + 1]], b[samples[i + 2]]]
    view[i] = at(a0 * x + a1 * y + a2 * z)
    view[i + 1] = at(b0 * x + b1 * y + b2 * z)
    view[i + 2] = at(c0 * x + c1 * y + c2 * z)
  }
  return view
}

/**
 * The original's samples with the change that `rgb` has against the view they gave: pixels that are equal keep their
 * samples exactly. Without a profile the difference is added; with one it is added in light, so that colours that sRGB
 * cannot show stay outside of it.
 *
 * @throws {RangeError} `rgb` is not of the view's length
 */
export function carryBack({ samples, view, profile }: Original, rgb: Uint8Array): Uint8Array | Uint16Array {
  if (rgb.length !== view.length)
    throw new RangeError(`photo: rgb has ${rgb.length} bytes, its original ${view.length}`)
  const out = samples.slice()
  const top = samples instanceof Uint16Array ? 65535 : 255
  if (!profile) {
    const step = top / 255
    for (let i = 0; i < out.length; i++) {
      if (rgb[i] !== view[i]) out[i] = Math.min(top, Math.max(0, samples[i] + step * (rgb[i] - view[i])))
    }
    return out
  }
  const curves = lights(profile, top)
  const fromSrgb = inverse3(multiply3(xyzToSrgb, profile.toXyz))!
  const linear = Float64Array.from({ length: 256 }, (_, i) => srgbLight(i / 255))
  const change = [0, 0, 0]
  for (let i = 0; i < out.length; i += 3) {
    if (rgb[i] === view[i] && rgb[i + 1] === view[i + 1] && rgb[i + 2] === view[i + 2]) continue
    for (let c = 0; c < 3; c++) change[c] = linear[rgb[i + c]] - linear[view[i + c]]
    for (let c = 0; c < 3; c++) {
      const add = fromSrgb[3 * c] * change[0] + fromSrgb[3 * c + 1] * change[1] + fromSrgb[3 * c + 2] * change[2]
      out[i + c] = nearest(curves[c], curves[c][samples[i + c]] + add)
    }
  }
  return out
}

/** Samples of 16 bit rounded to 8. */
export function to8Bit(samples: Uint8Array | Uint16Array): Uint8Array {
  return samples instanceof Uint16Array ? viewOf(samples) : samples
}

/** The light of every sample, for the three curves. */
function lights({ curves }: Profile, top: number): [Float64Array, Float64Array, Float64Array] {
  return curves.map((curve) => Float64Array.from({ length: top + 1 }, (_, i) => curve.light(i / top))) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ]
}

/** The sample whose light is nearest; `table` never falls. */
function nearest(table: Float64Array, light: number): number {
  let low = 0
  let high = table.length - 1
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (table[middle] <= light) low = middle
    else high = middle
  }
  return light - table[low] <= table[high] - light ? low : high
}
