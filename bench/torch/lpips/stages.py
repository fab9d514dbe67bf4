"""The two stages of train.py: `FromScratch` on distorted photos, then `OnAttacks` on what attacks make of photos.

A stage has `loss(done)`, which gives the loss and figures to show (`done`, 0..1, is how far training is), and `advance()`, which comes
after the optimiser's step. Distances are compared as square roots, so that small ones, those of attacks, count.
"""

import torch
from torch import nn
from torch.nn import functional as F

from attacks import Attack, advance, coarse, cosine, slopes_of
from distortions import quadruples
from networks import ALEX_CHANNELS, SQUEEZE_CHANNELS, softplus_inverse, unit


def root(distances):
    """1e-6 keeps the slope finite at zero."""
    return (distances + 1e-6).sqrt()


class Compared:
    """Quadruples' features by student and teacher."""

    PAIRS = ((0, 1), (1, 2), (0, 2), (1, 3), (0, 3))

    def __init__(self, student, teacher, pictures):
        self.student, self.teacher, self.count = student, teacher, len(pictures[0])
        pictures = torch.cat(pictures)
        with torch.no_grad():
            self.teacher_taps = teacher.taps(pictures)
        self.student_taps = student.taps(pictures)

    def part(self, taps, k):
        return [tap[k * self.count : (k + 1) * self.count] for tap in taps]

    def by_teacher(self, i, j):
        with torch.no_grad():
            return self.teacher.between(self.part(self.teacher_taps, i), self.part(self.teacher_taps, j))

    def by_student(self, i, j):
        return self.student.between(self.part(self.student_taps, i), self.part(self.student_taps, j))

    def apart(self):
        """How far the student's distances are from the teacher's, over the pairs of a quadruple."""
        return sum(((root(self.by_student(i, j)) - root(self.by_teacher(i, j))) ** 2).mean() * 20 for i, j in self.PAIRS)


class FromScratch:
    """Loss: distances of distorted pairs; their change along the signs of the teacher's gradient, because an attack goes along it; and in
    the first 60 % the teacher's features, foretold from the student's by a 1x1 convolution a tap (`guide`), which is not kept."""

    RATE, WARM_UP = 1e-3, 100
    GUIDED = 0.6
    TAUGHT = (1, 2, 3, 5, 6)  # the teacher's tap for each of the student's

    def __init__(self, student, teacher, photos, random, batch=16, side=96, fresh=True):
        self.student, self.teacher, self.photos, self.random = student, teacher, photos, random
        self.batch, self.side = batch, side
        if fresh:
            self.calibrate()
        self.guide = nn.ModuleList(
            [nn.Conv2d(channels, SQUEEZE_CHANNELS[tap], 1) for channels, tap in zip(ALEX_CHANNELS, self.TAUGHT)]
        )

    @torch.no_grad()
    def calibrate(self):
        """Scales each tap's weights so that it begins with a fifth of the teacher's distance."""
        (x, y, _, _), _ = quadruples(self.photos, 32, 96, self.random, self.teacher)
        wanted = self.teacher(x, y).median() / len(self.student.lins)
        parts = self.student.by_tap(self.student.taps(x), self.student.taps(y))
        for lin, weights, part in zip(self.student.lins, self.student.weights(), parts):
            lin.copy_(softplus_inverse(weights * wanted / part.median()))

    def helpers(self):
        """Parameters to train that are not the student's."""
        return list(self.guide.parameters())

    def loss(self, done):
        pictures, _ = quadruples(self.photos, self.batch, self.side, self.random, self.teacher)
        compared = Compared(self.student, self.teacher, pictures)
        figures = {"distances": compared.apart()}
        wanted = compared.by_teacher(0, 3) - compared.by_teacher(0, 1)
        change = compared.by_student(0, 3) - compared.by_student(0, 1)
        figures["along"] = ((change - wanted).abs() / (wanted.abs() + 0.01)).mean()
        loss = figures["distances"] + figures["along"] * 0.2
        if done < self.GUIDED:
            figures["guided"] = sum(self.foretold(compared))
            loss = loss + 0.3 * figures["guided"] * (1 - done / self.GUIDED)
        return loss, figures

    def foretold(self, compared):
        """For each of the student's taps how far what it foretells is from the teacher's, as 1 - cosine."""
        for tap, features, guide in zip(self.TAUGHT, compared.student_taps, self.guide):
            target = unit(compared.teacher_taps[tap])
            found = F.interpolate(guide(features), target.shape[2:], mode="bilinear", align_corners=False)
            yield 1 - F.cosine_similarity(found, target, dim=1).mean()

    def advance(self):
        pass


class OnAttacks:
    """Loss: distances of distorted pairs as before, so that these are not forgotten; and on attacks under way the distance, the cosine of
    its gradient with the teacher's (also of means of 4x4 pixels), the gradient's part along the attack, and its norm."""

    RATE, WARM_UP = 3e-4, 50
    UNDER_WAY = 48

    def __init__(self, student, teacher, recogniser, photos, random, batch=4, side=96, attacks=4):
        self.student, self.teacher, self.recogniser, self.photos, self.random = student, teacher, recogniser, photos, random
        self.batch, self.side, self.attacks = batch, side, attacks
        self.under_way = []

    def helpers(self):
        return []

    def loss(self, done):
        pictures, _ = quadruples(self.photos, self.batch, self.side, self.random, self.teacher)
        figures = {"distances": Compared(self.student, self.teacher, pictures).apart()}
        while len(self.under_way) < self.UNDER_WAY:
            self.under_way.append(Attack(self.photos, self.random, self.recogniser))
        self.chosen = self.random.sample(self.under_way, self.attacks)
        self.slopes = slopes_of(self.chosen, self.student, self.teacher, self.recogniser, self.random, training=True)
        figures.update(self.compared(self.slopes))
        cosines = 2 - figures["cosine"] - figures["coarse_cosine"]
        loss = figures["distances"] + figures["attacks"] + 0.5 * cosines + 0.1 * figures["along"] + 0.05 * figures["norm"]
        return loss, {**figures, "ratio": (self.slopes.student / self.slopes.teacher).median()}

    def compared(self, slopes):
        ours, theirs = slopes.student_gradient, slopes.teacher_gradient
        way = slopes.features_gradient.sign()
        along = lambda gradient: (gradient * way).sum((1, 2, 3))
        size = along(theirs).abs()
        norm = lambda gradient: gradient.flatten(1).norm(dim=1).log()
        return {
            "attacks": ((root(slopes.student) - root(slopes.teacher)) ** 2).mean() * 60,
            "cosine": cosine(ours, theirs).mean(),
            "coarse_cosine": cosine(coarse(ours), coarse(theirs)).mean(),
            "along": ((along(ours) - along(theirs)).abs() / (size + size.mean())).mean(),
            "norm": (norm(ours) - norm(theirs)).abs().mean(),
        }

    @torch.no_grad()
    def advance(self):
        """The attacks of the batch go a step on; those at the end of their lives make room for new ones."""
        advance(self.chosen, self.slopes)
        self.under_way = [attack for attack in self.under_way if attack.steps < attack.life]
