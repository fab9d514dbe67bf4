/** Measurements as they are committed: nothing of the machine or of people in them, runs on the same people read together. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { parseResults, presetsIn, resultsOf, Strength, withoutPaths } from '../../build/docs/results.ts'
import type { Evaluation } from '../../src/evaluate/results.ts'
import { syntheticEvaluation } from '../support/evaluation.ts'

const folder = mkdtempSync(join(tmpdir(), 'results-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const measured = (): Evaluation => ({
  ...syntheticEvaluation(),
  processor: 'Some Processor, 2 cores',
  commit: 'abc1234',
})

/** The same run with other recognisers attacked. */
function attacking(surrogates: readonly string[]): Evaluation {
  const evaluation = measured()
  const presets = Object.entries(evaluation.presets).map(([name, preset]) => {
    const victims = Object.entries(preset.victims).map(([id, victim]) => {
      const judge = structuredClone(victim)
      // Each run has a figure of its own, to see which one was taken.
      judge.protected.identification.rank1 = surrogates.length / 10
      return [id, { ...judge, heldOut: !surrogates.includes(id) }]
    })
    return [name, { ...preset, surrogates, victims: Object.fromEntries(victims) }]
  })
  return { ...evaluation, presets: Object.fromEntries(presets) }
}

describe('what is committed of an evaluation', () => {
  test('has no names of people and files, no pictures, no folders', () => {
    const text = JSON.stringify(resultsOf([measured()], 'photos', 'auto'))
    expect(text).not.toMatch(/Agassi|Zidane|\.jpg|data:|photos\/|out\//)
    expect(text.length).toBeLessThan(30_000)
  })

  test('has the figures that were measured', () => {
    const evaluation = measured()
    const { runs } = resultsOf([evaluation], 'photos', 'auto')
    const victim = evaluation.presets.default.victims.dlib
    const kept = runs[0].presets.auto.victims.dlib
    expect(kept.protected.rank1).toBeCloseTo(victim.protected.identification.rank1, 4)
    expect(kept.bothProtected.accepted).toBeCloseTo(victim.bothProtected.verification.acceptedStrict, 4)
    expect(kept.handlings.jpeg75?.meanCosine).toBeCloseTo(victim.handlings.jpeg75!.verification.meanCosine, 4)
    expect(runs[0].processor).toBe('Some Processor, 2 cores')
  })

  test('an evaluation that does not name its processor is refused', () => {
    expect(() => resultsOf([syntheticEvaluation()], 'photos', 'auto')).toThrow('does not name the processor')
  })

  test('runs on other people are refused', () => {
    expect(() => resultsOf([measured(), { ...measured(), people: 5 }], 'photos', 'auto')).toThrow('runs 1 and 2')
    expect(() => parseResults('{"format":"lowkey-gpu evaluation","version":1}', 'a.json')).toThrow('a.json is no')
  })

  test('a recogniser is judged by the run that left it out, and attacked by the one that attacks most', () => {
    const all = ['sirius', 'dlib', 'faceplugin']
    const runs = [all, ...all.map((out) => all.filter((id) => id !== out))].map(attacking)
    const results = resultsOf(runs, 'photos', 'auto')
    expect(presetsIn(results)).toEqual(['paper', 'auto', 'low', 'fawkes-high'])
    const strength = new Strength(results, 'auto')
    expect(strength.main.surrogates).toEqual(all)
    for (const id of all) {
      expect(strength.attacked(id)?.protected.rank1).toBe(0.3)
      expect(strength.leftOut(id)?.protected.rank1).toBe(0.2)
    }
    expect(strength.attacked('foamliu')).toBeUndefined()
    expect(strength.leftOut('foamliu')?.protected.rank1).toBe(0.3)
  })
})

describe('the command', () => {
  test.each([
    [
      'lowkey-gpu evaluate /home/me/people --preset medium:drawn=6/.06/3 --out /tmp/x',
      'lowkey-gpu evaluate PEOPLE --preset medium:drawn=6/.06/3',
    ],
    [
      'lowkey-gpu evaluate -p low,high --distractors=/home/me/others me/people -q --people 3',
      'lowkey-gpu evaluate -p low,high --distractors OTHERS PEOPLE --people 3',
    ],
    ['lowkey-gpu evaluate /home/my photos/people', 'lowkey-gpu evaluate PEOPLE'],
  ])('%s', (command, kept) => expect(withoutPaths(command)).toBe(kept))

  test('an option that is not known may have a folder for its value', () => {
    expect(() => withoutPaths('lowkey-gpu evaluate a --weights /home/me')).toThrow('--weights')
  })
})

test('build/results.ts makes the file', () => {
  const file = join(folder, 'evaluation.json')
  writeFileSync(file, JSON.stringify(measured()))
  const made = execFileSync(process.execPath, [resolve(import.meta.dirname, '../../build/results.ts'), file], {
    encoding: 'utf8',
  })
  const results = parseResults(made, 'made.json')
  expect(results.photos).toContain('Labeled Faces in the Wild')
  expect(results.runs[0].command).toBe(
    'lowkey-gpu evaluate PEOPLE --preset paper,default,low,fawkes-high --distractors OTHERS --people 6 --gallery-per-person 4',
  )
})
