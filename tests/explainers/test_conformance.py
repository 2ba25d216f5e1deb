"""What every registered method keeps to, whatever it computes."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from explainers import Explanation, Fitted, analyze_many, create_analyzer, list_methods, method_info, plan
from explainers.errors import ExplainError, InvalidInput, InvalidParameter, UnknownMethod
from explainers.rules import Epsilon
from explainers.rules.presets import compose, structure
from explainers.saving import from_config, load_fitted, save_fitted, to_config

layers = keras.layers
SHAPE = (8, 7, 3)
OWN = compose("own", dense=Epsilon(), conv=Epsilon(), first=Epsilon(), rest=structure())

RANGE = {"low": -1.0, "high": 1.0}

# parameters that make a method cheap here; every registered method stands in this table
CHEAP: dict[str, dict[str, Any]] = {
    "constant": {},
    "deconvnet": {},
    "deep_shap": {"references": 3},
    "deep_taylor": {},
    "deep_taylor.bounded": RANGE,
    "deeplift": RANGE,
    "excitation_backprop": {},
    "gradcam": {},
    "gradcam_plus_plus": {},
    "gradient": {},
    "gradient_shap": {"samples": 5, "references": 3},
    "guided_backprop": {},
    "input_x_gradient": {},
    "integrated_gradients": {**RANGE, "steps": 4},
    "kernel_shap": {"size": 4, "samples": 20},
    "lime": {"samples": 20, "segmentation": "grid", "size": 3},
    "lrp": {"preset": OWN},
    "lrp.alpha_1_beta_0": {},
    "lrp.alpha_2_beta_1": {},
    "lrp.epsilon": {},
    "lrp.epsilon_gamma_box": RANGE,
    "lrp.flat": {},
    "lrp.gamma": {},
    "lrp.preset_a": {},
    "lrp.preset_a_flat": {},
    "lrp.preset_b": {},
    "lrp.preset_b_flat": {},
    "lrp.w_square": {},
    "lrp.z_plus": {},
    "lrp.zero": {},
    "occlusion": {"size": 3},
    "pattern_attribution": {},
    "pattern_net": {},
    "prediction_difference": {"size": 3, "padding": 1, "samples": 2, "patches": 300},
    "random": {},
    "rise": {"samples": 20, "grid": 3},
    "smoothgrad": {**RANGE, "augment_by_n": 3},
    "squaregrad": {**RANGE, "augment_by_n": 3},
    "vargrad": {**RANGE, "augment_by_n": 3},
}
METHODS = sorted(CHEAP)
every_method = pytest.mark.parametrize("method", METHODS)


def test_every_registered_method_is_tested_and_no_other() -> None:
    assert [info.name for info in list_methods()] == METHODS


# the file with the method's own oracle: closed forms, other people's code, the papers' formulas in NumPy
ORACLES: dict[str, tuple[str, ...]] = {
    "test_backward": (
        "constant", "deconvnet", "deep_taylor", "deep_taylor.bounded", "excitation_backprop", "gradient",
        "guided_backprop", "input_x_gradient", "random",
    ),
    "test_gradcam": ("gradcam", "gradcam_plus_plus"),
    "test_gradients": ("integrated_gradients", "smoothgrad", "squaregrad", "vargrad"),
    "test_patterns": ("pattern_attribution", "pattern_net"),
    "test_perturbation": ("kernel_shap", "lime", "occlusion", "prediction_difference", "rise"),
    "test_reference": ("deep_shap", "deeplift", "gradient_shap"),
}  # fmt: skip


def test_every_method_has_an_oracle_of_its_own() -> None:
    """The rules of LRP have theirs in `test_oracle_rules` and `test_oracle_nodes`."""
    assert sorted(m for found in ORACLES.values() for m in found) == [
        m for m in METHODS if not m.startswith("lrp")
    ]
    for name, found in ORACLES.items():
        source = (Path(__file__).parent / "methods" / f"{name}.py").read_text(encoding="utf-8")
        assert [m for m in found if f'"{m}"' not in source] == []


def model(dtype: str = "float32") -> keras.Model:
    return built(dtype)


@cache
def built(dtype: str) -> keras.Model:
    """A convolution, a max-pooling, a hidden layer and a softmax over three classes."""
    rng = np.random.default_rng(2)
    x = keras.Input(SHAPE, dtype=dtype)
    t = layers.Conv2D(4, 3, padding="same", activation="relu", dtype=dtype)(x)
    t = layers.Flatten(dtype=dtype)(layers.MaxPooling2D(2, dtype=dtype)(t))
    t = layers.Dense(6, activation="relu", dtype=dtype)(t)
    made = keras.Model(x, layers.Dense(3, activation="softmax", dtype=dtype)(t))
    made.set_weights([rng.normal(size=w.shape) / max(1, np.prod(w.shape[:-1])) ** 0.5 for w in made.weights])
    return made


def images(n: int = 3, dtype: str = "float32", seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, *SHAPE)).astype(dtype)


def fit(method: str, dtype: str = "float32") -> Fitted:
    needs = {info.name: info.needs for info in list_methods()}[method]
    data = images(20, dtype, seed=7) if "data" in needs else None
    return create_analyzer(method, **CHEAP[method]).fit(model(dtype), data)


@cache
def fitted(method: str) -> Fitted:
    return fit(method)


@cache
def explained(method: str) -> Explanation:
    return fitted(method).analyze(images())


@every_method
def test_shape_dtype_and_reasons(method: str) -> None:
    e = explained(method)
    assert e.relevance.shape == (3, *SHAPE)
    assert e.relevance.dtype == np.float32
    assert e.output.shape == (3, 3)
    assert np.issubdtype(e.target.dtype, np.integer)
    np.testing.assert_array_equal(e.target, e.output.argmax(1))
    assert len(e.reason) == 3
    assert np.isfinite(e.relevance).all()
    for row, reason in enumerate(e.reason):
        assert (reason is None) == bool(e.relevance[row].any())


@every_method
def test_output_is_the_logit(method: str) -> None:
    shares = np.exp(explained(method).output)
    np.testing.assert_allclose(
        shares / shares.sum(1, keepdims=True), model().predict(images(), verbose=0), rtol=1e-4
    )


@every_method
def test_repeats_and_survives_being_saved(method: str, tmp_path: Path) -> None:
    """The same call again, and the analyzer from its file: bit by bit the same maps."""
    np.testing.assert_array_equal(fitted(method).analyze(images()).relevance, explained(method).relevance)
    if method == "lrp":
        with pytest.raises(InvalidParameter, match="no JSON value"):
            save_fitted(fitted(method), tmp_path / "fitted.npz")
        return
    loaded = load_fitted(save_fitted(fitted(method), tmp_path / "fitted.npz"), model())
    assert loaded.analyzer == fitted(method).analyzer
    np.testing.assert_array_equal(loaded.analyze(images()).relevance, explained(method).relevance)


SEEDED = [info.name for info in list_methods() if "seed" in info.parameters]
# so few samples that chance decides which
CHANCE: dict[str, dict[str, Any]] = {"kernel_shap": {"samples": 10}}


@pytest.mark.parametrize("method", SEEDED)
def test_the_seed_decides_and_nothing_else(method: str) -> None:
    """Fitted anew with the same seed: bit by bit the same maps. With another seed: other maps."""
    needs = {info.name: info.needs for info in list_methods()}[method]
    data = images(20, seed=7) if "data" in needs else None
    params = CHEAP[method] | CHANCE.get(method, {})

    def maps(seed: int) -> np.ndarray:
        return create_analyzer(method, **params, seed=seed).fit(model(), data).analyze(images()).relevance

    first = maps(3)
    np.testing.assert_array_equal(maps(3), first)
    assert not np.array_equal(maps(4), first)


@every_method
def test_a_batch_equals_its_images_one_by_one(method: str) -> None:
    x, together = images(), explained(method).relevance
    apart = np.concatenate([fitted(method).analyze(x[i : i + 1]).relevance for i in range(3)])
    np.testing.assert_allclose(apart, together, rtol=1e-4, atol=1e-5 * np.abs(together).max())


@every_method
def test_finite_on_zeros(method: str) -> None:
    e = fitted(method).analyze(np.zeros((3, *SHAPE), np.float32))
    assert np.isfinite(e.relevance).all()


@every_method
def test_weights_are_untouched(method: str) -> None:
    rng = np.random.default_rng(2)
    fitted(method).analyze(images())
    for weight in model().get_weights():
        expected = (rng.normal(size=weight.shape) / max(1, np.prod(weight.shape[:-1])) ** 0.5).astype(
            np.float32
        )
        np.testing.assert_array_equal(weight, expected)


@every_method
def test_float64_models_give_float64_maps_that_agree(method: str) -> None:
    e = fit(method, "float64").analyze(images(dtype="float64"))
    assert e.relevance.dtype == np.float64
    if method == "random":  # its seed is the image itself, and that is another one in float64
        return
    together = explained(method).relevance
    np.testing.assert_allclose(e.relevance, together, rtol=1e-2, atol=2e-3 * np.abs(together).max())


@every_method
def test_configuration_goes_through_json_and_back(method: str) -> None:
    analyzer = create_analyzer(method, **CHEAP[method])
    assert repr(analyzer) == repr(create_analyzer(method, **CHEAP[method]))
    if method == "lrp":
        return
    config = json.loads(json.dumps(to_config(analyzer)))
    assert config["method"] == method
    assert from_config(config) == analyzer
    assert set(config["params"]) == set({i.name: i.parameters for i in list_methods()}[method])


@every_method
def test_targets(method: str) -> None:
    """One index, one per image, and a function that chooses: each the map of the class that it means."""
    own = fitted(method).analyze(images(), [0, 2, 1])
    assert list(own.target) == [0, 2, 1]
    two = fitted(method).analyze(images(), 2)
    np.testing.assert_array_equal(two.relevance[1], own.relevance[1])
    chosen = fitted(method).analyze(images(), lambda output: ops.argmin(output, axis=1))
    np.testing.assert_array_equal(chosen.target, chosen.output.argmin(1))


@every_method
def test_a_function_of_the_output_that_is_a_logit_gives_the_logits_map(method: str) -> None:
    if method == "prediction_difference":
        pytest.skip("explains the odds of a class, but the mean of a function")
    e = fitted(method).analyze(images(), 1)
    f = fitted(method).analyze(images(), first_logit)
    assert list(f.target) == [-1] * 3
    if method != "excitation_backprop":  # its start is the probability of a class
        np.testing.assert_allclose(f.relevance, e.relevance, rtol=1e-4, atol=1e-5 * np.abs(e.relevance).max())


def first_logit(output: Any) -> Any:
    return output[:, 1]


BAD_TARGETS: list[tuple[Any, str]] = [
    (3, "target 3 is out of range; valid: 0 to 2"),
    ([0, -1, 0], "target -1 is out of range"),
    ([0, 1], r"one class per image"),
    (0.5, "float64"),
]


@pytest.mark.parametrize(("target", "message"), BAD_TARGETS)
@pytest.mark.parametrize("method", ["lrp.epsilon", "occlusion", "integrated_gradients"])
def test_impossible_targets(method: str, target: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        fitted(method).analyze(images(), target)


@pytest.mark.parametrize("method", ["lrp.epsilon", "lime", "gradcam"])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 9, 7, 3)), "shape"),
        (np.full((1, *SHAPE), np.nan), "nan"),
        (np.zeros((1, *SHAPE), complex), "dtype"),
        (np.zeros((0, *SHAPE)), "empty batch"),
    ],
)
def test_impossible_inputs(method: str, x: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        fitted(method).analyze(x)


def test_methods_together_give_what_they_give_alone() -> None:
    names = ["gradient", "lrp.epsilon", "occlusion", "random"]
    together = analyze_many([fitted(name) for name in names], images())
    for name, e in zip(names, together, strict=True):
        np.testing.assert_allclose(e.relevance, explained(name).relevance, rtol=1e-4, atol=1e-6)


def test_names_are_checked() -> None:
    with pytest.raises(InvalidParameter, match="takes no parameter 'origin'"):
        create_analyzer("occlusion", origin=None)
    with pytest.raises(UnknownMethod, match=r"'grad_cam' is not known; methods: .*gradcam"):
        create_analyzer("grad_cam")
    with pytest.raises(InvalidParameter, match="takes no parameter 'window'; valid: size, stride"):
        create_analyzer("occlusion", window=3)


@every_method
def test_the_plan_shows_the_rules_or_that_there_are_none(method: str) -> None:
    """Every node has a rule of the method's preset and the cost is a number, or there is neither."""
    analyzer = create_analyzer(method, **CHEAP[method])
    made = plan(model(), analyzer)
    assert made.ok, made.problems
    assert "forward pass" in made.cost_note
    if analyzer.preset() is None:
        assert (made.rows, made.cost) == ((), None)
    else:
        nodes = [node.name for node in fitted(method).network.graph if node.kind != "input"]
        assert [row.node for row in made.rows] == nodes
        assert all(row.rule for row in made.rows)
        assert made.cost is not None
        assert made.cost >= 1


