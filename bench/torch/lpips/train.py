"""Trains LPIPS-alex (weights/lpips-alex-scratch.safetensors) to agree with LPIPS v0.1 on SqueezeNet, in two stages.

    python3 bench/torch/lpips/train.py --from-scratch --photos DIR --lpips DIR --out first.safetensors --steps 5700
    python3 bench/torch/lpips/train.py --on-attacks --start first.safetensors --recogniser FILE --photos DIR --lpips DIR \\
        --out second.safetensors --steps 1800
    python3 bench/torch/lpips/train.py --evaluate --start second.safetensors --photos DIR --lpips DIR

Needs PyTorch 1.13 or newer, numpy and Pillow (Debian: python3-torch, python3-pil). Runs on the processor. Shows a line of averages every 25
steps and figures of photos kept out every --every; the last line is one JSON object, whose figures are also in the metadata of the file.
By --steps a run can be repeated: with one thread and the same seed and versions it makes the same file. Bad input ends it with code 2.
"""

import argparse
import json
import math
import pathlib
import random
import sys
import time

import torch

import files
from attacks import SIDE, loops
from distortions import agreement
from files import Problem
from networks import AlexLpips
from stages import FromScratch, OnAttacks


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def whole(least):
    """The type of an option that is a whole number of `least` or more."""

    def parse(text):
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number of {least} or more")
        return int(text)

    return parse


