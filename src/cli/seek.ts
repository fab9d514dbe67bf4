/**
 * lseek(2), which `node:fs` does not have: reads and writes at a place leave the position of the file where it is. WASI has it, for the
 * files that a module is given.
 */

/** A module that has a page of memory and nothing else: `(module (memory (export "memory") 1))`. */
const MODULE = Uint8Array.of(
  ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...[5, 3, 1, 0, 1],
  ...[7, 10, 1, 6, ...Buffer.from('memory'), 2, 0],
)
const FROM_THE_START = 0
const STDERR = 2

/** Moves the position of an open file, from which all who share it go on. False where that cannot be done. */
export function seekTo(file: number, position: number): boolean {
  const { emitWarning } = process
  try {
    // Node says on stderr that WASI is an experiment.
    process.emitWarning = () => {}
    const { WASI } = process.getBuiltinModule('node:wasi')
    const wasi = new WASI({ version: 'preview1', stderr: file })
    wasi.initialize(new WebAssembly.Instance(new WebAssembly.Module(MODULE)))
    const seek = wasi.wasiImport.fd_seek as (file: number, offset: bigint, whence: number, result: number) => number
    return seek(STDERR, BigInt(position), FROM_THE_START, 0) === 0
  } catch {
    return false
  } finally {
    process.emitWarning = emitWarning
  }
}
