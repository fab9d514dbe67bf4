"""The networks, LPIPS, blur, crop and loop of the results in data/, by PyTorch and independent of the code they check.

    python3 test/golden/make.py        (torch 1.13 or newer, numpy, Pillow; Debian: python3-torch python3-pil)

Values are computed in float64 from the float32 inputs and rounded once, except the steps of the loop, which are float32's. README.md
beside this file says what a case holds. Cases that need other files (d_*, f_*, g_*) stay as they are.
"""
import copy, json, math, os, re, struct
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image
from generator import unit

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, 'data')
ROOT = os.path.join(HERE, '../..')
PHOTO = np.asarray(Image.open(os.path.join(ROOT, 'examples/astronaut.png')).convert('RGB'))
SEED = 1
torch.set_num_threads(1)


# ---- weights and inputs -----------------------------------------------------------------------------------------------------------
def uniform(seed, t, shape, low, high):
    return torch.from_numpy((low + (high - low) * unit(seed, t, int(np.prod(shape)))).astype(np.float32).reshape(shape))


def rule(key, shape):
    if key.endswith('running_mean'): return ['uni', -0.1, 0.1]
    if key.endswith('running_var'): return ['uni', 0.5, 1.5]
    if key.endswith('bias'): return ['uni', -0.1, 0.1]
    if len(shape) >= 2:
        gain = 2 if key.startswith('features.') or re.search(r'(^|\.)conv[12]\.weight$', key) else 1
        return ['sym', math.sqrt(3 * gain / int(np.prod(shape[1:])))]
    if key == 'input_layer.2.weight' or re.search(r'res_layer\.2\.weight$', key): return ['uni', 0.1, 0.4]
    if re.search(r'res_layer\.4\.weight$|\.bn3\.weight$', key): return ['uni', 0.1, 0.3]
    return ['uni', 0.5, 1.5]


def seeded(name, shapes, seed):
    """Weights by the generator; the index gets their list, once."""
    weights, listed = {}, []
    for t, (key, shape) in enumerate(shapes):
        kind, *bounds = rule(key, shape)
        low, high = (-bounds[0], bounds[0]) if kind == 'sym' else bounds
        if kind == 'sym':
            values = ((2 * unit(seed, t, int(np.prod(shape))) - 1) * high).astype(np.float32)
        else:
            values = (low + (high - low) * unit(seed, t, int(np.prod(shape)))).astype(np.float32)
        weights[key] = torch.from_numpy(values.reshape(shape))
        listed.append(dict(key=key, shape=list(shape), sum=float(values.astype(np.float64).sum())))
    INDEX['models'][f'{name}:{seed}'] = listed
    return weights


# ---- networks of face.evoLVe: names as in its state dictionaries -----------------------------------------------------------------
class SqueezeExcitation(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.fc1 = nn.Conv2d(c, c // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(c // 16, c, 1, bias=False)

    def forward(self, x):
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class Unit(nn.Module):
    def __init__(self, c, d, stride, se):
        super().__init__()
        self.stride, self.same = stride, c == d
        if not self.same: self.shortcut_layer = nn.Sequential(nn.Conv2d(c, d, 1, stride, bias=False), nn.BatchNorm2d(d))
        layers = [nn.BatchNorm2d(c), nn.Conv2d(c, d, 3, 1, 1, bias=False), nn.PReLU(d), nn.Conv2d(d, d, 3, stride, 1, bias=False), nn.BatchNorm2d(d)]
        self.res_layer = nn.Sequential(*layers, *([SqueezeExcitation(d)] if se else []))

    def forward(self, x):
        return self.res_layer(x) + (x[:, :, ::self.stride, ::self.stride] if self.same else self.shortcut_layer(x))


class IR(nn.Module):
    def __init__(self, channels, embedding, se=False):
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, channels[0], 3, 1, 1, bias=False), nn.BatchNorm2d(channels[0]), nn.PReLU(channels[0]))
        self.output_layer = nn.Sequential(nn.BatchNorm2d(channels[3]), nn.Dropout(0), nn.Flatten(), nn.Linear(channels[3] * 49, embedding), nn.BatchNorm1d(embedding))
        self.body = nn.Sequential(*(Unit(c, d, 2, se) for c, d in zip((channels[0], *channels), channels)))

    def forward(self, x):
        return self.output_layer(self.body(self.input_layer(x)))


