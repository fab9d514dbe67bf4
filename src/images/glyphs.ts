/*
 * Letters for captions, 5 x 7 pixels, drawn for this project: text must come out the same on a machine without a single
 * installed font. Only what captions use; none of these letters reaches below the line.
 */

/** Pixels of a letter, and of the step from one to the next. */
export const GLYPH = { width: 5, height: 7, advance: 6 } as const

const DRAWN: Record<string, string> = {
  a: '..... ..... .###. ....# .#### #...# .####',
  b: '#.... #.... ####. #...# #...# #...# ####.',
  c: '..... ..... .###. #.... #.... #...# .###.',
  d: '....# ....# .#### #...# #...# #...# .####',
  e: '..... ..... .###. #...# ##### #.... .###.',
  f: '..##. .#..# .#... ###.. .#... .#... .#...',
  i: '..#.. ..... .##.. ..#.. ..#.. ..#.. .###.',
  n: '..... ..... #.##. ##..# #...# #...# #...#',
  o: '..... ..... .###. #...# #...# #...# .###.',
  r: '..... ..... #.##. ##..# #.... #.... #....',
  t: '.#... .#... ###.. .#... .#... .#..# ..##.',
  x: '..... ..... #...# .#.#. ..#.. .#.#. #...#',
  0: '.###. #...# #..## #.#.# ##..# #...# .###.',
  1: '..#.. .##.. ..#.. ..#.. ..#.. ..#.. .###.',
  2: '.###. #...# ....# ...#. ..#.. .#... #####',
  3: '##### ...#. ..#.. ...#. ....# #...# .###.',
  4: '...#. ..##. .#.#. #..#. ##### ...#. ...#.',
  5: '##### #.... ####. ....# ....# #...# .###.',
  6: '..##. .#... #.... ####. #...# #...# .###.',
  7: '##### ....# ...#. ..#.. .#... .#... .#...',
  8: '.###. #...# #...# .###. #...# #...# .###.',
  9: '.###. #...# #...# .#### ....# ...#. .##..',
  '.': '..... ..... ..... ..... ..... .##.. .##..',
  '%': '##... ##..# ...#. ..#.. .#... #..## ...##',
  ' ': '..... ..... ..... ..... ..... ..... .....',
}

/** Width of a text in pixels at the given size, without the space after its last letter. */
export function textWidth(text: string, scale: number): number {
  return scale * (text.length * GLYPH.advance - (GLYPH.advance - GLYPH.width))
}

/**
 * Calls `fill` for every square of `scale` x `scale` pixels of a text whose top left corner is at (0, 0).
 *
 * @throws {RangeError} a character has no glyph here
 */
export function drawText(text: string, scale: number, fill: (x: number, y: number, size: number) => void): void {
  for (const [i, character] of [...text].entries()) {
    const rows = DRAWN[character]?.split(' ')
    if (!rows) throw new RangeError(`drawText: no glyph for ${JSON.stringify(character)} in ${JSON.stringify(text)}`)
    rows.forEach((row, y) => {
      for (let x = 0; x < row.length; x++) {
        if (row[x] === '#') fill(scale * (i * GLYPH.advance + x), scale * y, scale)
      }
    })
  }
}
