"""Sanity checks of methods: what they compare, and that they catch a method that ignores the network."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from scipy.stats import spearmanr

from explainers import Explanation, create_analyzer
from pipeline.measure.sanity import check_run, shuffled, similarity
from pipeline.run.documents import MethodSanity, SanityDocument
from pipeline.run.store import Store


def explanation(maps):
    n = len(maps)
    return Explanation(maps.astype(np.float32), np.zeros((n, 2)), np.zeros(n, int), (None,) * n)


def test_similarity_by_hand_and_against_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 16, 16, 3))
    a[3] = 0  # undefined: left out
    keep = np.array([True, True, True, True, False])
    rho, _, n = similarity(explanation(a), explanation(b), keep)
    flat = [
        (np.abs(p).sum(axis=-1).ravel(), np.abs(q).sum(axis=-1).ravel())
        for p, q in zip(a[:3], b[:3], strict=True)
    ]
    assert rho == pytest.approx(np.median([spearmanr(p, q).statistic for p, q in flat]), abs=1e-6)
    assert n == 3
    same = similarity(explanation(a), explanation(a), keep)
    assert same[:2] == (pytest.approx(1), pytest.approx(1))
    # the sign and the scale of a map do not matter, its order does
    assert similarity(explanation(a), explanation(-3 * a), keep)[0] == pytest.approx(1)
    ramp = np.arange(1.0, 257).reshape(1, 16, 16, 1)
    assert similarity(explanation(ramp), explanation(257 - ramp), np.array([True]))[0] == pytest.approx(-1)
    constant = np.ones((1, 16, 16, 1))
    assert similarity(explanation(constant), explanation(constant), np.array([True]))[0] == 1
    assert similarity(explanation(constant), explanation(ramp), np.array([True]))[0] == 0
    assert similarity(explanation(0 * ramp), explanation(ramp), np.array([True])) == (None, None, 0)


def test_shuffling_keeps_the_values_and_the_original(tiny_cnn):
    before = [w.copy() for w in tiny_cnn.get_weights()]
    top, everything = shuffled(tiny_cnn, 0.0, 1), shuffled(tiny_cnn, 1.0, 1)
    for old, now in zip(before, tiny_cnn.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    changed = []
    for copy in (top, everything):
        for old, new in zip(before, copy.get_weights(), strict=True):
            np.testing.assert_array_equal(np.sort(old.ravel()), np.sort(new.ravel()))
        pairs = zip(before, copy.get_weights(), strict=True)
        changed.append([not np.array_equal(o, n) for o, n in pairs if o.ndim > 1])
    assert changed[0] == [False] * (len(changed[0]) - 1) + [True]  # the output layer alone
    assert all(changed[1])


@pytest.fixture(scope="module")
def bench(tiny_planted, tiny_cnn_file):
    from pipeline.config import parse_config
    from pipeline.measure.bench import open_bench

    return open_bench(
        parse_config(
            {
                "dataset": {"source": "planted", "path": tiny_planted.config.path},
                "model": {"source": str(tiny_cnn_file)},
                "methods": [{"name": "gradient"}, {"name": "constant"}],
                "perturbation": False,
                "execution": {"batch_size": 8},
            }
        )
    )


def test_a_method_that_ignores_the_network_is_found(bench, tmp_path):
    run = Store(tmp_path)
    checks = check_run(run, bench)
    gradient, constant = checks.methods
    assert (gradient.insensitive, gradient.class_blind) == (False, False)
    assert (constant.insensitive, constant.class_blind) == (True, True)
    assert constant.randomised["all layers"][0] == 1
    assert gradient.images == 4
    assert list(gradient.randomised) == ["output layer", "upper half", "all layers"]
    # once per run: the second call reads
    assert check_run(run, None) == checks


def test_no_check_when_none_is_asked_for(bench, tmp_path):
    config = bench.config.model_copy(update={"sanity": bench.config.sanity.model_copy(update={"images": 0})})
    assert check_run(Store(tmp_path), dataclasses.replace(bench, config=config)) is None
    assert SanityDocument.read(Store(tmp_path)) is None
    assert config.run_id == bench.config.run_id


class Table(keras.layers.Layer):
    """A layer that cannot be rebuilt from its configuration."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def call(self, x):
        return x * self.table[0]


