/** examples/kubernetes: the objects by Kubernetes' published schemas and rules, the image's files, and the Job's command as a pod runs it. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { shardOf } from '../../src/batch/shard.ts'
import { Exit } from '../../src/cli/exit.ts'
import { room } from '../support/cli.ts'
import { expectEachOnce } from '../support/ledgers.ts'
import { CHEAP, writePhotos } from '../support/many-photos.ts'
import { installPackages, typeErrors } from '../support/packages.ts'
import { everything, LONG } from '../support/scope.ts'
import { copyShaderCaches } from '../support/shader-caches.ts'

const repository = resolve(import.meta.dirname, '../..')
const example = join(repository, 'examples/kubernetes')

/** What is looked at of Kubernetes' objects. */
interface KubernetesObject {
  apiVersion: string
  kind: string
  metadata: { name: string }
  spec: object
}
interface Named {
  name: string
}
interface Container extends Named {
  args: string[]
  env: (Named & { value: string })[]
  securityContext: object
  volumeMounts: (Named & { mountPath: string })[]
}
interface FailureRule {
  action: string
  onExitCodes?: { containerName: string; values: number[] }
  onPodConditions?: object[]
}
interface Job extends KubernetesObject {
  spec: {
    completionMode: string
    completions: number
    maxFailedIndexes: number
    podFailurePolicy: { rules: FailureRule[] }
    template: {
      metadata: { labels: object }
      spec: {
        restartPolicy: string
        securityContext: { runAsUser: number; runAsGroup: number }
        containers: Container[]
        volumes: (Named & { persistentVolumeClaim?: { claimName: string } })[]
      }
    }
  }
}

/** Reads objects, writes what Kubernetes' schema of each kind says; empty where it fits. The package is for `import` only. */
const VALIDATOR = `
import { readFileSync } from 'node:fs'
const errors = []
for (const object of JSON.parse(readFileSync(0, 'utf8'))) {
  const { [object.kind]: Model } = await import('kubernetes-models/' + object.apiVersion)
  try {
    new Model(object).validate()
    errors.push('')
  } catch (error) {
    errors.push(error.message)
  }
}
console.log(JSON.stringify(errors))
`

