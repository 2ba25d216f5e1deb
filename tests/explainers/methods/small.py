"""Tiny models whose attributions are known in closed form, float64 unless said otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

layers = keras.layers


def linear(weights: np.ndarray, bias: Sequence[float] | None = None) -> keras.Model:
    """`f_k(x) = sum_i w_ik x_i + b_k`; `weights` h w c k."""
    shape, classes = weights.shape[:-1], weights.shape[-1]
    x = keras.Input(shape, dtype="float64")
    flat = layers.Flatten(dtype="float64")(x)
    model = keras.Model(x, layers.Dense(classes, dtype="float64")(flat))
    model.set_weights([weights.reshape(-1, classes), np.zeros(classes) if bias is None else np.asarray(bias)])
    return model


def quadratic(matrix: np.ndarray, shape: tuple[int, ...]) -> keras.Model:
    """`f(x) = |A x|^2 / 2`, two equal outputs."""
    x = keras.Input(shape, dtype="float64")
    y = layers.Dense(matrix.shape[1], use_bias=False, dtype="float64")(layers.Flatten(dtype="float64")(x))
    squared = layers.Multiply(dtype="float64")([y, y])
    model = keras.Model(x, layers.Dense(2, use_bias=False, dtype="float64")(squared))
    model.set_weights([matrix, np.full((matrix.shape[1], 2), 0.5)])
    return model


def convolutional(dtype: str = "float32", softmax: bool = True) -> keras.Model:
    """Convolutions, pooling, a branch, five classes; random weights."""
    rng = np.random.default_rng(0)
    x = keras.Input((12, 10, 3), dtype=dtype)
    t = layers.Conv2D(4, 3, padding="same", activation="relu", dtype=dtype)(x)
    t = layers.MaxPooling2D(2, dtype=dtype)(t)
    side = layers.Conv2D(5, 1, activation="relu", dtype=dtype)(t)
    t = layers.Conv2D(5, 3, padding="same", activation="relu", dtype=dtype)(t)
    t = layers.Flatten(dtype=dtype)(layers.Add(dtype=dtype)([t, side]))
    out = layers.Dense(5, activation="softmax" if softmax else None, dtype=dtype)(t)
    model = keras.Model(x, out)
    model.set_weights(
        [rng.normal(size=w.shape) / max(1, np.prod(w.shape[:-1])) ** 0.5 for w in model.weights]
    )
    return model


def dense() -> keras.Model:
    """No convolution: a flattened image, one hidden layer, three classes."""
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(6, activation="relu"), layers.Dense(3)]
    )
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    return model


def images(n: int, shape: tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """Uniform in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, (n, *shape)).astype(dtype)
