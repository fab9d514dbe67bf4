/** The kernels of convolutions, best first for an adapter; the last runs everywhere. */
import { productKernels } from '../gemm/gpu.ts'
import { productLanes } from '../gemm/product.ts'
import type { Kernel, Target } from '../op.ts'
import { depthwise } from './depthwise.ts'
import { directForward, directTranspose, directWeightGradient } from './direct.ts'
import type { Geometry } from './geometry.ts'
import { canCount, forwardProduct, hasPhases, transposeProduct, weightGradientProduct } from './implicit.ts'
import { canFold, canUnfoldAll, productForward, productTranspose, productWeightGradient } from './lowered.ts'
import { canFilter, winograd } from './winograd.ts'
import { winogradTiles } from './winograd-tiles.ts'

/** Of conv2d. */
export function forwardKernels(g: Geometry, bias: boolean, gpu: Target): Kernel[] {
  const lanes = productLanes(gpu)
  if (g.c === g.groups) return [depthwise(g, bias, false, lanes) ?? [], directForward(g, bias)].flat()
  return [
    lanes > 0 && canFilter(g, false, gpu.maxBindingBytes) ? winograd(g, bias, false, lanes, gpu.maxBindingBytes) : [],
    lanes > 0 ? productForward(g, bias, lanes) : [],
    productKernels(forwardProduct(g, bias), gpu, winogradTiles(g, bias, false, gpu)),
  ].flat()
}

/** Of convTranspose2d, which has the geometry of the conv2d that it is the transpose of. */
export function transposeKernels(g: Geometry, bias: boolean, gpu: Target): Kernel[] {
  const lanes = productLanes(gpu)
  if (g.c === g.groups) return [depthwise(g, bias, true, lanes) ?? [], directTranspose(g, bias)].flat()
  return [
    lanes > 0 && canFilter(g, true, gpu.maxBindingBytes) ? winograd(g, bias, true, lanes, gpu.maxBindingBytes) : [],
    lanes > 0 && canFold(g) ? productTranspose(g, bias, lanes) : [],
    hasPhases(g)
      ? productKernels(transposeProduct(g, bias), gpu, winogradTiles(g, bias, true, gpu))
      : directTranspose(g, bias),
  ].flat()
}

/** Of conv2dWeightGradient. */
export function weightGradientKernels(g: Geometry, gpu: Target): Kernel[] {
  const lanes = productLanes(gpu)
  if (g.c === g.groups) return [directWeightGradient(g)]
  return [
    lanes > 0 && canUnfoldAll(g, gpu.maxBindingBytes) ? productWeightGradient(g, lanes) : [],
    canCount(g) ? productKernels(weightGradientProduct(g), gpu) : directWeightGradient(g),
  ].flat()
}
