/** A made-up evaluation with plausible figures: people, pairs and ranks are drawn, and everything is counted from them. */
import { crc32, deflateSync } from 'node:zlib'
import {
  type Evaluation,
  type Handled,
  type Handling,
  HISTOGRAM_BINS,
  type Identification,
  type PhotoResult,
  type PresetResult,
  RANKS,
  type Verification,
  type VictimResult,
} from '../../src/evaluate/results.ts'
import { random } from './random.ts'

const PEOPLE = ['Abdullah_Gul', 'Andre_Agassi', 'Carlos_Moya', 'Jennifer_Lopez', 'Mahmoud_Abbas', 'Zinédine <Z> Zidane']
const GALLERY = 4
const PROBES = 18
const DISTRACTORS = 300

/** Mean and spread of cosines: of different people, of one person's clean photos, and what protection takes off them. */
const VICTIMS = [
  { id: 'sirius', impostor: 0.05, genuine: 0.68, spread: 0.11, taken: 1, threshold: 0.4 },
  { id: 'foamliu', impostor: 0.04, genuine: 0.6, spread: 0.11, taken: 0.95, threshold: 0.3 },
  { id: 'faceplugin', impostor: 0.06, genuine: 0.61, spread: 0.12, taken: 0.7, threshold: 0.42 },
  { id: 'dlib', impostor: 0.78, genuine: 0.95, spread: 0.035, taken: 0.14, threshold: 0.9 },
]
const HELD_OUT = ['faceplugin', 'dlib']

/** How strong protection is, how far protected photos of one person lie apart, and what can be seen. */
const PRESETS: Readonly<Record<string, { strength: number; apart: number; lpips: number; psnr: number }>> = {
  paper: { strength: 1, apart: 0.35, lpips: 0.055, psnr: 35.4 },
  default: { strength: 0.98, apart: 0.7, lpips: 0.036, psnr: 37.9 },
  low: { strength: 0.72, apart: 0.5, lpips: 0.021, psnr: 40.8 },
  'fawkes-high': { strength: 0.42, apart: 0.2, lpips: 0.048, psnr: 33.9 },
}

/** What of the protection survives. */
const SURVIVING: Readonly<Record<Handling, number>> = {
  png: 1,
  jpeg95: 0.99,
  jpeg85: 0.96,
  jpeg75: 0.93,
  'half-size': 0.88,
  blur: 0.9,
  'other-detector': 0.97,
}

type Draw = (mean: number, spread: number) => number

function normal(seed: number): Draw {
  const next = random(seed)
  return (mean, spread) => {
    const radius = Math.sqrt(-2 * Math.log(1 - next()))
    return Math.max(-1, Math.min(1, mean + spread * radius * Math.cos(2 * Math.PI * next())))
  }
}

/** Ranks of probes among the impostors of a gallery, drawn. */
function identify(draw: Draw, genuine: number, spread: number, impostor: number): Identification {
  const others = (PEOPLE.length - 1) * GALLERY + DISTRACTORS
  const ranks = Array.from({ length: PROBES }, () => {
    const own = Math.max(...Array.from({ length: GALLERY }, () => draw(genuine, spread)))
    let rank = 1
    for (let i = 0; i < others; i++) if (draw(impostor, spread * 0.9) > own) rank++
    return rank
  })
  const found = (rank: number) => ranks.filter((each) => each <= rank).length / PROBES
  return {
    rank1: found(1),
    rank5: found(5),
    rank50: found(50),
    meanRank: ranks.reduce((a, b) => a + b) / PROBES,
    probes: PROBES,
    curve: RANKS.map(found),
  }
}

