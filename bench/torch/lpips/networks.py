"""The networks of train.py: LPIPS on AlexNet, which is trained; LPIPS on SqueezeNet, its teacher; the recogniser that is attacked.

Pictures are float tensors (n, 3, h, w), RGB. LPIPS takes them in -1..1, the recogniser in 0..1. Sources of forms and constants:

- LPIPS v0.1: Zhang, Isola, Efros, Shechtman, Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018
- AlexNet: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014, with torchvision's names
- SqueezeNet 1.1: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size", 2016
- MobileFaceNet: Chen, Liu, Gao, Han, "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices", 2018,
  with the names of foamliu's checkpoint
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

ALEX_CHANNELS = (64, 192, 384, 256, 256)
SQUEEZE_CHANNELS = (64, 128, 256, 384, 384, 512, 512)


class Trunk(nn.Module):
    """Layers, of which some are tapped: gives their outputs, each (n, channels, h', w')."""

    def __init__(self, layers, tapped):
        super().__init__()
        self.features, self.tapped = nn.Sequential(*layers), tapped

    def forward(self, x):
        taps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.tapped:
                taps.append(x)
        return taps


class Fire(nn.Module):
    def __init__(self, inputs, squeezed, expanded):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


def squeeze_trunk():
    """The features of SqueezeNet 1.1, tapped where LPIPS does."""
    pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)
    first = [nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool(), Fire(64, 16, 64), Fire(128, 16, 64), pool()]
    middle = [Fire(128, 32, 128), Fire(256, 32, 128), pool()]
    last = [Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)]
    return Trunk(first + middle + last, (1, 4, 7, 9, 10, 11, 12))


def alex_trunk():
    """The features of AlexNet up to the last ReLU, tapped after each ReLU; drawn as He et al. (2015) do, biases zero."""
    pool = lambda: nn.MaxPool2d(3, 2)
    first = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), pool(), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), pool()]
    middle = [nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()]
    trunk = Trunk(first + middle + [nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()], (1, 4, 7, 9, 11))
    for layer in trunk.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return trunk


def unit(features):
    """Each pixel's features scaled to length 1; 1e-20 keeps the gradient finite where all are zero."""
    return features / ((features.pow(2).sum(1, keepdim=True) + 1e-20).sqrt() + 1e-10)


def softplus_inverse(x):
    return torch.log(torch.expm1(x))


class Lpips(nn.Module):
    """Squared differences of unit features, weighed by channel, averaged over pixels, summed over taps."""

    def __init__(self, trunk, channels):
        super().__init__()
        self.trunk = trunk
        self.lins = nn.ParameterList([nn.Parameter(torch.zeros(count)) for count in channels])
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1), persistent=False)

    def weights(self):
        """Of each tap the channels' weights, (channels,)."""
        return list(self.lins)

    def taps(self, x):
        return self.trunk((x - self.shift) / self.scale)

    def by_tap(self, a, b):
        """The parts of the distance between two pictures' taps: one tensor (n,) a tap."""
        return [
            (w.view(1, -1, 1, 1) * (unit(p) - unit(q)) ** 2).sum(1).mean((1, 2)) for w, p, q in zip(self.weights(), a, b)
        ]

    def between(self, a, b):
        return sum(self.by_tap(a, b))

    def forward(self, x, y):
        """Distances (n,) of pictures x and y."""
        return self.between(self.taps(x), self.taps(y))


class AlexLpips(Lpips):
    """LPIPS on AlexNet in training: `lins` are before a softplus, as weights must not be negative."""

    def __init__(self):
        super().__init__(alex_trunk(), ALEX_CHANNELS)
        with torch.no_grad():
            for lin in self.lins:  # weights of a tap sum to 1
                lin.fill_(math.log(math.expm1(1 / len(lin))))

    def weights(self):
        return [F.softplus(lin) for lin in self.lins]

    def tensors(self):
        """As they are stored: half precision, under the names of LPIPS-alex."""
        found = {name.replace("trunk.", ""): value for name, value in self.state_dict().items() if "features" in name}
        found.update({f"lin{k}.model.1.weight": w.view(1, -1, 1, 1) for k, w in enumerate(self.weights())})
        return {name: value.detach().to(torch.float16) for name, value in found.items()}

    @torch.no_grad()
    def take(self, tensors):
        """Takes what `tensors` gives. Raises KeyError and RuntimeError for names and shapes that do not fit."""
        self.trunk.load_state_dict({name: value.float() for name, value in tensors.items() if name.startswith("features.")})
        for k, lin in enumerate(self.lins):
            # Half precision has zeros, whose softplus would have to start from minus infinity.
            lin.copy_(softplus_inverse(tensors[f"lin{k}.model.1.weight"].float().reshape(len(lin)).clamp_min(1e-6)))
        return self


class FoamliuNet:
    """foamliu's MobileFaceNet (with ReLU and ReLU6 for the paper's PReLU); RGB (n, 3, 112, 112) in 0..1 to unit rows (n, 128)."""

    STRIDES = (2, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1)

    def __init__(self, state):
        self.tensors = {name: value for name, value in state.items() if value.dtype == torch.float32}
        self.mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        self.deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

    def normalised(self, x, name):
        """Batch normalisation in inference."""
        mean, variance, weight, bias = (self.tensors[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, variance, weight, bias, False, 0, 1e-5)

    def convolved(self, x, name, normalisation, stride=1, padding=0, depthwise=False):
        kernel = self.tensors[f"{name}.weight"]
        groups = len(kernel) if depthwise else 1
        return self.normalised(F.conv2d(x, kernel, None, stride, padding, 1, groups), normalisation)

    def block(self, x, name, stride):
        y = F.relu6(self.convolved(x, f"{name}.0.0", f"{name}.0.1"))
        y = F.relu6(self.convolved(y, f"{name}.1.0", f"{name}.1.1", stride, 1, True))
        y = self.convolved(y, f"{name}.2", f"{name}.3")
        return x + y if stride == 1 and x.shape == y.shape else y

    def __call__(self, x):
        y = F.relu6(self.convolved((x - self.mean) / self.deviation, "conv1.0", "conv1.1", 2, 1))
        y = F.relu(self.convolved(y, "dw_conv.depthwise", "dw_conv.bn1", 1, 1, True))
        y = F.relu(self.convolved(y, "dw_conv.pointwise", "dw_conv.bn2"))
        for index, stride in enumerate(self.STRIDES):
            y = self.block(y, f"features.{index}.conv", stride)
        y = F.relu6(self.convolved(y, "conv2.0", "conv2.1"))
        y = self.convolved(y, "gdconv.depthwise", "gdconv.bn", depthwise=True)
        y = F.conv2d(y, self.tensors["conv3.weight"], self.tensors.get("conv3.bias")).flatten(1)
        return F.normalize(self.normalised(y, "bn"))
