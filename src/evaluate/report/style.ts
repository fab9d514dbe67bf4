/**
 * The report's style sheet. Colours of series are those of Okabe and Ito (2008), made for colour-blind eyes, darkened or
 * lightened for text and for the dark page; dashes, markers and rows tell series apart without them.
 */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #fbfbf9; --card: #ffffff; --ink: #1b1f24; --soft: #59636e; --rule: #dcdfe3; --grid: #e9ebee;
  --clean: #0068a8; --protected: #c8500a; --both: #8b3a80; --impostor: #737b85; --held: #00664d; --held-back: #dff3ec;
  --heat: 213 94 0;
  --series-0: #0068a8; --series-1: #c8500a; --series-2: #007a5c; --series-3: #8b3a80; --series-4: #8a6500; --series-5: #4b5563;
  --text: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131619; --card: #1a1e22; --ink: #e7eaee; --soft: #a2acb7; --rule: #343b43; --grid: #282e35;
    --clean: #5cb6f0; --protected: #ff9350; --both: #d98fd0; --impostor: #98a2ae; --held: #7fe0bf; --held-back: #123a2f;
    --heat: 205 88 10;
    --series-0: #5cb6f0; --series-1: #ff9350; --series-2: #45c99f; --series-3: #d98fd0; --series-4: #e0b43c; --series-5: #b4bdc8;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: clamp(1rem, 3vw, 3rem); max-width: 1440px; background: var(--page); color: var(--ink);
  font: 400 1rem/1.55 var(--text); font-variant-numeric: tabular-nums; overflow-wrap: break-word; }
bdi, code, dd { overflow-wrap: anywhere; }
h1, h2, h3, h4 { line-height: 1.2; text-wrap: balance; font-weight: 650; letter-spacing: -0.01em; }
h1 { font-size: clamp(1.7rem, 1.2rem + 2vw, 2.6rem); margin: .2em 0 .7em; max-width: 24ch; }
h2 { font-size: 1.5rem; margin: 0 0 1rem; }
h3 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; }
h4 { font-size: .95rem; margin: 0 0 .4rem; }
p { max-width: 74ch; margin: 0 0 1rem; }
small { font-size: .75rem; }
a { color: var(--clean); }
code { font-family: var(--mono); font-size: .85em; }
.eyebrow { color: var(--soft); font-size: .875rem; margin: 0; }
dl, dd { margin: 0; }
dt { color: var(--soft); font-size: .8125rem; }
.facts { display: flex; flex-wrap: wrap; gap: .8rem 2.4rem; }
.facts div { display: flex; flex-direction: column-reverse; }
.facts dd { font-size: 1.75rem; font-weight: 650; line-height: 1.15; letter-spacing: -0.02em; }
header { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.4rem 3rem; align-items: end; }
.made { display: grid; gap: .7rem; font-size: .9rem; }
nav { margin-top: 1.8rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; list-style: none; margin: 0; padding: .8rem 0; font-size: .9rem;
  border-block: 1px solid var(--rule); }
@media (min-width: 1200px) and (min-height: 600px) {
  nav { position: sticky; top: 0; z-index: 1; background: var(--page); max-height: 25vh; overflow-y: auto; }
  section { scroll-margin-top: 4.5rem; }
}
section { padding-top: 2.6rem; }
section + section { margin-top: 2.6rem; border-top: 1px solid var(--rule); }
.shorts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16.5rem), 1fr)); gap: 1.2rem; margin-bottom: 2.2rem; }
.short { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: .9rem 1.1rem; max-width: 34rem; }
.short h3 { margin: 0; font-size: 1.2rem; }
.short p { color: var(--soft); font-size: .8125rem; margin: 0 0 .5rem; }
.short dl div { display: flex; flex-direction: row-reverse; justify-content: flex-end; gap: .9rem; align-items: baseline; padding: .4rem 0;
  border-top: 1px solid var(--grid); }
.short dd { flex: 0 0 4.2rem; font-size: 1.3rem; font-weight: 650; line-height: 1.2; letter-spacing: -0.02em; }
.short dt { flex: 1; color: var(--ink); line-height: 1.4; }
.prose { max-width: 74ch; }
.prose h3 { margin-top: 1.2rem; }
#meaning { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 34rem), 1fr)); column-gap: 3rem; }
#meaning h2 { grid-column: 1 / -1; margin-bottom: 0; }

