"""The networks of LowKey's loop in PyTorch, and the generator of their weights, for bench/torch/lowkey.py.

Tensors have the names and shapes under which this project's networks (src/models) look for them, so that both engines take the same numbers.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

MASK = 0xFFFFFFFF


def mix(values):
    """MurmurHash3's finaliser of uint32 numbers."""
    h = np.asarray(values, np.uint32)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def hash_of(text):
    """FNV-1a."""
    value = 0x811C9DC5
    for letter in text:
        value = ((value ^ ord(letter)) * 0x01000193) & MASK
    return value


def bounds_of(name, shape):
    """As boundsOf in bench/lowkey/seeded.ts."""
    if name.endswith(("running_mean", "bias")):
        return -0.1, 0.1
    if name.endswith("running_var"):
        return 0.5, 1.5
    if len(shape) >= 2:
        bound = (3 / np.prod(shape[1:])) ** 0.5
        return -bound, bound
    if name == "input_layer.2.weight" or name.endswith("res_layer.2.weight"):
        return 0.1, 0.4
    if name.endswith(("res_layer.4.weight", "bn3.weight")):
        return 0.1, 0.3
    return 0.5, 1.5


def drawn(seed, name, shape):
    """The tensor of a name in the network of a seed, as drawn in bench/lowkey/seeded.ts."""
    key = mix([((seed * 0x9E3779B9) & MASK) ^ hash_of(name)])[0]
    low, high = bounds_of(name, shape)
    unit = (mix(key ^ np.arange(np.prod(shape, dtype=np.int64), dtype=np.uint32)) >> np.uint32(8)) / 16777216.0
    return torch.from_numpy((low + (high - low) * unit).astype(np.float32).reshape(shape))


def fill(network, tensor_of):
    """Sets all weights of a network to what `tensor_of(name, shape)` gives, and puts it into inference."""
    state = network.state_dict()
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            value.copy_(tensor_of(name, tuple(value.shape)))
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


class IrUnit(nn.Module):
    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.stride = stride
        if inputs != channels:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, channels, 3, 1, 1, bias=False),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x):
        if hasattr(self, "shortcut_layer"):
            shortcut = self.shortcut_layer(x)
        else:
            shortcut = x if self.stride == 1 else F.max_pool2d(x, 1, self.stride)
        return self.res_layer(x) + shortcut


class Ir(nn.Module):
    """ArcFace's improved residual network as in face.evoLVe; takes RGB in 0..1."""

    def __init__(self, units, channels=(64, 128, 256, 512), embedding=512):
        super().__init__()
        first = channels[0]
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.PReLU(first)
        )
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels[3]),
            nn.Identity(),
            nn.Flatten(),
            nn.Linear(channels[3] * 49, embedding),
            nn.BatchNorm1d(embedding),
        )
        body, inputs = [], first
        for width, count in zip(channels, units):
            for i in range(count):
                body.append(IrUnit(inputs, width, 2 if i == 0 else 1))
                inputs = width
        self.body = nn.Sequential(*body)

    def forward(self, x):
        return self.output_layer(self.body(self.input_layer(2 * x - 1)))


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample = None
        if stride != 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """face.evoLVe's ResNet; takes RGB in 0..1."""

    def __init__(self, blocks):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        inputs = 64
        for stage, count in enumerate(blocks):
            width, layer = 64 * 2**stage, []
            for i in range(count):
                layer.append(Bottleneck(inputs, width, 2 if i == 0 and stage > 0 else 1))
                inputs = 4 * width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
        self.bn_o1, self.fc, self.bn_o2 = nn.BatchNorm2d(2048), nn.Linear(2048 * 16, 512), nn.BatchNorm1d(512)

    def forward(self, x):
        y = F.max_pool2d(F.relu(self.bn1(self.conv1(2 * x - 1))), 3, 2, 1)
        y = self.layer4(self.layer3(self.layer2(self.layer1(y))))
        return self.bn_o2(self.fc(self.bn_o1(y).flatten(1)))