def positive(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def arguments_of(argv):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    stage = parser.add_mutually_exclusive_group(required=True)
    stage.add_argument("--from-scratch", action="store_true", help="first stage, on distorted photos; with --start goes on from a file")
    stage.add_argument("--on-attacks", action="store_true", help="second stage, on attacks under way; takes --start and --recogniser")
    stage.add_argument("--evaluate", action="store_true", help="only report on --start")
    parser.add_argument("--photos", required=True, metavar="DIR", help="photos; face crops of 160x160 where there is a --recogniser")
    parser.add_argument("--lpips", required=True, metavar="DIR", help="with v0.1-squeeze.pth and squeeze.backbone.pth")
    parser.add_argument("--recogniser", metavar="FILE", help="foamliu's mobilefacenet.pt; with it figures also say what the loop does")
    parser.add_argument("--start", metavar="FILE", help="LPIPS-alex in safetensors")
    parser.add_argument("--out", metavar="FILE", help="safetensors, half precision")
    parser.add_argument("--minutes", type=positive, help="of training, over which the learning rate goes down")
    parser.add_argument("--steps", type=whole(1), help="of training, instead of --minutes")
    parser.add_argument("--rate", type=positive, help="of learning; 0.001, on attacks 0.0003 (tenfold for the channels' weights)")
    parser.add_argument("--batch", type=whole(1), help="distorted quadruples in a step; 16, on attacks 4")
    parser.add_argument("--side", type=whole(32), default=96, help="of distorted crops in training, pixels (96)")
    parser.add_argument("--attacks", type=whole(1), default=4, help="attacks in a step, 48 at most (4)")
    parser.add_argument("--held", type=whole(1), default=192, help="photos kept out of training for the figures (192)")
    parser.add_argument("--quadruples", type=whole(1), default=384, help="for the figures (384)")
    parser.add_argument("--loops", type=whole(1), default=16, help="photos kept out to go through the loop at the end, a minute each (16)")
    parser.add_argument("--every", type=whole(1), default=500, help="steps between figures, when the file is written too (500)")
    parser.add_argument("--seed", type=whole(0), default=1)
    parser.add_argument("--threads", type=whole(1), default=1)
    arguments = parser.parse_args(argv)
    problem = problem_of(arguments)
    if problem:
        parser.error(problem)
    return arguments


def problem_of(a):
    """What is wrong with options that fit by themselves."""
    if not a.evaluate and not a.out:
        return "training takes --out FILE"
    if not a.evaluate and (a.minutes is None) == (a.steps is None):
        return "training takes either --minutes or --steps"
    if (a.on_attacks or a.evaluate) and not a.start:
        return f"{'--on-attacks' if a.on_attacks else '--evaluate'} takes --start FILE"
    if a.on_attacks and not a.recogniser:
        return "--on-attacks takes --recogniser FILE"
    if a.attacks > OnAttacks.UNDER_WAY:
        return f"--attacks: {OnAttacks.UNDER_WAY} at most, as so many are under way"
    if a.recogniser and a.loops > a.held:
        return f"--loops: {a.loops} photos of the {a.held} that are kept out (--held)"
    return None


class Run:
    """The networks and photos of a run, in the order in which they draw from torch's generator."""

    def __init__(self, arguments):
        self.arguments = a = arguments
        if a.out:
            files.check_writable(a.out)
        names = files.photo_files(a.photos)
        if len(names) < a.held + (0 if a.evaluate else 1):
            raise Problem(f"--photos: {a.photos} has {len(names)} photos; {a.held} are kept out of training (--held)")
        torch.manual_seed(a.seed)
        self.random = random.Random(a.seed)
        self.teacher = files.teacher_of(a.lpips)
        self.student, self.metadata = files.student_of(a.start) if a.start else (AlexLpips(), {})
        self.recogniser = files.recogniser_of(a.recogniser) if a.recogniser else None
        side = SIDE if self.recogniser else None
        self.held = [files.photo(name, side) for name in names[: a.held]]
        self.photos = [] if a.evaluate else [files.photo(name, side) for name in names[a.held :]]

    def stage(self):
        a, common = self.arguments, (self.photos, self.random)
        if a.on_attacks:
            return OnAttacks(self.student, self.teacher, self.recogniser, *common, a.batch or 4, a.side, a.attacks)
        return FromScratch(self.student, self.teacher, *common, a.batch or 16, a.side, not a.start)

    def figures(self, student, looped=True):
        found = agreement(student, self.teacher, self.held, self.arguments.quadruples)
        if self.recogniser and looped:
            found.update(loops(student, self.teacher, self.recogniser, self.held, self.arguments.loops))
        return {name: float(f"{value:.4g}") for name, value in found.items()}

    def keep(self, steps, last):
        """Writes the file, then once more with figures, which take minutes: of the weights as they are in it, in half precision.

        The loop is slow, and gone through last only.
        """
        tensors, earlier = self.student.tensors(), self.metadata.get("steps")
        steps = f"{earlier} + {steps}" if earlier else str(steps)
        metadata = {"architecture": "lpips-alex", "trained_to_match": "LPIPS v0.1 squeeze", "steps": steps}
        files.write_safetensors(self.arguments.out, tensors, metadata)
        with torch.random.fork_rng(devices=[]):
            figures = self.figures(AlexLpips().take(tensors), last)
        metadata.update({name: str(value) for name, value in figures.items()})
        files.write_safetensors(self.arguments.out, tensors, metadata)
        return {"steps": steps, **figures}

    def train(self):
        a, stage = self.arguments, self.stage()
        rate = a.rate or stage.RATE
        groups = [{"params": [*self.student.trunk.parameters(), *stage.helpers()]}, {"params": list(self.student.lins.parameters())}]
        optimiser = torch.optim.Adam(groups, lr=rate)
        began, steps, shown = time.time(), 0, {}  # `began` is put off by what figures take
        minutes = lambda: (time.time() - began) / 60
        while (done := steps / a.steps if a.steps else minutes() / a.minutes) < 1:
            faded = rate * min(1, (steps + 1) / stage.WARM_UP) * 0.5 * (1 + math.cos(math.pi * done))
            for group, factor in zip(optimiser.param_groups, (1, 10)):
                group["lr"] = faded * factor
            loss, figures = stage.loss(done)
            if not torch.isfinite(loss):
                sys.exit(f"the loss is not finite after {steps} steps; a lower --rate may help")
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
            optimiser.step()
            stage.advance()
            steps += 1
            now = {name: float(value) for name, value in {"loss": loss, **figures}.items()}
            shown = {name: 0.95 * shown.get(name, value) + 0.05 * value for name, value in now.items()}
            if steps in (1, 10) or steps % 25 == 0:
                averages = ", ".join(f"{name} {value:.4f}" for name, value in shown.items())
                print(f"{minutes():.1f} minutes, step {steps}: {averages}", flush=True)
            if steps % a.every == 0 and steps != a.steps:
                paused = time.time()
                print(f"{minutes():.1f} minutes, step {steps}: {json.dumps(self.keep(steps, False))}", flush=True)
                began += time.time() - paused
        return {"minutes": round(minutes(), 1), **self.keep(steps, True)}


def main(argv=None):
    torch.set_flush_denormal(True)  # tiny gradients are many times slower on some processors
    arguments = arguments_of(argv)
    torch.set_num_threads(arguments.threads)
    try:
        run = Run(arguments)
    except Problem as problem:
        print(f"{pathlib.Path(__file__).name}: {problem}", file=sys.stderr)
        return 2
    if arguments.evaluate:
        print(f"{len(run.held)} photos that are kept out of training", flush=True)
        result = {"steps": run.metadata.get("steps"), **run.figures(run.student)}
    else:
        print(f"{len(run.photos)} photos to train on, {len(run.held)} kept out", flush=True)
        result = run.train()
    print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