function verify(draw: Draw, pairs: number, mean: number, spread: number, own: number, strict: number): Verification {
  const cosines = Array.from({ length: pairs }, () => draw(mean, spread))
  const histogram = new Array<number>(HISTOGRAM_BINS).fill(0)
  for (const cosine of cosines)
    histogram[Math.min(HISTOGRAM_BINS - 1, Math.floor(((cosine + 1) / 2) * HISTOGRAM_BINS))]++
  return {
    pairs,
    meanCosine: cosines.reduce((a, b) => a + b) / pairs,
    accepted: cosines.filter((cosine) => cosine >= own).length / pairs,
    acceptedStrict: cosines.filter((cosine) => cosine >= strict).length / pairs,
    histogram,
  }
}

const strictOf = ({ impostor, spread }: (typeof VICTIMS)[number]) => impostor + 3.09 * spread * 0.9

function victimResult(victim: (typeof VICTIMS)[number], preset: string, seed: number): VictimResult {
  const { id, impostor, genuine, spread, taken, threshold } = victim
  const { strength, apart } = PRESETS[preset]
  const draw = normal(seed)
  const pairs = PROBES * GALLERY
  const both = (GALLERY * (GALLERY - 1) * PEOPLE.length) / 2
  const identification = (mean: number) => identify(draw, mean, spread, impostor)
  const verification = (count: number, mean: number) => verify(draw, count, mean, spread, threshold, strictOf(victim))
  const away = (surviving: number) => genuine - taken * strength * surviving
  const handled = (surviving: number): Handled => ({
    identification: identification(away(surviving)),
    verification: verification(pairs, away(surviving)),
  })
  const clean = { identification: identification(genuine), verification: verification(pairs, genuine) }
  const bare = handled(1)
  const together = genuine - (genuine - impostor) * apart
  const handlings = Object.fromEntries(
    Object.entries(SURVIVING).map(([name, surviving]) => [name, surviving === 1 ? bare : handled(surviving)]),
  )
  return {
    id,
    heldOut: HELD_OUT.includes(id),
    rank1Clean: clean.identification.rank1,
    rank1Protected: bare.identification.rank1,
    rank50Clean: clean.identification.rank50,
    rank50Protected: bare.identification.rank50,
    meanRankProtected: bare.identification.meanRank,
    verificationProtected: bare.verification.acceptedStrict,
    accuracyClean: (1 + clean.verification.accepted) / 2,
    accuracyProtected: (1 + bare.verification.accepted) / 2,
    clean,
    protected: bare,
    bothProtected: { identification: identification(together), verification: verification(both, together) },
    impostors: verify(draw, 8000, impostor, spread * 0.9, threshold, strictOf(victim)),
    handlings,
  }
}

function presetResult(name: string, seed: number): PresetResult {
  const { lpips, psnr, strength } = PRESETS[name]
  const draw = normal(seed)
  const photo = (person: string, number: number): PhotoResult => ({
    person,
    file: `${person}_${String(number).padStart(4, '0')}.jpg`,
    scale: 1,
    ssim: Math.min(1, draw(0.975, 0.004)),
    psnr: psnr + 20 * draw(0, 0.03),
    largestChange: Math.round(28 + 20 * draw(0, 0.2)),
    lpips: lpips * 2.4 * (1 + draw(0, 0.1)),
    lpipsHeldOut: lpips * (1 + draw(0, 0.15)),
    changedOutside: name === 'paper' ? 31_000 : 0,
    seconds: 11 + draw(0, 0.9),
    found: name !== 'paper' || number < GALLERY,
    cosine: Object.fromEntries(
      VICTIMS.map(({ id, genuine, taken, spread }) => [
        id,
        draw(Math.min(0.98, genuine + 0.3) - taken * strength, spread),
      ]),
    ),
  })
  const details = PEOPLE.flatMap((person) => Array.from({ length: GALLERY }, (_, i) => photo(person, i + 1)))
  const mean = (of: (photo: PhotoResult) => number) => details.reduce((sum, each) => sum + of(each), 0) / details.length
  const victims = Object.fromEntries(VICTIMS.map((victim, i) => [victim.id, victimResult(victim, name, seed + 1 + i)]))
  const atScale = (loss: number) =>
    Object.fromEntries(
      Object.values(victims).map(({ id, rank1Protected, protected: { verification } }) => [
        id,
        { rank1: Math.min(1, rank1Protected + loss), meanCosine: verification.meanCosine + loss / 2 },
      ]),
    )
  return {
    people: PEOPLE.length,
    photos: details.length,
    lpips: mean((each) => each.lpips),
    lpipsHeldOut: mean((each) => each.lpipsHeldOut ?? 0),
    ssim: mean((each) => each.ssim),
    psnr: mean((each) => each.psnr),
    secondsPerPhoto: mean((each) => each.seconds),
    surrogates: ['sirius', 'foamliu'],
    victims,
    details,
    scales: { 1: atScale(0), 3: atScale(0.02), 8: atScale(name === 'paper' ? 0.16 : 0.03) },
    pictures: PEOPLE.slice(0, 2).map((person, i) => ({ person, ...portraits(seed + i), amplified: 8 })),
  }
}

