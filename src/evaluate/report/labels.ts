/** Names beside the points of a drawing. */
import type { Frame, Point } from './plot.ts'

export interface Label {
  x: number
  y: number
  anchor: 'start' | 'middle' | 'end'
}

/** Around a point, the best places first: right, left, above, below, and further away. */
const OFFSETS: readonly [x: number, y: number, anchor: Label['anchor']][] = [1, 1.9, 2.8].flatMap((far) => [
  [9, 4 * far, 'start'],
  [-9, 4 * far, 'end'],
  [0, -10 * far, 'middle'],
  [0, 8 + 10 * far, 'middle'],
  [8, -8 * far, 'start'],
  [-8, -8 * far, 'end'],
  [8, 5 + 10 * far, 'start'],
  [-8, 5 + 10 * far, 'end'],
])

interface Box {
  left: number
  right: number
  top: number
  bottom: number
}

/** What a name covers, about: letters of 11 units are 6.6 wide at most on average. */
export function boxOf({ x, y, anchor }: Label, name: string): Box {
  const width = name.length * 6.6
  const left = anchor === 'start' ? x : anchor === 'end' ? x - width : x - width / 2
  return { left, right: left + width, top: y - 10, bottom: y + 3 }
}

/** Area that two boxes share. */
export function overlap(a: Box, b: Box): number {
  const width = Math.min(a.right, b.right) - Math.max(a.left, b.left)
  const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)
  return Math.max(0, width) * Math.max(0, height)
}

/** Where each name goes so that it covers no point, no other name and no edge, as far as that can be had. */
export function placeLabels(points: readonly Point[], names: readonly string[], frame: Frame): Label[] {
  const bottom = frame.height - frame.bottom
  const outside = (box: Box) =>
    Math.max(0, -box.left) +
    Math.max(0, box.right - frame.width) +
    Math.max(0, -box.top) +
    Math.max(0, box.bottom - bottom)
  const marks: Box[] = points.map(([x, y]) => ({ left: x - 6, right: x + 6, top: y - 6, bottom: y + 6 }))
  const placed: Box[] = []
  return points.map(([px, py], i) => {
    const others = [...marks.filter((_, k) => k !== i), ...placed]
    const candidates = OFFSETS.map(([dx, dy, anchor]): Label => ({ x: px + dx, y: py + dy, anchor }))
    const costs = candidates.map((candidate) => {
      const box = boxOf(candidate, names[i])
      return outside(box) * 1000 + others.reduce((sum, other) => sum + overlap(box, other), 0)
    })
    const best = candidates[costs.indexOf(Math.min(...costs))]
    placed.push(boxOf(best, names[i]))
    return best
  })
}