class Bottleneck(nn.Module):
    def __init__(self, c, p, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, p, 1, bias=False), nn.BatchNorm2d(p)
        self.conv2, self.bn2 = nn.Conv2d(p, p, 3, stride, 1, bias=False), nn.BatchNorm2d(p)
        self.conv3, self.bn3 = nn.Conv2d(p, 4 * p, 1, bias=False), nn.BatchNorm2d(4 * p)
        self.downsample = nn.Sequential(nn.Conv2d(c, 4 * p, 1, stride, bias=False), nn.BatchNorm2d(4 * p)) if stride != 1 or c != 4 * p else None

    def forward(self, x):
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        c = 64
        for k, (p, count) in enumerate(zip((64, 128, 256, 512), blocks)):
            layers = []
            for i in range(count):
                layers.append(Bottleneck(c, p, 2 if i == 0 and k else 1))
                c = 4 * p
            setattr(self, f'layer{k + 1}', nn.Sequential(*layers))
        self.bn_o1, self.fc, self.bn_o2 = nn.BatchNorm2d(2048), nn.Linear(2048 * 16, 512), nn.BatchNorm1d(512)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.bn_o2(self.fc(self.bn_o1(self.layer4(self.layer3(self.layer2(self.layer1(x))))).flatten(1)))


NETWORKS = {
    'IR_micro': lambda: IR((8, 16, 24, 32), 64),
    'IR_SE_micro': lambda: IR((16, 32, 48, 64), 64, se=True),
    'ResNet_micro': lambda: ResNet((1, 1, 1, 1)),
}


def network(name, seed):
    net = NETWORKS[name]()
    shapes = [(k, tuple(v.shape)) for k, v in net.state_dict().items() if not k.endswith('num_batches_tracked')]
    net.load_state_dict(seeded(name, shapes, seed), strict=False)
    return net.eval()


# ---- LPIPS v0.1 ----------------------------------------------------------------------------------------------------------------
class Lpips:
    def __init__(self, weights, trunk):
        self.weights, self.trunk = weights, trunk

    def conv(self, x, key, stride=1, pad=0):
        return F.relu(F.conv2d(x, self.weights[key + '.weight'].to(x), self.weights[key + '.bias'].to(x), stride, pad))

    def fire(self, x, i):
        q = self.conv(x, f'features.{i}.squeeze')
        return torch.cat([self.conv(q, f'features.{i}.expand1x1'), self.conv(q, f'features.{i}.expand3x3', 1, 1)], 1)

    def features(self, x01):
        x = 2 * x01 - 1
        x = (x - torch.tensor([-0.030, -0.088, -0.188]).to(x).view(1, 3, 1, 1)) / torch.tensor([0.458, 0.448, 0.450]).to(x).view(1, 3, 1, 1)
        if self.trunk == 'alex':
            a = self.conv(x, 'features.0', 4, 2)
            b = self.conv(F.max_pool2d(a, 3, 2), 'features.3', 1, 2)
            c = self.conv(F.max_pool2d(b, 3, 2), 'features.6', 1, 1)
            d = self.conv(c, 'features.8', 1, 1)
            return [a, b, c, d, self.conv(d, 'features.10', 1, 1)]
        pool = lambda t: F.max_pool2d(t, 3, 2, ceil_mode=True)
        a = self.conv(x, 'features.0', 2)
        b = self.fire(self.fire(pool(a), 3), 4)
        c = self.fire(self.fire(pool(b), 6), 7)
        d = self.fire(pool(c), 9)
        e = self.fire(d, 10)
        f = self.fire(e, 11)
        return [a, b, c, d, e, f, self.fire(f, 12)]

    def taps(self, x01):
        """Features of unit length; where every channel is 0 they and their gradient are 0 (PyTorch's own would be NaN)."""
        def normal(f):
            square = (f * f).sum(1, keepdim=True)
            root = torch.sqrt(torch.where(square == 0, torch.ones_like(square), square))
            return f / (torch.where(square == 0, torch.zeros_like(square), root) + 1e-10)
        return [normal(f) for f in self.features(x01)]

    def layers(self, a, b):
        return [F.conv2d((x - y) ** 2, self.weights[f'lin{k}.model.1.weight'].to(x)).mean((1, 2, 3)) for k, (x, y) in enumerate(zip(a, b))]