.badge { display: inline-block; padding: 0 .5em; border: 1px solid var(--rule); border-radius: 1em; color: var(--soft);
  font-size: .6875rem; font-weight: 500; line-height: 1.5; white-space: nowrap; letter-spacing: 0; vertical-align: .1em; }
.badge.held { color: var(--held); background: var(--held-back); border-color: transparent; }
.name { font-weight: 650; }

table { border-collapse: collapse; font-size: .875rem; line-height: 1.35; }
caption { text-align: left; color: var(--soft); font-size: .8125rem; padding-bottom: .5rem; }
th, td { padding: .45rem .6rem; text-align: right; vertical-align: top; }
td { white-space: nowrap; }
th { font-weight: 600; }
thead th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
thead .name, tbody th { color: var(--ink); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tbody tr { border-top: 1px solid var(--rule); }
td small, th small { display: block; color: var(--soft); font-weight: 400; white-space: nowrap; }
.cards { width: 100%; }
.text { text-align: left; } td.text { white-space: normal; } .reasons tbody th { min-width: 14rem; }
.cards + .panels, .panels + p { margin-top: 1.2rem; }
.cards thead [colspan] { text-align: left; }
.cards .first { padding-left: 1.4rem; }
.baseline td b, .baseline th { font-weight: 400; color: var(--soft); }

.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: 1.2rem; }
.panels.large { grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); }
.panels.large .panel { max-width: 560px; }
figure { margin: 0; }
.panel { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: .8rem .8rem .5rem; min-width: 0; max-width: 470px; }
.panel figcaption { font-size: .9rem; font-weight: 600; margin-bottom: .4rem; }
.panel svg { display: block; width: 100%; height: auto; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; list-style: none; margin: 0 0 .9rem; padding: 0; font-size: .875rem; }
.legend li { display: flex; align-items: center; gap: .5em; flex-wrap: wrap; }
.legend .name { font-weight: 400; }
.key { width: 30px; height: 12px; flex: none; }

svg text { font: 400 11px var(--text); fill: var(--soft); }
svg .strong { font-weight: 600; fill: var(--ink); }
svg .label { fill: var(--ink); }
svg .value { fill: var(--ink); }
svg .halo { paint-order: stroke; stroke: var(--card); stroke-width: 3px; stroke-linejoin: round; fill: var(--ink); }
.grid, .tick { stroke: var(--grid); stroke-width: 1; }
.base { stroke: var(--soft); stroke-width: 1; }
.floor { stroke: var(--rule); }
.curve { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; }
.mark { fill: var(--c); stroke: var(--card); stroke-width: 1; }
.mark.ring { fill: var(--card); stroke: var(--c); stroke-width: 2; }
.mark.cross { fill: none; stroke: var(--c); stroke-width: 2.4; }
.band { fill: var(--c); opacity: .1; }
.whisker { fill: none; stroke: var(--ink); stroke-width: 1.1; }
.clean { --c: var(--clean); }
.protected { --c: var(--protected); } .protected .curve { stroke-dasharray: 7 3; }
.both { --c: var(--both); } .both .curve { stroke-dasharray: 2.5 2.5; }
.impostor { --c: var(--impostor); }
.chance .curve { stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 1 3; }
.below { fill: var(--c); opacity: .32; }
.above { fill: var(--c); }
.strict-threshold { stroke: var(--ink); stroke-width: 1.2; }
.own-threshold { stroke: var(--ink); stroke-width: 1.2; stroke-dasharray: 2 3; }
.rank-bar rect { fill: var(--protected); }
.accept-bar rect { fill: var(--card); stroke: var(--both); stroke-width: 1.6; }
.frontier { fill: none; stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 4; }
.series-0 { --c: var(--series-0); } .series-1 { --c: var(--series-1); } .series-2 { --c: var(--series-2); }
.series-3 { --c: var(--series-3); } .series-4 { --c: var(--series-4); } .series-5 { --c: var(--series-5); }
.series-1 .curve { stroke-dasharray: 7 3; } .series-2 .curve { stroke-dasharray: 2.5 2.5; } .series-3 .curve { stroke-dasharray: 9 3 2 3; }
.series-4 .curve { stroke-dasharray: 12 4; } .series-5 .curve { stroke-dasharray: 1 3; }

