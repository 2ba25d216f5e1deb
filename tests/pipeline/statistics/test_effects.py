"""What edited images say of a class: effects by hand, and judgements of classes whose truth is drawn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config_sections import RankingConfig
from pipeline.schema import INTERVENTIONS
from pipeline.statistics.answers import (
    Answers,
    effects_of,
    null_effects,
    read_answers,
    shared_backgrounds,
    units,
)
from pipeline.statistics.effects import Evidence, judge, undecided_classes

CONFIG = RankingConfig()


def answers(n: int, donors: Mapping[str, list[str]] | None = None, **edits: list[float]) -> Answers:
    """Probabilities by edit, ``same_0`` for ``same:0``; an answer is right where it is above one half."""
    named = {k[:-2] + f":{k[-1]}" if k[-1].isdigit() else k: np.array(v, float) for k, v in edits.items()}
    hit = {k: np.where(np.isnan(v), np.nan, v > 0.5) for k, v in named.items()}
    return Answers(tuple(f"i{k:03}" for k in range(n)), named, hit, donors or {})


def by_hand() -> Answers:
    nan = np.nan
    return answers(
        2,
        full=[0.9, 0.8],
        removed_0=[0.5, 0.2],
        same_0=[0.6, 0.5],
        same_1=[0.4, nan],
        other_0=[0.1, 0.1],
        other_1=[0.3, nan],
        same_object_0=[0.9, 0.9],
        same_object_1=[0.3, nan],
        other_object_0=[0.2, 0.7],
        other_object_1=[0.4, nan],
        same_wide_0=[0.25, nan],
        other_wide_0=[0.15, nan],
    )


def test_effects_by_hand() -> None:
    effects = effects_of(by_hand())
    expected = {
        "drop_removed": [0.4, 0.6],
        "drop_background": [0.6, 0.1],
        "sufficiency": [0.3, 0.4],
        "necessity": [0.3, 0.2],
        "wide_sufficiency": [0.1, np.nan],
        "rim_drop": [0.2, np.nan],
        "background_gap": [0.5, 0.0],  # hits: (1 + 0) / 2 - 0, and 1 - 1
    }
    for name, values in expected.items():
        np.testing.assert_allclose(effects[name], values, err_msg=name)


def test_the_null_compares_foreign_backgrounds() -> None:
    null = null_effects(by_hand())
    # |other:0 - other:1|; the second image has no second one: |same - other|
    np.testing.assert_allclose(np.abs(null["sufficiency"]), [0.2, 0.4])
    np.testing.assert_allclose(np.abs(null["necessity"]), [0.2, 0.2])
    assert {k: v.tolist() for k, v in null.items()} == {
        k: v.tolist() for k, v in null_effects(by_hand()).items()
    }


def test_images_that_share_a_background_are_one() -> None:
    five = answers(5, {"same:0": ["a", "b", "c", "b", ""], "other:1": ["x", "y", "z", "w", "x"]})
    groups = shared_backgrounds(five)
    assert groups[1] == groups[3]
    assert groups[0] == groups[4]
    assert len(set(groups.tolist())) == 3
    np.testing.assert_allclose(
        np.sort(units(np.array([0.1, 0.4, 0.3, 0.6, np.nan]), groups)), [0.1, 0.3, 0.5]
    )


def drawn(rng: np.random.Generator, n: int, **effects: float) -> Answers:
    """A class whose background adds ``sufficiency`` and ``necessity`` on average, with heavy skewed noise."""

    def probabilities(mean: float) -> list[float]:
        return np.clip(
            mean + rng.choice([0, 0.25, -0.25], n, p=[0.6, 0.2, 0.2]) * rng.random(n), 0, 1
        ).tolist()

    s, m = effects.get("sufficiency", 0.0), effects.get("necessity", 0.0)
    wide = effects.get("wide", s)
    levels = {"same": 0.1 + s, "other": 0.1, "same_object": 0.5 + m, "other_object": 0.5}
    edits = {f"{k}_{pair}": probabilities(v) for k, v in levels.items() for pair in (0, 1)}
    edits |= {"same_wide_0": probabilities(0.1 + wide), "other_wide_0": probabilities(0.1)}
    return answers(n, full=[0.9] * n, removed_0=probabilities(0.3), **edits)


def words(evidence: Evidence) -> list[str]:
    return [judgement.tested.value for _, judgement in sorted(evidence.judgements.items())]


def test_every_class_may_depend_and_two_are_enough() -> None:
    rng = np.random.default_rng(0)
    for classes in (2, 9):
        leaning = {k: drawn(rng, 20, sufficiency=0.4, necessity=0.3) for k in range(classes)}
        evidence = judge(leaning, CONFIG)
        assert words(evidence) == ["depends"] * classes
        assert evidence.null_depends == 0
    mixed = {0: drawn(rng, 20, necessity=0.45)} | {k: drawn(rng, 20) for k in range(1, 6)}
    assert words(judge(mixed, CONFIG)) == ["depends"] + ["independent"] * 5


def test_what_ordinary_classes_show_is_taken_off_but_not_what_leaning_ones_do() -> None:
    rng = np.random.default_rng(1)
    ordinary = {k: drawn(rng, 400, sufficiency=0.06) for k in range(1, 6)}
    first = judge({0: drawn(rng, 400, sufficiency=0.5)} | ordinary, CONFIG).judgements[0]
    assert first.strength == pytest.approx(first.effects["sufficiency"].mean - 0.06, abs=0.02)
    leaning = {k: drawn(rng, 400, sufficiency=0.3) for k in range(1, 6)}
    among = judge({0: drawn(rng, 400, sufficiency=0.5)} | leaning, CONFIG).judgements[0]
    assert among.strength == pytest.approx(among.effects["sufficiency"].mean)


def test_an_effect_that_a_wider_hole_takes_away_is_the_rim_s() -> None:
    rng = np.random.default_rng(2)
    classes = {
        0: drawn(rng, 25, sufficiency=0.5, wide=0.0),
        1: drawn(rng, 25, sufficiency=0.5, wide=0.45),
        2: drawn(rng, 25, necessity=0.5, wide=0.0),  # the rim was not asked about what decides here
    }
    assert words(judge(classes, CONFIG)) == ["rim", "depends", "depends"]


def test_too_little_to_say_anything() -> None:
    rng = np.random.default_rng(3)
    classes = {0: drawn(rng, 3, sufficiency=0.6), 1: answers(1, full=[0.9], removed_0=[0.4])}
    evidence = judge(classes, CONFIG)
    assert words(evidence) == ["undecided", "undecided"]
    assert evidence.judgements[0].n_needed > 3
    assert evidence.judgements[1].n == 1
    assert np.isnan(evidence.judgements[1].strength)
    assert judge({}, CONFIG).judgements == {}


def test_only_what_is_excluded_gets_no_more_images() -> None:
    rng = np.random.default_rng(4)
    classes = {0: drawn(rng, 10, sufficiency=0.5), 1: drawn(rng, 30), 2: answers(1, full=[0.9])}
    assert undecided_classes(rows(classes)) == (0, 2)
    weaker = {0: classes[0], 5: drawn(rng, 10, sufficiency=0.3), 9: drawn(rng, 10, sufficiency=0.9)}
    assert undecided_classes(rows(weaker)) == (9, 0, 5)


def rows(classes: Mapping[int, Answers]) -> pa.Table:
    """The answers as rows of the table, shuffled."""
    flat = [
        {
            "example_id": f"{label}-{example}",
            "label": label,
            "edit": edit,
            "donor": None,
            "probability": float(p),
            "logit": 0.0,
            "predicted": label if of_class.hit[edit][i] else label + 1,
            "confidence": 0.5,
        }
        for label, of_class in classes.items()
        for edit, values in of_class.probability.items()
        for i, (example, p) in enumerate(zip(of_class.example_id, values, strict=True))
        if np.isfinite(p)
    ]
    np.random.default_rng(0).shuffle(flat)
    return pa.Table.from_pylist(flat, schema=INTERVENTIONS)


def test_answers_come_back_from_rows_in_any_order_and_twice() -> None:
    table = rows({3: by_hand()})
    back = read_answers(pa.concat_tables([table, table.slice(0, 4)]))
    for name, values in effects_of(by_hand()).items():
        np.testing.assert_allclose(effects_of(back[3])[name], values, atol=1e-6, err_msg=name)


def exchanged(labels: Mapping[str, int]) -> pa.Table:
    """Image a on the backgrounds of b and c; alone, b's is taken for b's class, that of c for no one's."""
    said = {
        # edit: (donor, probability of a's class, answer)
        "same:0": ("a2", 0.2, 7),
        "same:1": ("a2", 0.2, 7),
        "same_object:0": ("a2", 0.9, 0),
        "same_object:1": ("a2", 0.9, 0),
        "other:0": ("b", 0.1, 1),
        "other_object:0": ("b", 0.3, 1),
        "other:1": ("c", 0.1, 7),
        "other_object:1": ("c", 0.8, 0),
    }
    flat = [
        {"example_id": "a", "label": 0, "edit": edit, "donor": donor, "probability": p, "logit": 0.0}
        | {"predicted": answer, "confidence": 0.5}
        for edit, (donor, p, answer) in said.items()
    ]
    others = [flat[0] | {"example_id": name, "label": label} for name, label in labels.items()]
    return pa.Table.from_pylist([*flat, *others], schema=INTERVENTIONS)


