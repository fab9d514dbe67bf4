"""Embeddings of the recognisers that people have checkpoints of, by PyTorch and independent of the code they check.

    python3 test/golden/checkpoints.py        (torch 1.13 or newer, numpy; Debian: python3-torch)

Each network is written here from its paper and from the names in its published state dictionaries. Weights are drawn by generator.py,
tensor t being the t-th of the sorted names; the image is drawn too. Of each network checkpoints.json has the embedding (float64,
rounded to float32) and a SHA-256 over the names and shapes of all tensors of the published sizes. Deep networks are computed with few
units and channels: the code is the same, and their published sizes are checked by names and shapes.
"""
import base64, hashlib, json, math, os
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from generator import unit

HERE = os.path.dirname(os.path.abspath(__file__))
SEED = 7
torch.set_num_threads(2)


# ---- weights ----------------------------------------------------------------------------------------------------------------------
def drawn(t, name, shape):
    """Between bounds that keep activations from dying out or growing, whatever the layer is called."""
    u = unit(SEED, t, int(np.prod(shape)))
    if name.endswith('running_mean') or name.endswith('bias'): low, high = -0.1, 0.1
    elif name.endswith('running_var'): low, high = 0.5, 1.5
    elif len(shape) >= 2:
        high = math.sqrt(3 / int(np.prod(shape[1:])))
        low = -high
    else: low, high = 0.3, 1.1
    return torch.from_numpy((low + (high - low) * u).astype(np.float32).reshape(shape))


def tensors(net):
    return sorted((k, tuple(v.shape)) for k, v in net.state_dict().items() if not k.endswith('num_batches_tracked'))


def fill(net):
    listed = tensors(net)
    net.load_state_dict({k: drawn(t, k, shape) for t, (k, shape) in enumerate(listed)}, strict=False)
    return net.double().eval()


def digest(net):
    text = ''.join(f'{k} [{",".join(map(str, shape))}]\n' for k, shape in tensors(net))
    return hashlib.sha256(text.encode()).hexdigest()


def conv(c, d, k, stride=1, padding=0, groups=1, bias=False):
    return nn.Conv2d(c, d, k, stride, padding, groups=groups, bias=bias)


# ---- IResNet of InsightFace's arcface_torch ---------------------------------------------------------------------------------------
class IUnit(nn.Module):
    def __init__(self, c, d, stride):
        super().__init__()
        self.bn1, self.conv1, self.bn2 = nn.BatchNorm2d(c), conv(c, d, 3, 1, 1), nn.BatchNorm2d(d)
        self.prelu, self.conv2, self.bn3 = nn.PReLU(d), conv(d, d, 3, stride, 1), nn.BatchNorm2d(d)
        if stride > 1: self.downsample = nn.Sequential(conv(c, d, 1, stride), nn.BatchNorm2d(d))

    def forward(self, x):
        y = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return y + (self.downsample(x) if hasattr(self, 'downsample') else x)


def stages(unit, units, channels):
    c = channels[0]
    for count, d in zip(units, channels):
        yield nn.Sequential(*(unit(c if i == 0 else d, d, 2 if i == 0 else 1) for i in range(count)))
        c = d


class IResNet(nn.Module):
    def __init__(self, units, channels=(64, 128, 256, 512), embedding=512):
        super().__init__()
        self.conv1, self.bn1, self.prelu = conv(3, channels[0], 3, 1, 1), nn.BatchNorm2d(channels[0]), nn.PReLU(channels[0])
        self.layer1, self.layer2, self.layer3, self.layer4 = stages(IUnit, units, channels)
        self.bn2, self.fc, self.features = nn.BatchNorm2d(channels[3]), nn.Linear(49 * channels[3], embedding), nn.BatchNorm1d(embedding)

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.bn2(self.layer4(self.layer3(self.layer2(self.layer1(x)))))
        return self.features(self.fc(x.flatten(1)))


