"""The networks that are measured, up to their logits: random weights, non-trivial BatchNorm statistics."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from explainers import register_kind

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


LITE0_STAGES = (  # kernel, blocks, stride, expansion, filters
    (3, 1, 1, 1, 16), (3, 2, 2, 6, 24), (5, 2, 2, 6, 40), (3, 3, 2, 6, 80), (5, 3, 1, 6, 112),
    (5, 4, 2, 6, 192), (3, 1, 1, 6, 320),
)  # fmt: skip


def efficientnet_lite0() -> keras.Model:
    """EfficientNet-Lite0, 224x224: EfficientNet-B0 (Tan and Le 2019), ReLU6, no squeeze-and-excite."""

    def normed(t: keras.KerasTensor) -> keras.KerasTensor:
        return layers.BatchNormalization(epsilon=1e-3)(t)

    def conv(t: keras.KerasTensor, filters: int, size: int = 1, strides: int = 1) -> keras.KerasTensor:
        return normed(layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(t))

    def relu6(t: keras.KerasTensor) -> keras.KerasTensor:
        return layers.ReLU(6.0)(t)

    x = keras.Input((224, 224, 3))
    t = relu6(conv(x, 32, 3, 2))
    for size, blocks, stride, expansion, filters in LITE0_STAGES:
        for block in range(blocks):
            before, strides = t, 1 if block else stride
            if expansion > 1:
                t = relu6(conv(t, expansion * t.shape[-1]))
            t = relu6(normed(layers.DepthwiseConv2D(size, strides, padding="same", use_bias=False)(t)))
            t = conv(t, filters)
            t = layers.Add()([t, before]) if block else t
    t = layers.GlobalAveragePooling2D()(relu6(conv(t, 1280)))
    return keras.Model(x, layers.Dense(1000)(t), name="efficientnet_lite0")


@keras.saving.register_keras_serializable("benchmarks")
class Positions(layers.Layer):
    """A learned vector added to every token."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.positions = self.add_weight(shape=(1, *shape[1:]), initializer="normal", name="position_bias")

    def call(self, t: keras.KerasTensor) -> keras.KerasTensor:
        return t + keras.ops.cast(self.positions, t.dtype)


register_kind(Positions, "add")


def vit(size: int, patch: int, width: int, heads: int, depth: int) -> keras.Model:
    """A vision transformer (Dosovitskiy et al. 2021) whose classes are read from the mean of all tokens
    (Beyer et al. 2022); 1,000 classes."""
    x = keras.Input((size, size, 3))
    t = layers.Conv2D(width, patch, strides=patch)(x)
    t = Positions()(layers.Reshape((-1, width))(t))
    for _ in range(depth):
        n = layers.LayerNormalization(epsilon=1e-6)(t)
        t = layers.Add()([t, layers.MultiHeadAttention(heads, width // heads)(n, n)])
        n = layers.LayerNormalization(epsilon=1e-6)(t)
        n = layers.Dense(width)(layers.Dense(4 * width, activation="gelu")(n))
        t = layers.Add()([t, n])
    t = layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-6)(t))
    return keras.Model(x, layers.Dense(1000)(t), name="vit")


def _application(name: str) -> Callable[[], keras.Model]:
    return lambda: getattr(keras.applications, name)(weights=None, classifier_activation=None)


APPLICATIONS = {
    "vgg16": "VGG16",
    "resnet50": "ResNet50",
    "mobilenet_v2": "MobileNetV2",
    "inception_v3": "InceptionV3",
    "densenet121": "DenseNet121",
    "efficientnet_b0": "EfficientNetB0",
    "nasnet_large": "NASNetLarge",
}
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    **{name: _application(application) for name, application in APPLICATIONS.items()},
    "squeezenet": squeezenet,
    "efficientnet_lite0": efficientnet_lite0,
    "vit_b": lambda: vit(224, 16, 768, 12, 12),
}


def build(name: str) -> keras.Model:
    """The network with fixed random weights."""
    return drawn(NETWORKS[name])


# where an application ends in its small form
SMALL = {"vgg16": "block3_pool", "resnet50": "conv3_block4_out", "efficientnet_b0": "block4c_add"}


def build_small(name: str) -> keras.Model:
    """The first stages of vgg16, resnet50, efficientnet_b0 at 32x32, 10 classes; a ViT of two blocks."""
    if name == "vit_b":
        return drawn(lambda: vit(32, 8, 96, 3, 2))

    def first_stages() -> keras.Model:
        whole = getattr(keras.applications, APPLICATIONS[name])(
            weights=None, include_top=False, input_shape=(32, 32, 3)
        )
        t = layers.GlobalAveragePooling2D()(whole.get_layer(SMALL[name]).output)
        return keras.Model(whole.input, layers.Dense(10)(t), name=name)

    return drawn(first_stages)


def drawn(make: Callable[[], keras.Model]) -> keras.Model:
    """The network that ``make`` makes, with fixed random weights."""
    keras.utils.set_random_seed(0)
    model = make()
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
