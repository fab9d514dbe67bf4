"""LowKey's published loop in PyTorch, for `node bench/run.ts --peers`, or by itself: `python3 bench/torch/lowkey.py [--help]`.

With --problem FOLDER it takes the photo, masks, weights and constants that bench/lowkey/torch.ts wrote there, and leaves each mode's gradient
in it; without, a photo of noise. Prints one JSON object a line: first the versions, then for every mode
{mode, msPerStep, quartiles, samples, objective, peakMiB, warmupSeconds} or {mode, failed}.

Modes: f32 (TF32 off), tf32, amp (autocast to f16, bfloat16 on processors, the loss scaled), each also with `channels last` (as tensor cores
like it best) and `compile` (the objective through torch.compile). All views of a network are one batch, which is faster than the published
code's one view at a time.
"""

import argparse
import json
import pathlib
import statistics
import time

import numpy as np
import torch
from torch.nn import functional as F

from networks import ARCHITECTURES, AlexLpips, drawn, fill

MODES = ["f32", "tf32", "amp", "amp channels last", "f32 compile", "tf32 compile", "amp channels last compile"]
LOSS_SCALE = 1024.0
CROP = 112


def problem_of(arguments):
    """What bench/lowkey/torch.ts writes, here for a photo of noise with a face in its middle."""
    width, height = arguments.width, arguments.height
    scale = min(width, height) / CROP * 0.6
    return {
        "height": height,
        "width": width,
        "matrices": {"arcface112": [scale, 0, (width - CROP * scale) / 2, 0, scale, (height - CROP * scale) / 2]},
        "networks": [
            {"architecture": name, "seed": seed, "alignment": "arcface112"}
            for seed, name in enumerate(arguments.networks.split(","))
        ],
        "stepSize": 0.0025,
        "lpipsWeight": 0.05,
        "blur": {"size": 7, "sigma": 3},
        "divisor": 512,
    }


class Folder:
    """Arrays of f32 numbers in a folder; drawn ones where there is no folder."""

    def __init__(self, path, problem):
        self.path, self.problem = path, problem
        self.index = json.loads((path / "tensors.json").read_text()) if path else {}
        self.blob = np.fromfile(path / "tensors.f32", np.float32) if path else None

    def planes(self, name, seed):
        shape = (1, 3, self.problem["height"], self.problem["width"])
        if not self.path:
            return drawn(seed, f"{name}.running_var", shape) - 0.5 if name == "clean" else drawn(seed, "bias", shape) / 20
        return torch.from_numpy(np.fromfile(self.path / f"{name}.f32", np.float32).reshape(shape))

    def mask(self):
        if not self.problem.get("masked"):
            return None
        shape = (1, 1, self.problem["height"], self.problem["width"])
        return torch.from_numpy(np.fromfile(self.path / "mask.f32", np.float32).reshape(shape))

    def tensors(self, prefix):
        """Gives a network's tensors, which lie in the folder under their names after `prefix`."""

        def tensor_of(name, shape):
            if not self.path:
                values = drawn(0, name, shape)
                return values.abs() if name.startswith("lin") else values
            found, start = self.index[f"{prefix}/{name}"]
            if tuple(found) != shape:
                raise ValueError(f"{prefix}/{name} is {found}, not {list(shape)}")
            return torch.from_numpy(self.blob[start : start + int(np.prod(shape))].reshape(shape).copy())

        return tensor_of


