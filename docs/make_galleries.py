"""Makes the pictures of ``docs/galleries.md`` again: runs the commands that stand on the page.

    python docs/make_galleries.py --squeezenet squeezenet_v1.1.keras

In an empty folder it puts what the commands name: scikit-image's photographs, digits of scikit-learn as PNG
files, three networks trained on the digits, and the SqueezeNet that is given. Every command's ``--out NAME``
becomes the picture of that name on the page.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

DOCS = Path(__file__).parent
PAGE = DOCS / "galleries.md"
PHOTOS = ("astronaut", "coffee", "chelsea", "rocket")
DIGITS = (4, 8)  # each the first of its kind among the digits that no network is trained on
SIDE = 8
WIDTH = 1200  # of the committed pictures
GALLERIES = ("explain", "compare", "sweep", "decompositions")


def commands(page: str) -> list[list[str]]:
    """The arguments of every ``$ hansaudit`` of a page's console blocks that writes a gallery."""
    blocks = re.findall(r"^```console\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    words = [shlex.split(line)[2:] for line in lines if line.startswith("$ hansaudit")]
    return [command for command in words if command[0] in GALLERIES]


def target_of(command: list[str], page: str) -> Path:
    """The picture on the page that a command makes."""
    (name,) = re.findall(rf"\]\((images/{out_of(command)}\.(?:png|jpg))\)", page)
    return DOCS / name


def out_of(command: list[str]) -> str:
    """The name behind ``--out``."""
    return command[command.index("--out") + 1]


def digits() -> tuple[np.ndarray, np.ndarray, int]:
    """Pictures n 8 8 uint8, labels, and how many of them are for training."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pictures = np.rint(data.images * (255 / 16)).astype(np.uint8)
    return pictures, data.target, 1500


def networks() -> dict[str, list[Any]]:
    """Layers between the input (8 8 1) and the ten classes, by the network's name."""
    from keras import layers

    return {
        "linear": [layers.Flatten()],
        "dense": [layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(64, activation="relu")],
        "digits": [
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
        ],
    }


def train(folder: Path, names: tuple[str, ...] = ("linear", "dense", "digits"), epochs: int = 20) -> None:
    """The networks of the digits, each with its card, and a few digits as PNG files."""
    import keras

    from pipeline.inputs.card import ModelCard

    pictures, labels, count = digits()
    card = ModelCard(
        height=SIDE, width=SIDE, channels=1, channel_order="gray", resize="stretch",
        scale=1 / 255, mean=(0.0,), std=(1.0,), classes=10, class_names=tuple("0123456789"),
    )  # fmt: skip
    for name in names:
        keras.utils.set_random_seed(0)
        stack = [
            keras.Input((SIDE, SIDE, 1)),
            *networks()[name],
            keras.layers.Dense(10, activation="softmax"),
        ]
        model = keras.Sequential(stack)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        inputs = pictures[..., None] / np.float32(255)
        model.fit(inputs[:count], labels[:count], epochs=epochs, batch_size=32, verbose=0)
        accuracy = model.evaluate(inputs[count:], labels[count:], verbose=0)[1]
        print(f"{name}: accuracy {accuracy:.3f} on {len(labels) - count} digits")
        model.save(folder / f"{name}.keras")
        card.save(folder / f"{name}.toml")
    for digit in DIGITS:
        index = count + int(np.flatnonzero(labels[count:] == digit)[0])
        Image.fromarray(pictures[index]).save(folder / f"digit-{digit}.png")


def photographs(folder: Path) -> None:
    """scikit-image's photographs as PNG files; they come with the package."""
    import skimage.data

    for name in PHOTOS:
        Image.fromarray(getattr(skimage.data, name)()).save(folder / f"{name}.png")


def publish(gallery: Path, target: Path) -> None:
    """A gallery's figure at the width of a page; photographs as JPEG, small enough for a repository."""
    with Image.open(gallery) as picture:
        image = picture.convert("RGB")
    if image.width > WIDTH:
        size = (WIDTH, round(image.height * WIDTH / image.width))
        image = image.resize(size, Image.Resampling.LANCZOS)
    image.save(target, optimize=True, quality=74, subsampling=0)
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--squeezenet", type=Path, help="squeezenet_v1.1.keras; without it: digits only")
    parser.add_argument("--only", nargs="*", default=[], help="names behind --out")
    options = parser.parse_args()
    from flows import cli

    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        folder = Path(name)
        photographs(folder)
        train(folder)
        if options.squeezenet:
            shutil.copy(options.squeezenet, folder / "squeezenet_v1.1.keras")
        page = PAGE.read_text(encoding="utf-8")
        for command in commands(page):
            asked = not options.only or out_of(command) in options.only
            if not asked or ("squeezenet_v1.1.keras" in command and not options.squeezenet):
                continue
            if cli.run(command) != 0:
                raise SystemExit(f"failed: hansaudit {shlex.join(command)}")
            publish(folder / out_of(command) / "gallery.png", target_of(command, page))


if __name__ == "__main__":
    main()