def shipped(name):
    """Tensors of a file in weights/."""
    data = open(os.path.join(ROOT, 'weights', name + '.safetensors'), 'rb').read()
    size = struct.unpack('<Q', data[:8])[0]
    tensors = json.loads(data[8:8 + size])
    tensors.pop('__metadata__', None)
    kinds = {'F32': np.float32, 'F16': np.float16}
    part = lambda t: np.frombuffer(data[8 + size + t['data_offsets'][0]:8 + size + t['data_offsets'][1]], kinds[t['dtype']])
    return {k: torch.from_numpy(part(t).astype(np.float32).reshape(t['shape'])) for k, t in tensors.items()}


def squeeze_shapes():
    shapes = [('features.0.weight', (64, 3, 3, 3)), ('features.0.bias', (64,))]
    taps = [64, 128, 256, 384, 384, 512, 512]
    for i, c, s, e in [(3, 64, 16, 64), (4, 128, 16, 64), (6, 128, 32, 128), (7, 256, 32, 128), (9, 256, 48, 192), (10, 384, 48, 192), (11, 384, 64, 256), (12, 512, 64, 256)]:
        for part, shape in (('squeeze', (s, c, 1, 1)), ('expand1x1', (e, s, 1, 1)), ('expand3x3', (e, s, 3, 3))):
            shapes += [(f'features.{i}.{part}.weight', shape), (f'features.{i}.{part}.bias', shape[:1])]
    return shapes + [(f'lin{k}.model.1.weight', (1, c, 1, 1)) for k, c in enumerate(taps)]


# ---- crop, blur and the loop ---------------------------------------------------------------------------------------------------
def photo(x, y, w, h):
    return torch.from_numpy(PHOTO[y:y + h, x:x + w].transpose(2, 0, 1).copy()).float()[None] / 255


def crop(x, matrix, size=112):
    """The size x size crop whose map from image to crop is `matrix` (2x3): bilinear, black outside, centres of pixels at halves."""
    height, width = x.shape[2:]
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    j = np.arange(size) + 0.5
    X, Y = np.meshgrid(j, j)
    u = 2 * (inverse[0, 0] * X + inverse[0, 1] * Y + inverse[0, 2]) / width - 1
    v = 2 * (inverse[1, 0] * X + inverse[1, 1] * Y + inverse[1, 2]) / height - 1
    grid = torch.from_numpy(np.stack([u, v], -1))[None].to(x)
    return F.grid_sample(x, grid, mode='bilinear', padding_mode='zeros', align_corners=False)


def blur_kernel():
    g = torch.exp(-((torch.arange(7, dtype=torch.float64) - 3) / 3) ** 2 / 2)
    return g[:, None] * g[None] / g.sum() ** 2


def blur(x):
    return F.conv2d(F.pad(x, (3, 3, 3, 3), mode='reflect'), blur_kernel().to(x).expand(3, 1, 7, 7), groups=3)