class Activated(nn.Module):
    """A convolution and its PReLU, named as in src/models/mobilefacenet.ts: KEY.weight, KEY.bias, KEY.prelu.weight."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1):
        super().__init__()
        self.stride, self.groups, self.same = stride, groups, kernel == 3
        self.weight = nn.Parameter(torch.zeros(outputs, inputs // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.prelu = nn.PReLU(outputs)

    def forward(self, x):
        padding = 0
        if self.same and self.stride == 2:
            x = F.pad(x, (0, 1, 0, 1))  # TensorFlow's SAME
        elif self.same:
            padding = 1
        return self.prelu(F.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups))


class MobileFaceBlock(nn.Module):
    def __init__(self, inputs, expanded, outputs, stride):
        super().__init__()
        self.kept = stride == 1
        self.expand = Activated(inputs, expanded, 1)
        self.depthwise = Activated(expanded, expanded, 3, stride, expanded)
        self.project = nn.Conv2d(expanded, outputs, 1)

    def forward(self, x):
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.kept else y


class MobileFaceNet(nn.Module):
    """sirius-ai's MobileFaceNet with normalisations folded; takes RGB in 0..1."""

    BLOCKS = [(128, 64, 2)] + [(128, 64, 1)] * 4 + [(256, 128, 2)] + [(256, 128, 1)] * 6 + [(512, 128, 2)] + [(256, 128, 1)] * 2

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = Activated(3, 64, 3, 2), Activated(64, 64, 3, 1, 64)
        blocks, inputs = [], 64
        for expanded, outputs, stride in self.BLOCKS:
            blocks.append(MobileFaceBlock(inputs, expanded, outputs, stride))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.conv3 = Activated(inputs, 512, 1)
        self.conv4, self.linear = nn.Conv2d(512, 512, 7, groups=512), nn.Linear(512, 192)

    def forward(self, x):
        y = self.conv2(self.conv1((255 * x - 127.5) / 128))
        return self.linear(self.conv4(self.conv3(self.blocks(y))).flatten(1))


class AlexLpips(nn.Module):
    """LPIPS v0.1 on AlexNet; takes RGB in 0..1."""

    def __init__(self):
        super().__init__()
        self.features = nn.ModuleDict(
            {
                "0": nn.Conv2d(3, 64, 11, 4, 2),
                "3": nn.Conv2d(64, 192, 5, 1, 2),
                "6": nn.Conv2d(192, 384, 3, 1, 1),
                "8": nn.Conv2d(384, 256, 3, 1, 1),
                "10": nn.Conv2d(256, 256, 3, 1, 1),
            }
        )
        for k, channels in enumerate((64, 192, 384, 256, 256)):
            setattr(self, f"lin{k}", nn.ModuleDict({"model": nn.ModuleDict({"1": nn.Conv2d(channels, 1, 1, bias=False)})}))
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1), persistent=False)

    def taps(self, x):
        """Features of unit length at every layer."""
        y, found = (2 * x - 1 - self.shift) / self.scale, []
        for index, convolution in self.features.items():
            y = F.relu(convolution(F.max_pool2d(y, 3, 2) if index in ("3", "6") else y))
            squares = (y.float() ** 2).sum(1, keepdim=True)
            found.append(y / (torch.sqrt(squares + 1e-20) + 1e-10))
        return found

    def distance(self, a, b):
        return sum(
            (getattr(self, f"lin{k}")["model"]["1"]((p - q) ** 2)).float().mean((1, 2, 3)).sum()
            for k, (p, q) in enumerate(zip(a, b))
        )


ARCHITECTURES = {
    "ir-50": lambda: Ir([3, 4, 14, 3]),
    "ir-152": lambda: Ir([3, 8, 36, 3]),
    "resnet-50": lambda: ResNet([3, 4, 6, 3]),
    "resnet-152": lambda: ResNet([3, 8, 36, 3]),
    "ir-1x8-1x16-1x24-1x32-e64": lambda: Ir([1, 1, 1, 1], (8, 16, 24, 32), 64),
    "mobilefacenet": MobileFaceNet,
}
