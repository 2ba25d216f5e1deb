"""``--method auto``: on networks of which it is known what they look at, and that it is chosen once."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from explainers import Explanation
from pipeline.config import parse_config
from pipeline.config_sections import MethodConfig
from pipeline.errors import InputError
from pipeline.measure import choice, fitting, sanity
from pipeline.measure.audit import audit_run
from pipeline.measure.bench import open_bench
from pipeline.measure.choice_images import draw, most_images
from pipeline.measure.sanity import STAGES
from pipeline.run.documents import ChoiceDocument, SanityDocument
from pipeline.run.store import Store

SIDE = 8  # pixels of a corner


def corner_network(card, sharp: float = 200.0) -> keras.Model:
    """Class k says how far the mean of corner k is from grey; nothing else of the picture is looked at.

    Noise is grey on average: it takes away what the network sees, and only in the corner of its class.
    """
    x = keras.Input((32, 32, 3))
    conv = keras.layers.Conv2D(2, SIDE, strides=SIDE, activation="relu")
    dense = keras.layers.Dense(4, activation="softmax")
    model = keras.Model(x, dense(keras.layers.Flatten()(conv(x))))
    mean = np.ones((SIDE, SIDE, 3, 1)) / (SIDE * SIDE * 3)
    grey = float(np.mean((card.low + card.high) / 2))
    conv.set_weights([np.concatenate([mean, -mean], axis=-1), np.array([-grey, grey])])
    kernel = np.zeros((4, 4, 2, 4))
    for k, corner in enumerate(((0, 0), (0, 3), (3, 0), (3, 3))):
        kernel[(*corner, slice(None), k)] = sharp / float(np.mean(card.high - card.low))
    dense.set_weights([kernel.reshape(-1, 4), np.zeros(4)])
    return model


@pytest.fixture(scope="module")
def bench(tiny_planted, tiny_cnn_file):
    """No method named; 24 images, of which 8 are looked at, and the network of the corner."""
    config = parse_config(
        {
            "dataset": {"source": "planted", "path": tiny_planted.config.path},
            "model": {"source": str(tiny_cnn_file)},
            "methods": "auto",
            "perturbation": None,
            "execution": {"batch_size": 8, "shard_size": 12},
        }
    )
    opened = open_bench(config)
    assert opened.methods == {}
    return replace(opened, model=replace(opened.model, model=corner_network(opened.model.card)))


class Turned:
    """A fitted method whose maps are turned upside down: the right values in the wrong places."""

    def __init__(self, fitted):
        self.fitted, self.head = fitted, None

    def analyze(self, x, target=None, ledger=False):
        e = self.fitted.analyze(x, target)
        return Explanation(e.relevance[:, ::-1, ::-1], *e[1:])


@pytest.fixture
def candidates(monkeypatch):
    """Sets the lists of candidates; "turned" is one more method."""

    def fit_methods(methods, model, data=None):
        (method,) = methods
        if method.name != "turned":
            return fitting.fit_methods(methods, model, data)
        made = fitting.fit_methods([MethodConfig(name="lrp.preset_a")], model, data)
        return {method.key: Turned(made["lrp.preset_a"])}

    for module in (choice, sanity):
        monkeypatch.setattr(module, "fit_methods", fit_methods)
    return lambda *lists: monkeypatch.setattr(choice, "CANDIDATES", lists)


def rows(chosen) -> dict[str, tuple[bool, str]]:
    return {row.method: (row.passes, row.verdict) for row in chosen.choice.candidates}


def test_maps_that_are_blind_or_misplaced_are_not_chosen(bench, candidates):
    """A constant map knows nothing of the network; one that is upside down has its values, elsewhere."""
    candidates(("constant", "turned", "lrp.preset_a", "gradient"))
    chosen = choice.choose(bench)
    assert list(chosen.methods) == ["lrp.preset_a"]
    assert chosen.config.methods == (MethodConfig(name="lrp.preset_a"),)
    assert chosen.choice.passed
    said = rows(chosen)
    assert said["constant"] == (False, "its maps are insensitive to the weights and class blind")
    assert not said["turned"][0]
    assert said["lrp.preset_a"] == (True, "used: the first in the order that passes and is not far behind")
    by_name = {row.method: row for row in chosen.choice.candidates}
    # the four regions of a corner are the first to go in one order and stay in the other
    assert by_name["lrp.preset_a"].gap > 0.2 > 0.05 > by_name["turned"].gap
    assert 0 < by_name["lrp.preset_a"].low < by_name["lrp.preset_a"].gap < by_name["lrp.preset_a"].high
    # the chosen one has all stages, so that it need not be checked again
    assert list(by_name["lrp.preset_a"].sanity.randomised) == list(STAGES)
    assert list(by_name["turned"].sanity.randomised) == ["all layers"]


def test_what_does_not_fit_says_why_and_the_next_list_is_asked(bench, candidates):
    candidates(('gradcam(layer="none")', "constant"), ("lrp.preset_a",), ("gradient",))
    chosen = choice.choose(bench)
    assert list(chosen.methods) == ["lrp.preset_a"]
    assert "gradient" not in rows(chosen)


def test_nobody_passes(bench, candidates, capsys, tmp_path):
    from flows.terminal import print_choice
    from pipeline.config_sections import RankingConfig
    from pipeline.statistics.ranking import rank

    candidates(("constant", "turned"))
    chosen = choice.choose(bench)
    assert list(chosen.methods) == ["turned"]  # its maps depend on the network, at least
    assert not chosen.choice.passed
    assert rows(chosen)["turned"][1].startswith("used, although none passes: ")
    print_choice(chosen.choice)
    assert "caution: no candidate passes" in capsys.readouterr().out
    run = Store(tmp_path / "run")
    audit_run(run, chosen)
    assert SanityDocument.read(run).failures("turned") == ("not shown to follow the network",)
    assert any("no candidate passes" in w for w in run.manifest["preflight"]["warnings"])
    ranking = rank(run, RankingConfig(images="all", n_min=2, draws=100))
    assert ranking.summary["method_marks"] == ["not shown to follow the network"]


def test_no_candidate_fits_or_one_image_is_all_there_is(bench, candidates):
    candidates(('gradcam(layer="none")',))
    with pytest.raises(
        InputError, match=r"method auto: no candidate can explain this network \(gradcam"
    ) as e:
        choice.choose(bench)
    assert "\n" not in str(e.value)
    candidates(("constant", "lrp.preset_a"))
    one = replace(bench, dataset=FewImages(bench.dataset, 1))
    chosen = choice.choose(one)
    assert list(chosen.methods) == ["lrp.preset_a"]
    assert rows(chosen)["lrp.preset_a"][1] == (
        "used, although none passes: 1 image is too few to tell whether its gap is above 0"
    )


class FewImages:
    """The first few images of a dataset."""

    def __init__(self, dataset, n: int):
        self._dataset = dataset
        self.info = replace(dataset.info, n_examples=n)

    def read(self, shard):
        return self._dataset.read(shard)


def test_a_network_that_cannot_be_copied_is_explained_and_that_is_said(
    bench, candidates, monkeypatch, tmp_path
):
    def refuse(*_):
        raise ValueError("no copy")

    monkeypatch.setattr(sanity, "shuffled", refuse)
    candidates(("turned", "lrp.preset_a"))
    chosen = choice.choose(bench)
    assert list(chosen.methods) == ["lrp.preset_a"]
    assert not chosen.choice.passed
    assert rows(chosen)["lrp.preset_a"][1].endswith("could not be checked: no copy")
    run = Store(tmp_path / "run")
    audit_run(run, chosen)
    checks = SanityDocument.read(run)
    assert checks.failures("lrp.preset_a") is None
    assert checks.unchecked["lrp.preset_a"].endswith("no copy")


def test_a_run_keeps_the_choice_and_checks_the_method_once(bench, candidates, monkeypatch, tmp_path):
    candidates(("constant", "lrp.preset_a"))
    chosen = choice.choose(bench)
    monkeypatch.setattr(sanity, "check_methods", None)  # whoever asks again fails
    run = Store(tmp_path / "run")
    audit_run(run, chosen)
    manifest = run.manifest
    assert manifest["methods_by"] == "auto"
    assert manifest["run_id"] == chosen.config.run_id
    assert [m["name"] for m in manifest["config"]["methods"]] == ["lrp.preset_a"]
    stored = ChoiceDocument.current(run)
    assert stored == chosen.choice
    assert stored.run_id == manifest["run_id"]
    (checked,) = SanityDocument.read(run).methods
    assert checked == stored.chosen.sanity
    assert any("lrp.preset_a, chosen by auto among 2" in d for d in manifest["preflight"]["decisions"])
    # who names no method goes on with this one; who names others is refused as ever
    assert run.settled(bench.config).methods == chosen.config.methods
    run.refuse_other(bench.config, None)
    with pytest.raises(InputError, match="methods: this folder has"):
        run.refuse_other(parse_config(bench.config.model_dump() | {"methods": ["gradient"]}), None)
    # a run whose method was named is none that auto goes on with
    named = Store(tmp_path / "named")
    audit_run(named, replace(chosen, choice=None))
    assert named.manifest["methods_by"] == ""
    with pytest.raises(InputError, match=r"asked for .*auto"):
        named.refuse_other(bench.config, None)


def test_neither_batches_nor_anything_else_about_the_work_changes_the_choice(bench, candidates):
    candidates(("constant", "turned", "lrp.preset_a"))
    execution = bench.config.execution.model_copy(update={"batch_size": 3, "workers": 2})
    others = replace(bench, config=bench.config.model_copy(update={"execution": execution}))
    first, second = choice.choose(bench).choice, choice.choose(others).choice
    for a, b in zip(first.candidates, second.candidates, strict=True):
        assert (a.method, a.passes, a.verdict, a.images) == (b.method, b.passes, b.verdict, b.images)
        assert a.gap == pytest.approx(b.gap, abs=1e-4)
        assert a.sanity.other_class == pytest.approx(b.sanity.other_class, abs=1e-4)


def test_an_audit_without_a_method_is_refused(bench, tmp_path):
    with pytest.raises(InputError, match="method auto has to be chosen first"):
        audit_run(Store(tmp_path / "run"), bench)


def test_images_come_by_turns_from_all_classes(bench):
    assert [most_images(n) for n in (1, 5, 24, 500, 50_000)] == [1, 5, 8, 25, 32]
    images = draw(bench.dataset, bench.model.card, 0)
    assert len(images) == 8
    assert sorted(images.labels[:4]) == sorted(images.labels[4:]) == [0, 1, 2, 3]
    assert images.valid.all()
    again = [r.example_id for r in draw(bench.dataset, bench.model.card, 0).records]
    assert [r.example_id for r in images.records] == again
    assert [r.example_id for r in draw(bench.dataset, bench.model.card, 1).records] != again