# ---- IR of AdaFace, and of face.evoLVe and InsightFace_Pytorch (with squeeze and excitation) --------------------------------------
class Excitation(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.fc1, self.fc2 = conv(c, c // 16, 1), conv(c // 16, c, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class Residual(nn.Module):
    def __init__(self, c, d, stride, layers):
        super().__init__()
        self.stride = stride
        if c != d: self.shortcut_layer = nn.Sequential(conv(c, d, 1, stride), nn.BatchNorm2d(d))
        self.res_layer = nn.Sequential(*layers)

    def forward(self, x):
        kept = self.shortcut_layer(x) if hasattr(self, 'shortcut_layer') else x[:, :, ::self.stride, ::self.stride]
        return self.res_layer(x) + kept


def adaface_unit(c, d, stride):
    return Residual(c, d, stride, [nn.BatchNorm2d(c), conv(c, d, 3, 1, 1), nn.BatchNorm2d(d), nn.PReLU(d), conv(d, d, 3, stride, 1), nn.BatchNorm2d(d)])


def excited_unit(c, d, stride):
    return Residual(c, d, stride, [nn.BatchNorm2d(c), conv(c, d, 3, 1, 1), nn.PReLU(d), conv(d, d, 3, stride, 1), nn.BatchNorm2d(d), Excitation(d)])


class IR(nn.Module):
    def __init__(self, unit, units, channels=(64, 128, 256, 512), embedding=512, affine=True):
        super().__init__()
        self.input_layer = nn.Sequential(conv(3, channels[0], 3, 1, 1), nn.BatchNorm2d(channels[0]), nn.PReLU(channels[0]))
        self.output_layer = nn.Sequential(nn.BatchNorm2d(channels[3]), nn.Dropout(0), nn.Flatten(), nn.Linear(49 * channels[3], embedding), nn.BatchNorm1d(embedding, affine=affine))
        self.body = nn.Sequential(*(u for stage in stages(unit, units, channels) for u in stage))

    def forward(self, x):
        return self.output_layer(self.body(self.input_layer(x)))


class FRBenchIRSE(nn.Module):
    """The same as FRBench names it."""
    def __init__(self, units, channels=(64, 128, 256, 512), embedding=512):
        super().__init__()
        inner = IR(excited_unit, units, channels, embedding)
        self.input_layer, self.body = inner.input_layer, inner.body
        self.bn2, self.fc, self.features = nn.BatchNorm2d(channels[3]), nn.Linear(49 * channels[3], embedding), nn.BatchNorm1d(embedding)

    def forward(self, x):
        return self.features(self.fc(self.bn2(self.body(self.input_layer(x))).flatten(1)))


# ---- MobileFaceNets ---------------------------------------------------------------------------------------------------------------
class Block(nn.Module):
    def __init__(self, c, d, k, stride=1, padding=0, groups=1, linear=False):
        super().__init__()
        self.conv, self.bn = conv(c, d, k, stride, padding, groups), nn.BatchNorm2d(d)
        if not linear: self.prelu = nn.PReLU(d)

    def forward(self, x):
        x = self.bn(self.conv(x))
        return self.prelu(x) if hasattr(self, 'prelu') else x


class ChannelAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        t = int((math.log2(c) + 1) / 2)
        k = max(3, t if t % 2 else t + 1)
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)

    def forward(self, x):
        y = self.conv(x.mean((2, 3)).unsqueeze(1)).squeeze(1)
        return x * torch.sigmoid(y)[:, :, None, None]


class Separable(nn.Module):
    def __init__(self, names, c, d, within, stride, attention):
        super().__init__()
        self.names, self.kept = names, stride == 1
        self.add_module(names[0], Block(c, within, 1))
        self.conv_dw = Block(within, within, 3, stride, 1, within)
        self.add_module(names[1], Block(within, d, 1, linear=True))
        if attention: self.eca = ChannelAttention(d)

    def forward(self, x):
        y = getattr(self, self.names[1])(self.conv_dw(getattr(self, self.names[0])(x)))
        if hasattr(self, 'eca'): y = self.eca(y)
        return x + y if self.kept else y


class Run(nn.Module):
    def __init__(self, name, modules):
        super().__init__()
        self.name = name
        self.add_module(name, nn.Sequential(*modules))

    def forward(self, x):
        return getattr(self, self.name)(x)


class Head(nn.Module):
    def __init__(self, embedding):
        super().__init__()
        self.conv_dw, self.fc, self.bn = Block(512, 512, 7, groups=512, linear=True), nn.Linear(512, embedding, bias=False), nn.BatchNorm1d(embedding)

    def forward(self, x):
        return self.bn(self.fc(self.conv_dw(x).flatten(1)))


class MobileFaceNet(nn.Module):
    """InsightFace_Pytorch's by default; FRBench's with its names, and with channel attention."""
    def __init__(self, embedding=512, frbench=False, attention=False):
        super().__init__()
        names = ('conv_expand', 'conv_project') if frbench else ('conv', 'project')
        block = lambda c, d, within, stride: Separable(names, c, d, within, stride, attention)
        run = lambda c, count, within: Run('layers' if frbench else 'model', [block(c, c, within, 1) for _ in range(count)])
        self.conv1, self.conv2_dw = Block(3, 64, 3, 2, 1), Block(64, 64, 3, 1, 1, 64)
        self.conv_23, self.conv_3 = block(64, 64, 128, 2), run(64, 4, 128)
        self.conv_34, self.conv_4 = block(64, 128, 256, 2), run(128, 6, 256)
        self.conv_45, self.conv_5 = block(128, 128, 512, 2), run(128, 2, 256)
        self.conv_6_sep = Block(128, 512, 1)
        if frbench: self.output_layer = Head(embedding)
        else:
            self.conv_6_dw = Block(512, 512, 7, groups=512, linear=True)
            self.linear, self.bn = nn.Linear(512, embedding, bias=False), nn.BatchNorm1d(embedding)

    def forward(self, x):
        for part in (self.conv1, self.conv2_dw, self.conv_23, self.conv_3, self.conv_34, self.conv_4, self.conv_45, self.conv_5, self.conv_6_sep): x = part(x)
        return self.output_layer(x) if hasattr(self, 'output_layer') else self.bn(self.linear(self.conv_6_dw(x).flatten(1)))


class XBlock(nn.Module):
    def __init__(self, c, d, stride, factor):
        super().__init__()
        w = c * factor
        self.kept = stride == 1 and c == d
        self.conv = nn.Sequential(conv(c, w, 1), nn.BatchNorm2d(w), nn.PReLU(w), conv(w, w, 3, stride, 1, w), nn.BatchNorm2d(w), nn.PReLU(w), conv(w, d, 1), nn.BatchNorm2d(d))

    def forward(self, x):
        return x + self.conv(x) if self.kept else self.conv(x)


class Xiaoccer(nn.Module):
    """Of 112x96 pixels; x has 112x112, of which it sees the middle columns."""
    def __init__(self):
        super().__init__()
        self.conv1, self.dw_conv1 = Block(3, 64, 3, 2, 1), Block(64, 64, 3, 1, 1, 64)
        c, blocks = 64, []
        for factor, d, count, stride in ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1)):
            for i in range(count):
                blocks.append(XBlock(c, d, stride if i == 0 else 1, factor))
                c = d
        self.blocks = nn.Sequential(*blocks)
        self.conv2, self.linear7, self.linear1 = Block(128, 512, 1), Block(512, 512, (7, 6), groups=512, linear=True), Block(512, 128, 1, linear=True)

    def forward(self, x):
        return self.linear1(self.linear7(self.conv2(self.blocks(self.dw_conv1(self.conv1(x[..., 8:104])))))).flatten(1)


