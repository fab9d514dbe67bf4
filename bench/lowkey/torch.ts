/** The published loop in PyTorch, on the GPU that it finds (or the processor): bench/torch/lowkey.py with this engine's numbers. */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FEATURE_DIVISOR } from '../../src/attack/presets.ts'
import type { Gpu } from '../../src/device/gpu.ts'
import type { HalfOptions } from '../../src/graph/index.ts'
import { architectureOf } from '../../src/models/architectures.ts'
import type { TensorShapes } from '../../src/models/recording.ts'
import type { Configuration, Networks } from './configurations.ts'
import { type Area, areaOf, compileLoop, gradientOf, likenessOf } from './loop.ts'
import { type Budget, timeSteps } from './measure.ts'
import type { PeerStep } from './peers.ts'

const SCRIPT = fileURLToPath(new URL('../torch/lowkey.py', import.meta.url))

/** What a line of the script's output may hold. */
interface Line {
  torch?: string
  device?: string
  mode?: string
  msPerStep?: number
  quartiles?: [number, number]
  samples?: number
  objective?: number
  peakMiB?: number | null
  failed?: string
}

/** Writes the tensors that PyTorch cannot draw by itself; in one file, with an index. */
async function writeTensors(folder: string, { surrogates, lpips, drawn }: Networks): Promise<void> {
  const index: Record<string, readonly [shape: readonly number[], start: number]> = {}
  const parts: Float32Array[] = []
  let length = 0
  const add = (prefix: string, shapes: TensorShapes, weights: { tensor(name: string): { data: Float32Array } }) => {
    for (const [name, shape] of shapes) {
      const { data } = weights.tensor(name)
      index[`${prefix}/${name}`] = [shape, length]
      parts.push(data)
      length += data.length
    }
  }
  if (!drawn) for (const [k, { weights }] of surrogates.entries()) add(`${k}`, tensorsOf('mobilefacenet'), weights)
  add('lpips', tensorsOf('lpips-alex'), lpips.weights)
  await writeFile(join(folder, 'tensors.json'), JSON.stringify(index))
  await writeFile(join(folder, 'tensors.f32'), Buffer.concat(parts.map(bytesOf)))
}

const tensorsOf = (architecture: string): TensorShapes => architectureOf(architecture)!.tensors()

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Buffer =>
  Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength)

async function writeProblem(folder: string, networks: Networks, area: Area): Promise<void> {
  const { preset, matrices, mask } = area
  const problem = {
    height: area.height,
    width: area.width,
    masked: mask !== undefined,
    matrices: Object.fromEntries(matrices),
    networks: networks.surrogates.map(({ network: { alignment } }, k) => ({
      alignment,
      ...(networks.drawn?.[k] ?? { architecture: 'mobilefacenet' }),
    })),
    stepSize: preset.stepSize,
    lpipsWeight: preset.lpipsWeight,
    blur: preset.blur,
    divisor: FEATURE_DIVISOR,
  }
  await writeFile(join(folder, 'problem.json'), JSON.stringify(problem))
  for (const [name, planes] of Object.entries({ clean: area.clean, start: area.start, mask }))
    if (planes) await writeFile(join(folder, `${name}.f32`), bytesOf(planes))
  await writeTensors(folder, networks)
}

/** Runs the script; every line goes to `take` as it comes. Rejects with its last words where it fails. */
function runScript(folder: string, options: readonly string[], take: (line: Line) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const python = process.env.PYTHON ?? 'python3'
    const child = spawn(python, [SCRIPT, '--problem', folder, ...options], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
    })
    let [text, complaint] = ['', '']
    child.stdout.on('data', (data: Buffer) => {
      const lines = (text + data.toString()).split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) take(JSON.parse(line) as Line)
    })
    child.stderr.on('data', (data: Buffer) => (complaint = `${complaint}${data.toString()}`.slice(-1000)))
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(complaint.trim().split('\n').at(-1)))))
  })
}

export interface TorchOptions {
  budget: Budget
  halves?: HalfOptions
  report: (line: string) => void
}

/**
 * The loop of a configuration in every mode that PyTorch has there, after ours: on one device they could not take turns. Nothing, and a
 * report of why, where python3 (or what PYTHON names) has no torch.
 */
export async function measureTorch(
  gpu: Gpu,
  configuration: Configuration,
  { budget, halves, report }: TorchOptions,
): Promise<Record<string, PeerStep>> {
  const networks = await configuration.networks()
  const known = networks.drawn || networks.surrogates.every((s) => s.network.architecture?.startsWith('mobilefacenet '))
  if (!known || networks.lpips.trunk !== 'alex') {
    report('bench/torch/networks.py does not have the networks that were imported here')
    return {}
  }
  const area = await areaOf(gpu, networks, await configuration.photo(), configuration.preset.area)
  const plan = await compileLoop(gpu, networks, area, halves)
  const exact = await gradientOf(plan, area)
  const { clock: spread } = await timeSteps(gpu, plan, budget)
  plan.destroy()
  const folder = await mkdtemp(join(tmpdir(), 'lowkey-torch-'))
  const measured: Record<string, PeerStep> = {}
  const lines: Line[] = []
  try {
    await writeProblem(folder, networks, area)
    const steps = gpu.capabilities.software ? 1 : 10
    const options = ['--warmup=1', `--steps=${steps}`, `--samples=${budget.samples}`]
    await runScript(folder, options, (line) => lines.push(line))
    const { torch, device } = lines[0]
    for (const { mode, failed, objective = Number.NaN, msPerStep = 0, ...rest } of lines.slice(1)) {
      if (failed) {
        report(`torch ${mode}: ${failed}`)
        continue
      }
      const bytes = await readFile(join(folder, `gradient ${mode}.f32`))
      const gradient = new Float32Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length / 4)
      measured[`torch ${mode}`] = {
        msPerStep,
        msPerStepSpread: { median: msPerStep, quartiles: rest.quartiles!, samples: rest.samples! },
        ours: { msPerStep: spread.median, msPerStepSpread: spread },
        webgpu: false,
        ...likenessOf(exact, { objective, gradient }),
        note: `PyTorch ${torch} on ${device}${rest.peakMiB ? `, ${rest.peakMiB.toFixed(0)} MiB` : ''}`,
      }
    }
  } catch (error) {
    report(`no PyTorch: ${(error as Error).message}`)
  } finally {
    await rm(folder, { recursive: true })
  }
  return measured
}