def test_a_background_that_the_network_knows_as_its_own_class_says_nothing_of_the_object() -> None:
    effects = effects_of(read_answers(exchanged({"b": 1, "c": 2}))[0])
    np.testing.assert_allclose(effects["necessity"], [0.9 - 0.8], atol=1e-6)
    np.testing.assert_allclose(effects["sufficiency"], [0.1], atol=1e-6)
    np.testing.assert_allclose(effects["background_gap"], [1 - 0.5])  # the literature's leaves out none


def test_of_two_classes_every_background_counts() -> None:
    effects = effects_of(read_answers(exchanged({"b": 1, "c": 1}))[0])
    np.testing.assert_allclose(effects["necessity"], [0.9 - 0.55], atol=1e-6)


def test_two_classes_of_more_are_not_two_classes() -> None:
    """Only two of three have edited images: a background that pulls still says nothing of the object."""
    effects = effects_of(read_answers(exchanged({"b": 1, "c": 1}), classes=3)[0])
    np.testing.assert_allclose(effects["necessity"], [0.9 - 0.8], atol=1e-6)


def skewed(rng: np.random.Generator, shape: tuple[int, int], mean: float, kind: int) -> np.ndarray:
    """Values in [-1, 1] with this mean: rarely large, rarely very low, either extreme, normal, skewed."""
    u = rng.random(shape)
    low, high = -0.6, (mean + 0.6 * 0.08) / 0.92
    skew = rng.beta(0.3, 1.5, shape) - 0.3 / 1.8
    drawn_of = (
        np.where(u < 0.12, mean / 0.12, 0.0),
        np.where(u < 0.08, low, high),
        np.where(u < (mean + 0.6) / 1.2, 0.6, -0.6),
        np.clip(mean + 0.2 * rng.standard_normal(shape), -1, 1),
        mean + skew,
        mean - skew,
    )
    return drawn_of[kind]