def objective(nets, lpips, x, matrix, c_sim):
    """LowKey's objective of one photo, its two parts and its gradient at a point, as a function of the point."""
    def embed(net, c):
        e = net(2 * c - 1) + net(2 * torch.flip(c, [3]) - 1)
        return e / e.norm(dim=1, keepdim=True)

    with torch.no_grad():
        clean = [embed(net, crop(x, matrix)) for net in nets]
        taps = lpips.taps(crop(x, matrix)), lpips.taps(x)

    def at(point):
        point = point.detach().clone().requires_grad_(True)
        c = crop(point, matrix)
        crops = [crop(blur(point), matrix), c]
        features = sum(((embed(net, one) - d) ** 2).sum(1) / d.norm(dim=1) for net, d in zip(nets, clean) for one in crops)
        feature = features / (len(nets) * len(crops) * 512)
        distance = 0.5 * sum(lpips.layers(taps[0], lpips.taps(c))) + 0.5 * sum(lpips.layers(taps[1], lpips.taps(point)))
        total = feature - c_sim * distance
        gradient, = torch.autograd.grad(total.sum(), point)
        return torch.stack([total, feature, distance], -1)[0].detach(), gradient

    return at, clean


# ---- files ---------------------------------------------------------------------------------------------------------------------
INDEX = dict(seed=SEED, models={}, cases={})


def save(name, tensors, every={}, made={}, gen={}, **entry):
    """Stores a case. `every`: only each so-manieth element of a tensor is kept; `made` and `gen`: nothing is, readers make it."""
    shapes, header, blobs, offset = {}, {}, [], 0
    for key, value in tensors.items():
        array = value.detach().numpy() if torch.is_tensor(value) else np.asarray(value)
        shapes[key] = list(array.shape)
        if key in gen: continue
        if key in made and key not in every: continue
        if array.dtype == np.float64: array = array.astype(np.float32)
        if key in every: array = array.reshape(-1)[::every[key]]
        kind = {'float32': 'F32', 'uint8': 'U8', 'int32': 'I32'}[str(array.dtype)]
        data = np.ascontiguousarray(array).tobytes()
        header[key] = dict(dtype=kind, shape=list(array.shape), data_offsets=[offset, offset + len(data)])
        offset += len(data)
        blobs.append(data)
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    with open(os.path.join(DATA, name + '.safetensors'), 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text + b''.join(blobs))
    more = {k: v for k, v in dict(every=every, made=made, gen=gen).items() if v}
    INDEX['cases'][name] = dict(file=name + '.safetensors', tensors=shapes, **more, **entry)


def generated(gen, key, shape):
    t, low, high = gen[key]['t'], gen[key]['lo'], gen[key]['hi']
    return uniform(SEED, t, shape, low, high)


# By MTCNN on the astronaut, see d_mtcnn_astronaut.
FACE = [[0.8737465847593541, 0.045092357821145596, -145.4875870940769], [-0.045092357821145596, 0.8737465847593541, -25.411310727326935]]
EYES = [[1.222044631147941, 0.07078180544016972, -208.34559807167687], [-0.07078180544016972, 1.222044631147941, -62.128109162279706]]
LANDMARKS = [[203.66200298070908, 101.17770683765411], [246.56070339679718, 103.66243398189545], [224.58499324321747, 128.07280087471008], [201.6818939447403, 140.26598191261292], [244.94377887248993, 141.56286096572876]]