/** A face-like drawing before and after a little noise, and the noise, eight times as strong. */
function portraits(seed: number): { before: string; after: string; difference: string } {
  const size = 96
  const next = random(seed)
  const before = new Uint8Array(size * size * 3)
  const after = new Uint8Array(before.length)
  const difference = new Uint8Array(before.length)
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      const radius = Math.hypot((x - 48) / 30, (y - 50) / 38)
      const eye = Math.min(Math.hypot(x - 36, y - 42), Math.hypot(x - 60, y - 42)) < 4
      const mouth = Math.abs(x - 48) < 13 && Math.abs(y - 68) < 2.5
      const colour = radius > 1 ? [70, 96, 120] : eye ? [40, 32, 30] : mouth ? [150, 70, 70] : [224, 180, 152]
      for (let c = 0; c < 3; c++) {
        const at = (y * size + x) * 3 + c
        const change = radius > 1.1 ? 0 : Math.round((next() - 0.5) * 16)
        before[at] = colour[c] * (1 - 0.2 * Math.min(1, radius))
        after[at] = Math.max(0, Math.min(255, before[at] + change))
        difference[at] = 128 + change * 8
      }
    }
  return {
    before: pngAddress(before, size),
    after: pngAddress(after, size),
    difference: pngAddress(difference, size),
  }
}

/** A data URL of a PNG of size x size RGB pixels. */
function pngAddress(rgb: Uint8Array, size: number): string {
  const chunk = (type: string, data: Buffer) => {
    const content = Buffer.concat([Buffer.from(type, 'latin1'), data])
    const frame = Buffer.alloc(8)
    frame.writeUInt32BE(data.length, 0)
    frame.writeUInt32BE(crc32(content), 4)
    return Buffer.concat([frame.subarray(0, 4), content, frame.subarray(4)])
  }
  const head = Buffer.alloc(13)
  head.writeUInt32BE(size, 0)
  head.writeUInt32BE(size, 4)
  head.set([8, 2], 8) // 8 bits, RGB
  const rows = Buffer.alloc(size * (size * 3 + 1)) // each row begins with its filter: none
  for (let y = 0; y < size; y++) rows.set(rgb.subarray(y * size * 3, (y + 1) * size * 3), y * (size * 3 + 1) + 1)
  const png = Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', head),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ])
  return `data:image/png;base64,${png.toString('base64')}`
}

