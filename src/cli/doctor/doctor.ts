/** `lowkey-gpu doctor`: what this machine offers, and whether everything works on it. */
import {
  type AdapterEntry,
  adapterName,
  describeAdapter,
  type Gpu,
  hasSelectLayer,
  installLines,
  NoAdapterError,
  type PciGpu,
  pciGpus,
} from '../../device/node.ts'
import { ACCEPTED, readPhoto } from '../../images/index.ts'
import { verifyWeights, weightsFolders } from '../../weights/node.ts'
import { adapterLines, pciLines } from '../adapters.ts'
import { findAdapters, openGpu } from '../driver-noise.ts'
import { Exit, exitCodes, messageOf, UsageError } from '../exit.ts'
import { parse } from '../options.ts'
import { version } from '../version.ts'
import { type SelfTest, selfTest } from './self-test.ts'

export const doctorHelp = `Usage: lowkey-gpu doctor [--gpu WHICH] [--json]

Shows the adapters, the GPUs on the PCI bus and how --gpu chooses among them, the adapter that is used with its features and limits, the weights, picture support, and a self-test that
computes a small network and its gradient on the GPU and compares it with the processor's result.

${exitCodes('doctor')}
`

/** Runs the command; resolves with the exit code. */
export async function doctor(args: string[]): Promise<number> {
  const { values, positionals } = parse(args, { gpu: { type: 'string' }, json: { type: 'boolean' } }, 'doctor')
  if (positionals.length > 0) throw new UsageError(`doctor takes no names; got "${positionals[0]}"`)
  const weights = await verifyWeights()
  const pictures = await pictureSupport()
  // Without a GPU the rest is told all the same.
  const adapters = await findAdapters().catch(noAdapter)
  const found = await openGpu(values.gpu).catch(noAdapter)
  using gpu = found instanceof NoAdapterError ? undefined : found
  const test = gpu && (await selfTest(gpu))
  const list = adapters instanceof NoAdapterError ? [] : adapters
  const gpus = pciGpus()
  if (values.json) {
    const row = {
      version,
      node: process.version,
      adapters: list,
      gpus: gpus.map((gpu, index) => ({ index, ...gpu })),
      choosable: hasSelectLayer(),
      adapter: gpu ? adapterName(gpu.capabilities) : null,
      capabilities: gpu?.capabilities ?? null,
      weights,
      pictures,
      selfTest: test ?? null,
    }
    process.stdout.write(`${JSON.stringify(row)}\n`)
  } else {
    const lines = [
      `lowkey-gpu ${version}, Node ${process.version}, ${process.platform} ${process.arch}`,
      '',
      'Adapters',
      ...adapterLines(list).map((line) => `  ${line}`),
      ...(gpus.length > 0 ? ['', 'GPUs on the PCI bus', ...pciLines(gpus).map((line) => `  ${line}`)] : []),
      ...unseen(gpus, list).map((line) => `  ${line}`),
      '',
      `Used: ${gpu ? adapterName(gpu.capabilities) : 'none'}`,
      ...(gpu ? facts(gpu).map((fact) => `  ${fact}`) : []),
      '',
      `Weights (looked for in ${weightsFolders().join(', ')})`,
      ...weights.map((w) => `  ${w.id.padEnd(20)} ${w.ok ? 'ok' : w.problem}`),
      '',
      `Pictures: ${pictures.text}`,
    ]
    if (test) lines.push(`Self-test: ${describeTest(test)}`)
    if (gpu) lines.push('', describeAdapter(gpu.capabilities))
    if (gpu?.capabilities.software) lines.push('', 'A faster software driver, or the driver of a GPU:', installLines())
    process.stdout.write(`${lines.join('\n')}\n`)
  }
  if (found instanceof NoAdapterError) throw found
  if (weights.some((w) => !w.ok)) return Exit.weights
  return test?.ok && pictures.ok ? Exit.done : Exit.failed
}

/** Why GPUs that are there may not be among the adapters, or cannot be chosen among. */
function unseen(gpus: readonly PciGpu[], adapters: readonly AdapterEntry[]): string[] {
  const lines: string[] = []
  const hardware = adapters.filter(({ software }) => !software)
  const nvidia = gpus.filter(({ vendor }) => vendor === NVIDIA)
  if (nvidia.length > 0 && !hardware.some(({ name }) => /nvidia|geforce|quadro|tesla|rtx|gtx/i.test(name))) {
    lines.push(
      'An NVIDIA GPU is on the bus, and no adapter is one: its driver lacks the Vulkan part. In a container',
      'NVIDIA_DRIVER_CAPABILITIES must include graphics (or be all); compute alone has CUDA without Vulkan.',
    )
  }
  if (gpus.length > 1 && !hasSelectLayer()) {
    lines.push(
      "Choosing among them by address or index takes Mesa's layer (package mesa-vulkan-drivers), whatever the GPU.",
    )
  }
  return lines
}

const NVIDIA = '10de'

function noAdapter(error: unknown): NoAdapterError {
  if (error instanceof NoAdapterError) return error
  throw error
}

function facts({ capabilities: c }: Gpu): string[] {
  const mib = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`
  const offered = (yes: boolean) => (yes ? 'yes' : 'no')
  const subgroups = c.subgroups ? `${c.subgroupMinSize}-${c.subgroupMaxSize} lanes` : 'no'
  const matrices = c.subgroupMatrix.length > 0 ? `${c.subgroupMatrix.length} configurations` : 'no'
  return [
    `f16 ${offered(c.f16)}, subgroups ${subgroups}, matrix units ${matrices}, timestamps ${offered(c.timestamps)}`,
    `binding ${mib(c.maxBindingBytes)}, buffer ${mib(c.maxBufferBytes)}, workgroup ${c.maxInvocations} invocations and ${Math.round(c.maxWorkgroupStorage / 1024)} KiB`,
  ]
}

const describeTest = ({ ok, error, gflops }: SelfTest): string =>
  `${ok ? 'passed' : 'FAILED'} (largest relative error ${error.toExponential(1)}; ${gflops.toFixed(1)} GFLOP/s in a 3x3 convolution)`

/** Whether photos can be decoded here, tried on a PNG of one pixel. */
async function pictureSupport(): Promise<{ ok: boolean; text: string }> {
  const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=='
  try {
    await readPhoto(Buffer.from(pixel, 'base64'))
    return { ok: true, text: `${ACCEPTED} (sharp)` }
  } catch (error) {
    return { ok: false, text: messageOf(error) }
  }
}