class Shipped:
    """Recognisers of weights/, which take crops in 0..1."""
    def __init__(self, name):
        self.weights = shipped(name)

    def conv(self, x, key, stride=1, pads=(0, 0, 0, 0)):
        weight = self.weights[key + '.weight'].to(x)
        groups = x.shape[1] if weight.shape[1] == 1 and x.shape[1] > 1 else 1
        return F.conv2d(F.pad(x, pads), weight, self.weights[key + '.bias'].to(x), stride, groups=groups)

    def sirius(self, c):
        """MobileFaceNet of sirius-ai; padding of TensorFlow, which begins at the bottom and the right."""
        def layer(x, key, stride=1, pads=(0, 0, 0, 0)):
            y = self.conv(x, key, stride, pads)
            slopes = self.weights.get(key + '.prelu.weight')
            return y if slopes is None else F.prelu(y, slopes.to(y))
        same = lambda stride: (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1)
        x = layer(layer((255 * c - 127.5) / 128, 'conv1', 2, same(2)), 'conv2', 1, same(1))
        for i in range(15):
            stride = 2 if i in (0, 5, 12) else 1
            y = layer(layer(layer(x, f'blocks.{i}.expand'), f'blocks.{i}.depthwise', stride, same(stride)), f'blocks.{i}.project')
            x = x + y if stride == 1 else y
        x = layer(layer(x, 'conv3'), 'conv4')
        return F.linear(x.flatten(1), self.weights['linear.weight'].to(x), self.weights['linear.bias'].to(x))

    def dlib(self, c):
        """The ResNet of dlib's face_recognition_resnet_model_v1."""
        mean = torch.tensor([122.782, 117.001, 104.298]).to(c).view(1, 3, 1, 1)
        x = F.max_pool2d(F.relu(self.conv((255 * c - mean) / 255, 'conv1', 2)), 3, 2)
        for i in range(14):
            down = i in (3, 7, 10, 13)
            y = F.relu(self.conv(x, f'blocks.{i}.conv1', 2 if down else 1, (0, 0, 0, 0) if down else (1, 1, 1, 1)))
            y = self.conv(y, f'blocks.{i}.conv2', 1, (1, 1, 1, 1))
            if down:
                x = F.avg_pool2d(x, 2, 2)
                y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
                x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
            x = F.relu(x + y)
        return F.linear(F.avg_pool2d(x, 2, 2).flatten(1), self.weights['fc.weight'].to(x))


def recognisers():
    whole = photo(0, 0, 512, 512).double()
    for k, (name, matrix, size) in enumerate((('sirius', FACE, 112), ('dlib', EYES, 150))):
        net = getattr(Shipped(name), name)
        c = crop(whole, matrix, size).float()
        at = c.double().requires_grad_(True)
        emb = net(at)
        gen = {f'{name}.v': dict(t=1700 + k, lo=-1, hi=1)}
        v = generated(gen, f'{name}.v', tuple(emb.shape))
        grad, = torch.autograd.grad((emb * v.double()).sum(), at)
        save(f'f_real_{name}', {f'{name}.crop': c, f'{name}.M': np.array(matrix), f'{name}.v': v, f'{name}.emb': emb, f'{name}.grad': grad},
             every={f'{name}.grad': 37, f'{name}.crop': 997}, gen=gen, made={f'{name}.crop': dict(warp=matrix)})


def networks():
    whole = photo(0, 0, 512, 512)
    aligned = crop(whole.double(), FACE)
    for k, name in enumerate(NETWORKS):
        net = network(name, 100 + 70 * (k > 0) + k)
        gen = dict(input=dict(t=1000 + k, lo=-1, hi=1), v=dict(t=1100 + k, lo=-1, hi=1))
        x = generated(gen, 'input', (1, 3, 112, 112))
        seed = 100 + 70 * (k > 0) + k
        exact = copy.deepcopy(net).double()
        v = generated(gen, 'v', tuple(net(x).shape))

        def both(net, x):
            x = x.clone().requires_grad_(True)
            e = net(x)
            return e.detach(), torch.autograd.grad((e * v.to(e)).sum(), x)[0]

        z = (2 * aligned - 1).float()
        (emb, grad), (crop_emb, crop_grad) = both(exact, x.double()), both(exact, z.double())
        save('a_' + name, dict(input=x, v=v, emb=emb, grad=grad, crop_input=z, crop_emb=crop_emb, crop_grad=crop_grad),
             every=dict(grad=37, crop_grad=37, crop_input=997), gen=gen,
             made=dict(crop_input=dict(warp=FACE, scale=2, shift=-1)), model=f'{name}:{seed}')


