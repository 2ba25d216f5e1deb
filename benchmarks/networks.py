"""The networks that are measured, up to their logits: random weights, non-trivial BatchNorm statistics."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

layers = keras.layers


def squeezenet() -> keras.Model:
    """SqueezeNet 1.1 (Iandola et al. 2016), 224x224."""

    def conv(t: keras.KerasTensor, filters: int, size: int, **options: object) -> keras.KerasTensor:
        return layers.ReLU()(layers.Conv2D(filters, size, **options)(t))

    def fire(t: keras.KerasTensor, squeeze: int, expand: int) -> keras.KerasTensor:
        t = conv(t, squeeze, 1)
        return layers.Concatenate()([conv(t, expand, 1), conv(t, expand, 3, padding="same")])

    x = keras.Input((224, 224, 3))
    t = layers.MaxPooling2D(3, 2)(conv(x, 64, 3, strides=2))
    t = layers.MaxPooling2D(3, 2)(fire(fire(t, 16, 64), 16, 64))
    t = layers.MaxPooling2D(3, 2)(fire(fire(t, 32, 128), 32, 128))
    t = fire(fire(fire(fire(t, 48, 192), 48, 192), 64, 256), 64, 256)
    t = layers.GlobalAveragePooling2D()(conv(t, 1000, 1))
    return keras.Model(x, t, name="squeezenet")


def _application(name: str) -> Callable[[], keras.Model]:
    return lambda: getattr(keras.applications, name)(weights=None, classifier_activation=None)


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "vgg16": _application("VGG16"),
    "resnet50": _application("ResNet50"),
    "squeezenet": squeezenet,
    "mobilenet_v2": _application("MobileNetV2"),
    "inception_v3": _application("InceptionV3"),
    "densenet121": _application("DenseNet121"),
    "nasnet_large": _application("NASNetLarge"),
}


def build(name: str) -> keras.Model:
    """The network with fixed random weights."""
    keras.utils.set_random_seed(0)
    model = NETWORKS[name]()
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            for variable in (layer.moving_mean, layer.moving_variance):
                low, high = (-0.2, 0.2) if variable is layer.moving_mean else (0.5, 1.5)
                variable.assign(rng.uniform(low, high, variable.shape).astype("float32"))
    return model


def images(model: keras.Model, n: int) -> np.ndarray:
    """``n`` random inputs of the model's shape, standard normal."""
    return np.random.default_rng(1).normal(size=(n, *model.input_shape[1:])).astype("float32")
