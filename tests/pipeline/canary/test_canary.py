"""The canary: figures of a detector by hand and against scikit-learn, the plan, the summary line."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from pipeline.canary.detection import detection, mean_figures, recall_curve
from pipeline.canary.grid import Grid
from pipeline.canary.planted_canary import plan_networks, usage
from pipeline.canary.summary import attach, summarise_trials, summary_line
from pipeline.canary.trials import trial_result
from pipeline.errors import InputError
from pipeline.run.documents import CanaryDocument, FalseAlarms, PlantedCell, TrialDocument
from pipeline.run.folder import RunFolder
from pipeline.run.store import Store
from pipeline.verdicts import MapVerdict


def test_detection_by_hand():
    # planted at places 1 and 3 of 4: precision 1 and 2/3
    found = detection([7, 2, 5, 9], {7, 5})
    assert found["ap"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["auc"] == pytest.approx(3 / 4)
    assert found["recall"] == 0.5
    assert detection([1, 2], {1, 2}) == {"ap": None, "auc": None, "recall": None}
    assert recall_curve([7, 2, 5, 9], {7, 5}) == [0.5, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("seed", range(5))
def test_detection_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(30).tolist()
    planted = set(rng.permutation(30)[:7].tolist())
    truth, score = [k in planted for k in order], -np.arange(30)
    found = detection(order, planted)
    assert found["ap"] == pytest.approx(average_precision_score(truth, score))
    assert found["auc"] == pytest.approx(roc_auc_score(truth, score))


def test_mean_figures_leave_out_what_is_undefined():
    assert mean_figures([{"ap": 1.0}, {"ap": None}, {"ap": 0.5}]) == {"ap": 0.75}


def test_the_plan_covers_the_grid():
    grid = Grid(kinds=("patch", "text"), sizes=(0.05, 0.17), probabilities=(1.0, 0.5))
    assert len(grid.marks()) == 10
    specs = plan_networks(grid, 4, seed=3)
    assert specs[0].artefacts == ()
    assert [len(s.artefacts) for s in specs[1:]] == [4, 4, 4]
    planted = [mark for s in specs for _, mark in s.artefacts]
    assert set(planted) == set(grid.marks())
    assert len({s.seed for s in specs}) == 4
    assert plan_networks(grid, 4, seed=3) == specs
    assert plan_networks(grid, 4, seed=4) != specs


def cell(size, found, **other):
    base = {"kind": "patch", "size": size, "visible": True, "inside": False, "used": True, "added": 0.5}
    base |= {"probability": 1.0, "class_name": "x", "rank": 1, "test": None}
    verdict = MapVerdict.SUSPICIOUS if found else MapVerdict.UNREMARKABLE
    return PlantedCell(**base | {"verdict": verdict} | other)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            [cell(0.05, False), cell(0.09, True), cell(0.17, True)],
            "missed marks smaller than 9% of the picture",
        ),
        (
            [cell(0.05, True), cell(0.17, True)],
            "2 of 2 planted marks .* were found, down to 5% of the picture",
        ),
        ([cell(0.05, True), cell(0.17, False)], "of the largest, 17% .* some were missed"),
        ([cell(0.05, False, used=False), cell(0.17, True)], "1 of 1 planted marks .* down to 17%"),
        ([cell(0.05, False, used=False)], "no network used a planted mark"),
        ([cell(0.09, False, test="hidden")], "1 of 1"),
        (
            [cell(0.09, True), cell(0.17, False, inside=True)],
            r"on the object or invisible ones: 0 of 1 found\.$",
        ),
    ],
)
def test_the_line_says_what_would_have_been_missed(cells, said):
    import re

    assert re.search(said, summary_line(cells, "test"))


def test_a_trial_of_a_real_run(small_run, tiny_planted, tiny_cnn_file):
    from pipeline.config_sections import ModelConfig, RankingConfig
    from pipeline.inputs.models import load_model
    from pipeline.statistics.ranking import rank

    spec = tiny_planted.spec
    model = load_model(ModelConfig(source=str(tiny_cnn_file)))
    ranking = rank(small_run, RankingConfig(images="all", n_min=2, draws=200))
    used = usage(spec, model)
    assert used.keys() == {"rhombus", "star"}
    result = trial_result(spec, ranking, used)
    trial = TrialDocument.parse(result.text(), "a test")
    assert trial == result
    labels = [spec.classes.index(n) for n in ("rhombus", "star")]
    order = ranking.table["label"].tolist()
    assert trial.figures["confirmed"] == detection(order, labels)
    ratio = ranking.table.sort_values("ratio_rank")["label"].tolist()
    assert trial.figures["ratio"] == detection(ratio, labels)
    assert trial.classes_clean == 2
    assert [c.class_name for c in trial.cells] == ["rhombus", "star"]
    assert trial.cells[0].used == (used["rhombus"] >= 0.1)
    clean = dataclasses.replace(trial, cells=(), figures={})
    summary = summarise_trials([clean, trial], "a test")
    assert summary.networks == 2
    assert summary.false_alarms.classes == 4
    assert summary.figures["adjusted"] == trial.figures["adjusted"]


def test_usage_is_what_the_mark_adds_to_its_class(tiny_planted, tiny_cnn):
    from dataclasses import replace

    from pipeline.inputs.datasets.planted import Artefact, draw_example
    from pipeline.inputs.models import LoadedModel
    from pipeline.inputs.planted_model import planted_card

    rare = replace(tiny_planted.spec, artefacts=(("rhombus", Artefact("patch", 0.25)),))
    sure = replace(rare, artefacts=(("rhombus", Artefact("patch", 1.0)),))
    card = planted_card(rare.side, rare.classes)
    added = []
    for i in range(20):
        pair = [draw_example(s, "validation", 1, i)[0] for s in (sure, replace(rare, artefacts=()))]
        p = [float(tiny_cnn(card.prepare(x)[None], training=False)[0, 1]) for x in pair]
        added.append(p[0] - p[1])
    found = usage(rare, LoadedModel(tiny_cnn, card, "0", "tiny"))
    assert found == {"rhombus": pytest.approx(np.mean(added), abs=1e-5)}


def test_attach_needs_a_run(small_run, tmp_path):
    nothing = FalseAlarms(0, 0, 0, 0)
    summary = CanaryDocument("test", 1, 0.5, {}, (), nothing, "Canary (test): nothing.")
    attach(small_run, summary)
    assert CanaryDocument.read(small_run) == summary
    with pytest.raises(InputError, match=r"no manifest\.json"):
        attach(Store(tmp_path), summary)


def test_a_campaign_ends_in_a_summary_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    from dataclasses import replace

    from pipeline.canary import campaign, planted_canary
    from pipeline.canary.campaign import Campaign, run_campaign
    from pipeline.inputs.datasets.planted import PlantedSpec

    # few classes, few images, few edits: seconds
    small = PlantedSpec(
        classes=("square", "rhombus", "ring", "star", "cross"),
        artefacts=(),
        train_per_class=40,
        validation_per_class=6,
        side=32,
    )

    def small_networks(*plan):
        specs = plan_networks(*plan)
        marks = [tuple(zip(small.classes, (mark for _, mark in s.artefacts), strict=False)) for s in specs]
        return [replace(small, artefacts=a, seed=s.seed) for a, s in zip(marks, specs, strict=True)]

    monkeypatch.setattr(campaign, "plan_networks", small_networks)
    asked = Campaign(Grid(kinds=("patch",), sizes=(0.17,), probabilities=(1.0,)), 2, "gradient")
    told = []
    summary = run_campaign(asked, tmp_path, lambda n, trial: told.append((n, trial)))
    assert [n for n, _ in told] == [0, 1]
    assert [len(trial.cells) for _, trial in told] == [0, 4]
    assert summary.about == "gradient, 2 planted networks"
    assert CanaryDocument.read(RunFolder(tmp_path)) == summary
    monkeypatch.setattr(planted_canary, "audit_and_edit", lambda *_: pytest.fail("made again"))
    assert run_campaign(asked, tmp_path, lambda n, trial: None) == summary
