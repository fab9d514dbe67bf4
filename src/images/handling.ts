/** What happens to photos on their way: what services and senders do to them. All take and give interleaved RGB in 0..255. */
import type { Sharp as Pipeline } from 'sharp'
import type { Pixels } from '../pixels/pixels.ts'
import { loadSharp } from './sharp.ts'

/** Saved as JPEG with colours at half the resolution (4:2:0), as most services do, and read again. `quality` is 1 to 100. */
export async function throughJpeg(photo: Pixels, quality: number): Promise<Pixels> {
  const sharp = await loadSharp()
  const bytes = await (await opened(photo)).jpeg({ quality, chromaSubsampling: '4:2:0' }).toBuffer()
  return pixelsOf(sharp(bytes, { limitInputPixels: false }))
}

/** Resized by Lanczos' filter (three lobes), antialiased where it becomes smaller. */
export async function resized(photo: Pixels, width: number, height: number): Promise<Pixels> {
  return pixelsOf((await opened(photo)).resize(width, height, { fit: 'fill', kernel: 'lanczos3' }))
}

/** Blurred by a Gaussian; `sigma` in pixels, 0.3 to 1000. */
export async function blurred(photo: Pixels, sigma: number): Promise<Pixels> {
  return pixelsOf((await opened(photo)).blur(sigma))
}

async function opened({ width, height, rgb }: Pixels): Promise<Pipeline> {
  const sharp = await loadSharp()
  return sharp(rgb, { raw: { width, height, channels: 3 }, limitInputPixels: false })
}

async function pixelsOf(pipeline: Pipeline): Promise<Pixels> {
  const { data, info } = await pipeline.toColourspace('srgb').removeAlpha().raw().toBuffer({ resolveWithObject: true })
  // No Buffer, whose slice() shares its memory: photos are copied by slice() before they are changed.
  return { width: info.width, height: info.height, rgb: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) }
}
