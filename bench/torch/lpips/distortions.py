"""Distorted photos: what a perceptual distance meets apart from attacks, and how well two of them agree there.

Pictures are (n, 3, h, w) in -1..1, strengths in the same unit. `random` is a `random.Random`; tensors are drawn by torch's own generator.
"""

import io
import math
import random as randoms

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F


def crops(photos, count, side, random):
    """Squares of `side` to twice that of photos drawn (bytes), shrunk to `side`, half of them mirrored: (count, 3, side, side)."""
    found = []
    for _ in range(count):
        photo = photos[random.randrange(len(photos))]
        height, width = photo.shape[1:]
        size = min(random.randrange(side, 2 * side + 1), height, width)
        y, x = random.randrange(height - size + 1), random.randrange(width - size + 1)
        crop = photo[None, :, y : y + size, x : x + size].float() / 127.5 - 1
        crop = F.interpolate(crop, side, mode="bilinear", align_corners=False, antialias=True)
        found.append(crop.flip(3) if random.random() < 0.5 else crop)
    return torch.cat(found)


def blurred(x, sigma):
    """By a Gaussian of `sigma` pixels, cut off at twice that."""
    radius = max(1, int(2 * sigma))
    line = torch.exp(-torch.arange(-radius, radius + 1, dtype=x.dtype) ** 2 / (2 * sigma**2))
    line = line / line.sum()
    x = F.conv2d(F.pad(x, (radius, radius, 0, 0), "reflect"), line.view(1, 1, 1, -1).repeat(3, 1, 1, 1), groups=3)
    return F.conv2d(F.pad(x, (0, 0, radius, radius), "reflect"), line.view(1, 1, -1, 1).repeat(3, 1, 1, 1), groups=3)


def jpeg(x, quality):
    found = []
    for picture in x:
        file = io.BytesIO()
        pixels = ((picture + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        found.append(torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1).float() / 127.5 - 1)
    return torch.stack(found)


def smooth_noise(x, cell):
    """Normal noise in cells of `cell` pixels with bicubic interpolation between, of the shape of x."""
    noise = torch.randn(len(x), 3, max(2, x.shape[2] // cell), max(2, x.shape[3] // cell))
    return F.interpolate(noise, x.shape[2:], mode="bicubic", align_corners=False)


def warped(x, strength):
    """Moved smoothly by up to about .15 times `strength` of half a side."""
    grid = F.affine_grid(torch.eye(2, 3)[None].repeat(len(x), 1, 1), x.shape, align_corners=False)
    grid = grid + strength * 0.15 * smooth_noise(x, 16)[:, :2].permute(0, 2, 3, 1)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def patched(x, strength, random):
    """Noise in blotches that cover about a third."""
    mask = (smooth_noise(x, random.choice([8, 16, 32]))[:, :1] > 0.5).float()
    return x + mask * 2 * strength * smooth_noise(x, random.choice([2, 4]))


def recoloured(x, strength, random):
    return x * (1 + random.uniform(-strength, strength)) + strength * torch.randn(len(x), 3, 1, 1)


def distorted(x, random):
    """By one of eight distortions; strengths are spread evenly on a logarithmic scale, as small ones are what attacks make."""
    strength = math.exp(random.uniform(math.log(0.01), math.log(0.4)))
    kinds = [
        lambda: x + strength * torch.randn_like(x),
        lambda: x + 0.5 * strength * torch.randn_like(x).sign(),
        lambda: x + strength * smooth_noise(x, random.choice([2, 3, 4, 8, 16])),
        lambda: blurred(x, random.uniform(0.4, 3)),
        lambda: jpeg(x, random.randrange(8, 95)),
        lambda: recoloured(x, strength, random),
        lambda: warped(x, strength),
        lambda: patched(x, strength, random),
    ]
    return kinds[random.randrange(8)]().clamp(-1, 1)


def quadruples(photos, count, side, random, teacher):
    """Crops x, x distorted (y), y distorted once more (z), and y a step along the signs of the teacher's gradient (w).

    Gives [x, y, z, w], each (count, 3, side, side), and the gradient of the teacher's distance of x and y by y.
    """
    x = crops(photos, count, side, random)
    y = torch.cat([distorted(one[None], random) for one in x])
    z = torch.cat([distorted(one[None], random) for one in y])
    gradient = gradient_of(teacher, x, y)
    step = torch.tensor([random.choice([-1, 1]) * random.uniform(0.005, 0.04) for _ in range(count)]).view(-1, 1, 1, 1)
    return [x, y, z, (y + step * gradient.sign()).clamp(-1, 1)], gradient


def gradient_of(network, x, y):
    """Of the distances of x and y, by y."""
    y = y.clone().requires_grad_(True)
    with torch.enable_grad():
        return torch.autograd.grad(network(x, y).sum(), y)[0]


def agreement(student, teacher, photos, count, side=112, seed=12345):
    """How a student's distances of `count` quadruples' first three pictures agree with the teacher's.

    Correlations over 3 * count pairs, the mean cosine of the gradients, and the median of student / teacher. The pairs follow from `seed`;
    torch's generator is left as it was.
    """
    random = randoms.Random(seed)
    ours, theirs, cosines = [], [], []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for begin in range(0, count, 16):
            (x, y, z, _), gradient = quadruples(photos, min(16, count - begin), side, random, teacher)
            cosines.append(F.cosine_similarity(gradient.flatten(1), gradient_of(student, x, y).flatten(1)))
            with torch.no_grad():
                for a, b in ((x, y), (y, z), (x, z)):
                    ours.append(student(a, b))
                    theirs.append(teacher(a, b))
    ours, theirs = torch.cat(ours).double(), torch.cat(theirs).double()
    rank = lambda values: values.argsort().argsort().double()
    correlation = lambda a, b: float(np.corrcoef(a.numpy(), b.numpy())[0, 1])
    return {
        "pearson": correlation(ours, theirs),
        "spearman": correlation(rank(ours), rank(theirs)),
        "gradient_cosine": float(torch.cat(cosines).mean()),
        "median_ratio": float((ours / theirs.clamp_min(1e-6)).median()),
    }
