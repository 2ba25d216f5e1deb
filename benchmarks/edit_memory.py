"""Memory of the stage that edits images does not grow with the classes: peak RSS at N and at 1,000 classes.

    python -m benchmarks.edit_memory [--classes 100 1000] [--images 25] [--side 112]

Drawn pictures, each class a background colour of its own, and a network that knows the colours and nothing
else: every class leans on its background, so that many images are looked at. Audit and stage run in
processes of their own; the peak is that of the stage's.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

LEVELS = 10  # of each colour: a class is a triple of them
CARD = 'height = {side}\nwidth = {side}\nresize = "stretch"\nscale = 0.00392156862745098\noutput = "logits"\n'


def colours(n: int) -> np.ndarray:
    """(n, 3): background colours in 0..255, spread over the cube."""
    grid = np.stack(np.meshgrid(*3 * [np.linspace(20, 235, LEVELS)], indexing="ij"), -1).reshape(-1, 3)
    return grid[np.linspace(0, len(grid) - 1, n).round().astype(int)]


def draw(folder: Path, classes: int, images: int, side: int) -> None:
    """An image folder with boxes: a grey square somewhere on the class's colour, with noise."""
    rng = np.random.default_rng(0)
    lines = ["file,xmin,ymin,xmax,ymax"]
    object_side = side // 4
    for label, colour in enumerate(colours(classes)):
        of_class = folder / "images" / f"class{label:04d}"
        of_class.mkdir(parents=True)
        for k in range(images):
            picture = colour + rng.normal(0, 4, (side, side, 3))
            y, x = rng.integers(0, side - object_side, 2)
            picture[y : y + object_side, x : x + object_side] = 128
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(of_class / f"{k}.jpg", quality=90)
            edges = f"{x},{y},{x + object_side - 1},{y + object_side - 1}"
            lines.append(f"{of_class.name}/{k}.jpg,{edges}")
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def network(folder: Path, classes: int, side: int) -> None:
    """The nearest colour to the mean of the picture: -|m - c|^2 up to what all classes share, so linear."""
    import keras

    inputs = keras.Input((side, side, 3))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    known = keras.layers.Dense(classes)
    model = keras.Model(inputs, known(mean))
    # a sixteenth of each picture is the object's grey
    expected = (15 * colours(classes) + 128) / 16 / 255
    known.set_weights([2 * 2000 * expected.T, -2000 * (expected**2).sum(axis=1)])
    model.save(folder / "net.keras")
    (folder / "net.toml").write_text(CARD.format(side=side), encoding="utf-8")


def child(folder: Path, stage: str) -> None:
    """Audit, or edit what was audited; the latter prints its seconds and the peak in MB."""
    from flows.settings import load_tensorflow

    load_tensorflow()
    from pipeline.config import parse_config
    from pipeline.measure.audit import audit_run
    from pipeline.measure.bench import open_bench
    from pipeline.measure.interventions.stage import edit_run
    from pipeline.run.store import Store
    from pipeline.statistics.effects import undecided_classes

    images = {"source": "folder", "path": str(folder / "images"), "annotations": str(folder / "boxes.csv")}
    config = parse_config(
        {
            "dataset": images,
            "model": {"source": str(folder / "net.keras")},
            "methods": ["gradient"],
            "audit": {"maps": 0, "thumbnails": False},
            "perturbation": False,
            "execution": {"batch_size": 64},
        }
    )
    store, began = Store(folder / "run"), time.perf_counter()
    if stage == "audit":
        audit_run(store, open_bench(config))
        return
    edit_run(store, open_bench(config), undecided_classes)
    print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def peak(folder: Path, classes: int, images: int, side: int) -> tuple[float, float]:
    """Seconds of the stage, and its process's peak in MB."""
    draw(folder, classes, images, side)
    network(folder, classes, side)
    said = ""
    for stage in ("audit", "edit"):
        command = [sys.executable, "-m", "benchmarks.edit_memory", "--child", str(folder), stage]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, most = said.splitlines()[-1].split()
    return float(seconds), float(most)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--images", type=int, default=25, help="per class")
    parser.add_argument("--side", type=int, default=112, help="pixels")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.child:
        child(Path(options.child[0]), options.child[1])
        return
    for classes in options.classes:
        with tempfile.TemporaryDirectory() as folder:
            seconds, most = peak(Path(folder), classes, options.images, options.side)
        print(
            f"{classes} classes x {options.images} images: peak {most:.0f} MB, stage {seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
