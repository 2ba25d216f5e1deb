"""PatternNet and PatternAttribution: Haufe's example, the estimators in matrix form, DAGs, streams, files."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from explainers import create_analyzer
from explainers.errors import ExplainError, InvalidInput
from explainers.saving import load_fitted, save_fitted
from tests.explainers.methods import small
from tests.explainers.model.linear_cases import CASES, built

layers = keras.layers


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(abs(a.ravel() @ b.ravel()) / np.linalg.norm(a) / np.linalg.norm(b))


def test_haufes_example() -> None:
    """x = (1, 0) y + (1, 1) e: the filter must be (1, -1) to get rid of e, the signal is (1, 0)."""
    rng = np.random.default_rng(0)
    y, noise = rng.normal(size=(2, 20_000))
    x = np.outer(y, [1.0, 0.0]) + np.outer(noise, [1.0, 1.0])
    filter_ = np.array([[1.0], [-1.0]])
    np.testing.assert_allclose(x @ filter_, y[:, None])
    model = keras.Sequential([keras.Input((2,), dtype="float64"), layers.Dense(1, dtype="float64")])
    model.set_weights([filter_, np.zeros(1)])
    fitted = create_analyzer("pattern_net").fit(model, x)
    (pattern,) = fitted.state.values()
    assert cosine(pattern, np.array([1.0, 0.0])) > 0.999
    assert cosine(filter_, np.array([1.0, 0.0])) < 0.75
    signal = fitted.analyze(x[:5]).relevance
    np.testing.assert_allclose(signal, np.outer(y[:5], [1, 0]), atol=0.05)
    attribution = create_analyzer("pattern_attribution").fit(model, x).analyze(x[:5]).relevance
    np.testing.assert_allclose(attribution, signal * filter_.T, atol=1e-9)


def unrolled_pattern(x: np.ndarray, y: np.ndarray, w: np.ndarray, positive: bool) -> np.ndarray:
    """Kindermans et al. equations 6 and 8, literally, for one neuron; x n i."""
    chosen = y > 0 if positive else np.ones_like(y, bool)
    top = (x[chosen] * y[chosen, None]).mean(0) - x[chosen].mean(0) * y.mean()
    return top / (w @ top)


@pytest.mark.parametrize("positive", [True, False])
def test_dense_estimators_are_the_papers(positive: bool) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5)) + 3
    inputs = keras.Input((5,), dtype="float64")
    hidden = layers.Dense(4, activation="relu" if positive else "tanh", dtype="float64")(inputs)
    model = keras.Model(inputs, layers.Dense(2, dtype="float64")(hidden))
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    w, b = model.layers[1].get_weights()
    state = create_analyzer("pattern_net").fit(model, x).state
    y = x @ w + b
    expected = np.stack([unrolled_pattern(x, y[:, k], w[:, k], positive) for k in range(4)], axis=1)
    np.testing.assert_allclose(state[model.layers[1].name], expected, rtol=1e-8)
    np.testing.assert_allclose((w * expected).sum(0), 1)


CONVOLUTIONS = (
    "conv2d",
    "conv2d_valid",
    "strided",
    "dilated",
    "grouped",
    "depthwise",
    "separable",
    "transposed",
    "conv1d",
)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutional_estimators_are_the_dense_ones_over_patches(name: str) -> None:
    """A neuron's patches by unrolling: the input of place p through weight j is where dz_p/dw_j = x."""
    case = CASES[name]
    layer = built(case, True, "float64", 3)
    x = small.images(40, case.shape, seed=2)
    inputs = keras.Input(case.shape, dtype="float64")
    model = keras.Model(inputs, layers.Flatten(dtype="float64")(layers.ReLU(dtype="float64")(layer(inputs))))
    fitted = create_analyzer("pattern_net").fit(model, x)
    node = fitted.network.graph[layer.name]
    kernel = np.asarray(node.linear.composite(node.kernel), np.float64)
    y = np.asarray(layer(x))
    pattern = fitted.state[layer.name]
    outputs = y.shape[-1]
    weights = range(kernel.size)
    # every weight's input at every place: the map with that weight 1 and all others 0
    unit = lambda j: np.asarray(node.linear.whole.apply(x, np.eye(1, kernel.size, j).reshape(kernel.shape)))  # noqa: E731
    seen = np.stack([unit(j) for j in weights], axis=-1)
    for k in range(outputs):
        mine = [j for j in weights if np.any(seen[..., k, j])]
        patches = seen[..., k, :][..., mine].reshape(-1, len(mine))
        expected = unrolled_pattern(patches, y[..., k].ravel(), kernel.ravel()[mine], True)
        np.testing.assert_allclose(pattern.ravel()[mine], expected, rtol=1e-5, atol=1e-8)