def test_what_cannot_be_checked_is_said_and_the_ranking_stands(bench, tmp_path, capsys):
    from flows.terminal import print_unchecked
    from pipeline.config_sections import RankingConfig
    from pipeline.measure.audit import audit_run
    from pipeline.statistics.ranking import rank

    old = bench.model.model
    model = keras.Model(old.input, old.layers[-1](Table(np.ones(1, "float32"))(old.layers[-2].output)))
    broken = dataclasses.replace(bench, model=dataclasses.replace(bench.model, model=model))
    run = Store(tmp_path / "run")
    audit_run(run, broken)
    checks = SanityDocument.read(run)
    assert list(checks.unchecked) == ["gradient", "constant"]
    assert all("Table" in reason and "\n" not in reason for reason in checks.unchecked.values())
    assert (checks.methods, checks.images) == ((), 0)
    print_unchecked(checks.unchecked)
    assert "maps of constant depend on the network could not be checked: " in capsys.readouterr().out
    assert checks.failures("gradient") is None
    ranking = rank(run, RankingConfig(images="all", n_min=2, draws=100))
    assert len(ranking.table)
    assert ranking.summary["method_marks"] is None


def test_one_method_that_cannot_be_refitted_leaves_the_others_checked(bench, tmp_path, monkeypatch):
    from explainers.errors import UnequalForward
    from explainers.methods.gradient import GradientAnalyzer

    def refuse(self, model, data=None):
        raise UnequalForward(0.5, 1e-3, "rounding grows")

    monkeypatch.setattr(GradientAnalyzer, "fit", refuse)
    checks = check_run(Store(tmp_path), bench)
    assert list(checks.unchecked) == ["gradient"]
    assert "rounding grows" in checks.unchecked["gradient"]
    assert [(m.method, m.insensitive) for m in checks.methods] == [("constant", True)]


def test_half_precision_and_normalised_input_are_checked(bench, tmp_path):
    """A float16 network whose input is normalised by what it has seen: its copy has to know that too."""
    norm = keras.layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(3, 2, size=(50, 32, 32, 3)))
    x = keras.Input(bench.model.model.input_shape[1:])
    t = keras.layers.Conv2D(4, 3, activation="relu", dtype="mixed_float16")(norm(x))
    t = keras.layers.GlobalAveragePooling2D(dtype="mixed_float16")(t)
    units = bench.model.model.output_shape[-1]
    t = keras.layers.Dense(units, activation="softmax", dtype="float32")(t)
    model = keras.Model(x, t)
    config = bench.config.model_copy(update={"methods": bench.config.methods[:1]})
    mixed = dataclasses.replace(bench.model, model=model)
    fitted = {"gradient": create_analyzer("gradient").fit(model)}
    run = check_run(Store(tmp_path), dataclasses.replace(bench, config=config, model=mixed, methods=fitted))
    assert (run.unchecked, [m.images for m in run.methods]) == (None, [4])
    copy = shuffled(model, 0.0, 1)
    images = np.ones((2, *model.input_shape[1:]), "float32")
    np.testing.assert_array_equal(copy.layers[1](images), norm(images))


def checked(*methods: tuple[str, bool, bool]) -> SanityDocument:
    """Checks with this outcome: (method, insensitive, class blind)."""
    rows = [
        MethodSanity(name, {"all layers": (0.5, 0.5)}, (0.5, 0.5), *failed, 4) for name, *failed in methods
    ]
    return SanityDocument(4, 0.1, {"insensitive": 0.7, "class_blind": 0.95}, tuple(rows))


def test_insensitive_methods_are_marked_in_the_ranking_of_methods(small_run, tmp_path):
    import shutil

    from pipeline.statistics.method_ranking import rank_methods

    shutil.copytree(small_run.path, tmp_path / "run")
    store = Store(tmp_path / "run")
    checked(("gradient", True, False)).write(store)
    table = rank_methods(store).table.set_index("method")
    assert table["insensitive"].to_dict() == {"gradient": True, "lrp.preset_a": False}


def test_a_ranking_says_what_its_method_failed(small_run, tmp_path, capsys):
    import shutil

    from flows.report import rank_run, verdict_markdown
    from flows.terminal import print_ranking
    from pipeline.config_sections import RankingConfig

    folder = tmp_path / "run"
    shutil.copytree(small_run.path, folder)
    config = RankingConfig(method="gradient", images="all", n_min=2, draws=100)
    assert rank_run(str(folder), config).summary["method_marks"] is None  # never checked
    checked(("gradient", True, True), ("lrp.preset_a", False, False)).write(Store(folder))
    passed = rank_run(str(folder), config.model_copy(update={"method": "lrp.preset_a"}))
    assert passed.summary["method_marks"] == []
    assert "Caution" not in verdict_markdown("net", passed)
    failed = rank_run(str(folder), config)
    assert failed.summary["method_marks"] == ["insensitive to the weights", "class blind"]
    assert "**Caution**: the maps of gradient are insensitive" in verdict_markdown("net", failed)
    print_ranking(failed, 3)
    assert "maps of gradient are insensitive to the weights and class blind" in capsys.readouterr().out
