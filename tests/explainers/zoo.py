"""Small instances of the networks that the library must explain: random weights, BatchNorm statistics
that are not trivial, inputs of the size the architecture allows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras
import numpy as np

from explainers import register_kind

layers, applications = keras.layers, keras.applications
CLASSES = 10


def _application(name: str, size: int, **options: object) -> keras.Model:
    build = getattr(applications, name)
    return build(weights=None, input_shape=(size, size, 3), classes=CLASSES, **options)


@keras.saving.register_keras_serializable("zoo")
class ClassToken(layers.Layer):
    """A learned token in front of the others."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer="normal", name="token_bias")

    def call(self, t: object) -> object:
        return keras.ops.concatenate([keras.ops.repeat(self.token, keras.ops.shape(t)[0], axis=0), t], axis=1)


@keras.saving.register_keras_serializable("zoo")
class Positions(layers.Layer):
    """A learned vector added to every token."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.positions = self.add_weight(shape=(1, *shape[1:]), initializer="normal", name="position_bias")

    def call(self, t: object) -> object:
        return t + self.positions


register_kind(ClassToken, "concat")
register_kind(Positions, "add")


def vit() -> keras.Model:
    """A vision transformer: patches, class token, learned positions, two pre-norm blocks."""
    x = keras.Input((32, 32, 3))
    t = layers.Reshape((16, 24))(layers.Conv2D(24, 8, strides=8, name="patches")(x))
    t = Positions(name="positions")(ClassToken(name="class_token")(t))
    for i in range(2):
        n = layers.LayerNormalization(name=f"norm_{i}a")(t)
        t = layers.Add()([t, layers.MultiHeadAttention(3, 8, name=f"attention_{i}")(n, n)])
        n = layers.LayerNormalization(name=f"norm_{i}b")(t)
        n = layers.Dense(24, name=f"mlp_{i}b")(layers.Dense(48, activation="gelu", name=f"mlp_{i}a")(n))
        t = layers.Add()([t, layers.Dropout(0.1)(n)])
    t = layers.LayerNormalization(name="norm")(t)[:, 0]
    return keras.Model(x, layers.Dense(CLASSES, activation="softmax", name="logits")(t), name="vit")


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "VGG16": partial(_application, "VGG16", 32),
    "VGG19": partial(_application, "VGG19", 32),
    "InceptionV3": partial(_application, "InceptionV3", 75),
    "ResNet50": partial(_application, "ResNet50", 32),
    "ResNet50V2": partial(_application, "ResNet50V2", 32),
    "DenseNet121": partial(_application, "DenseNet121", 32),
    "NASNetMobile": partial(_application, "NASNetMobile", 32),
    "NASNetLarge": partial(_application, "NASNetLarge", 32),
    "Xception": partial(_application, "Xception", 71),
    "MobileNet": partial(_application, "MobileNet", 32),
    "MobileNetV2": partial(_application, "MobileNetV2", 32),
    "MobileNetV3Small": partial(_application, "MobileNetV3Small", 32),
    "MobileNetV3Large": partial(_application, "MobileNetV3Large", 32),
    "EfficientNetB0": partial(_application, "EfficientNetB0", 32),
    "EfficientNetV2B0": partial(_application, "EfficientNetV2B0", 32),
    "ConvNeXtTiny": partial(_application, "ConvNeXtTiny", 32),
    "vit": vit,
}


def build(name: str) -> keras.Model:
    """A network of ``NETWORKS`` with fixed random weights."""
    keras.utils.set_random_seed(0)
    return randomise(NETWORKS[name]())


def randomise(model: keras.Model, seed: int = 7) -> keras.Model:
    """Biases, scales and statistics away from 0 and 1; kernels stay as the architecture draws them."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if "variance" in variable.name:
            variable.assign(rng.uniform(0.5, 2.0, variable.shape))
        elif "gamma" in variable.name:  # not larger: EfficientNetV2 would amplify rounding a millionfold
            variable.assign(rng.uniform(0.5, 1.4, variable.shape))
        elif any(part in variable.name for part in ("mean", "beta", "bias")):
            variable.assign(0.1 * rng.normal(size=variable.shape))
    return model


def images(model: keras.Model, n: int, seed: int = 0) -> np.ndarray:
    """Noise in the range that the model's own preprocessing expects."""
    rng = np.random.default_rng(seed)
    rescales = any(isinstance(layer, (layers.Rescaling, layers.Normalization)) for layer in model.layers)
    shape = (n, *model.input_shape[1:])
    return (rng.uniform(0, 255, shape) if rescales else rng.normal(size=shape)).astype("float32")