describe.skipIf(!everything)(`the Kubernetes objects${LONG}`, () => {
  let folder: string
  let notInstalled: string | undefined
  let objects: KubernetesObject[]
  let job: Job

  beforeAll(() => {
    folder = room('kubernetes')
    notInstalled = installPackages('test/scale/kubernetes', folder)
    if (notInstalled !== undefined) return
    const require = createRequire(join(folder, 'package.json'))
    const { parseAllDocuments } = require('yaml')
    objects = ['volumes.yaml', 'job.yaml'].flatMap((name) =>
      parseAllDocuments(readFileSync(join(example, name), 'utf8')).map((document: { toJS(): KubernetesObject }) =>
        document.toJS(),
      ),
    )
    job = objects.find(({ kind }) => kind === 'Job') as Job
    writeFileSync(join(folder, 'validate.mjs'), VALIDATOR)
  })

  /** What the published schemas say of each; empty where an object fits. */
  function schemaErrors(each: readonly object[]): string[] {
    const input = JSON.stringify(each)
    const said = execFileSync(process.execPath, [join(folder, 'validate.mjs')], {
      input,
      encoding: 'utf8',
      cwd: folder,
    })
    return JSON.parse(said)
  }

  /** Fields that no type knows: schemas let them pass, the API server does not. */
  function unknownFields(each: readonly KubernetesObject[]): string {
    const at = join(folder, 'types')
    mkdirSync(at, { recursive: true })
    const lines = each.map(
      (object, i) =>
        `import type { I${object.kind} as I${i} } from 'kubernetes-models/${object.apiVersion}'\n` +
        `export const o${i}: I${i} = ${JSON.stringify(object)}\n`,
    )
    writeFileSync(join(at, 'objects.ts'), lines.join('\n'))
    const compilerOptions = { strict: true, noEmit: true, skipLibCheck: true, types: [], module: 'nodenext' }
    writeFileSync(join(at, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
    return typeErrors(at)
  }

  test('are what the published schemas want', ({ skip }) => {
    if (notInstalled) skip(notInstalled)
    expect(objects.map(({ kind }) => kind)).toEqual([
      'PersistentVolumeClaim',
      'PersistentVolumeClaim',
      'Job',
      'NetworkPolicy',
    ])
    expect(schemaErrors(objects)).toEqual(objects.map(() => ''))
    expect(unknownFields(objects)).toBe('')
  })

  test('would be refused with a wrong value or an unknown field', ({ skip }) => {
    if (notInstalled) skip(notInstalled)
    const wrong = [{ completions: '16' }, { completionMode: 'indexed' }, { podFailurePolicy: { rules: [{}] } }]
    const errors = schemaErrors(wrong.map((change) => ({ ...job, spec: { ...job.spec, ...change } })))
    expect(errors).toEqual(wrong.map((change) => expect.stringContaining(Object.keys(change)[0])))
    const misspelt = { ...job, spec: { ...job.spec, backoffLimitPerIndexes: 3 } }
    expect(unknownFields([misspelt])).toContain('backoffLimitPerIndexes')
  })

  test('keep the rules that the API server has beyond its schemas', ({ skip }) => {
    if (notInstalled) skip(notInstalled)
    const { spec } = job
    const pod = spec.template.spec
    const [container] = pod.containers
    // Of Jobs with podFailurePolicy and backoffLimitPerIndex.
    expect(pod.restartPolicy).toBe('Never')
    expect(spec.completionMode).toBe('Indexed')
    expect(spec.maxFailedIndexes).toBeLessThanOrEqual(spec.completions)
    for (const { action, onExitCodes, onPodConditions } of spec.podFailurePolicy.rules) {
      expect(['Ignore', 'FailJob', 'FailIndex', 'Count']).toContain(action)
      expect(Boolean(onExitCodes)).not.toBe(Boolean(onPodConditions))
      if (!onExitCodes) continue
      expect(pod.containers.map(({ name }) => name)).toContain(onExitCodes.containerName)
      const { values } = onExitCodes
      expect(values, 'in order, each once').toEqual([...new Set(values)].sort((a, b) => a - b))
      expect(values).not.toContain(0)
    }
    // What is mounted is there, and what is claimed.
    const volumes = new Map(pod.volumes.map((volume) => [volume.name, volume]))
    expect(container.volumeMounts.map(({ name }) => name).sort()).toEqual([...volumes.keys()].sort())
    const claims = objects.filter(({ kind }) => kind === 'PersistentVolumeClaim').map(({ metadata }) => metadata.name)
    for (const { persistentVolumeClaim } of volumes.values())
      if (persistentVolumeClaim) expect(claims).toContain(persistentVolumeClaim.claimName)
    // No network for these pods.
    const policy = objects.find(({ kind }) => kind === 'NetworkPolicy')!
    expect(policy.spec).toEqual({
      podSelector: { matchLabels: spec.template.metadata.labels },
      policyTypes: ['Ingress', 'Egress'],
    })
    // Nobody special, as the restricted Pod Security Standard wants.
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } })
    expect(container.securityContext).toMatchObject({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
  })

  test('know how many shards there are, and what every exit code means', ({ skip }) => {
    if (notInstalled) skip(notInstalled)
    const { spec } = job
    const env = Object.fromEntries(spec.template.spec.containers[0].env.map(({ name, value }) => [name, value]))
    expect(env.LOWKEY_SHARD_COUNT).toBe(`${spec.completions}`)
    const codesOf = (action: string) =>
      spec.podFailurePolicy.rules
        .filter((rule) => rule.action === action)
        .flatMap(({ onExitCodes }) => onExitCodes?.values ?? [])
    expect(codesOf('Ignore')).toEqual([Exit.again])
    expect(codesOf('FailJob')).toEqual([Exit.usage, Exit.weights])
    expect(codesOf('FailIndex')).toEqual([Exit.failed, Exit.noFace])
  })

  test('run as pods do: each index its shard, as nobody special, without network', async ({ skip }) => {
    if (notInstalled) skip(notInstalled)
    const { spec } = job
    const [container] = spec.template.spec.containers
    const { runAsUser: uid, runAsGroup: gid } = spec.template.spec.securityContext
    const root = process.getuid?.() === 0
    const photos = ['trip/IMG_0001.png', 'trip/IMG_0002.png']
    const volume = (name: string): string => join(folder, name)
    for (const name of ['photos', 'protected', 'tmp']) mkdirSync(volume(name))
    await writePhotos(volume('photos'), photos)
    copyShaderCaches(volume('tmp'))
    if (root) execFileSync('chown', ['-R', `${uid}:${gid}`, volume('protected'), volume('tmp')])
    chmodSync(folder, 0o755)
    const mounts = new Map(container.volumeMounts.map(({ name, mountPath }) => [`${mountPath}`, volume(name)]))
    const args = container.args.map((word) => mounts.get(word) ?? word)
    const indexes = photos.map((photo) => shardOf(photo, spec.completions) - 1)
    expect(new Set(indexes).size, 'numbered photos are in different shards').toBe(photos.length)
    const empty = [...Array(spec.completions).keys()].find((index) => !indexes.includes(index))!
    for (const index of [...indexes, empty]) {
      const command = [process.execPath, join(repository, 'src/cli/main.ts'), ...args, ...CHEAP, '--steps', '2']
      const [program, ...rest] = root
        ? ['unshare', '--net', '--setuid', `${uid}`, '--setgid', `${gid}`, ...command]
        : command
      const run = spawnSync(program, rest, {
        cwd: volume('tmp'),
        encoding: 'utf8',
        env: {
          ...Object.fromEntries(container.env.map(({ name, value }) => [name, value])),
          // What Kubernetes adds, and the image.
          JOB_COMPLETION_INDEX: `${index}`,
          PATH: process.env.PATH,
          HOME: volume('tmp'),
          XDG_CACHE_HOME: volume('tmp'),
          XDG_RUNTIME_DIR: volume('tmp'),
          VK_DRIVER_FILES: process.env.VK_DRIVER_FILES,
        },
      })
      expect(run.status, run.stderr).toBe(Exit.done)
    }
    await expectEachOnce(volume('protected'), photos)
  })

  test('the image has what its build needs, and what runs', () => {
    const containerfile = readFileSync(join(example, 'Containerfile'), 'utf8').replaceAll('\\\n', '')
    const instructions = containerfile.split('\n').filter((line) => /^[A-Z]+ /.test(line))
    const argumentsOf = (name: string) =>
      instructions.filter((line) => line.startsWith(`${name} `)).map((line) => line.slice(name.length + 1).trim())
    const copies = argumentsOf('COPY').map((line) => line.split(/\s+/))
    const allowed = readFileSync(join(example, 'Containerfile.dockerignore'), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1))

    // First stage: only what is copied, and that only where the ignore file lets it through; then what `npm ci` runs, but for downloads.
    const stage = room('image-build')
    for (const [first, ...words] of copies) {
      if (first.startsWith('--from=')) continue
      const [target] = words.splice(-1)
      for (const source of [first, ...words]) {
        expect(allowed, 'the ignore file').toContain(source)
        cpSync(join(repository, source), join(stage, target === './' ? source : target), { recursive: true })
      }
    }
    symlinkSync(join(repository, 'node_modules'), join(stage, 'node_modules'))
    const scripts = JSON.parse(readFileSync(join(stage, 'package.json'), 'utf8')).scripts
    expect(scripts.prepare).toBe('npm run build && npm run weights')
    execFileSync('npm', ['run', 'prepare'], { cwd: stage, stdio: 'pipe' })

    // Second stage: what is copied from the first is all that the command has.
    const image = room('image')
    const entry: string[] = JSON.parse(argumentsOf('ENTRYPOINT')[0])
    const workdir = argumentsOf('WORKDIR')
    for (const [from, source, target] of copies.filter(([first]) => first === '--from=build')) {
      expect(from).toBe('--from=build')
      const path = join(stage, source.replace(/^\/src\//, ''))
      cpSync(path, join(image, target === './' ? source.replace(/^\/src\//, '') : target), {
        recursive: true,
        verbatimSymlinks: true,
      })
    }
    const script = entry.at(-1)!
    expect(workdir).toContain(dirname(dirname(script)))
    expect(existsSync(join(image, script.replace(`${dirname(dirname(script))}/`, '')))).toBe(true)
    const run = spawnSync(process.execPath, [join(image, 'dist/cli.js'), 'weights', 'verify'], {
      cwd: image,
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '', LOWKEY_HOME: join(image, 'none') },
    })
    expect(run, run.stderr).toMatchObject({ status: 0 })
    // Not root, and known by number, as runAsNonRoot wants.
    expect(argumentsOf('USER').at(-1)).toBe('1000:1000')
  })
})
