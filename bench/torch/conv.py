"""Times convolutions with PyTorch (cuDNN) on an NVIDIA GPU, for bench/gpu.ts.

Reads JSON from standard input, a list of {name, n, c, extent, stride, k, kernel, direction: "forward" | "input"}, and prints one JSON
object a line: {name, direction, mode, us}. Modes: f32 (TF32 off), tf32, f16, and f16 with channels last, which is what tensor cores
like best. Weights and inputs are on the GPU beforehand; cuDNN searches for its fastest algorithm first.
"""

import json
import statistics
import sys

import torch

RUNS = 9
LEAST_US = 5000
MODES = {
    "f32": (torch.float32, False, torch.contiguous_format),
    "tf32": (torch.float32, True, torch.contiguous_format),
    "f16": (torch.float16, True, torch.contiguous_format),
    "f16 channels last": (torch.float16, True, torch.channels_last),
}


def microseconds(run):
    def together(count):
        start = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(count):
            run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1000

    for _ in range(5):
        together(1)
    count = max(1, int(LEAST_US / max(together(4) / 4, 1)))
    return statistics.median(together(count) for _ in range(RUNS)) / count


def problem(layer, dtype, layout):
    kernel, stride, direction = layer["kernel"], layer["stride"], layer["direction"]
    padding = kernel // 2
    make = lambda *shape: torch.rand(shape, device="cuda", dtype=dtype).sub_(0.5).contiguous(memory_format=layout)
    x = make(layer["n"], layer["c"], layer["extent"], layer["extent"])
    weights = make(layer["k"], layer["c"], kernel, kernel)
    if direction == "forward":
        return lambda: torch.nn.functional.conv2d(x, weights, stride=stride, padding=padding)
    dy = torch.nn.functional.conv2d(x, weights, stride=stride, padding=padding)
    args = (None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, [True, False, False])
    return lambda: torch.ops.aten.convolution_backward(dy, x, weights, *args)


def main():
    if not torch.cuda.is_available():
        sys.exit("torch has no CUDA device here")
    torch.backends.cudnn.benchmark = True
    print(json.dumps({"torch": torch.__version__, "device": torch.cuda.get_device_name()}), flush=True)
    with torch.no_grad():
        for layer in json.load(sys.stdin):
            for mode, (dtype, tf32, layout) in MODES.items():
                torch.backends.cudnn.allow_tf32 = tf32
                us = microseconds(problem(layer, dtype, layout))
                row = {"name": layer["name"], "direction": layer["direction"], "mode": mode, "us": us}
                print(json.dumps(row), flush=True)


main()
