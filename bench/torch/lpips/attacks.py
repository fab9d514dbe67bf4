"""Attacks under way, as in LowKey's loop (Cherepanova et al., ICLR 2021): features are driven apart, LPIPS holds the change back.

Photos are face crops (1, 3, 160, 160) in 0..1, RGB, cut at (48, 48) from a photo of Labeled Faces in the Wild, deep-funneled (250x250).
Step sizes and changes are in the same unit. `random` is a `random.Random`.
"""

import math
import random as randoms
from typing import NamedTuple

import torch
from torch.nn import functional as F

from distortions import blurred

SIDE = 160
# The paper's constants: a step of the loop, the weight of LPIPS, the blur of the second view, and what feature distances are divided by.
STEP, WEIGHT, BLUR, DIVISOR = 0.0025, 0.05, 3.0, 512


def sampling(offset, size=112, scale=1.22):
    """A matrix (size, SIDE) that samples a line of pixels at `scale` apart from `offset` on, with linear interpolation."""
    matrix = torch.zeros(size, SIDE)
    for row in range(size):
        centre = offset + (row + 0.5) * scale - 0.5
        left = math.floor(centre)
        matrix[row, left] += 1 - (centre - left)
        matrix[row, left + 1] += centre - left
    return matrix


# Where ArcFace's 112x112 crop lies in a deep-funneled photo: the same place for all, as they are aligned already.
COLUMNS, ROWS = sampling(11.7), sampling(4.0)


def face(photo):
    """The recogniser's crop: (n, 3, SIDE, SIDE) to (n, 3, 112, 112)."""
    return ROWS @ photo @ COLUMNS.T


def visible(network, x, y):
    """The paper's LPIPS of photos in 0..1: half of the face, half of the whole; (n,)."""
    return 0.5 * network(face(x) * 2 - 1, face(y) * 2 - 1) + 0.5 * network(x * 2 - 1, y * 2 - 1)


class Attack:
    """One photo and what was done to it so far, by settings that are drawn."""

    def __init__(self, photos, random, recogniser):
        self.photo = photos[random.randrange(len(photos))][None].float() / 255
        if random.random() < 0.5:
            self.photo = self.photo.flip(3)
        self.change = torch.empty_like(self.photo).uniform_(-0.005, 0.005)
        self.steps, self.life = 0, random.choice([15, 30, 50])
        self.step = math.exp(random.uniform(math.log(STEP), math.log(0.008)))
        self.soft = random.random() < 0.4
        if self.soft:
            self.step *= 4
        self.weight = math.exp(random.uniform(math.log(0.02), math.log(0.1)))
        self.by_teacher = random.random() < 0.3
        with torch.no_grad():
            self.target = recogniser(face(self.photo))
        self.gradient = self.moved = None  # of the features, and how far they moved: as last computed

    def as_published(self, by_teacher):
        self.step, self.soft, self.weight, self.by_teacher = STEP, False, WEIGHT, by_teacher
        return self

    def advance(self, features, distance):
        """Goes a step up the gradients of features and down that of LPIPS, both (1, 3, SIDE, SIDE)."""
        slope = features / DIVISOR - self.weight * distance
        if self.soft:
            # Nearly in proportion to the gradient, so that the changes are not all of one size, as those by signs are.
            move = self.step * slope / (slope.abs() + 20 * slope.abs().mean()) * 10
        else:
            move = self.step * slope.sign()
        self.change = (self.photo + (self.change + move)).clamp(0, 1) - self.photo
        self.steps += 1


class Slopes(NamedTuple):
    """Of n attacks: distances (n,), and gradients (n, 3, SIDE, SIDE) by the changed photos."""

    teacher: torch.Tensor
    teacher_gradient: torch.Tensor
    student: torch.Tensor
    student_gradient: torch.Tensor
    features: torch.Tensor
    features_gradient: torch.Tensor


def gradient(distances, photos, **options):
    return torch.autograd.grad(distances.sum(), photos, **options)[0]


def slopes_of(attacks, student, teacher, recogniser, random, training=False):
    """In training the student's distances and gradients can be differentiated once more, and features are not computed anew in every step.

    The paper's loop sums the features' distances of the photo and of the blurred photo; here one of the two is drawn, at half the cost.
    """
    clean = torch.cat([attack.photo for attack in attacks])
    changed = (clean + torch.cat([attack.change for attack in attacks])).clamp(0, 1).requires_grad_(True)
    by_teacher = visible(teacher, clean, changed)
    teacher_gradient = gradient(by_teacher, changed)
    by_student = visible(student, clean, changed)
    student_gradient = gradient(by_student, changed, create_graph=training)
    due = [k for k, attack in enumerate(attacks) if not training or attack.gradient is None or random.random() < 0.35]
    if due:
        part = changed.detach()[due].requires_grad_(True)
        rows = recogniser(face(blurred(part, BLUR) if random.random() < 0.5 else part))
        moved = ((rows - torch.cat([attacks[k].target for k in due])) ** 2).sum(1)
        for k, one, distance in zip(due, gradient(moved, part).split(1), moved.detach().split(1)):
            attacks[k].gradient, attacks[k].moved = one, distance
    return Slopes(
        by_teacher.detach(),
        teacher_gradient,
        by_student if training else by_student.detach(),
        student_gradient,
        torch.cat([attack.moved for attack in attacks]),
        torch.cat([attack.gradient for attack in attacks]),
    )


def advance(attacks, slopes):
    distances = zip(slopes.teacher_gradient.split(1), slopes.student_gradient.detach().split(1))
    for attack, features, (by_teacher, by_student) in zip(attacks, slopes.features_gradient.split(1), distances):
        attack.advance(features, by_teacher if attack.by_teacher else by_student)


def cosine(a, b):
    return F.cosine_similarity(a.flatten(1), b.flatten(1))


def coarse(gradients):
    """Means of 4x4 pixels: the student's first layer looks at every fourth pixel only."""
    return F.avg_pool2d(gradients, 4)


def loops(student, teacher, recogniser, photos, count, steps=50, seed=5):
    """What the paper's loop makes of `count` photos, once with the student in it and once with the teacher.

    Means after `steps`: distances by both, squared distance of the features (of the view that was drawn last), PSNR in decibels, and the
    cosines of the student's gradient with the teacher's. Torch's generator is left as it was.
    """
    random, figures = randoms.Random(seed), {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        picked = random.sample(range(len(photos)), count)
        for restraint in ("student", "teacher"):
            rows = []
            for begin in range(0, count, 8):
                attacks = [Attack([photos[k]], random, recogniser) for k in picked[begin : begin + 8]]
                for attack in attacks:
                    attack.as_published(restraint == "teacher")
                for _ in range(steps):
                    slopes = slopes_of(attacks, student, teacher, recogniser, random)
                    advance(attacks, slopes)
                a, b = slopes.student_gradient, slopes.teacher_gradient
                psnr = -10 * torch.cat([attack.change for attack in attacks]).pow(2).mean((1, 2, 3)).log10()
                cosines = [cosine(a, b), cosine(coarse(a), coarse(b))]
                rows.append(torch.stack([slopes.teacher, slopes.student, slopes.features, psnr, *cosines]))
            names = ("teacher_distance", "student_distance", "features", "psnr", "gradient_cosine", "coarse_gradient_cosine")
            means = torch.cat(rows, 1).mean(1).tolist()
            figures.update({f"loop_by_{restraint}_{name}": value for name, value in zip(names, means)})
    return figures