# ---- Inception-ResNet-v1 with the names of facenet-pytorch ------------------------------------------------------------------------
class C(nn.Module):
    def __init__(self, c, d, k, stride=1, padding=0):
        super().__init__()
        self.conv, self.bn = conv(c, d, k, stride, padding), nn.BatchNorm2d(d, eps=1e-3)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class Branches(nn.Module):
    """Branches side by side; with `scale` added to x through one convolution more."""
    def __init__(self, branches, c=0, scale=None, activated=True, pool=False):
        super().__init__()
        self.count, self.scale, self.activated, self.pool = len(branches), scale, activated, pool
        for i, branch in enumerate(branches): setattr(self, f'branch{i}', branch[0] if len(branch) == 1 else nn.Sequential(*branch))
        if scale is not None: self.conv2d = conv(sum(branch[-1].conv.out_channels for branch in branches), c, 1, bias=True)

    def forward(self, x):
        y = [getattr(self, f'branch{i}')(x) for i in range(self.count)]
        if self.pool: y.append(F.max_pool2d(x, 3, 2))
        y = torch.cat(y, 1)
        if self.scale is None: return y
        y = self.conv2d(y) * self.scale + x
        return F.relu(y) if self.activated else y


def block35():
    return Branches([[C(256, 32, 1)], [C(256, 32, 1), C(32, 32, 3, 1, 1)], [C(256, 32, 1), C(32, 32, 3, 1, 1), C(32, 32, 3, 1, 1)]], 256, 0.17)


def crossed(c, w, k, scale, activated=True):
    p = (k - 1) // 2
    return Branches([[C(c, w, 1)], [C(c, w, 1), C(w, w, (1, k), 1, (0, p)), C(w, w, (k, 1), 1, (p, 0))]], c, scale, activated)