/** Four presets, two surrogates, two held-out recognisers, everything measured. The same every time. */
export function syntheticEvaluation(): Evaluation {
  const presets = Object.fromEntries(Object.keys(PRESETS).map((name, i) => [name, presetResult(name, 1000 * (i + 1))]))
  const attackers = [['sirius'], ['foamliu'], ['sirius', 'foamliu'], ['faceplugin']]
  const draw = normal(7)
  const rates = attackers.map((surrogates) =>
    VICTIMS.map(({ id }) =>
      surrogates.includes(id) ? Math.abs(draw(0, 0.02)) : Math.min(1, Math.abs(draw(0.5 / surrogates.length, 0.15))),
    ),
  )
  return {
    format: 'lowkey-gpu evaluation',
    version: 1,
    date: '2026-11-20T14:03:22.120Z',
    command:
      'lowkey-gpu evaluate photos/people --preset paper,default,low,fawkes-high --distractors photos/others --people 6 --gallery-per-person 4 --out out/evaluation',
    adapter: 'llvmpipe (LLVM 19.1.7, 256 bits), Vulkan, software',
    programVersion: '0.1.0',
    people: PEOPLE.length,
    galleryPerPerson: GALLERY,
    probes: PROBES,
    distractors: DISTRACTORS,
    withoutFace: 2,
    victims: VICTIMS.map((victim) => ({
      id: victim.id,
      threshold: victim.threshold,
      strictThreshold: strictOf(victim),
    })),
    presets,
    matrix: {
      preset: 'default',
      attackers: attackers.map((surrogates) => ({ name: surrogates.join('+'), surrogates })),
      victims: VICTIMS.map(({ id }) => id),
      rank1: rates,
      meanCosine: rates.map((row) => row.map((rate) => rate * 0.6 - 0.05)),
      acceptedStrict: rates.map((row) => row.map((rate) => rate * 0.4)),
    },
  }
}

const HOSTILE = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onload='alert(3)",
  '</title></style><script>alert(4)</script>',
  '\u202egnp.exe\u0007 &amp; \ud83d\ude00',
  'Unbroken'.repeat(40),
]

/** The same figures with names of people, files, presets and recognisers made to break out of a page, or off its edge. */
export function hostileEvaluation(): Evaluation {
  const evaluation = syntheticEvaluation()
  const renamed = (names: readonly string[]) => new Map(names.map((name, i) => [name, HOSTILE[i % HOSTILE.length]]))
  const people = renamed(PEOPLE)
  const ids = renamed(VICTIMS.map(({ id }) => id))
  const id = (old: string) => ids.get(old)!
  const keys = <T>(values: Readonly<Record<string, T>>) =>
    Object.fromEntries(Object.entries(values).map(([key, value]) => [id(key), value]))
  const preset = (result: PresetResult): PresetResult => ({
    ...result,
    surrogates: result.surrogates.map(id),
    victims: keys(
      Object.fromEntries(Object.entries(result.victims).map(([key, victim]) => [key, { ...victim, id: id(key) }])),
    ),
    details: result.details.map((photo) => ({
      ...photo,
      person: people.get(photo.person)!,
      file: `${people.get(photo.person)}.jpg`,
      cosine: keys(photo.cosine),
    })),
    scales: Object.fromEntries(Object.entries(result.scales).map(([scale, results]) => [scale, keys(results)])),
    pictures: result.pictures.map((picture) => ({ ...picture, person: people.get(picture.person)! })),
  })
  // The longest name last, so that it is a preset's as well.
  const names = renamed(Object.keys(evaluation.presets))
  names.set('fawkes-high', HOSTILE.at(-1)!)
  return {
    ...evaluation,
    command: `lowkey-gpu evaluate "${HOSTILE.join(' ')}" " onmouseover="alert(2)`,
    adapter: HOSTILE[0],
    programVersion: HOSTILE[1],
    date: HOSTILE[3],
    victims: evaluation.victims.map((facts) => ({ ...facts, id: id(facts.id) })),
    presets: Object.fromEntries(
      Object.entries(evaluation.presets).map(([name, result]) => [names.get(name)!, preset(result)]),
    ),
    matrix: {
      ...evaluation.matrix!,
      preset: HOSTILE[3],
      attackers: evaluation.matrix!.attackers.map(({ surrogates }) => ({
        name: surrogates.map(id).join('+'),
        surrogates: surrogates.map(id),
      })),
      victims: evaluation.matrix!.victims.map(id),
    },
  }
}
