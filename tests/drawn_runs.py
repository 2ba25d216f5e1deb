"""Audited runs of a network that is known by construction: it says the colour that there is most of."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from pipeline.config import parse_config
from pipeline.measure.audit import audit_run
from pipeline.measure.bench import open_bench
from pipeline.run.store import Store

SIDE = 32
COLOURS = {"red": (230, 40, 40), "green": (40, 230, 40), "blue": (40, 40, 230)}


def colour_network(path: Path, side: int = SIDE) -> None:
    """Says the colour that there is most of, anywhere: logits 40 x mean of (channel beyond the others)."""
    inputs = keras.Input((side, side, 3))
    kernel = (np.eye(3) - 0.5 * (1 - np.eye(3))).reshape(1, 1, 3, 3)
    convolution = keras.layers.Conv2D(3, 1, activation="relu")
    x = keras.layers.GlobalAveragePooling2D()(convolution(inputs))
    dense = keras.layers.Dense(3, activation="softmax")
    model = keras.Model(inputs, dense(x))
    convolution.set_weights([kernel, np.zeros(3)])
    dense.set_weights([40 * np.eye(3), np.zeros(3)])
    model.save(path)
    card = f"height = {side}\nwidth = {side}\nresize = 'stretch'\nscale = 0.00392156862745098\n"
    path.with_suffix(".toml").write_text(card + 'class_names = ["red", "green", "blue"]\n')


def draw(colour: str, where: str, seed: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """A grey picture with a box; the colour of its class is on the ``object``, in the ``background``, or
    around the box (``rim``)."""
    rng = np.random.default_rng(seed)
    picture = np.repeat(rng.integers(110, 140, (SIDE, SIDE, 1)), 3, axis=2).astype(np.uint8)
    x, y = (int(v) for v in rng.integers(10, 14, 2))
    box = (x, y, x + 8, y + 8)
    if where == "rim":
        picture[y - 3 : y + 12, x - 3 : x + 12] = COLOURS[colour]
    if where in ("background", "rim"):
        picture[y : y + 9, x : x + 9] = 90
    if where == "background":
        picture[:6] = COLOURS[colour]
    if where == "object":
        picture[y : y + 9, x : x + 9] = COLOURS[colour]
    return picture, box


def drawn_run(root: Path, where: Mapping[str, str], counts: Mapping[str, int], **more: object) -> Store:
    """Audited pictures: class -> where its colour is."""
    lines = ["file,label,xmin,ymin,xmax,ymax"]
    for k, (name, place) in enumerate(where.items()):
        (root / "data" / name).mkdir(parents=True)
        for i in range(counts[name]):
            picture, box = draw(name, place, 1000 * k + i)
            Image.fromarray(picture).save(root / "data" / name / f"{i}.png")
            lines.append(f"{name}/{i}.png,{name},{','.join(map(str, box))}")
    return audit_drawn(root, lines, **more)


def audit_drawn(root: Path, lines: Sequence[str], **more: object) -> Store:
    """Audit the pictures of ``root/data`` by these lines of annotations; ``more``: other settings."""
    (root / "data" / "annotations.csv").write_text("\n".join(lines) + "\n")
    colour_network(root / "colours.keras")
    config = parse_config(
        {
            "dataset": {"source": "folder", "path": str(root / "data")},
            "model": {"source": str(root / "colours.keras")},
            "methods": [{"name": "gradient"}],
            "perturbation": None,
            "sanity": {"images": 0},
            "audit": {"maps": 0, "thumbnails": False},
            "execution": {"batch_size": 16},
        }
        | more
    )
    store = Store(root / "run")
    audit_run(store, open_bench(config))
    return store


def copied(store: Store, to: Path) -> Store:
    shutil.copytree(store.path, to)
    return Store(to)
