/**
 * Python's pickle format, the part that PyTorch's files are made of (protocols 2 to 5). A pickle is a program for a small
 * stack machine; here it can build lists, tuples, dictionaries, numbers and strings, and everything else is decided by the
 * caller, who is asked for each name (`module.name`) the pickle refers to. Nothing of the pickle is ever executed.
 * https://github.com/python/cpython/blob/3.13/Lib/pickletools.py
 */
import { WeightsError } from './errors.ts'

/** A pickle that is damaged, cut short, or uses what a file of numbers has no use for. */
export class PickleError extends WeightsError {
  override name = 'PickleError'
}

/** A function that a pickle may call with arguments it built; it checks them itself. */
export type PickleFunction = (...args: unknown[]) => unknown

/** What the world around a pickle gives it. Both throw for what they do not know. */
export interface PickleWorld {
  /** The meaning of a name: a PickleFunction to be called, or any token that other calls understand. */
  global(module: string, name: string): unknown
  /** The object behind a persistent id. */
  persistent(id: unknown): unknown
}

/** What a call makes where the pickle then sets the object's state, as it does with numpy's arrays. */
export interface PickleObject {
  /** Takes the state, checks it, and throws for what it does not know. */
  setState(state: unknown): void
}

const isObject = (value: unknown): value is PickleObject =>
  typeof value === 'object' && value !== null && typeof (value as Partial<PickleObject>).setState === 'function'

/** A value of a pickle for messages: of text the beginning, of anything but texts and numbers only what it is. */
export function briefly(value: unknown): string {
  if (typeof value === 'string') return value.length > 80 ? `${value.slice(0, 80)}...` : value
  return typeof value === 'number' || typeof value === 'bigint' ? `${value}` : `(a ${typeof value})`
}

const MARK = Symbol('mark')

/**
 * More steps than a network's file takes (a tensor about 50, a network at most some thousand tensors). Every step may make an object
 * out of a single byte.
 */
const STEP_LIMIT = 2_000_000

/**
 * Runs the pickle that starts at byte `at`. Lists and tuples become arrays, dictionaries Maps, bytes views of `bytes`, integers numbers
 * where they are safe and bigints elsewhere.
 *
 * @param file the file's name, for messages
 * @returns the value, and the byte after the pickle
 * @throws PickleError for anything that is no pickle or that this reader does not take
 */
