import type { PhotoResult, PresetResult } from '../results.ts'
import { count, decimal, duration, NONE } from './figures.ts'
import { html, type Markup } from './html.ts'

/** Only such addresses reach the page: everything else could make it fetch something. */
const PICTURE = /^data:image\/(?:png|jpeg|webp);base64,[A-Za-z0-9+/]+={0,2}$/

/** Before, after and the amplified difference; undefined without pictures. */
export function pictures({ pictures }: PresetResult): Markup | undefined {
  if (!pictures.length) return undefined
  const image = (address: string, caption: string, alternative: string) =>
    html`<figure>${
      PICTURE.test(address)
        ? html`<img src="${address}" alt="${alternative}">`
        : html`<p class="missing">not a PNG, JPEG or WebP data address: left out</p>`
    }<figcaption>${caption}</figcaption></figure>`
  return html`<div class="examples">${pictures.map(
    ({ person, before, after, difference, amplified }) =>
      html`<div class="example"><h4><bdi>${person}</bdi></h4><div class="triple">${image(before, 'before', `${person}, the clean photo`)}${image(after, 'protected', `${person}, the protected photo`)}${image(
        difference,
        `difference × ${amplified}`,
        `${person}, what changed, ${amplified} times as strong`,
      )}</div></div>`,
  )}</div>`
}

/** A row for each protected photo, folded away; undefined without any. */
export function photoTable({ details }: PresetResult): Markup | undefined {
  if (!details.length) return undefined
  const recognisers = [...new Set(details.flatMap(({ cosine }) => Object.keys(cosine)))]
  const columns: { name: string; of: (photo: PhotoResult) => string }[] = [
    { name: 'enlarged', of: ({ scale }) => `${scale}×` },
    { name: 'LPIPS held out', of: ({ lpipsHeldOut }) => decimal(lpipsHeldOut, 4) },
    { name: 'LPIPS in the loop', of: ({ lpips }) => decimal(lpips, 4) },
    { name: 'SSIM', of: ({ ssim }) => decimal(ssim, 3) },
    { name: 'PSNR', of: ({ psnr }) => decimal(psnr, 1) },
    { name: 'largest change', of: ({ largestChange }) => count(largestChange) },
    { name: 'changed outside', of: ({ changedOutside }) => count(changedOutside) },
    { name: 'face found', of: ({ found }) => (found === undefined ? NONE : found ? 'yes' : 'no') },
    { name: 'time', of: ({ seconds }) => duration(seconds) },
    ...recognisers.map((id) => ({ name: `cosine, ${id}`, of: ({ cosine }: PhotoResult) => decimal(cosine[id], 2) })),
  ]
  return html`<details class="photos"><summary>Every photo (${count(details.length)})</summary><div class="scroll"><table class="wide"><thead><tr><th scope="col">person</th><th scope="col">file</th>${columns.map(({ name }) => html`<th scope="col">${name}</th>`)}</tr></thead><tbody>${details.map(
    (photo) =>
      html`<tr><th scope="row"><bdi>${photo.person}</bdi></th><td class="file"><bdi>${photo.file}</bdi></td>${columns.map(({ of }) => html`<td>${of(photo)}</td>`)}</tr>`,
  )}</tbody></table></div></details>`
}

/** What the preset did to pixels that belong to no face, and to the detector; undefined without photos. */
export function sideEffects({ details }: PresetResult): Markup | undefined {
  if (!details.length) return undefined
  const touched = details.filter(({ changedOutside }) => changedOutside > 0).length
  const hidden = details.filter(({ found }) => found === false).length
  const all = `${count(details.length)} ${details.length === 1 ? 'photo' : 'photos'}`
  return html`${
    touched
      ? `Outside the face regions pixels changed in ${count(touched)} of ${all}.`
      : `Outside the face regions not one pixel changed, in ${all}.`
  }${hidden > 0 && ` In ${count(hidden)} the detector does not find the face any more; it is then taken where it was.`}`
}