class Loop:
    def __init__(self, problem, folder, device):
        self.problem = problem
        self.device = device
        self.clean, self.start = (folder.planes(name, k).to(device) for k, name in enumerate(("clean", "start")))
        mask = folder.mask()
        self.mask = None if mask is None else mask.to(device)
        self.networks = []
        for k, entry in enumerate(problem["networks"]):
            network = ARCHITECTURES[entry["architecture"]]()
            seed = entry.get("seed")
            tensor_of = folder.tensors(str(k)) if seed is None else lambda name, shape, seed=seed: drawn(seed, name, shape)
            self.networks.append((fill(network, tensor_of).to(device), self.grid(entry["alignment"])))
        self.lpips = fill(AlexLpips(), folder.tensors("lpips")).to(device)
        self.lpips_grid = self.grid("arcface112")
        size, sigma = problem["blur"]["size"], problem["blur"]["sigma"]
        line = torch.exp(-(((torch.arange(size, dtype=torch.float64) - size // 2) / sigma) ** 2) / 2)
        kernel = torch.outer(line, line)
        self.blur_kernel = (kernel / kernel.sum()).float().expand(3, 1, size, size).contiguous().to(device)

    def grid(self, alignment):
        """Where grid_sample finds the crop's pixels."""
        a, b, tx, c, d, ty = self.problem["matrices"][alignment]
        place = np.arange(CROP) + 0.5
        u, v = np.meshgrid(place, place)
        x = 2 * (a * u + b * v + tx) / self.problem["width"] - 1
        y = 2 * (c * u + d * v + ty) / self.problem["height"] - 1
        return torch.from_numpy(np.stack([x, y], -1)[None].astype(np.float32)).to(self.device)

    def crop(self, image, grid):
        return F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def blurred(self, image):
        radius = self.blur_kernel.shape[-1] // 2
        return F.conv2d(F.pad(image, (radius,) * 4, mode="reflect"), self.blur_kernel, groups=3)

    def embed(self, network, crops, layout):
        views = torch.cat([crops, crops.flip(3)]).contiguous(memory_format=layout)
        e = network(views).float()
        sums = e[: len(crops)] + e[len(crops) :]
        return sums / sums.norm(dim=1, keepdim=True)

    def prepare(self, layout):
        """What stays the same in every step."""
        for network, _ in self.networks:
            network.to(memory_format=layout)
        self.lpips.to(memory_format=layout)
        self.targets = [self.embed(network, self.crop(self.clean, grid), layout) for network, grid in self.networks]
        self.clean_taps = self.lpips.taps(self.clean)
        self.crop_taps = self.lpips.taps(self.crop(self.clean, self.lpips_grid))

    def objective(self, delta, layout):
        x = self.clean + (delta if self.mask is None else delta * self.mask)
        soft = self.blurred(x)
        feature = 0
        for (network, grid), target in zip(self.networks, self.targets):
            views = torch.cat([self.crop(soft, grid), self.crop(x, grid)])
            feature = feature + ((self.embed(network, views, layout) - target) ** 2).sum()
        feature = feature / (2 * len(self.networks) * self.problem["divisor"])
        crop = self.lpips.taps(self.crop(x, self.lpips_grid).contiguous(memory_format=layout))
        photo = self.lpips.taps(x.contiguous(memory_format=layout))
        visible = 0.5 * (self.lpips.distance(self.crop_taps, crop) + self.lpips.distance(self.clean_taps, photo))
        return feature - self.problem["lpipsWeight"] * visible


def measure(loop, mode, arguments, folder):
    cuda = loop.device.type == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = mode.startswith("tf32")
    layout = torch.channels_last if "channels last" in mode else torch.contiguous_format
    amp = mode.startswith("amp")
    scale = LOSS_SCALE if amp else 1.0
    autocast = lambda: torch.autocast(
        loop.device.type, dtype=torch.float16 if cuda else torch.bfloat16, enabled=amp, cache_enabled=False
    )
    wait = torch.cuda.synchronize if cuda else lambda: None
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    with torch.no_grad(), autocast():
        loop.prepare(layout)
    objective = torch.compile(loop.objective) if "compile" in mode else loop.objective

    def gradient(delta):
        delta = delta.detach().requires_grad_(True)
        with autocast():
            value = objective(delta, layout)
        (slope,) = torch.autograd.grad(value * scale, delta)
        return value.detach(), slope / scale

    def run(delta, steps):
        start = time.perf_counter()
        for _ in range(steps):
            delta = delta + loop.problem["stepSize"] * gradient(delta)[1].sign()
        wait()
        return delta, 1000 * (time.perf_counter() - start) / steps

    began = time.perf_counter()
    value, slope = gradient(loop.start)
    if folder.path:
        slope.float().cpu().numpy().tofile(folder.path / f"gradient {mode}.f32")
    delta, _ = run(loop.start, arguments.warmup)
    warmup = time.perf_counter() - began
    samples = []
    for _ in range(arguments.samples):
        delta, ms = run(delta, arguments.steps)
        samples.append(ms)
    if not torch.isfinite(delta).all():
        raise ArithmeticError("the change is not finite")
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else samples * 3
    return {
        "mode": mode,
        "msPerStep": middle,
        "quartiles": [low, high],
        "samples": len(samples),
        "objective": float(value),
        "peakMiB": torch.cuda.max_memory_allocated() / 2**20 if cuda else None,
        "warmupSeconds": warmup,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", type=pathlib.Path)
    parser.add_argument("--networks", default="ir-152,ir-152,resnet-152,resnet-152")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--modes", help="comma-separated; all on a GPU, f32 on a processor")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="of a sample")
    parser.add_argument("--samples", type=int, default=5)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    cuda = device.type == "cuda"
    torch.backends.cudnn.benchmark = True
    modes = arguments.modes.split(",") if arguments.modes else MODES if cuda else ["f32"]
    if not hasattr(torch, "compile"):
        modes = [mode for mode in modes if "compile" not in mode]
    problem = json.loads((arguments.problem / "problem.json").read_text()) if arguments.problem else problem_of(arguments)
    folder = Folder(arguments.problem, problem)
    name = torch.cuda.get_device_name() if cuda else f"processor, {torch.get_num_threads()} threads"
    print(json.dumps({"torch": torch.__version__, "device": name}), flush=True)
    loop = Loop(problem, folder, device)
    for mode in modes:
        try:
            row = measure(loop, mode, arguments, folder)
        except Exception as error:  # a mode that fails must not take the others with it
            row = {"mode": mode, "failed": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        print(json.dumps(row), flush=True)
        if cuda:
            torch.cuda.empty_cache()


main()