.matrix { border-collapse: separate; border-spacing: 3px; margin-left: -3px; }
.matrix td { min-width: 7.5rem; text-align: left; border-radius: 5px; border: 2px solid transparent; }
.matrix th { padding-left: 0; } .matrix thead th { text-align: left; padding-left: .6rem; } .matrix thead th:first-child { padding-left: 0; }
.matrix b { font-size: 1.05rem; } .matrix td small { color: inherit; }
.matrix .white-box { border-color: var(--ink); } .matrix .mark { font-weight: 600; }
${Array.from({ length: 11 }, (_, i) => `.heat-${i} { background: rgb(var(--heat) / ${(0.05 + i * 0.05).toFixed(2)}); }`).join(' ')}

.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); gap: 1.6rem; }
.triple { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .5rem; }
.triple img { display: block; width: 100%; height: auto; border-radius: 4px; background: var(--grid); }
.triple figcaption { font-size: .8125rem; color: var(--soft); padding-top: .25rem; }
.missing { border: 1px dashed var(--rule); border-radius: 4px; padding: .5rem; font-size: .8125rem; color: var(--soft); margin: 0; }
.photos { margin-top: 2rem; } summary { cursor: pointer; font-weight: 600; }
.scroll { overflow-x: auto; margin: .8rem 0; }
.scroll :is(th, td):first-child { position: sticky; left: 0; background: var(--page); }
.wide :is(th, td) { white-space: nowrap; }

@media (max-width: 1340px) {
  table { font-size: .8125rem; }
  th, td { padding: .4rem .4rem; }
  .cards .first { padding-left: 1rem; }
}
@media (max-width: 1180px) {
  .cards { font-size: .875rem; }
  .cards, .cards tbody, .cards tr, .cards td, .cards th { display: block; }
  .cards thead { display: none; }
  .cards caption { display: block; }
  .cards tbody { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); gap: 1rem; }
  .cards tbody tr { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: .7rem .9rem; }
  .cards tbody th { font-size: 1rem; padding: 0 0 .4rem; }
  .cards tbody td, .cards tbody td.first { display: flex; justify-content: space-between; gap: 1rem; padding: .2rem 0;
    border-top: 1px solid var(--grid); align-items: baseline; }
  .cards tbody td::before { content: attr(data-label); color: var(--soft); margin-right: auto; white-space: normal; overflow-wrap: anywhere; }
  .cards tbody th:first-child { position: static; background: none; }
  .cards td small { min-width: 5.5em; text-align: right; }
  .cards td.none { display: none; }
  .cards tbody td.text, .cards tbody td.text::before { display: block; }
}
@media (max-width: 760px) {
  .matrix, .matrix tbody { display: block; margin-left: 0; }
  .matrix tbody th::before { content: 'attacked: '; font-weight: 400; color: var(--soft); }
  .matrix thead { display: none; }
  .matrix tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.6rem, 1fr)); gap: 4px; border: 0; margin-bottom: 1rem; }
  .matrix tbody th { grid-column: 1 / -1; padding: .2rem 0; }
  .matrix tbody th:first-child { position: static; }
  .matrix td { min-width: 0; padding: .35rem .5rem; }
  .matrix td::before { content: attr(data-label); display: block; white-space: normal; overflow-wrap: anywhere; font-size: .75rem; font-weight: 600; }
}
@media print {
  @page { margin: 14mm; }
  :root { color-scheme: light; --page: #fff; --card: #fff; --ink: #000; --soft: #444; --rule: #bbb; --grid: #ddd;
    --clean: #0068a8; --protected: #c8500a; --both: #8b3a80; --impostor: #737b85; --held: #00664d; --held-back: #e9f6f1; --heat: 213 94 0;
    --series-0: #0068a8; --series-1: #c8500a; --series-2: #007a5c; --series-3: #8b3a80; --series-4: #8a6500; --series-5: #4b5563; }
  body { padding: 0; font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  nav { display: none; }
  section { padding-top: 1.2rem; } section + section { margin-top: 1.2rem; }
  .panel, .example, tr, .cards tbody tr { break-inside: avoid; }
  h2, h3, .legend { break-after: avoid; }
  .panels { grid-template-columns: repeat(3, 1fr); } .panels.large { grid-template-columns: repeat(2, 1fr); }
}
`
