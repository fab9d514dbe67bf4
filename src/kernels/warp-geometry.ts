/** WGSL that the kernels of the affine warp share: where an output pixel samples the image, and with which weights. */

/** Channels that one thread handles, so that places and weights are computed once for several. */
export const channelGroup = (channels: number): number => [4, 3, 2].find((n) => channels % n === 0) ?? 1

/**
 * The geometry that all kernels share. `weight` is evaluated alike by the forward and the backward kernel, so that one is the
 * other's adjoint to the last bits of f32. A place in the image is kept as whole pixels and the rest, so that the fractions
 * which weights are made of lose nothing to the distance from the image's corner: coefficients are split into multiples of
 * 2^-10, whose products with pixel numbers are exact, and small remainders.
 */
export const geometry = (antialias: boolean): string => `
struct Map {
  coarse: vec4f,   // image pixels per output pixel, row by row (a, b, c, d), in multiples of 2^-10
  fine: vec4f,     // and what is left of them
  origin: vec2f,   // pixel of the image at the output's corner, rounded down
  corner: vec2f,   // and what is left of it
  inverse: vec4f,  // output pixels per image pixel
  tents: vec4f,    // takes a distance in the image to units of the tents
  reach: vec2f,    // image pixels to either side of a place that can have a weight
  spread: vec2f,   // output pixels to either side that can weigh a pixel of the image
}
fn mapOf(m: u32) -> Map {
  let at = 6u * m;
  let l = vec4f(matrices[at], matrices[at + 1u], matrices[at + 3u], matrices[at + 4u]);
  let corner = vec2f(matrices[at + 2u], matrices[at + 5u]) - 0.5;
  let area = l.x * l.w - l.y * l.z;
  let invertible = abs(area) > 1e-12;
  var map: Map;
  map.coarse = round(l * 1024.0) / 1024.0;
  map.fine = l - map.coarse;
  map.origin = floor(corner);
  map.corner = corner - map.origin;
  map.inverse = vec4f(l.w, -l.y, -l.z, l.x) / select(1.0, area, invertible);
  map.tents = vec4f(1.0, 0.0, 0.0, 1.0);
  map.reach = vec2f(1.0);
  map.spread = abs(map.inverse.xz) + abs(map.inverse.yw);${
    antialias
      ? `
  let step = sqrt(vec2f(l.x * l.x + l.z * l.z, l.y * l.y + l.w * l.w));
  if (max(step.x, step.y) > 1.0) {
    let narrow = min(step, vec2f(1.0));
    map.tents = map.inverse * narrow.xxyy;
    map.reach = abs(l.xz / narrow.x) + abs(l.yw / narrow.y);
    map.spread = 1.0 / narrow;
  }`
      : ''
  }
  if (!invertible) {
    map.reach = vec2f(-1.0);
    map.spread = vec2f(-1.0);
  }
  return map;
}
struct Place {
  pixel: vec2f,
  rest: vec2f,
}
// Where in the image, in pixel indices, an output pixel samples.
fn placeOf(map: Map, column: i32, row: i32) -> Place {
  let to = vec2f(f32(column), f32(row)) + 0.5;
  let whole = map.coarse.xz * to.x + map.coarse.yw * to.y;
  let below = floor(whole);
  let small = map.fine.xz * to.x + map.fine.yw * to.y;
  return Place(map.origin + below, map.corner + (whole - below) + small);
}
// Weight of an image pixel at this distance from a place.
fn weight(map: Map, distance: vec2f) -> f32 {
  let t = max(vec2f(0.0), 1.0 - abs(${antialias ? 'fma(map.tents.xz, distance.xx, map.tents.yw * distance.yy)' : 'distance'}));
  return t.x * t.y;
}
// First x, first y, last x, last y of the pixels within reach.
fn around(centre: vec2f, reach: vec2f, low: vec2f, high: vec2f) -> vec4i {
  return vec4i(vec4f(max(ceil(centre - reach), low), min(floor(centre + reach), high)));
}`

/** Splits the thread's number into plane, row and column of maps with these extents. */
export const decompose = (height: string, width: string): string => `if (i >= p.count) { return; }
  let line = i / p.${width};
  let plane = line / p.${height};
  let column = i32(i - line * p.${width});
  let row = i32(line - plane * p.${height});`

/** A line of WGSL for each channel of a group. */
export const eachChannel = (group: number, line: (k: number) => string): string =>
  Array.from({ length: group }, (_, k) => line(k)).join(' ')

/** Visits the image pixels around the place of an output pixel: `c`, `r` from the place's whole pixel, with their weight `w`. */
export const gatherWeights = (body: string): string => `let map = mapOf(m);
  let place = placeOf(map, column, row);
  let box = around(place.rest, map.reach, vec2f(-1e9), vec2f(1e9));
  for (var r = box.y; r <= box.w; r++) {
    for (var c = box.x; c <= box.z; c++) {
      let w = weight(map, vec2f(f32(c), f32(r)) - place.rest);
      ${body}
    }
  }`
