/** Convolutions of the face networks (IR, ResNet): name, channels, extent, stride, output channels, extent of the kernel. */
export const LAYERS = [
  ['64@112', 64, 112, 1, 64, 3],
  ['128@56', 128, 56, 1, 128, 3],
  ['256@28', 256, 28, 1, 256, 3],
  ['256@14', 256, 14, 1, 256, 3],
  ['512 14->7 s2', 512, 14, 2, 512, 3],
  ['512@7', 512, 7, 1, 512, 3],
  ['1x1 256->1024@14', 256, 14, 1, 1024, 1],
] as const