@every_method
def test_what_it_needs_is_what_it_says(method: str) -> None:
    """`needs` names the parameters without a default, and data exactly where `fit` refuses to do without."""
    info, analyzer = method_info(method), create_analyzer(method, **CHEAP[method])
    assert set(info.required) == set(info.needs) - {"data", "convolution"}
    assert analyzer.estimates == ("data" in info.needs)
    if analyzer.estimates:
        with pytest.raises(InvalidInput, match=r"fit\(model, data\)"):
            analyzer.fit(model())
    else:
        analyzer.fit(model())


SAME: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("occlusion", {"value": [0, 1, 2]}, {"value": (0.0, 1.0, 2.0)}),
    ("rise", {"value": np.ones(3)}, {"value": (1.0, 1.0, 1.0)}),
    ("lime", {"value": np.float32(2)}, {"value": 2.0}),
    ("kernel_shap", {"value": 3}, {"value": 3.0}),
    ("smoothgrad", {"low": [-1, 0, 0], "high": 1}, {"low": (-1.0, 0.0, 0.0), "high": 1.0}),
    ("deeplift", RANGE | {"reference": np.zeros(3)}, RANGE | {"reference": (0.0, 0.0, 0.0)}),
    ("integrated_gradients", {"low": -1, "high": 1, "reference": 0}, RANGE | {"reference": 0.0}),
]


@pytest.mark.parametrize(("method", "given", "plain"), SAME, ids=[method for method, _, _ in SAME])
def test_numbers_are_the_same_however_they_are_written(
    method: str, given: dict[str, Any], plain: dict[str, Any]
) -> None:
    one, other = create_analyzer(method, **given), create_analyzer(method, **plain)
    assert one == other
    assert repr(one) == repr(other)
    assert {k: v for k, v in one.get_config().items() if k in plain} == plain


REFUSALS: list[tuple[str, Callable[[], Any], str]] = [
    ("ledger", lambda: fitted("occlusion").analyze(images(), ledger=True), "no ledger"),
    ("config", lambda: to_config(type(fitted("occlusion").analyzer)()), "create_analyzer"),
]


@pytest.mark.parametrize(("name", "call", "message"), REFUSALS)
def test_refusals(name: str, call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ExplainError, match=message):
        call()
