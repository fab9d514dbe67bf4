/** 300 megapixels, three times the largest camera sensor: 0.9 GB of pixels. Above it a small file may be a bomb. */
export const MAX_PIXELS = 300_000_000

/** The same memory, of samples of 16 bit and the 8-bit view of them. */
export const MAX_DEEP_PIXELS = 100_000_000
