"""Photos and weights of train.py on disk. What a user can put right is a `Problem`, whose text is one line and names the file."""

import json
import os
import pathlib
import random
import struct

import numpy as np
import torch
from PIL import Image

from networks import SQUEEZE_CHANNELS, AlexLpips, FoamliuNet, Lpips, squeeze_trunk

KINDS = {"F16": np.float16, "F32": np.float32}


class Problem(Exception):
    pass


def first_line(error):
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


# ---- photos ----------------------------------------------------------------------------------------------------------------------
def photo_files(folder):
    """All JPEG and PNG files in a folder and those below, in an order that looks random and is always the same."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise Problem(f"--photos: there is no folder {folder}")
    files = sorted(str(file) for file in folder.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not files:
        raise Problem(f"--photos: {folder} has no .jpg, .jpeg or .png files")
    random.Random(0).shuffle(files)
    return files


def photo(file, side=None):
    """A photo as bytes (3, h, w): exactly `side` in both where that is given, else of 112 or more, made smaller where above 512."""
    try:
        with Image.open(file) as opened:
            picture = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises any of them for broken files
        raise Problem(f"--photos: cannot read {file} ({first_line(error)})") from None
    width, height = picture.size
    if side and (width, height) != (side, side):
        raise Problem(f"--photos: {file} is {width}x{height}; attacks take face crops of {side}x{side}")
    if max(width, height) > 512:
        picture.thumbnail((512, 512), Image.BICUBIC)
    if min(picture.size) < 112:
        raise Problem(f"--photos: {file} is {width}x{height}; made smaller to 512 where it is longer, both sides must have 112 or more")
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)


# ---- weights that others published -----------------------------------------------------------------------------------------------
def state_of(path, option):
    """The state dictionary in a file of PyTorch's; only tensors are read from it, no code."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise Problem(f"{option}: there is no file {path}")
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises what it meets: RuntimeError, UnpicklingError, EOFError, TypeError
        raise Problem(f"{option}: {path} is not a state dictionary of PyTorch ({first_line(error)})") from None


def teacher_of(folder):
    """LPIPS v0.1 on SqueezeNet, from v0.1-squeeze.pth (weights of channels) and squeeze.backbone.pth (convolutions)."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise Problem(f"--lpips: there is no folder {folder}")
    lins, convolutions = (state_of(folder / name, "--lpips") for name in ("v0.1-squeeze.pth", "squeeze.backbone.pth"))
    teacher = Lpips(squeeze_trunk(), SQUEEZE_CHANNELS)
    try:
        teacher.trunk.features.load_state_dict(convolutions)
        with torch.no_grad():
            for k, lin in enumerate(teacher.lins):
                lin.copy_(lins[f"lin{k}.model.1.weight"].reshape(len(lin)))
    except (KeyError, RuntimeError) as error:
        raise Problem(f"--lpips: {folder} does not have the weights of LPIPS-squeeze ({first_line(error)})") from None
    return teacher.eval().requires_grad_(False)


def recogniser_of(path):
    recogniser = FoamliuNet(state_of(path, "--recogniser"))
    try:
        with torch.no_grad():
            recogniser(torch.zeros(1, 3, 112, 112))
    except (KeyError, RuntimeError) as error:
        raise Problem(f"--recogniser: {path} is not foamliu's MobileFaceNet ({first_line(error)})") from None
    return recogniser


# ---- safetensors -----------------------------------------------------------------------------------------------------------------
def read_safetensors(path):
    """Tensors by name, and the metadata."""
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    metadata, tensors = header.pop("__metadata__", {}), {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = np.frombuffer(body[begin:end], KINDS[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return tensors, metadata


def student_of(path):
    """LPIPS on AlexNet from a safetensors file, and the file's metadata."""
    if not pathlib.Path(path).is_file():
        raise Problem(f"--start: there is no file {path}")
    try:
        tensors, metadata = read_safetensors(path)
        return AlexLpips().take(tensors), metadata
    except (KeyError, RuntimeError, TypeError, ValueError, struct.error) as error:
        raise Problem(f"--start: {path} is not LPIPS-alex in safetensors ({first_line(error)})") from None


def temporary(path):
    path = pathlib.Path(path)
    return path.with_name(path.name + ".part")


def check_writable(path):
    """So that training does not end with nowhere to go."""
    if pathlib.Path(path).is_dir():
        raise Problem(f"--out: {path} is a folder")
    try:
        temporary(path).touch()
        temporary(path).unlink()
    except OSError as error:
        raise Problem(f"--out: cannot write {path} ({error.strerror})") from None


def write_safetensors(path, tensors, metadata):
    """Half precision tensors; the file has its name only once it is whole."""
    header, parts, at = {"__metadata__": metadata}, [], 0
    for name, value in tensors.items():
        part = value.contiguous().numpy().tobytes()
        header[name] = {"dtype": "F16", "shape": list(value.shape), "data_offsets": [at, at + len(part)]}
        parts.append(part)
        at += len(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    temporary(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
    os.replace(temporary(path), path)