def training():
    seed = 120
    base = network('IR_micro', seed)
    gen = dict(input=dict(t=1200, lo=-1, hi=1), head_weight=dict(t=1220, lo=-math.sqrt(3 / 64), hi=math.sqrt(3 / 64)))
    x, head = generated(gen, 'input', (4, 3, 112, 112)), generated(gen, 'head_weight', (10, 64))
    labels = (unit(SEED, 1210, 4) * 10).astype(np.int32)
    hot = F.one_hot(torch.from_numpy(labels).long(), 10).bool()
    for kind, margin in (('arc', 0.5), ('cos', 0.35)):
        net = copy.deepcopy(base).double().train()
        weight = head.double().requires_grad_(True)
        emb = net(x.double())
        cosine = F.linear(F.normalize(emb), F.normalize(weight))
        if kind == 'arc':
            turned = cosine * math.cos(margin) - torch.sqrt(1 - cosine**2) * math.sin(margin)
            target = torch.where(cosine > math.cos(math.pi - margin), turned, cosine - math.sin(math.pi - margin) * margin)
        else:
            target = cosine - margin
        logits = 64 * torch.where(hot, target, cosine)
        loss = F.cross_entropy(logits, torch.from_numpy(labels).long())
        loss.backward()
        gradients = {**{k: p.grad for k, p in net.named_parameters()}, 'head.weight': weight.grad}
        running = {k: b for k, b in net.named_buffers() if 'running' in k}
        strides = {k: dict(stride=1 if g.numel() <= 300 else (g.numel() // 150) | 1) for k, g in gradients.items()}
        tensors = dict(input=x, labels=labels, head_weight=head, emb=emb, logits=logits, loss=loss.reshape(1))
        tensors.update({f'grad.{k}': g if strides[k]['stride'] == 1 else g.reshape(-1)[::strides[k]['stride']] for k, g in gradients.items()})
        tensors.update({f'after.{k}': b for k, b in running.items()})
        save(f'a_train_IR_micro_{kind}', tensors, gen=gen, model=f'IR_micro:{seed}', head=dict(kind=kind, s=64, m=margin),
             grads=strides, err32=dict(loss=1e-7))


def lpips():
    sets = dict(alex=('lpips-alex-scratch', shipped('lpips-alex-scratch')), squeeze=('squeeze:151', seeded('squeeze', squeeze_shapes(), 151)))
    for trunk, a_at, b_at in (('alex', (200, 70, 64, 64), (201, 72, 64, 64)), ('alex', (180, 60, 77, 51), (181, 61, 77, 51)), ('squeeze', (200, 70, 64, 64), (201, 72, 64, 64))):
        name, weights = sets[trunk]
        model = Lpips(weights, trunk)
        a, b = photo(*a_at), photo(*b_at)
        at = b.double().requires_grad_(True)
        layers = model.layers(model.taps(a.double()), model.taps(at))
        total = sum(layers)
        grad, = torch.autograd.grad(total.sum(), at)
        save(f'b_lpips_{trunk}_{a_at[2]}x{a_at[3]}', dict(a=a, b=b, layers=torch.cat(layers), total=total, grad_b=grad),
             every=dict(grad_b=7), made=dict(a=dict(photo=a_at), b=dict(photo=b_at)), model=name)


def geometry():
    gen = dict(x=dict(t=1400, lo=0, hi=1), v=dict(t=1410, lo=-1, hi=1))
    x, v = generated(gen, 'x', (1, 3, 37, 53)), generated(gen, 'v', (1, 3, 37, 53))
    at = x.double().requires_grad_(True)
    y = blur(at)
    grad, = torch.autograd.grad((y * v.double()).sum(), at)
    save('c_blur_53x37', dict(x=x, v=v, y=y, grad=grad, kernel=blur_kernel()), every=dict(y=2, grad=2), gen=gen)

    region = (150, 40, 140, 120)
    x = photo(*region)

    def turned(scale, cx, cy, degrees=26):
        a, b = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
        return [[a, -b, 56 - a * cx + b * cy], [b, a, 56 - b * cx - a * cy]]

    face = [[FACE[i][0], FACE[i][1], FACE[i][2] + FACE[i][0] * region[0] + FACE[i][1] * region[1]] for i in (0, 1)]
    for k, (name, matrix) in enumerate((('face', face), ('rot_shrink', turned(0.83, 70, 60)), ('outside', turned(0.55, 120, 15)))):
        gen = dict(v=dict(t=1430 + k, lo=-1, hi=1))
        v = generated(gen, 'v', (1, 3, 112, 112))
        at = x.double().requires_grad_(True)
        y = crop(at, matrix)
        grad, = torch.autograd.grad((y * v.double()).sum(), at)
        save('c_warp_' + name, dict(x=x, v=v, y=y, grad=grad, M=np.array(matrix)), every=dict(y=29, grad=31),
             made=dict(x=dict(photo=region)), gen=gen, M=matrix)


def loop():
    left, top, side, steps, rate, c_sim = 160, 58, 124, 5, 0.0025, 0.05
    x = photo(left, top, side, side)
    gen = dict(noise=dict(t=1600, lo=-0.005, hi=0.005))
    noise = generated(gen, 'noise', (1, 3, side, side))
    matrix = [[FACE[i][0], FACE[i][1], FACE[i][2] + FACE[i][0] * left + FACE[i][1] * top] for i in (0, 1)]
    nets = [network('IR_micro', 160 + k) for k in (0, 1)]
    weights = shipped('lpips-alex-scratch')
    at, clean = objective(nets, Lpips(weights, 'alex'), x, matrix, c_sim)
    exact, _ = objective([copy.deepcopy(net).double() for net in nets], Lpips(weights, 'alex'), x.double(), matrix, c_sim)
    point, curve, taken, points = x + noise, [], torch.zeros_like(x), []
    for _ in range(steps):
        values, gradient = at(point)
        curve.append(values)
        point = point + rate * gradient.sign()
        taken += gradient.sign()
        points.append(point)
    # As readers make it: from the number of steps up and down, so that it differs from `point` by roundings.
    last = x + noise + np.float32(rate) * taken
    assert float((last - point).abs().max()) < 1e-6
    first, first_gradient = exact((x + noise).double())
    later, later_gradient = exact(last.double())
    final = last.clamp(0, 1)
    final_values, _ = exact(final.double())
    tensors = dict(x=x, noise=noise, M=np.array(matrix), landmarks=np.array(LANDMARKS) - [left, top], g1_f64=first_gradient,
                   objective=torch.stack(curve), objective_1_f64=first, x_after_1=points[0], taken=(taken[0] + steps).to(torch.uint8),
                   x_after_5=last, g_at_5_f64=later_gradient, objective_at_5_f64=later, x_final_clamped=final,
                   x_final_u8=(final[0] * 255).to(torch.uint8).permute(1, 2, 0).contiguous(), d0=clean[0], d1=clean[1])
    every = dict(g1_f64=31, g_at_5_f64=31, x_after_1=31, x_final_u8=11)
    made = dict(x=dict(photo=(left, top, side, side)), x_after_5=dict(start='noise', steps='taken', most=steps, rate=rate),
                x_final_clamped=dict(clamp='x_after_5'))
    save('e_loop_micro', tensors, every=every, made=made, gen=gen, lr=rate, c_sim=c_sim, steps=steps, M=matrix,
         models=['IR_micro:160', 'IR_micro:161'], lpips='lpips-alex-scratch',
         final_feature_term=float(final_values[1]), final_lpips=float(final_values[2]))


if __name__ == '__main__':
    path = os.path.join(DATA, 'index.json')
    before = json.load(open(path)) if os.path.exists(path) else dict(cases={})
    for part in (recognisers, networks, training, lpips, geometry, loop): part()
    INDEX['cases'].update({k: v for k, v in before['cases'].items() if k not in INDEX['cases']})
    INDEX['cases'] = dict(sorted(INDEX['cases'].items()))
    lines = lambda d: ',\n'.join(f'  {json.dumps(k)}: {json.dumps(v, separators=(",", ":"))}' for k, v in d.items())
    with open(path, 'w') as file:
        file.write(f'{{\n"seed": {SEED},\n"models": {{\n{lines(INDEX["models"])}\n}},\n"cases": {{\n{lines(INDEX["cases"])}\n}}\n}}\n')
    sizes = {name: os.path.getsize(os.path.join(DATA, name)) for name in sorted(os.listdir(DATA))}
    for name, size in sizes.items(): print(f'{size:8d} {name}')
    print(f'{sum(sizes.values()):8d} bytes')
