"""Goes through a run of examples/distil.ts once more in PyTorch and compares the losses, step by step; independent of the code it checks.

    node examples/distil.ts FOLDER -o out/short --steps 5 --every 1 --warm-up 2 --jpeg 0 --blur 0 --radius 8 --inner 0 --rate 0.00005
    python3 test/golden/distil.py out/short          (torch 1.13 or newer, numpy; Debian: python3-torch)

Takes from the run its options, its canvases (photos.rgb) and the losses; batches, crops, the teacher, the change of the crops, the loss and
Adam are computed here. For a student that begins as sirius, its only teacher, learning embeddings. Prints times too. With --inner 1 or more
steps go by the signs of gradients, some of which are rounding: losses then agree to 3e-4 in the first step, and differ more in later ones.
"""
import json, os, struct, sys, time
import numpy as np
import torch
import torch.nn.functional as F
from generator import drawn

torch.set_num_threads(1)
CANVAS, MARGIN, SIDE = 128, 8, 112


def safetensors(path):
    with open(path, 'rb') as file: data = file.read()
    length = struct.unpack('<Q', data[:8])[0]
    found = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name == '__metadata__': continue
        begin, end = entry['data_offsets']
        values = np.frombuffer(data[8 + length + begin:8 + length + end], {'F32': np.float32, 'F16': np.float16}[entry['dtype']])
        found[name] = torch.from_numpy(values.astype(np.float32).reshape(entry['shape']))
    return found


BLOCKS = [(2, 128, 64)] + [(1, 128, 64)] * 4 + [(2, 256, 128)] + [(1, 256, 128)] * 6 + [(2, 512, 128)] + [(1, 256, 128)] * 2


def mobilefacenet(x01, w):
    """sirius-ai's, batch normalisation folded; strided convolutions are padded as TensorFlow's SAME does."""
    def conv(y, key, stride=1, depthwise=False):
        kernel = w[key + '.weight']
        padding = 1 if kernel.shape[2] == 3 and stride == 1 else 0
        if stride == 2: y = F.pad(y, (0, 1, 0, 1))
        return F.conv2d(y, kernel, w[key + '.bias'], stride, padding, 1, kernel.shape[0] if depthwise else 1)

    def act(y, key): return F.prelu(y, w[key + '.prelu.weight'])
    y = act(conv((x01 * 255 - 127.5) / 128, 'conv1', 2), 'conv1')
    y = act(conv(y, 'conv2', 1, True), 'conv2')
    for i, (stride, _, _) in enumerate(BLOCKS):
        z = act(conv(y, f'blocks.{i}.expand'), f'blocks.{i}.expand')
        z = act(conv(z, f'blocks.{i}.depthwise', stride, True), f'blocks.{i}.depthwise')
        z = conv(z, f'blocks.{i}.project')
        y = y + z if stride == 1 else z
    y = conv(act(conv(y, 'conv3'), 'conv3'), 'conv4', 1, True)
    return F.linear(y.flatten(1), w['linear.weight'], w['linear.bias'])


# ---- what is drawn -----------------------------------------------------------------------------------------------------------------
def noise_of(seed, stream, index, count):
    return (2 * drawn(((seed * 8 + stream) * 1_000_003 + index) * 0x9E3779B9, count) - 1).astype(np.float32)


def batch_of(canvases, run, n):
    size, seed, count = run['batch'], run['seed'], len(canvases)
    chosen = []
    for k in range(n * size, (n + 1) * size):
        order = np.argsort(noise_of(seed, 1, k // count, count), kind='stable')
        chosen.append(order[k % count])
    geometry = noise_of(seed, 2, n, 5 * size).astype(np.float64).reshape(size, 5)
    noise = torch.from_numpy(noise_of(seed, 4, n, size * 3 * SIDE * SIDE).reshape(size, 3, SIDE, SIDE))
    planes = torch.from_numpy(canvases[chosen].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
    steps = torch.arange(SIDE, dtype=torch.float64) + 0.5
    crops = []
    for image, (dx, dy, scale, mirror, light) in zip(planes, geometry):
        s = 1 + run['scale'] * scale
        a = -s if mirror > 0 else s
        x, y = a * steps + 56 - a * 56 + run['shift'] * dx + MARGIN, s * steps + 56 - s * 56 + run['shift'] * dy + MARGIN
        grid = torch.stack(torch.meshgrid(2 * y / CANVAS - 1, 2 * x / CANVAS - 1, indexing='ij')[::-1], -1).float()
        crop = F.grid_sample(image[None], grid[None], padding_mode='zeros', align_corners=False)
        crops.append((crop * np.float32(1 + run['light'] * light)).clamp(0, 1))
    return torch.cat(crops), noise


# ---- the run -----------------------------------------------------------------------------------------------------------------------
def main(folder):
    with open(os.path.join(folder, 'report.json')) as file: report = json.load(file)
    run = report['run']
    expected = {'student': 'sirius', 'teachers': ['sirius'], 'target': 'embeddings', 'optimiser': 'adam', 'accumulate': 1, 'clean': 0, 'once': False, 'jpeg': 0, 'blur': 0}
    for name, value in expected.items():
        if run[name] != value: sys.exit(f'{name} is {run[name]}; this program knows {value} alone')
    canvases = np.fromfile(os.path.join(folder, 'photos.rgb'), np.uint8).reshape(-1, CANVAS, CANVAS, 3)
    teacher = safetensors(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../weights/sirius.safetensors'))
    student = {name: value.clone().requires_grad_(True) for name, value in teacher.items()}
    adam = torch.optim.Adam(student.values())
    radius = run['radius']
    worst = 0
    for step, entry in enumerate(report['losses']):
        if entry['step'] != step + 1: sys.exit('the run has no loss of every step (--every 1)')
        began, processor = time.time(), time.process_time()
        x, noise = batch_of(canvases, run, step)
        with torch.no_grad(): rows = F.normalize(mobilefacenet(x, teacher))
        loss_of = lambda z: 1 - (F.normalize(mobilefacenet(z, student)) * rows).sum(1).mean()
        z = x
        if radius > 0:
            change = noise * radius
            size = radius * (1.25 if run['inner'] == 1 else 2 / max(1, run['inner']))
            for _ in range(run['inner']):
                worse = (x + change).clamp(0, 1).requires_grad_(True)
                gradient, = torch.autograd.grad(loss_of(worse), worse)
                change = (change + size * gradient.sign()).clamp(-radius, radius)
            z = (x + change).clamp(0, 1)
        loss = loss_of(z)
        done = (step - run['warm-up']) / max(1, run['steps'] - run['warm-up'])
        adam.param_groups[0]['lr'] = run['rate'] * (step + 1) / run['warm-up'] if step < run['warm-up'] else run['rate'] / 2 * (1 + np.cos(np.pi * done))
        adam.zero_grad()
        loss.backward()
        adam.step()
        off = abs(loss.item() - entry['loss'])
        worst = max(worst, off)
        print(f"step {step + 1}: {loss.item():.6f} here, {entry['loss']:.6f} there, {off:.1e} apart; {time.time() - began:.2f} s ({time.process_time() - processor:.2f} s of processor) here, {entry['seconds']:.2f} s ({entry['processorSeconds']:.2f} s) there", flush=True)
    print(f'at most {worst:.1e} apart')


main(sys.argv[1])
