"""Models as people have them: half precision, augmentation inside, pixels as whole numbers, other heads."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from explainers import create_analyzer, list_methods
from explainers.errors import InvalidParameter, UnequalForward, UnsupportedLayer
from explainers.model.canonize import canonize
from explainers.model.inference import IDENTITIES
from explainers.model.trace import trace
from explainers.network import network
from tests.explainers.test_conformance import CHEAP, METHODS

layers = keras.layers
SHAPE = (8, 7, 3)
DATA = [info.name for info in list_methods() if "data" in info.needs]


def images(n: int = 3, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, *SHAPE)).astype("float32")


def maps(method: str, model: keras.Model, x: np.ndarray, target: Any = None) -> np.ndarray:
    data = images(20, seed=7) if method in DATA else None
    e = create_analyzer(method, **CHEAP[method]).fit(model, data).analyze(x, target)
    return np.asarray(e.relevance, np.float64)


def close(a: np.ndarray, b: np.ndarray, tolerance: float) -> None:
    assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


# -- maps of one place


@pytest.fixture(scope="module")
def mobile() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.applications.MobileNetV3Small(
        weights=None, input_shape=(64, 64, 3), classes=5, include_preprocessing=False
    )


@pytest.mark.parametrize("method", ["gradcam", "gradcam_plus_plus"])
def test_gradcam_looks_where_there_still_are_places(mobile: keras.Model, method: str) -> None:
    """Against the papers' formulas by TensorFlow's own gradient, at the last maps before the pooling."""
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    pool = next(layer for layer in mobile.layers if "GlobalAverage" in type(layer).__name__
                and layer.output.shape[-1] == 576 and layer.keepdims)  # fmt: skip
    final = [layer for layer in mobile.layers if tuple(layer.output.shape[1:]) == (2, 2, 576)][-1]
    assert mobile.layers.index(pool) > 0
    both = keras.Model(mobile.input, [final.output, mobile.get_layer("logits").output])
    with tf.GradientTape() as tape:
        a, _ = both(x, training=False)
        tape.watch(a)
        score = keras.Model(final.output, mobile.get_layer("logits").output)(a)[0, 0, 0, 2]
    g, a = tape.gradient(score, a).numpy(), a.numpy()
    if method == "gradcam":
        w = g.mean(axis=(1, 2), keepdims=True)
    else:
        below = 2 * g**2 + a.sum(axis=(1, 2), keepdims=True) * g**3
        alpha = np.divide(g**2, below, out=np.zeros_like(g), where=below != 0)
        w = (alpha * np.maximum(g, 0)).sum(axis=(1, 2), keepdims=True)
    expected = np.maximum((w * a).sum(-1), 0)[0]
    made = create_analyzer(method).fit(mobile).analyze(x, 2).relevance[0].sum(-1)
    np.testing.assert_allclose(made[[[0], [-1]], [0, -1]], expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_a_map_of_one_place_is_refused(mobile: keras.Model) -> None:
    with pytest.raises(InvalidParameter, match=r"'logits', whose map is 1 x 1.*valid: .*conv_1"):
        create_analyzer("gradcam", layer="logits").fit(mobile)


def test_a_map_that_is_one_place_for_these_images_has_a_reason() -> None:
    x = keras.Input((None, None, 3))
    t = layers.Conv2D(4, 3, strides=4, padding="same", activation="relu")(x)
    t = layers.Conv2D(4, 3, strides=4, padding="same", activation="relu", name="small")(t)
    model = keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(t)))
    e = create_analyzer("gradcam").fit(model).analyze(np.ones((2, 9, 9, 3), "float32"))
    assert e.reason == ("for images of this size the map of 'small/relu' is 1 x 1",) * 2
    assert not e.relevance.any()


# -- half precision


def cnn(policy: str) -> keras.Model:
    """Convolution, BatchNorm, ReLU, a gate, pooling, a hidden layer; softmax in float32 as Keras advises."""
    keras.utils.set_random_seed(5)
    x = keras.Input(SHAPE)
    t = layers.Conv2D(6, 3, padding="same", dtype=policy)(x)
    t = layers.ReLU(dtype=policy)(layers.BatchNormalization(dtype=policy)(t))
    t = layers.PReLU(shared_axes=[1, 2], dtype=policy)(layers.Conv2D(4, 3, dtype=policy)(t))
    t = layers.GlobalAveragePooling2D(dtype=policy)(layers.MaxPooling2D(2, dtype=policy)(t))
    t = layers.Dense(6, activation="tanh", dtype=policy)(t)
    t = layers.Activation("softmax", dtype="float32")(layers.Dense(3, dtype=policy)(t))
    model = keras.Model(x, t)
    rng = np.random.default_rng(3)
    model.set_weights([np.abs(w) + 0.1 * rng.uniform(size=w.shape) if w.ndim == 1 else w
                       for w in model.get_weights()])  # fmt: skip
    return model


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_models_are_explained_as_their_float32_twin(method: str) -> None:
    close(
        maps(method, HALF_MODELS["mixed_float16"], images()),
        maps(method, HALF_MODELS["float32"], images()),
        1e-2,
    )


@pytest.mark.parametrize("method", ["gradient", "gradcam", "lrp.preset_b"])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16"])
def test_other_half_precisions_too(policy: str, method: str) -> None:
    twin, model = cnn("float32"), cnn(policy)
    twin.set_weights([np.asarray(w, "float32") for w in model.get_weights()])
    close(maps(method, model, images()), maps(method, twin, images()), 1e-2)


def test_the_model_itself_keeps_its_precision() -> None:
    model = cnn("mixed_float16")
    before = model(images()).numpy()
    maps("gradient", model, images())
    assert {layer.compute_dtype for layer in model.layers} == {"float16", "float32"}
    np.testing.assert_array_equal(model(images()).numpy(), before)


# -- what does nothing at inference


def _augmentation(name: str) -> Any:
    needed = {"factor": 0.3, "height_factor": 0.2, "width_factor": 0.2, "rate": 0.3, "stddev": 0.1}
    cls = getattr(layers, name)
    required = {k for k, p in inspect.signature(cls.__init__).parameters.items() if p.default is p.empty}
    special = {"RandomPosterization": {"factor": 5}, "ActivityRegularization": {}}
    return cls(**special.get(name, {k: needed[k] for k in required & set(needed)}))


def with_layer(layer: Any, size: int = 8) -> keras.Model:
    keras.utils.set_random_seed(0)
    x = keras.Input((size, size, 3))
    t = layers.Conv2D(4, 3, activation="relu")(layer(x) if layer else x)
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(t)))


KERAS_IDENTITIES = sorted(
    n for n in IDENTITIES if hasattr(layers, n) and n not in ("SpatialDropout1D", "SpatialDropout3D")
)


@pytest.mark.parametrize("name", KERAS_IDENTITIES)
def test_augmentation_inside_the_model_changes_nothing(name: str) -> None:
    plain, augmented = with_layer(None), with_layer(_augmentation(name))
    augmented.set_weights(plain.get_weights())
    x = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(maps("gradient", augmented, x), maps("gradient", plain, x))


def test_every_layer_of_keras_that_passes_its_input_on_is_known() -> None:
    """Called as at inference, on an image: who gives back the same and is not in the list?"""
    x = np.random.default_rng(0).uniform(0, 255, (1, 8, 8, 3)).astype("float32")
    base = inspect.getmro(layers.RandomFlip)[1]
    unknown = []
    for name, cls in vars(layers).items():
        if (
            inspect.isclass(cls)
            and issubclass(cls, base)
            and name.startswith(("Random", "Rand", "Mix", "Cut", "Aug"))
        ):
            if name in ("RandomCrop", *IDENTITIES):
                continue
            if np.array_equal(_augmentation(name)(x, training=False), x):
                unknown.append(name)
    assert unknown == []


def test_a_crop_to_another_size_is_refused_and_a_pipeline_is_what_its_layers_are() -> None:
    """RandomCrop crops in training only: what follows it has another shape then."""
    x = np.random.default_rng(0).uniform(0, 1, (1, 8, 8, 3)).astype("float32")
    inputs = keras.Input((8, 8, 3))
    t = layers.Conv2D(4, 3)(layers.RandomCrop(6, 6, name="crop")(inputs))
    with pytest.raises(UnsupportedLayer, match=r"'crop' \(RandomCrop\): it crops \(8, 8\) to \(6, 6\)"):
        maps("gradient", keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(t))), x)
    plain, chain = with_layer(None), with_layer(layers.Pipeline([layers.RandomFlip(), layers.RandAugment()]))
    chain.set_weights(plain.get_weights())
    np.testing.assert_array_equal(maps("gradient", chain, x), maps("gradient", plain, x))
    with pytest.raises(UnsupportedLayer, match=r"a Pipeline that holds Rescaling"):
        maps("gradient", with_layer(layers.Pipeline([layers.Rescaling(2.0)])), x)


class Noisy(layers.Layer):
    """Random at inference too."""

    def call(self, x: Any) -> Any:
        return x + keras.random.normal(keras.ops.shape(x))


def test_a_layer_that_differs_from_call_to_call_is_named() -> None:
    from explainers.model.describe import register_kind

    register_kind(Noisy, "identity")
    with pytest.raises(UnequalForward, match=r"^[^\n]*layer 'noisy.*' \(Noisy\)[^\n]*$") as refused:
        network(with_layer(Noisy(name="noisy")))
    assert "fold=" not in str(refused.value)


# -- pixels as whole numbers


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_whole_numbers_in(dtype: str) -> None:
    """As its twin that takes the same numbers as floats."""
    keras.utils.set_random_seed(0)
    models = []
    for kind in (dtype, "float32"):
        x = keras.Input((8, 8, 3), dtype=kind)
        t = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 127.5, -1)(x))
        models.append(
            keras.Model(x, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(t)))
        )
    models[1].set_weights(models[0].get_weights())
    x = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("uint8")
    for method in ("gradient", "lrp.preset_a"):
        made, twin = (create_analyzer(method).fit(m).analyze(x) for m in models)
        np.testing.assert_allclose(made.relevance, twin.relevance, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(made.output, twin.output, rtol=1e-5)


# -- heads


def head(build: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3))
    t = layers.Conv2D(6, 3, activation="relu")(x)
    return keras.Model(x, build(t))


def softmax_in_a_convolution(t: Any) -> Any:
    t = layers.Conv2D(3, 1, activation="softmax", kernel_initializer="random_normal")(
        layers.GlobalAveragePooling2D(keepdims=True)(t)
    )
    return layers.Flatten()(t)


def softmax_pooled(t: Any) -> Any:
    t = layers.Softmax()(layers.Conv2D(3, 6)(t))
    return layers.GlobalAveragePooling2D()(layers.Dropout(0.5)(t))


def sigmoid_reshaped(t: Any) -> Any:
    t = layers.Activation("sigmoid")(layers.Dense(3)(layers.GlobalAveragePooling2D(keepdims=True)(t)))
    return layers.Activation("linear")(layers.Reshape((3,))(t))


def nested(t: Any) -> Any:
    inner = keras.Sequential(
        [keras.Input((6, 6, 6)), layers.Flatten(), layers.Dense(3, activation="sigmoid")]
    )
    return inner(t)


@pytest.mark.parametrize(
    ("build", "cut"),
    [
        (softmax_in_a_convolution, "softmax"),
        (softmax_pooled, "softmax"),
        (sigmoid_reshaped, "sigmoid"),
        (nested, "sigmoid"),
    ],
)
def test_the_end_is_cut_wherever_only_reshapes_follow(build: Any, cut: str) -> None:
    model = head(build)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    net = network(model)
    assert net.graph.cut == cut
    z, p = net.logits((x,)).astype("float64"), model(x).numpy()
    shares = 1 / (1 + np.exp(-z)) if cut == "sigmoid" else np.exp(z) / np.exp(z).sum(1, keepdims=True)
    np.testing.assert_allclose(shares, p, rtol=1e-4)
    with (
        tf.GradientTape() as tape
    ):  # d log(p_1) / dx + ... of the logit: log p - log(1 - p) or log p_1 - log p_0
        tape.watch(inputs := tf.constant(x))
        q = tf.cast(model(inputs), tf.float32)
        score = tf.math.log(q[:, 1] / (1 - q[:, 1])) if cut == "sigmoid" else tf.math.log(q[:, 1] / q[:, 0])
    ours = maps("gradient", model, x, 1) - (0 if cut == "sigmoid" else maps("gradient", model, x, 0))
    close(ours, tape.gradient(score, inputs).numpy(), 1e-3)


def test_a_softmax_over_places_or_one_that_is_averaged_stays() -> None:
    averaged = head(lambda t: layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1, activation="softmax")(t)))
    assert canonize(trace(averaged)).cut == ""


# -- one unit, two classes


def dense_unit(t: Any) -> Any:
    return layers.Dense(1, activation="sigmoid", bias_initializer="ones")(layers.Flatten()(t))


def unit_after_norm(t: Any) -> Any:
    t = layers.Dense(1, use_bias=False)(layers.GlobalAveragePooling2D()(t))
    return layers.Activation("sigmoid")(layers.BatchNormalization(beta_initializer="ones")(t))


def unit_in_a_convolution(t: Any) -> Any:
    t = layers.Conv2D(1, 3, bias_initializer="ones")(t)
    return layers.Activation("sigmoid")(layers.Flatten()(layers.GlobalAveragePooling2D(keepdims=True)(t)))


def twin_of(unit: Any) -> Any:
    """The same head with two units -w/2 and w/2 and a softmax: the same probabilities."""

    def build(t: Any) -> Any:
        if unit is dense_unit:
            return layers.Dense(2, activation="softmax")(layers.Flatten()(t))
        if unit is unit_after_norm:
            t = layers.Dense(2)(layers.GlobalAveragePooling2D()(t))
        else:
            t = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(t))
        return layers.Softmax()(t)

    return build


def pair(unit: Any) -> tuple[keras.Model, keras.Model]:
    one, two = head(unit), head(twin_of(unit))
    rng = np.random.default_rng(4)
    one.set_weights([rng.normal(size=w.shape) * 0.3 + (1.0 if "variance" in v.name else 0.1) * (w.ndim == 1)
                     if "variance" not in v.name else 1 + rng.uniform(size=w.shape)
                     for v, w in zip(one.weights, one.get_weights(), strict=True)])  # fmt: skip
    names = {v.name: w for v, w in zip(one.weights, one.get_weights(), strict=True)}
    conv = one.get_weights()[:2]
    kernel = one.get_weights()[2]
    if unit is unit_after_norm:
        g = names["gamma"] / np.sqrt(names["moving_variance"] + 1e-3)
        kernel, bias = kernel * g, names["beta"] - names["moving_mean"] * g
    else:
        bias = one.get_weights()[3]
    halves = [np.concatenate([-v / 2, v / 2], axis=-1) for v in (kernel, bias)]
    two.set_weights([*conv, *halves])
    return one, two


UNITS = [dense_unit, unit_after_norm, unit_in_a_convolution]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    "method", ["gradient", "lrp.epsilon", "lrp.preset_b", "lrp.z_plus", "gradcam", "deeplift"]
)
def test_one_unit_is_two_classes_each_with_its_own_sign(unit: Any, method: str) -> None:
    """As the two-unit softmax model with the same probabilities, whose logits are half as large."""
    one, two = pair(unit)
    x = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3)).astype("float32")
    p = one(x).numpy()[:, 0]
    np.testing.assert_allclose(two(x).numpy(), np.stack([1 - p, p], 1), rtol=1e-4)
    params = {} if method == "gradcam" else CHEAP[method]
    for target in (0, 1, None):
        a, b = (create_analyzer(method, **params).fit(m).analyze(x, target) for m in (one, two))
        assert a.output.shape == (4, 2)
        np.testing.assert_allclose(1 / (1 + np.exp(-a.output[:, 1].astype("float64"))), p, rtol=1e-4)
        np.testing.assert_array_equal(a.target, b.target)
        np.testing.assert_allclose(
            a.relevance, 2 * b.relevance, rtol=1e-3, atol=1e-4 * np.abs(a.relevance).max()
        )


@pytest.mark.parametrize("unit", UNITS)
def test_the_gradient_of_one_unit_is_that_of_plus_or_minus_its_logit(unit: Any) -> None:
    one, _ = pair(unit)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(inputs := tf.constant(x))
        p = one(inputs)[:, 0]
        logit = tf.math.log(p / (1 - p))
    expected = tape.gradient(logit, inputs).numpy()
    close(maps("gradient", one, x, 1), expected, 1e-3)
    close(maps("gradient", one, x, 0), -expected, 1e-3)


def test_a_unit_that_sums_branches_has_two_classes_too() -> None:
    def build(t: Any) -> Any:
        t = layers.Flatten()(t)
        return layers.Activation("sigmoid")(layers.Add()([layers.Dense(1)(t), layers.Dense(1)(t)]))

    model = head(build)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype("float32")
    z = network(model).logits((x,))
    np.testing.assert_allclose(1 / (1 + np.exp(-z[:, 1:])), model(x).numpy(), rtol=1e-4)
    np.testing.assert_array_equal(z[:, 0], -z[:, 1])
    np.testing.assert_allclose(maps("gradient", model, x, 0), -maps("gradient", model, x, 1), rtol=1e-6)


HALF_MODELS = {"mixed_float16": cnn("mixed_float16"), "float32": cnn("float32")}
HALF_MODELS["float32"].set_weights(HALF_MODELS["mixed_float16"].get_weights())
