"""The generator of weights and inputs that the programs beside this file draw with; generator.ts is the same in TypeScript."""
import numpy as np


def mix(h):
    h = h ^ (h >> np.uint32(16))
    h = h * np.uint32(0x85EBCA6B)
    h = h ^ (h >> np.uint32(13))
    h = h * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def drawn(key, count):
    """`count` numbers in [0, 1), float64, that follow from the lowest 32 bits of a whole number."""
    key = mix(np.array([key & 0xFFFFFFFF], np.uint32))[0]
    return (mix(key ^ np.arange(count, dtype=np.uint32)) >> np.uint32(8)).astype(np.float64) / 2**24


def unit(seed, t, count):
    """The numbers of tensor `t` under a seed."""
    return drawn((seed * 0x9E3779B9) ^ (t * 0x85EBCA6B), count)