export function unpickle(
  bytes: Uint8Array,
  at: number,
  world: PickleWorld,
  file: string,
): { value: unknown; end: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const stack: unknown[] = []
  const memo = new Map<number, unknown>()
  const damaged = (problem: string) => new PickleError(file, `its pickle at byte ${at}: ${problem}`)

  const take = (count: number): number => {
    const start = at
    if (count > bytes.length - start) throw damaged('ends too early')
    at += count
    return start
  }
  const u8 = () => bytes[take(1)]
  const u16 = () => view.getUint16(take(2), true)
  const u32 = () => view.getUint32(take(4), true)
  const u64 = () => Number(view.getBigUint64(take(8), true))
  const text = (length: number): string => {
    const start = take(length)
    return new TextDecoder().decode(bytes.subarray(start, start + length))
  }
  /** Bytes as they are, and Python 2's texts, of which nobody knows the encoding: one character a byte. */
  const binary = (length: number): Uint8Array => {
    const start = take(length)
    return bytes.subarray(start, start + length)
  }
  const oldText = (length: number): string => {
    const held = binary(length)
    const parts: string[] = []
    for (let i = 0; i < length; i += 4096) parts.push(String.fromCharCode(...held.subarray(i, i + 4096)))
    return parts.join('')
  }
  const line = (): string => {
    const end = bytes.indexOf(0x0a, at)
    if (end < 0) throw damaged('ends inside a line')
    const found = text(end - at)
    at++
    return found
  }
  const integer = (length: number): number | bigint => {
    const start = take(length)
    let value = 0n
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[start + i])
    const signed = BigInt.asIntN(8 * length, value)
    return BigInt(Number.MIN_SAFE_INTEGER) <= signed && signed <= BigInt(Number.MAX_SAFE_INTEGER)
      ? Number(signed)
      : signed
  }

  const pop = (): unknown => {
    if (stack.length === 0 || stack.at(-1) === MARK) throw damaged('takes from an empty stack')
    return stack.pop()
  }
  const top = (): unknown => {
    if (stack.length === 0 || stack.at(-1) === MARK) throw damaged('looks at an empty stack')
    return stack.at(-1)
  }
  const popToMark = (): unknown[] => {
    const mark = stack.lastIndexOf(MARK)
    if (mark < 0) throw damaged('has no mark on its stack')
    const values = stack.splice(mark)
    return values.slice(1)
  }
  const popTuple = (length: number): void => {
    const values = Array.from({ length }, pop)
    stack.push(values.reverse())
  }
  const append = (values: readonly unknown[]): void => {
    const list = top()
    if (!Array.isArray(list)) throw damaged('appends to what is no list')
    for (const value of values) list.push(value)
  }
  const setItems = (values: readonly unknown[]): void => {
    const map = top()
    if (!(map instanceof Map)) throw damaged('sets an item of what is no dictionary')
    if (values.length % 2 !== 0) throw damaged('sets an item without a value')
    for (let i = 0; i < values.length; i += 2) map.set(values[i], values[i + 1])
  }
  const recall = (index: number): void => {
    if (!memo.has(index)) throw damaged(`has no memo ${index}`)
    stack.push(memo.get(index))
  }
  const reduce = (): void => {
    const args = pop()
    const callable = pop()
    if (typeof callable !== 'function' || !Array.isArray(args)) throw damaged('calls what cannot be called')
    stack.push(callable(...args))
  }

  for (let step = 0; ; step++) {
    if (step > STEP_LIMIT) throw damaged('is longer than that of any network')
    const opcode = u8()
    switch (opcode) {
      case 0x80: {
        // PROTO
        const protocol = u8()
        if (protocol < 2 || protocol > 5) throw damaged(`protocol ${protocol} is not one of 2 to 5`)
        break
      }
      case 0x95: // FRAME: a hint for buffered readers
        take(8)
        break
      case 0x2e: {
        // STOP
        const value = pop()
        if (stack.length > 0) throw damaged('leaves more than one value')
        return { value, end: at }
      }
      case 0x28: // MARK
        stack.push(MARK)
        break
      case 0x4e: // NONE
        stack.push(null)
        break
      case 0x88: // NEWTRUE
        stack.push(true)
        break
      case 0x89: // NEWFALSE
        stack.push(false)
        break
      case 0x4b: // BININT1
        stack.push(u8())
        break
      case 0x4d: // BININT2
        stack.push(u16())
        break
      case 0x4a: // BININT
        stack.push(integer(4))
        break
      case 0x8a: // LONG1
        stack.push(integer(u8()))
        break
      case 0x47: // BINFLOAT, the one big-endian number of the format
        stack.push(view.getFloat64(take(8), false))
        break
      case 0x58: // BINUNICODE
        stack.push(text(u32()))
        break
      case 0x8c: // SHORT_BINUNICODE
        stack.push(text(u8()))
        break
      case 0x55: // SHORT_BINSTRING
        stack.push(oldText(u8()))
        break
      case 0x54: // BINSTRING
        stack.push(oldText(u32()))
        break
      case 0x43: // SHORT_BINBYTES
        stack.push(binary(u8()))
        break
      case 0x42: // BINBYTES
        stack.push(binary(u32()))
        break
      case 0x8e: // BINBYTES8
        stack.push(binary(u64()))
        break
      case 0x5d: // EMPTY_LIST
      case 0x29: // EMPTY_TUPLE
        stack.push([])
        break
      case 0x7d: // EMPTY_DICT
        stack.push(new Map())
        break
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        popTuple(opcode - 0x84)
        break
      case 0x74: // TUPLE
        stack.push(popToMark())
        break
      case 0x61: {
        // APPEND
        const value = pop()
        append([value])
        break
      }
      case 0x65: // APPENDS
        append(popToMark())
        break
      case 0x73: {
        // SETITEM
        const value = pop()
        const key = pop()
        setItems([key, value])
        break
      }
      case 0x75: // SETITEMS
        setItems(popToMark())
        break
      case 0x71: // BINPUT
        memo.set(u8(), top())
        break
      case 0x72: // LONG_BINPUT
        memo.set(u32(), top())
        break
      case 0x94: // MEMOIZE
        memo.set(memo.size, top())
        break
      case 0x68: // BINGET
        recall(u8())
        break
      case 0x6a: // LONG_BINGET
        recall(u32())
        break
      case 0x63: {
        // GLOBAL
        const module = line()
        stack.push(world.global(module, line()))
        break
      }
      case 0x93: {
        // STACK_GLOBAL
        const name = pop()
        const module = pop()
        if (typeof module !== 'string' || typeof name !== 'string') throw damaged('names an object by what is no text')
        stack.push(world.global(module as string, name as string))
        break
      }
      case 0x51: // BINPERSID
        stack.push(world.persistent(pop()))
        break
      case 0x52: // REDUCE
      case 0x81: // NEWOBJ: a class called with arguments
        reduce()
        break
      case 0x62: {
        // BUILD: the state of an object; of a dictionary it is notes such as PyTorch's _metadata
        const state = pop()
        const object = top()
        if (isObject(object)) object.setState(state)
        else if (!(object instanceof Map)) throw damaged('sets attributes of what is no dictionary')
        break
      }
      default:
        throw damaged(`has the opcode 0x${opcode.toString(16).padStart(2, '0')}, which files of numbers do not use`)
    }
  }
}