def of_values(sufficiency: np.ndarray, necessity: np.ndarray) -> Answers:
    """A class with these effects, as differences of probabilities."""
    edits: dict[str, list[float]] = {}
    for name, values in (("", sufficiency), ("_object", necessity)):
        own, other = np.clip(values, 0, 1), np.clip(-values, 0, 1)
        edits |= {f"same{name}_{k}": own.tolist() for k in (0, 1)}
        edits |= {f"other{name}_{k}": other.tolist() for k in (0, 1)}
    n = len(sufficiency)
    return answers(n, full=[0.9] * n, same_wide_0=edits["same_0"], other_wide_0=edits["other_0"], **edits)


@pytest.mark.parametrize(("classes", "n", "runs"), [(12, 10, 60), (12, 30, 60), (60, 20, 20)])
def test_classes_at_the_limit_are_hardly_ever_accused(classes: int, n: int, runs: int) -> None:
    """Every class exactly at the limit, in both contrasts, each of another shape: the hardest null."""
    wrong = 0
    for run in range(runs):
        rng = np.random.default_rng([run, classes, n])
        kinds = rng.integers(0, 6, classes)
        drawn_classes = {
            k: of_values(*(skewed(rng, (1, n), 0.1, kind)[0] for _ in range(2)))
            for k, kind in enumerate(kinds)
        }
        wrong += "depends" in words(judge(drawn_classes, CONFIG))
    assert wrong <= 0.05 * runs + 2 * (0.05 * 0.95 * runs) ** 0.5
