"""Methods of a configuration get what the user left open from the card and the dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from explainers.errors import ExplainError
from explainers.rules import ZBox
from pipeline.config import parse_config
from pipeline.config_sections import DatasetConfig, MethodConfig, ModelConfig
from pipeline.errors import InputError
from pipeline.inputs.models import load_model
from pipeline.inputs.planted_model import planted_card
from pipeline.inputs.shards import plan_shards
from pipeline.measure.audit import audit_shard
from pipeline.measure.batching import warm_up
from pipeline.measure.bench import open_bench
from pipeline.measure.fitting import check, create, fit_methods, reference_batches

CARD = planted_card(32, ("a", "b"))


def test_the_range_comes_from_the_card_unless_it_is_given() -> None:
    from_card = create(MethodConfig(name="integrated_gradients"), CARD)
    assert from_card.get_config()["low"] == (-1.0, -1.0, -1.0)
    assert from_card.get_config()["high"] == (1.0, 1.0, 1.0)
    given = create(MethodConfig(name="integrated_gradients", params={"low": -2}), CARD)
    assert given.get_config()["low"] == -2.0
    box = create(MethodConfig(name="lrp.epsilon_gamma_box"), CARD)
    preset = box.preset()
    assert preset is not None
    assert ZBox((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)) in [rule for _, rule in preset.pairs]


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("nothing", {}),
        ("occlusion", {"size": 0}),
        ("integrated_gradients", {"stepz": 3}),
        ("lime", {"size": 1.5}),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(name: str, params: dict) -> None:
    with pytest.raises(ExplainError):
        check(MethodConfig(name=name, params=params))


def test_check_lets_through_what_only_needs_the_card() -> None:
    check(MethodConfig(name="integrated_gradients"))
    check(MethodConfig(name="lrp.star"))


def test_reference_images_come_from_all_over_the_dataset(tiny_planted) -> None:
    batches = list(reference_batches(tiny_planted, CARD, images=16))
    assert [len(b) for b in batches] == [8, 8]
    everything = np.concatenate(list(reference_batches(tiny_planted, CARD, images=10**6)))
    assert len(everything) == tiny_planted.info.n_examples
    again = list(reference_batches(tiny_planted, CARD, images=16))
    np.testing.assert_array_equal(batches[0], again[0])


def test_auto_is_no_method_where_there_is_no_dataset_to_choose_on():
    with pytest.raises(InputError, match=r"auto chooses on the images of a dataset.* name methods"):
        create(MethodConfig(name="auto"), CARD)


def test_a_method_that_estimates_says_when_there_are_no_images(tiny_cnn_file: Path) -> None:
    model = load_model(ModelConfig(source=str(tiny_cnn_file)))
    with pytest.raises(InputError, match="--references"):
        fit_methods([MethodConfig(name="pattern_net")], model)


def test_every_family_runs_in_an_audit(tiny_planted, tiny_cnn_file: Path) -> None:
    methods = [
        {"name": "lrp.preset_a"},
        {"name": "integrated_gradients", "params": {"steps": 2}},
        {"name": "deep_shap", "params": {"references": 2}},
        {"name": "pattern_attribution"},
        {"name": "occlusion", "params": {"size": 16}},
        {"name": "gradcam"},
        {"name": "constant"},
    ]
    config = parse_config(
        {
            "dataset": {"source": "planted", "path": DatasetConfig.model_validate(tiny_planted.config).path},
            "model": {"source": str(tiny_cnn_file)},
            "methods": methods,
            "perturbation": False,
            "execution": {"batch_size": 4},
        },
        "test",
    )
    bench = open_bench(config)
    warm_up(bench)
    info = bench.dataset.info
    tables = audit_shard(plan_shards(info.name, info.split, info.n_examples, 4)[0], bench)
    scores = tables["scores"].to_pandas()
    assert set(scores["method"]) == {m.key for m in config.methods}
    lifts = scores[scores["metric"] == "lift"].set_index("method")["value"].astype(float)
    np.testing.assert_allclose(lifts["constant"], 0, atol=1e-6)  # a uniform map is the lift's zero
    assert np.isfinite(lifts["deep_shap(references=2)"]).all()
