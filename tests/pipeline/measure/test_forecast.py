"""What a run will cost: worked out by hand, with speeds and clocks that are given, never with real time."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Config, parse_config
from pipeline.errors import InputError
from pipeline.measure.budgets import fit
from pipeline.measure.calibration import calibrate, slope, work_of
from pipeline.measure.forecast import BLENDING, Speeds, Work, forecast
from pipeline.measure.interventions.plan import passes_per_image
from pipeline.run.costs import StageCost, clocked, compared, duration, size

# an image takes 10 ms, its map 6 of them, a forward pass 2; a refit 3 s; 5 kB per image, 100 kB per shard
SPEEDS = Speeds(image=0.010, explanation=0.006, forward=0.002, fit=3.0, bytes=5000, part=100_000)
NO_EDITS = {"interventions": {"images": 0}, "transfer": {"images": 0}}
UNEDITED = parse_config(NO_EDITS)
WORK = Work(images=10_000, classes=200, height=112, width=112)


def test_the_costs_of_the_stages_by_hand():
    told = forecast(Config(), WORK, replace(SPEEDS, edit=0.001))
    audit, curves, sanity, edited, pasted = told.stages
    # an explanation is as long as three passes; 20 shards
    assert audit == StageCost("audit", 10_000, 30_000, 100.0, 10_000 * 5000 + 20 * 100_000)
    # 1 in 100; 1 + 12 points in 3 orders
    assert (curves.images, curves.passes) == (100, 3700)
    assert curves.seconds == pytest.approx(3700 * 0.002 * BLENDING)
    # compiled once; the sample twice, and once more after each of three shuffles
    assert (sanity.images, sanity.passes) == (8, 5 * 8 * 3)
    assert sanity.seconds == pytest.approx(3.0 + 5 * 8 * 0.006)
    # 10 images of each class, up to 30; an edited picture is made in 1 ms and shown in 2
    each = passes_per_image(pairs=2)
    assert each <= 12
    assert (edited.images, edited.passes) == (2000, 2000 * each)
    assert edited.seconds == pytest.approx(2000 * each * 0.003)
    assert edited.most == pytest.approx(25_000 // each * each * 0.003)  # 2.5 passes per image of the run
    # 16,000 passes are 80 of each class: 19 windows on 2 recipients with their controls, and 2 recipients
    assert (pasted.images, pasted.passes) == (200 * 19, 200 * (19 * 4 + 2))
    assert pasted.seconds == pytest.approx(pasted.passes * 0.003)
    # where they carry it: 6 windows of each class, at 3 places with their controls, and the picture as it is
    moved = 200 * 6 * (3 * 2 + 1)
    assert pasted.most == pytest.approx((pasted.passes + moved) * 0.003)
    assert told.seconds == pytest.approx(sum(s.seconds for s in told.stages))
    assert told.most == pytest.approx(told.seconds + ((25_000 // each - 2000) * each + moved) * 0.003)
    # what the default curves of 10,000 images may cost of the audit alone
    assert curves.seconds <= 0.15 * audit.seconds


def test_what_is_not_asked_for_costs_nothing():
    config = parse_config({"perturbation": False, "sanity": {"images": 0}} | NO_EDITS)
    assert [s.stage for s in forecast(config, WORK, SPEEDS).stages] == ["audit"]
    methods = [{"name": "gradient"}, {"name": "lrp.preset_a"}]
    asked = parse_config({"methods": methods, "perturbation": {"protocol": "samek", "budget": 2}})
    curves = forecast(asked, WORK, SPEEDS).stages[1]
    # two images of each of 200 classes; the unperturbed one, and 10 fills x 100 points x (2 x 2 + 1) orders;
    # 13 x 13 = 169 regions of 9 pixels, so that none is the last
    assert (curves.images, curves.passes) == (400, 400 * (1 + 10 * 100 * 5))


def test_a_reference_is_one_more_audit_by_one_method_and_the_same_edits_and_windows(tmp_path):
    asked = {"methods": [{"name": "gradient"}, {"name": "lrp.preset_a"}], "perturbation": False}
    plain = forecast(parse_config(asked), WORK, replace(SPEEDS, edit=0.001))
    config = parse_config(asked | {"reference": {"source": "last.keras"}})
    *others, reference = forecast(config, WORK, replace(SPEEDS, edit=0.001)).stages
    assert tuple(others) == plain.stages
    by = {stage.stage: stage for stage in others}
    # two maps take 6 ms, so one 3, which is as long as 1.5 passes; 4 ms of an image are no map
    assert reference.stage == "reference"
    assert (reference.images, reference.bytes) == (10_000, 0)
    assert reference.passes == 15_000 + by["interventions"].passes + by["transfer"].passes
    again = by["interventions"].seconds + by["transfer"].seconds
    assert reference.seconds == pytest.approx(10_000 * 0.007 + again)
    # further looks are repeated, windows at other places are not
    most = by["interventions"].most + by["transfer"].seconds
    assert reference.most == pytest.approx(10_000 * 0.007 + most)
    # a finished run costs nothing
    (tmp_path / "manifest.json").write_text("{}")
    config = parse_config(asked | {"reference": {"source": str(tmp_path)}})
    assert forecast(config, WORK, replace(SPEEDS, edit=0.001)) == plain


def test_the_line_says_passes_time_and_disk():
    line = forecast(UNEDITED, WORK, SPEEDS).line
    assert line.startswith(
        "forecast: audit 10,000 images, 30,000 passes, 1 min 40 s, 52.0 MB; curves 100 images"
    )
    assert line.endswith("in all 33,820 passes, 1 min 51 s, 52.0 MB")
    assert StageCost("x", 1, 2, 40.0, 0, 130.0).words == "x 1 images, 2 passes, 40 s to 2 min 10 s"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (12_000, "3 h 20 min"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_sizes():
    assert [size(n) for n in (0, 1, 12_001, 3_400_000, 1_240_000_000)] == [
        "0 kB",
        "1 kB",
        "13 kB",
        "3.4 MB",
        "1.2 GB",
    ]


def test_what_was_spent_stands_beside_the_forecast():
    told = [{"stage": "audit", "seconds": 100.0}, {"stage": "curves", "seconds": 8.0}]
    line = compared(told, {"audit": 90.0, "curves": 9.0, "ranking": 2.0})
    assert line == (
        "spent (forecast): audit 1 min 30 s (1 min 40 s); curves 9.0 s (8.0 s); ranking 2.0 s; "
        "in all 1 min 41 s (1 min 48 s)"
    )
    # workers draw the curves with their shards: one figure for both
    assert (
        compared(told, {"audit": 90.0})
        == "spent (forecast): audit 1 min 30 s (1 min 48 s); in all 1 min 30 s (1 min 48 s)"
    )
    assert compared(told, {}) == ""
    edited = {"stage": "interventions", "seconds": 40.0, "most": 130.0}
    line = compared([*told, edited], {"audit": 90.0, "curves": 9.0, "interventions": 50.0})
    assert line.endswith(
        "interventions 50 s (40 s to 2 min 10 s); in all 2 min 29 s (2 min 28 s to 3 min 58 s)"
    )


def test_stages_are_added_up(monkeypatch):
    times = iter([1.0, 3.5, 10.0, 11.0])
    monkeypatch.setattr("pipeline.run.costs.time.perf_counter", lambda: next(times))
    spent: dict[str, float] = {}
    with clocked(spent, "report"):
        pass
    with pytest.raises(KeyError), clocked(spent, "report"):
        raise KeyError
    assert spent == {"report": 3.5}


# -- budgets


def test_a_budget_takes_the_highest_rung_that_fits():
    # at 90 % of 13 s: sanity 3.12 s, curves of 16 images 1.23 s, so 7.35 s for images: 735
    short = fit(UNEDITED, Work(10_000, 20, 112, 112), SPEEDS, 13)
    # 5 x 1.4 ^ 5 = 27 per class; 38 are too many
    assert (short.images, short.config.dataset.limit) == (540, 540)
    assert short.config.perturbation == Config().perturbation
    whole = fit(UNEDITED, WORK, SPEEDS, 600)
    assert (whole.config, whole.images) == (UNEDITED, 10_000)
    assert "all 10,000 images, curves of 100 images" in whole.words
    # the whole protocol on all images: as many as there is time for, 16 or one in a hundred at first
    samek = parse_config({"perturbation": {"protocol": "samek"}} | NO_EDITS)
    some = fit(samek, WORK, SPEEDS, 2000)
    assert some.images == 10_000
    assert some.config.perturbation.images == 200  # 200 x 3001 passes are 21 min, 400 would be 42
    assert some.config.perturbation.points == samek.perturbation.points


def test_edits_grow_from_the_first_look_to_what_decides():
    speeds = replace(SPEEDS, edit=0.001)
    config = parse_config({"interventions": {"passes": 66_000}, "transfer": {"images": 0}})
    settings = [fit(config, WORK, speeds, t).config.interventions for t in (100, 215, 300, 600)]
    assert [(s.images, s.most) for s in settings] == [(7, 7), (10, 10), (10, 20), (10, 80)]
    assert fit(Config(), WORK, speeds, 600).config == Config()


def test_what_cannot_fit_is_refused():
    with pytest.raises(InputError, match=r"--time 5\.0 s: .* 1,000 images in 200 classes, takes about 16 s"):
        fit(UNEDITED, WORK, SPEEDS, 5)
    told = r"--time 30 s: .* takes about 46 s \(30 s of it for loading and compiling\); give that much"
    with pytest.raises(InputError, match=told):
        fit(UNEDITED, WORK, SPEEDS, 30, spent=30)


@given(
    st.lists(st.floats(15, 5000), min_size=2, max_size=6),
    st.sampled_from(["short", "samek"]),
    st.integers(1, 300),
    st.integers(1, 20_000),
)
def test_more_time_never_means_less(times, protocol, classes, images):
    config = parse_config({"perturbation": {"protocol": protocol}})
    work = Work(images, classes, 64, 64)
    chosen = []
    for seconds in sorted(times):
        try:
            chosen.append((seconds, fit(config, work, SPEEDS, seconds)))
        except InputError:
            assert not chosen, "more time was refused"
    for seconds, budget in chosen:
        assert budget.forecast.most <= seconds
        assert budget.images <= images
    for (_, less), (_, more) in itertools.pairwise(chosen):
        assert less.images <= more.images
        assert all(
            a.passes <= b.passes for a, b in zip(less.forecast.stages, more.forecast.stages, strict=True)
        )


# -- calibration


def test_the_time_per_image_is_what_a_further_one_takes():
    assert slope((16, 1.0), (64, 3.4)) == pytest.approx(0.05)
    assert slope((16, 1.0), (16, 1.0)) == pytest.approx(1 / 16)
    assert slope((16, 1.0), (64, 0.8)) == pytest.approx(0.8 / 64)


def test_a_calibration_reads_its_clock(tiny_planted, tiny_cnn_file):
    """Every look at the clock is a second later: so every measured action takes one.

    The loop's own is looked at around eight images that are read, and their end, around eight that are
    decoded, their explanation and their measurement: 2 x (9 + 8 + 1 + 1) looks, and the last one of its own.
    """
    from pipeline.measure.bench import open_bench

    bench = open_bench(
        parse_config(
            {
                "dataset": {"source": "planted", "path": tiny_planted.config.path},
                "model": {"source": str(tiny_cnn_file)},
                "methods": [{"name": "gradient"}],
                "execution": {"batch_size": 8},
                "audit": {"maps": 0, "thumbnails": False},
            }
        )
    )
    seconds = itertools.count()
    speeds = calibrate(bench, lambda: float(next(seconds)))
    assert speeds.forward == speeds.explanation == 1 / 8  # one batch of 24 images is enough
    assert speeds.image == (2 * (9 + 8 + 1 + 1) + 1) / 8
    assert speeds.fit == bench.fit_seconds
    assert 0 < speeds.edit <= 1 / 4  # a second for all edits of four pictures, each at least one
    assert 50 < speeds.bytes < 5000  # a row of examples and seven scores
    assert work_of(bench) == Work(24, 4, 32, 32)
    assert bench.perturber.spent == {}
