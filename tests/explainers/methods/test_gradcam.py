"""Grad-CAM by hand on networks with global average pooling, where it is CAM."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from explainers import create_analyzer, trace
from explainers.errors import InvalidParameter
from explainers.methods.gradcam import last_maps
from explainers.model.canonize import canonize
from tests.explainers.methods import small

layers = keras.layers


def pooled() -> keras.Model:
    """conv - ReLU - global mean - dense: the gradient at the maps is `w_k / places`, for all places."""
    rng = np.random.default_rng(0)
    x = keras.Input((8, 6, 3), dtype="float64")
    maps = layers.Conv2D(4, 3, padding="same", activation="relu", dtype="float64", name="last")(x)
    model = keras.Model(
        x,
        layers.Dense(3, dtype="float64", name="dense")(layers.GlobalAveragePooling2D(dtype="float64")(maps)),
    )
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    return model


def parts(model: keras.Model, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    maps = np.asarray(keras.Model(model.input, model.get_layer("last").output)(x))
    return maps, model.get_layer("dense").get_weights()[0]


def test_gradcam_is_cam_behind_global_average_pooling() -> None:
    model, x = pooled(), small.images(3, (8, 6, 3))
    maps, w = parts(model, x)
    explained = create_analyzer("gradcam").fit(model).analyze(x, [0, 1, 2])
    expected = np.maximum(np.einsum("bhwk,kb->bhw", maps, w / 48), 0)
    np.testing.assert_allclose(explained.relevance.sum(-1), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(explained.relevance[..., 0], explained.relevance[..., 2])


def test_gradcam_plus_plus_by_hand() -> None:
    model, x = pooled(), small.images(1, (8, 6, 3))
    maps, w = parts(model, x)
    g = w[:, 1] / 48
    alpha = g**2 / (2 * g**2 + maps.sum((1, 2)) * g**3)
    weight = 48 * alpha * np.maximum(g, 0)
    expected = np.maximum((maps * weight[:, None, None]).sum(-1), 0)
    got = create_analyzer("gradcam_plus_plus").fit(model).analyze(x, 1).relevance.sum(-1)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_the_map_is_enlarged_to_the_input() -> None:
    x = keras.Input((8, 8, 1), dtype="float64")
    t = layers.Conv2D(1, 1, strides=4, use_bias=False, dtype="float64")(x)
    model = keras.Model(x, layers.Dense(2, dtype="float64")(layers.Flatten(dtype="float64")(t)))
    model.set_weights([np.ones((1, 1, 1, 1)), np.ones((4, 2)), np.zeros(2)])
    image = np.zeros((1, 8, 8, 1))
    image[0, 0, 0] = 1
    relevance = create_analyzer("gradcam").fit(model).analyze(image, 0).relevance[0, ..., 0]
    axis = np.clip((np.arange(8) + 0.5) / 4 - 0.5, 0, 1)  # bilinear, half-pixel centres
    np.testing.assert_allclose(relevance, np.outer(1 - axis, 1 - axis), atol=1e-12)


def test_without_a_convolution_every_row_says_so() -> None:
    explained = create_analyzer("gradcam").fit(small.dense()).analyze(small.images(2, (4, 4, 1), "float32"))
    assert all("no convolution" in str(reason) for reason in explained.reason)
    assert not explained.relevance.any()


def conv(t: keras.KerasTensor, name: str, **options: object) -> keras.KerasTensor:
    return layers.Conv2D(4, 3, padding="same", name=name, **options)(t)


def like_vgg(x: keras.KerasTensor) -> keras.KerasTensor:
    t = layers.MaxPooling2D()(conv(conv(x, "one", activation="relu"), "two", activation="relu"))
    return layers.Dense(3, activation="relu")(layers.Flatten()(t))


def like_resnet(x: keras.KerasTensor) -> keras.KerasTensor:
    t = conv(x, "stem", activation="relu")
    added = layers.Add()([layers.BatchNormalization()(conv(t, "side")), t])
    return layers.GlobalAveragePooling2D()(layers.ReLU(name="out")(added))


def like_densenet(x: keras.KerasTensor) -> keras.KerasTensor:
    t = conv(x, "stem")
    t = layers.Concatenate()([t, conv(layers.ReLU()(t), "grow")])
    return layers.GlobalMaxPooling2D()(layers.ReLU(name="out")(layers.BatchNormalization()(t)))


@pytest.mark.parametrize(
    ("build", "layer"), [(like_vgg, "two/relu"), (like_resnet, "out"), (like_densenet, "out")]
)
def test_the_last_maps_are_those_before_the_places_are_given_up(build, layer: str) -> None:
    x = keras.Input((8, 8, 3))
    found = last_maps(canonize(trace(keras.Model(x, layers.Dense(2)(build(x))))))
    assert found is not None
    assert found.name == layer


def test_a_named_layer_and_a_wrong_name() -> None:
    model, x = small.convolutional("float64"), small.images(1, (12, 10, 3))
    names = [node.name for node in trace(model)]
    pool = next(name for name in names if "pooling" in name)
    a = create_analyzer("gradcam", layer=pool).fit(model).analyze(x, 0).relevance
    b = create_analyzer("gradcam").fit(model).analyze(x, 0).relevance
    assert a.any()
    assert not np.allclose(a, b)
    with pytest.raises(InvalidParameter, match=f"valid: .*{pool}"):
        create_analyzer("gradcam", layer="block9").fit(model)


def test_a_function_of_the_output() -> None:
    model, x = pooled(), small.images(2, (8, 6, 3))
    maps, w = parts(model, x)
    explained = (
        create_analyzer("gradcam").fit(model).analyze(x, target=lambda output: ops.sum(output, axis=1))
    )
    expected = np.maximum(np.einsum("bhwk,k->bhw", maps, w.sum(1) / 48), 0)
    np.testing.assert_allclose(explained.relevance.sum(-1), expected, rtol=1e-9, atol=1e-12)