class InceptionResnet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv2d_1a, self.conv2d_2a, self.conv2d_2b = C(3, 32, 3, 2), C(32, 32, 3), C(32, 64, 3, 1, 1)
        self.conv2d_3b, self.conv2d_4a, self.conv2d_4b = C(64, 80, 1), C(80, 192, 3), C(192, 256, 3, 2)
        self.repeat_1 = nn.Sequential(*(block35() for _ in range(5)))
        self.mixed_6a = Branches([[C(256, 384, 3, 2)], [C(256, 192, 1), C(192, 192, 3, 1, 1), C(192, 256, 3, 2)]], pool=True)
        self.repeat_2 = nn.Sequential(*(crossed(896, 128, 7, 0.1) for _ in range(10)))
        self.mixed_7a = Branches([[C(896, 256, 1), C(256, 384, 3, 2)], [C(896, 256, 1), C(256, 256, 3, 2)], [C(896, 256, 1), C(256, 256, 3, 1, 1), C(256, 256, 3, 2)]], pool=True)
        self.repeat_3 = nn.Sequential(*(crossed(1792, 192, 3, 0.2) for _ in range(5)))
        self.block8 = crossed(1792, 192, 3, 1.0, activated=False)
        self.last_linear, self.last_bn = nn.Linear(1792, 512, bias=False), nn.BatchNorm1d(512, eps=1e-3)

    def forward(self, x):
        x = F.max_pool2d(self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x))), 3, 2)
        x = self.repeat_1(self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(x))))
        x = self.block8(self.repeat_3(self.mixed_7a(self.repeat_2(self.mixed_6a(x)))))
        return self.last_bn(self.last_linear(x.mean((2, 3))))


class ResNet(nn.Module):
    """He et al. 2016 with blocks of two convolutions, and the head of face.evoLVe's, as FRBench has it."""
    def __init__(self, blocks, embedding=512):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        channels = [64, 64, 128, 256, 512]
        for s, count in enumerate(blocks):
            units = [BasicBlock(channels[s] if i == 0 else channels[s + 1], channels[s + 1], 2 if i == 0 and s > 0 else 1) for i in range(count)]
            setattr(self, f'layer{s + 1}', nn.Sequential(*units))
        self.bn_o1, self.fc, self.bn_o2 = nn.BatchNorm2d(512), nn.Linear(512 * 16, embedding), nn.BatchNorm1d(embedding)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.bn_o2(self.fc(self.bn_o1(x).flatten(1)))


class BasicBlock(nn.Module):
    def __init__(self, inputs, out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        if stride > 1 or inputs != out:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.downsample(x) if hasattr(self, 'downsample') else x))


FEW, NARROW = (2, 1, 1, 1), (8, 16, 24, 32)
EXCITED = (16, 32, 48, 64)
#: What is computed: id, network, side of the image.
COMPUTED = [
    ('iresnet-2x8-1x16-1x24-1x32-e64', lambda: IResNet(FEW, NARROW, 64), 112),
    ('adaface-ir-2x8-1x16-1x24-1x32-e64', lambda: IR(adaface_unit, FEW, NARROW, 64, affine=False), 112),
    ('ir-se-2x16-1x32-1x48-1x64-e64', lambda: FRBenchIRSE(FEW, EXCITED, 64), 112),
    ('mobilefacenet-treb1en', lambda: MobileFaceNet(), 112),
    ('mobilefacenet-eca', lambda: MobileFaceNet(frbench=True, attention=True), 112),
    ('mobilefacenet-xiaoccer', lambda: Xiaoccer(), 112),
    ('resnet-18', lambda: ResNet((2, 2, 2, 2)), 112),
    ('inception-resnet-v1', lambda: InceptionResnet(), 160),
]
#: Published sizes, by names and shapes alone. FRBench's are computed under its names.
PUBLISHED = [
    ('iresnet-18', lambda: IResNet((2, 2, 2, 2))), ('iresnet-34', lambda: IResNet((3, 4, 6, 3))),
    ('iresnet-50', lambda: IResNet((3, 4, 14, 3))), ('iresnet-100', lambda: IResNet((3, 13, 30, 3))),
    ('adaface-ir-50', lambda: IR(adaface_unit, (3, 4, 14, 3), affine=False)), ('adaface-ir-101', lambda: IR(adaface_unit, (3, 13, 30, 3), affine=False)),
    ('ir-se-50', lambda: IR(excited_unit, (3, 4, 14, 3))), ('resnet-34', lambda: ResNet((3, 4, 6, 3))),
]


def main():
    result = dict(seed=SEED, embeddings={}, tensors={})
    for name, make, side in COMPUTED:
        net = fill(make())
        x = torch.from_numpy((2 * unit(SEED, 1_000_000, 3 * side * side) - 1).astype(np.float32).reshape(1, 3, side, side))
        with torch.no_grad(): y = net(x.double())[0].numpy().astype(np.float32)
        result['embeddings'][name] = dict(side=side, f32=base64.b64encode(y.tobytes()).decode(), names=digest(net))
        print(name, y.shape, float(np.abs(y).max()), float(y.std()))
    for name, make in PUBLISHED: result['tensors'][name] = digest(make())
    with open(os.path.join(HERE, 'data/checkpoints.json'), 'w') as f: json.dump(result, f, indent=0)


main()
