"""float32 against float64 on whole networks: no further off than the plain formulas in float32 are."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from explainers import analyze_many, create_analyzer
from tests.explainers.plain_lrp import METHODS, Plain

layers = keras.layers
FOLDER = Path(os.environ.get("HANSAUDIT_ILSVRC", "no such folder"))
FACTOR = 3  # times the error of the plain formula
FLOOR = 1e-6  # relative; below it, who is nearer is chance


def network(seed: int) -> keras.Model:
    """What makes rounding grow: BatchNorm, depthwise convolutions, ReLU6, Adds of either sign, ReLU."""
    keras.utils.set_random_seed(seed)
    x = keras.Input((16, 16, 3))
    t = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(8, 3, 2, "same", use_bias=False)(x)))
    for _ in range(3):
        s = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(16, 1, use_bias=False)(t)))
        s = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(s)
        s = layers.ReLU(6.0)(layers.BatchNormalization()(s))
        t = layers.Add()([t, layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(s))])
    s = layers.Conv2D(8, 3, activation="relu")(t)
    t = layers.Concatenate()([s, layers.Conv2D(8, 3)(t)])
    t = layers.MaxPooling2D(2)(layers.ReLU()(t))
    t = layers.GlobalAveragePooling2D()(layers.Conv2D(12, 3, padding="same", activation="relu")(t))
    model = keras.Model(x, layers.Softmax()(layers.Dense(5)(t)))
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.gamma.shape
            gamma, variance = rng.normal(1, 0.3, shape), rng.uniform(0.2, 2, shape)
            layer.set_weights([gamma, *rng.normal(0, 0.3, (2, *shape)), variance])
    return model


def check(model: keras.Model, x: np.ndarray, methods: list[str]) -> None:
    """All methods in one pass, as an audit makes them, against the walk in float64 and in float32."""
    single, double = Plain(model, "float32"), Plain(model, "float64")
    target = np.asarray(model(x)).argmax(1)
    fitted = [create_analyzer(method).fit(model) for method in methods]
    wrong = []
    for method, made in zip(methods, analyze_many(fitted, x, target), strict=True):
        right = double.relevance(x, METHODS[method], target)
        plain = single.relevance(x, METHODS[method], target).astype("float64")
        ours, theirs = error(made.relevance.astype("float64"), right), error(plain, right)
        assert np.isfinite(right).all()
        if not ours <= FACTOR * theirs + FLOOR:
            wrong.append((method, ours, theirs))
    assert wrong == []


def error(made: np.ndarray, right: np.ndarray) -> float:
    """The largest relative L2 error of an image. (One neuron on another side of a kink decides its image.)"""
    axes = tuple(range(1, right.ndim))
    return float(np.max(np.sqrt(((made - right) ** 2).sum(axes) / (right**2).sum(axes))))


@pytest.mark.parametrize("seed", range(2))
def test_float32_on_random_networks(seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(4, 16, 16, 3)).astype("float32")
    check(network(seed), x, sorted(METHODS))


def test_float64_is_the_plain_walk_to_its_last_digits() -> None:
    """So the walk and the graph compute the same rules, and nothing but rounding is between them above."""
    keras.config.set_dtype_policy("float64")
    try:
        model = network(0)
    finally:
        keras.config.set_dtype_policy("float32")
    x = np.random.default_rng(0).normal(size=(3, 16, 16, 3))
    target = np.asarray(model(x)).argmax(1)
    double = Plain(model, "float64")
    fitted = [create_analyzer(method).fit(model) for method in METHODS]
    for (method, rule), made in zip(METHODS.items(), analyze_many(fitted, x, target), strict=True):
        assert error(made.relevance, double.relevance(x, rule, target)) < 1e-9, method


def photographs(count: int, name: str) -> np.ndarray:
    """The first images of the archive: shorter side 256, centre crop 224, prepared as the network wants."""
    made: list[Any] = []
    with tarfile.open(FOLDER / "ILSVRC2012_img_val.tar") as archive:
        for member in list(archive)[:count]:
            image = Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB")  # type: ignore[union-attr]
            scale = 256 / min(image.size)
            image = image.resize((round(image.width * scale), round(image.height * scale)))
            left, top = (image.width - 224) // 2, (image.height - 224) // 2
            made.append(np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32))
    x = np.stack(made)
    if name.startswith("efficientnet"):
        return (x - 127) / 128
    return ((x / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])).astype("float32")


@pytest.mark.ilsvrc
@pytest.mark.skipif(not FOLDER.is_dir(), reason="HANSAUDIT_ILSVRC names no folder with the real ILSVRC files")
@pytest.mark.parametrize("name", ["efficientnet_lite0", "squeezenet_v1.1"])
def test_float32_on_real_networks(name: str) -> None:
    model = keras.saving.load_model(FOLDER / f"{name}.keras", compile=False)
    check(model, photographs(4, name), sorted(METHODS))
