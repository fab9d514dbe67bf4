/** Presets of experiments: a known one with some constants changed, in one word. */
import { type Preset, type PresetName, presets } from '../attack/presets.ts'

/** Other names of presets. */
const ALIASES: Readonly<Record<string, string>> = { default: 'auto' }

/**
 * The preset of a text "NAME" or "NAME:field=value:...", for experiments: numbers, `true` and `false`, `none` for undefined, and lists
 * "a/b/c" for the numbers of blur (size/sigma) and drawn (degrees/scale/shift).
 * Throws RangeError for a name, a field or a value that there is not.
 */
export function presetOf(text: string): Preset {
  const [name, ...changes] = text.split(':')
  const known = Object.hasOwn(ALIASES, name) ? ALIASES[name] : name
  const preset: Preset | undefined = Object.hasOwn(presets, known) ? presets[known as PresetName] : undefined
  if (!preset) throw new RangeError(`there is no preset "${name}"; there are ${Object.keys(presets).join(', ')}`)
  const changed: Record<string, unknown> = { ...preset, name: text }
  for (const change of changes) {
    const [field, value = ''] = change.split('=')
    if (field === 'name' || !Object.hasOwn(preset, field))
      throw new RangeError(`"${change}": a preset has no "${field}" to set`)
    changed[field] = parsed(change, field, value, preset[field as keyof Preset])
  }
  return changed as unknown as Preset
}

const PARTS: Readonly<Record<string, readonly string[]>> = {
  blur: ['size', 'sigma'],
  drawn: ['degrees', 'scale', 'shift'],
}

function parsed(change: string, field: string, value: string, old: unknown): unknown {
  const parts = Object.hasOwn(PARTS, field) ? PARTS[field] : undefined
  if (parts) {
    if (value === 'none') return undefined
    const numbers = value.split('/').map(Number)
    if (numbers.length === parts.length && numbers.every(Number.isFinite))
      return Object.fromEntries(parts.map((part, i) => [part, numbers[i]]))
    throw new RangeError(`"${change}": ${field} takes ${parts.join('/')} or none`)
  }
  if (typeof old === 'number' && value !== '' && Number.isFinite(Number(value))) return Number(value)
  if (typeof old === 'boolean' && (value === 'true' || value === 'false')) return value === 'true'
  const words: Record<string, readonly string[]> = {
    area: ['photo', 'face'],
    rounding: ['floor', 'nearest'],
    lpipsOf: ['both', 'crop'],
  }
  if (typeof old === 'string' && words[field]?.includes(value)) return value
  throw new RangeError(`"${change}": that is no value of ${field}`)
}
