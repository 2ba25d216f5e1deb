"""Archives in the layout of the official ILSVRC ones, made of drawn images, whole or spoilt on purpose."""

from __future__ import annotations

import io
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

SYNSETS = ("n01440764", "n02802426", "n03888257")  # tench, basketball, parachute


@dataclass
class Archives:
    """Paths of the written archives and what is in them: file name -> (synset, boxes)."""

    images: Path
    boxes: Path
    truth: dict[str, tuple[str, list[list[int]]]] = field(default_factory=dict)


def jpeg(width: int, height: int, seed: int = 0, mode: str = "RGB") -> bytes:
    """A smooth random picture as JPEG (RGB, L or CMYK)."""
    return encoded(width, height, seed, mode, "JPEG")


def encoded(width: int, height: int, seed: int = 0, mode: str = "RGB", form: str = "JPEG") -> bytes:
    """A smooth random picture as an image file."""
    rng = np.random.default_rng(seed)
    bands = {"L": 1, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    coarse = rng.integers(0, 256, (6, 6, bands)).astype(np.uint8)
    small = Image.fromarray(coarse[..., 0] if bands == 1 else coarse, mode if mode == "CMYK" else None)
    file = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(file, form)
    return file.getvalue()


def xml(name: str, synset: str, boxes: list[list[int]]) -> bytes:
    """One file of the official box archive."""
    objects = "".join(
        f"<object><name>{synset}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>"
        "</bndbox></object>"
        for a, b, c, d in boxes
    )
    return f"<annotation><folder>val</folder><filename>{name}</filename>{objects}</annotation>".encode()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """A tar (gzip for .tgz) with these members in this order."""
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_archives(folder: Path, n: int) -> Archives:
    """``n`` images of various sizes in shuffled order, with one or two boxes each."""
    rng = np.random.default_rng(7)
    images, boxes = {}, {}
    result = Archives(folder / "ILSVRC2012_img_val.tar", folder / "ILSVRC2012_bbox_val_v3.tgz")
    for number in rng.permutation(np.arange(1, n + 1)):
        name = f"ILSVRC2012_val_{number:08d}"
        width, height = (int(v) for v in rng.integers(40, 120, 2))
        synset = SYNSETS[int(number) % len(SYNSETS)]
        own = [[4, 5, width // 2, height // 2], [width // 3, 6, width - 2, height - 3]][: 1 + int(number) % 2]
        images[f"{name}.JPEG"] = jpeg(width, height, int(number))
        boxes[f"val/{name}.xml"] = xml(name, synset, own)
        result.truth[f"{name}.JPEG"] = (synset, own)
    write_tar(result.images, images)
    write_tar(result.boxes, boxes)
    return result


TINY_CLASSES = ("n01443537", "n02124075")


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    """A zip with these members in this order."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tiny_imagenet(val: int = 4, train: int = 3) -> dict[str, bytes]:
    """Members of an archive in the layout of tiny-imagenet-200.zip: two classes, images of either split."""
    root = "tiny-imagenet-200"
    members = {
        f"{root}/wnids.txt": "\n".join(reversed(TINY_CLASSES)).encode() + b"\n",
        f"{root}/words.txt": b"n02124075\tEgyptian cat\nn01443537\tgoldfish, Carassius\nn00001740\tentity\n",
    }
    lines = []
    for i in range(val):
        name = f"val_{i}.JPEG"
        members[f"{root}/val/images/{name}"] = jpeg(64, 64, i)
        lines.append(f"{name}\t{TINY_CLASSES[i % 2]}\t{i}\t0\t63\t{60 - i}\n")
    members[f"{root}/val/val_annotations.txt"] = "".join(lines).encode()
    for k, wnid in enumerate(TINY_CLASSES):
        names = [f"{wnid}_{i}.JPEG" for i in range(train)]
        members |= {f"{root}/train/{wnid}/images/{n}": jpeg(64, 64, 9 * k + i) for i, n in enumerate(names)}
        table = "".join(f"{n}\t0\t{i}\t31\t63\n" for i, n in enumerate(names))
        members[f"{root}/train/{wnid}/{wnid}_boxes.txt"] = table.encode()
    members[f"{root}/test/images/test_0.JPEG"] = jpeg(64, 64, 99)
    return members
