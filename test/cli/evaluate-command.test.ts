/** `lowkey-gpu evaluate` as a process. */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Evaluation } from '../../src/evaluate/results.ts'
import { lowkey, room, says } from '../support/cli.ts'
import { dataBeside, isAtHand } from '../support/scope.ts'

const photos = dataBeside('photos')

describe('evaluate', () => {
  const cwd = room('evaluate')

  test('of nothing, or with options that fit nothing: exit code 2', async () => {
    mkdirSync(join(cwd, 'people/Ann'), { recursive: true })
    copyFileSync(join(import.meta.dirname, '../../examples/astronaut.png'), join(cwd, 'people/Ann/1.png'))
    for (const [args, message] of [
      [[], /name one folder of people/],
      [['absent'], /absent is no folder/],
      [['people/Ann'], /there is no folder in it/],
      [['people', '--people', '1'], /0 people have 5 photos or more .* 1 are asked for/],
      [['people', '--people', '0'], /--people takes a whole number from 1/],
      [['people', '--preset', 'medium,strongest'], /--preset: there is no preset "strongest"/],
      [['people', '--preset', 'medium, medium'], /--preset: medium is named twice/],
      [['people', '--scales', '1,none'], /--scales takes numbers from 1 to 100; got "none"/],
      [['people', '--people', '1', '--gallery-per-person', '1'], /0 people have 2 photos or more/],
    ] as const) {
      const outcome = await lowkey(['evaluate', ...args], { cwd })
      expect(outcome, args.join(' ')).toMatchObject({ code: 2, stdout: '', created: [] })
      expect(outcome.stderr).toMatch(message)
    }
  })

  test('help names the methods', async () => {
    const { code, stdout } = await lowkey(['evaluate', '--help'], { cwd })
    expect(code).toBe(0)
    expect(stdout).toMatch(/paper.*fawkes-low, fawkes-mid, fawkes-high/)
  })

  test.skipIf(!isAtHand(photos))('measures, goes on where it was interrupted, and says the same again', async () => {
    for (const person of readdirSync(join(photos, 'lfw')).sort().slice(0, 2)) {
      mkdirSync(join(cwd, 'lfw', person), { recursive: true })
      for (const photo of readdirSync(join(photos, 'lfw', person))
        .sort()
        .slice(0, 3)) {
        copyFileSync(join(photos, 'lfw', person, photo), join(cwd, 'lfw', person, photo))
      }
    }
    mkdirSync(join(cwd, 'strangers'))
    const [stranger] = readdirSync(join(photos, 'distractors')).sort()
    copyFileSync(join(photos, 'distractors', stranger), join(cwd, 'strangers', stranger))
    const args = ['evaluate', 'lfw', '--people', '2', '--gallery-per-person', '2', '--distractors', 'strangers']
    args.push('--preset', 'paper:steps=2', '--victims', 'sirius,faceplugin', '--hold-out', 'dlib,faceplugin')
    const kept = () =>
      readdirSync(join(cwd, 'evaluation'), { recursive: true, encoding: 'utf8' }).filter((file) =>
        file.endsWith('.png'),
      )

    const interrupted = await lowkey(args, {
      cwd,
      during: (child) => says(child, /photo 2 of 4/).then(() => child.kill('SIGINT')),
    })
    expect(interrupted.code, interrupted.stderr).toBe(130)
    expect(interrupted.created).not.toContain('evaluation/evaluation.json')
    const before = kept().map((file) => ({ file, time: statSync(join(cwd, 'evaluation', file)).mtimeMs }))
    expect(before.length).toBeGreaterThan(0)
    expect(before.length).toBeLessThan(4)

    const run = await lowkey([...args, '--json'], { cwd })
    expect(run.code, run.stderr).toBe(0)
    for (const { file, time } of before) expect(statSync(join(cwd, 'evaluation', file)).mtimeMs, file).toBe(time)
    expect(kept()).toHaveLength(4)
    const evaluation = JSON.parse(run.stdout) as Evaluation
    const written = JSON.parse(readFileSync(join(cwd, 'evaluation/evaluation.json'), 'utf8')) as Evaluation
    const { pictures } = written.presets['paper:steps=2']
    expect(pictures.map(({ person }) => person)).toEqual(readdirSync(join(cwd, 'lfw')).sort())
    // Pictures are for people: they are not on standard output.
    written.presets['paper:steps=2'].pictures = []
    expect(written).toEqual(evaluation)
    expect(readFileSync(join(cwd, 'evaluation/report.html'), 'utf8')).toMatch(/<html[\s\S]*paper:steps=2/)
    expect(evaluation).toMatchObject({
      ...{ format: 'lowkey-gpu evaluation', people: 2, galleryPerPerson: 2, probes: 2, distractors: 1, withoutFace: 0 },
      ...{ command: `lowkey-gpu ${args.join(' ')} --json`, matrix: null },
      victims: [{ id: 'sirius' }, { id: 'faceplugin' }],
    })
    const preset = evaluation.presets['paper:steps=2']
    expect(preset).toMatchObject({
      ...{ people: 2, photos: 4, surrogates: ['sirius'], lpipsHeldOut: null, scales: {} },
      victims: { sirius: { heldOut: false, rank1Clean: 1 }, faceplugin: { heldOut: true, rank1Clean: 1 } },
    })
    expect(preset.lpips).toBeGreaterThan(0.001)
    expect(preset.ssim).toBeGreaterThan(0.9)
    expect(preset.psnr).toBeGreaterThan(40)
    for (const photo of preset.details) {
      expect(photo).toMatchObject({ scale: 1, lpipsHeldOut: null, found: true })
      expect(photo.changedOutside).toBeGreaterThan(1000)
      // Noise of .005 and two steps of .0025, rounded.
      expect(photo.largestChange).toBeGreaterThanOrEqual(1)
      expect(photo.largestChange).toBeLessThanOrEqual(3)
      expect(photo.cosine.sirius).toBeLessThan(1)
      expect(photo.cosine.sirius).toBeGreaterThan(0.7)
    }
    const { sirius } = preset.victims
    expect(sirius.clean.verification.pairs).toBe(4)
    expect(sirius.bothProtected.verification.pairs).toBe(2)
    expect(sirius.impostors.pairs).toBe(3 * 3 + 6)
    expect(Object.keys(sirius.handlings)).toEqual(['png', 'jpeg95', 'jpeg85', 'jpeg75', 'half-size', 'blur'])
    expect(sirius.handlings.png).toEqual(sirius.protected)
    expect(sirius.handlings.blur?.verification.meanCosine).not.toBe(sirius.protected.verification.meanCosine)

    const table = await lowkey([...args, '--no-robustness', '--matrix', '--scales', '1'], {
      cwd,
      replaces: ['evaluation/evaluation.json', 'evaluation/report.html'],
    })
    expect(table.code, table.stderr).toBe(0)
    expect(table.stdout).toMatch(/^2 people, .* 2 clean probes; 1 photo of others/)
    expect(table.stdout).toMatch(/^sirius +attacked +100\.0% > \d+\.\d% /m)
    expect(table.stdout).toMatch(/^faceplugin +held out +100\.0% > /m)
    const again = JSON.parse(readFileSync(join(cwd, 'evaluation/evaluation.json'), 'utf8')) as Evaluation
    const [first, second] = [preset, again.presets['paper:steps=2']].map(({ victims, details }) => ({
      details,
      victims: Object.values(victims).map((victim) => ({ ...victim, handlings: {} })),
    }))
    expect(second).toEqual(first)
    expect(again.presets['paper:steps=2'].scales).toEqual({
      1: {
        sirius: expect.objectContaining({ meanCosine: sirius.protected.verification.meanCosine }),
        faceplugin: expect.objectContaining({ rank1: preset.victims.faceplugin.rank1Protected }),
      },
    })
    expect(again.matrix).toMatchObject({
      attackers: [{ name: 'sirius', surrogates: ['sirius'] }],
      victims: ['sirius', 'faceplugin'],
      rank1: [[sirius.rank1Protected, preset.victims.faceplugin.rank1Protected]],
    })
  })
})
