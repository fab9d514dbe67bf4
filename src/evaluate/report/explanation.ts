/** What the figures mean, and what they do not: in the report itself, because it travels without the documents. */
import type { Evaluation } from '../results.ts'
import { count, percent, wilson } from './figures.ts'
import { html, type Markup } from './html.ts'

export function meaning({ people, galleryPerPerson, distractors, probes }: Evaluation): Markup {
  const nothing = wilson(0, probes)
  return html`<div class="prose"><h3>What they mean</h3>
<p>A recogniser turns a face into a list of numbers; two faces are as similar as the cosine between their lists. It knows
${count(people)} people from up to ${count(galleryPerPerson)} photos each, mixed with ${count(distractors)} photos of others:
the <em>gallery</em>, such as a service collects it. Then it is shown another photo of one of the people, a <em>probe</em>, and
sorts the gallery by similarity. <em>Rank-1</em> is the part of the probes for which the first photo shows the right person,
<em>rank-50</em> those with one among the first fifty. Protection works where rank-1 is high with clean photos and low with
protected ones.</p>
<p><em>Accepted</em> is the part of the pairs of photos of one person that the recogniser takes for one person when its
threshold lets one in a thousand pairs of different people pass. The second threshold in the plots is the recogniser’s own.</p>
<p><em>Held out</em> are recognisers that the protection has not seen. Only they say something about a service whose recogniser
nobody outside knows. Figures of <em>attacked</em> recognisers show that the method works, no more. In the same way visible
change is judged by an LPIPS network that was not optimised: one that was is no judge of itself.</p></div>
<div class="prose"><h3>What they do not mean</h3>
<p>The sample is small. Ranges are 95% Wilson intervals${
    nothing &&
    html`: even where none of ${count(probes)} probes is found, up to ${percent(nothing.high)} may be found in the long run`
  }. They take probes and pairs for independent. Several photos of one person are not, so the truth is less certain than the
ranges say, most of all for pairs. Two presets whose ranges overlap are not shown to differ.</p>
<p>Cloaking has published weaknesses. Whatever was collected before a photo was protected stays usable: one clean photo in a
gallery is enough to be found, and a photo that is out can never be protected again, while recognisers improve. A service that
trains on protected photos, or changes its recogniser, may undo the protection of all photos that are already out; LowKey and
Fawkes were shown to fail this way (<cite>Data Poisoning Won’t Save You From Facial Recognition</cite>, arXiv 2106.14851).
Networks built very differently from the attacked ones, such as CLIP, are less affected. And protected photos of one person may
still match each other, which is why such pairs are counted here. Protection raises the cost of finding someone. It is no
guarantee, and this report measures a few public recognisers, not the service you have in mind.</p></div>`
}
