"""Audited runs of a network that is known by construction: it says the colour that there is most of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from pipeline.config import parse_config
from pipeline.config_sections import TransferConfig
from pipeline.measure.audit import audit_run
from pipeline.measure.bench import open_bench
from pipeline.measure.transfer.stage import paste_run
from pipeline.run.store import Store

SIDE = 32
MAPS = {"audit": {"maps": 16, "thumbnails": False}, "methods": [{"name": "input_x_gradient"}]}
COLOURS = {"red": (230, 40, 40), "green": (40, 230, 40), "blue": (40, 40, 230)}


def colour_network(
    path: Path, side: int = SIDE, says: Sequence[str] = tuple(COLOURS), deaf: str = "", less: float = 0.5
) -> None:
    """Says the colour that there is most of, anywhere: logits 40 x mean of (channel beyond the others).

    ``says``: its classes; the logit of the class ``deaf`` is 0, whatever it is shown. ``less``: weight of the
    other channels."""
    inputs = keras.Input((side, side, 3))
    kernel = (np.eye(3) - less * (1 - np.eye(3))).reshape(1, 1, 3, 3)
    convolution = keras.layers.Conv2D(3, 1, activation="relu")
    x = keras.layers.GlobalAveragePooling2D()(convolution(inputs))
    dense = keras.layers.Dense(len(says), activation="softmax")
    model = keras.Model(inputs, dense(x))
    convolution.set_weights([kernel, np.zeros(3)])
    heard = [[40.0 * (name == colour != deaf) for name in says] for colour in COLOURS]
    dense.set_weights([np.array(heard), np.zeros(len(says))])
    model.save(path)
    card = f"height = {side}\nwidth = {side}\nresize = 'stretch'\nscale = 0.00392156862745098\n"
    path.with_suffix(".toml").write_text(card + f"class_names = {json.dumps(list(says))}\n")


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


def noisy_run(
    root: Path, where: Mapping[str, str], counts: Mapping[str, int], bare: Sequence[str] = ()
) -> Store:
    """:func:`drawn_run` with a little noise of all colours, so that some relevance lies everywhere, and
    without the boxes of the images ``bare``."""
    first = drawn_run(root / "first", where, counts, **MAPS)
    folder = Path(first.manifest["config"]["dataset"]["path"])
    rng = np.random.default_rng(7)
    for path in sorted(folder.glob("*/*.png")):
        picture = np.asarray(Image.open(path)).astype(int)
        noisy = np.clip(picture + rng.integers(-6, 7, picture.shape), 0, 255)
        Image.fromarray(noisy.astype(np.uint8)).save(path)
    lines = (folder / "annotations.csv").read_text().splitlines()
    kept = [
        f"{k.partition(',')[0]},{k.split(',')[1]},,,," if k.partition(",")[0] in bare else k for k in lines
    ]
    (folder / "annotations.csv").write_text("\n".join(kept) + "\n")
    store = Store(root / "run")
    audit_run(store, open_bench(parse_config(first.manifest["config"])))
    return store


def pasted(store: Store, batch_size: int = 16, **settings: int) -> None:
    """Paste windows of the run, by these settings of that stage."""
    config = parse_config(store.manifest["config"])
    execution = config.execution.model_copy(update={"batch_size": batch_size})
    update = {"transfer": TransferConfig(**settings), "execution": execution}
    paste_run(store, open_bench(config.model_copy(update=update)))
