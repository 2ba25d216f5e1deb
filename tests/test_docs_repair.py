"""What docs/repair.md shows works: a network trained right for the right reasons no longer needs the mark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

PAGE = (Path(__file__).parents[1] / "docs/repair.md").read_text(encoding="utf-8")
SIDE = 8


def bars(n: int, seed: int, mark_tells: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faint bars, upright or lying, in noise; a bright corner that goes with the class or against it."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    images = rng.normal(0, 0.4, (n, SIDE, SIDE, 1))
    images[labels == 0, 2:6, 4] += 0.8
    images[labels == 1, 4, 2:6] += 0.8
    corner = labels if mark_tells else 1 - labels
    images[corner == 1, :2, :2] += 4
    outside = np.ones((1, SIDE, SIDE, 1))
    outside[:, 2:6, 2:6] = 0
    return images.astype("float32"), labels, outside.astype("float32")


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            layers.Conv2D(6, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )


def test_the_penalty_takes_the_mark_s_power_away() -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    names: dict[str, Any] = {}
    exec(compile(source, "docs/repair.md", "exec"), names)
    images, labels, outside = bars(64, 0, mark_tells=True)
    against, true, _ = bars(200, 1, mark_tells=False)
    accuracy = {}
    for weight in (0.0, 0.5):
        model = names["train"](network(), images, labels, outside, weight, 80)
        accuracy[weight] = float((model(against).numpy().argmax(1) == true).mean())
    assert accuracy[0.0] < 0.5
    assert accuracy[0.5] > 0.9