def residual() -> keras.Model:
    """Branches, a layer called twice, BatchNorm."""
    rng = np.random.default_rng(0)
    x = keras.Input((6, 6, 3))
    shared = layers.Conv2D(3, 3, padding="same", activation="relu")
    t = layers.Add()([shared(shared(x)), x])
    t = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3)(t)))
    model = keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D()(t)))
    model.set_weights(
        [
            np.abs(rng.normal(size=w.shape)) + 0.5 if "variance" in w.name else rng.normal(size=w.shape)
            for w in model.weights
        ]
    )
    return model


def test_a_graph_with_branches_and_a_layer_called_twice() -> None:
    model, x = residual(), small.images(60, (6, 6, 3), "float32")
    fitted = create_analyzer("pattern_net").fit(model, x)
    twice = [name for name in fitted.state if name.split("@")[0] == model.layers[1].name]
    assert len(twice) == 2  # one call, one pattern
    assert not np.allclose(*(fitted.state[name] for name in twice))
    for name, pattern in fitted.state.items():
        node = fitted.network.graph[name]
        inner = (np.asarray(node.kernel) * pattern).reshape(-1, pattern.shape[-1]).sum(0)
        np.testing.assert_allclose(
            inner[np.any(pattern.reshape(-1, pattern.shape[-1]), axis=0)], 1, rtol=1e-4
        )
    relevance = fitted.analyze(x[:4]).relevance
    assert relevance.shape == (4, 6, 6, 3)
    assert np.abs(relevance).max() > 0


def test_patterns_equal_to_weights_give_the_gradient() -> None:
    """PatternNet with `a = w` is the gradient times the logit; PatternAttribution with `a = 1` too."""
    model, x = residual(), small.images(3, (6, 6, 3), "float32")
    gradient = create_analyzer("gradient").fit(model)
    expected = gradient.analyze(x, 1)
    net = gradient.network
    kernels = {n.name: np.asarray(n.kernel) for n in net.graph if n.linear is not None}
    as_weights = create_analyzer("pattern_net").bind(net, kernels)
    as_ones = create_analyzer("pattern_attribution").bind(
        net, {k: np.ones_like(v) for k, v in kernels.items()}
    )
    for fitted in (as_weights, as_ones):
        np.testing.assert_allclose(
            fitted.analyze(x, 1).relevance,
            expected.relevance * expected.output[:, 1, None, None, None],
            rtol=1e-4,
            atol=1e-5,
        )


def test_the_order_and_size_of_batches_play_no_part() -> None:
    model, x = small.convolutional("float64"), small.images(30, (12, 10, 3)) + 5
    whole = create_analyzer("pattern_attribution").fit(model, x).state
    batches = create_analyzer("pattern_attribution").fit(model, (x[i : i + 7] for i in range(0, 30, 7))).state
    for name in whole:
        np.testing.assert_allclose(batches[name], whole[name], rtol=1e-7, atol=1e-10)


def test_a_dead_neuron_has_the_pattern_zero() -> None:
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="float64"),
            layers.Dense(2, activation="relu", dtype="float64"),
            layers.Dense(2, dtype="float64"),
        ]
    )
    model.set_weights([np.ones((3, 2)), np.array([0.0, -1e6]), np.ones((2, 2)), np.zeros(2)])
    state = create_analyzer("pattern_net").fit(model, small.images(50, (3,))).state
    assert np.all(state[model.layers[0].name][:, 1] == 0)
    assert all(np.isfinite(pattern).all() for pattern in state.values())


def test_saved_patterns_are_the_same_without_pickle(tmp_path: Path) -> None:
    model, x = residual(), small.images(20, (6, 6, 3), "float32")
    fitted = create_analyzer("pattern_attribution").fit(model, x)
    path = save_fitted(fitted, tmp_path / "patterns.npz")
    with np.load(path, allow_pickle=False) as file:
        assert set(file.files) == {"about", *(f"state/{name}" for name in fitted.state)}
    loaded = load_fitted(path, model)
    assert loaded.analyzer == fitted.analyzer
    np.testing.assert_array_equal(loaded.analyze(x[:2]).relevance, fitted.analyze(x[:2]).relevance)
    assert [p.name for p in tmp_path.iterdir()] == ["patterns.npz"]


def test_files_that_do_not_belong_are_refused(tmp_path: Path) -> None:
    model, x = residual(), small.images(20, (6, 6, 3), "float32")
    path = save_fitted(create_analyzer("pattern_net").fit(model, x), tmp_path / "patterns.npz")
    model.layers[-1].bias.assign(model.layers[-1].bias + 1)
    with pytest.raises(InvalidInput, match="other weights"):
        load_fitted(path, model)
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(InvalidInput, match="is no saved analyzer"):
        load_fitted(tmp_path / "text.npz", model)
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_fitted(tmp_path / "absent.npz", model)
    np.savez(tmp_path / "pickled.npz", about=np.array([{"format": 1}], dtype=object))
    with pytest.raises(InvalidInput, match="is no saved analyzer"):
        load_fitted(tmp_path / "pickled.npz", model)


def test_patterns_without_data_are_refused() -> None:
    with pytest.raises(ExplainError, match=r"fit\(model, data\)"):
        create_analyzer("pattern_net").fit(residual())
