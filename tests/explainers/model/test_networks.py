"""Whole networks against the hand-written numpy re-implementation of ``numpy_networks``."""

from __future__ import annotations

import tarfile
from functools import cache
from io import BytesIO
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from explainers import Analyzer, create_analyzer
from tests.explainers import numpy_networks as reference

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
N_IMAGES = 5
Expected = tuple[np.ndarray, np.ndarray]  # maps, logits


def distance(got: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Relative L2 per image."""
    got, expected = (np.asarray(v, dtype=np.float64).reshape(len(v), -1) for v in (got, expected))
    return np.linalg.norm(got - expected, axis=1) / np.linalg.norm(expected, axis=1)


def parameters(model: keras.Model) -> dict[str, list[np.ndarray]]:
    return {layer.name: [np.asarray(v) for v in layer.get_weights()] for layer in model.layers}


def in_float64(model: keras.Model) -> keras.Model:
    """The same network and weights, computing in float64."""

    def recast(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config({**layer.get_config(), "dtype": "float64"})

    copy = keras.models.clone_model(model, clone_function=recast)
    copy.set_weights([np.asarray(v, dtype=np.float64) for v in model.get_weights()])
    return copy


def residual_model() -> keras.Model:
    """Residual, BatchNorm after, before and apart from convolutions; see ``numpy_networks.residual``."""
    layers = keras.layers

    def conv_bn(t: keras.KerasTensor, name: str, size: int) -> keras.KerasTensor:
        t = layers.Conv2D(6, size, padding="same", name=f"{name}_conv")(t)
        return layers.BatchNormalization(name=f"{name}_bn")(t)

    x = keras.Input((16, 16, 3))
    a0 = layers.ReLU()(conv_bn(x, "stem", 3))
    a1 = layers.ReLU()(conv_bn(a0, "a", 3))
    added = layers.Add()([conv_bn(a1, "b", 3), conv_bn(a0, "side", 1)])
    a2 = layers.ReLU()(layers.BatchNormalization(name="sum_bn")(added))
    last = layers.Conv2D(8, 3, name="last_conv")(layers.BatchNormalization(name="last_bn")(a2))
    shifted = layers.BatchNormalization(name="padded_bn")(layers.ReLU()(last))
    padded = layers.Conv2D(8, 3, padding="same", name="padded_conv")(shifted)
    pooled = layers.GlobalAveragePooling2D()(layers.ReLU()(padded))
    model = keras.Model(x, layers.Dense(5, activation="softmax", name="logits")(pooled))
    rng = np.random.default_rng(7)
    model.set_weights([non_trivial(v, rng) for v in model.weights])
    return model


def non_trivial(variable: keras.Variable, rng: np.random.Generator) -> np.ndarray:
    """Weights, biases and statistics away from their initial 0 and 1; variances and scales positive."""
    shape, kind = variable.shape, variable.name
    if "variance" in kind or "gamma" in kind:
        return rng.uniform(0.5, 2.0, shape).astype("float32")
    scale = (2 / np.prod(shape[:-1])) ** 0.5 if len(shape) > 1 else 0.2
    return (scale * rng.normal(size=shape)).astype("float32")


@cache
def residual_pair() -> tuple[keras.Model, keras.Model, np.ndarray]:
    model = residual_model()
    x = np.random.default_rng(3).normal(size=(N_IMAGES, 16, 16, 3)).astype("float32")
    return model, in_float64(model), x


@cache
def squeezenet_pair(folder: Path) -> tuple[keras.Model, keras.Model, np.ndarray]:
    model = keras.models.load_model(folder / "squeezenet_v1.1.keras")
    images = []
    with tarfile.open(folder / "ILSVRC2012_img_val.tar") as archive:
        for name in sorted(archive.getnames())[:N_IMAGES]:
            file = archive.extractfile(name)
            assert file is not None
            image = (
                Image.open(BytesIO(file.read())).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
            )
            images.append((np.asarray(image) / 255 - MEAN) / STD)
    return model, in_float64(model), np.array(images, dtype="float32")


def analyzer(preset: str) -> Analyzer:
    """The library's preset of a key of ``reference.PRESETS``."""
    if preset == "lrp.epsilon_gamma_box":
        return create_analyzer(preset, low=reference.LOW, high=reference.HIGH)
    name, _, eps = preset.partition("(eps=")
    return create_analyzer(name, eps=float(eps.rstrip(")"))) if eps else create_analyzer(name)


def compare(preset: str, model: keras.Model, x: np.ndarray, expected: Expected) -> np.ndarray:
    """Distance of each map; the logits must agree as well."""
    explanation = analyzer(preset).fit(model).analyze(x)
    assert all(reason is None for reason in explanation.reason)
    assert distance(explanation.output, expected[1][: len(x)]).max() < 1e-5
    return distance(explanation.relevance, expected[0][: len(x)])


@pytest.mark.parametrize("preset", reference.PRESETS)
def test_residual_network_with_batch_norm(preset: str) -> None:
    model, double, x = residual_pair()
    rules = reference.PRESETS[preset]
    maps, logits = zip(*(reference.residual(parameters(model), image, rules) for image in x), strict=True)
    expected = np.array(maps), np.array(logits)
    assert np.median(compare(preset, model, x, expected)) < 1e-4
    assert compare(preset, double, x.astype("float64"), expected).max() < 1e-6


@pytest.mark.ilsvrc
@pytest.mark.parametrize("preset", ["lrp.epsilon", "lrp.epsilon(eps=0.1)", "lrp.preset_a", "lrp.preset_b"])
def test_squeezenet_on_real_images(preset: str, ilsvrc: Path) -> None:
    model, double, x = squeezenet_pair(ilsvrc)
    weights, rules = parameters(model), reference.PRESETS[preset]
    maps, logits = zip(
        *(reference.squeezenet(weights, image.astype("float64"), rules) for image in x), strict=True
    )
    expected = np.array(maps), np.array(logits)
    error = compare(preset, model, x, expected)
    assert np.median(error) < 1e-4
    assert error.max() < 1e-2
    assert compare(preset, double, x[:2].astype("float64"), expected).max() < 1e-6
