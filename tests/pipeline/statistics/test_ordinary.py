"""What ordinary classes show, by hand; what it excuses and what not; upper limits of skewed values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from pipeline.config_sections import RankingConfig
from pipeline.statistics.answers import Answers
from pipeline.statistics.effects import judge, open_classes
from pipeline.statistics.ordinary import usual_effects
from pipeline.statistics.samples import Samples

N = 24


def values(mean: float, spread: float = 0.02) -> np.ndarray:
    """N effects with exactly this mean."""
    return mean + spread * np.tile([1.0, -1.0], N // 2)


def samples(sufficiency: list[float], necessity: list[float]) -> Samples:
    means = {"sufficiency": sufficiency, "necessity": necessity}
    return Samples(
        tuple(range(len(sufficiency))), {k: np.stack([values(m) for m in v]) for k, v in means.items()}
    )


def usual(sufficiency: list[float], necessity: list[float]) -> Mapping[str, np.ndarray]:
    drawn = samples(sufficiency, necessity)
    return usual_effects({name: drawn.bounds(name) for name in drawn.values})


def answers(sufficiency: np.ndarray, necessity: np.ndarray) -> Answers:
    edits = {}
    for name, of_name in (("", sufficiency), ("_object", necessity)):
        edits |= {f"same{name}:0": np.maximum(of_name, 0), f"other{name}:0": np.maximum(-of_name, 0)}
    ids = tuple(f"{i:03}" for i in range(len(sufficiency)))
    return Answers(ids, edits, {k: np.zeros(len(ids)) for k in edits}, {})


def words(classes: Mapping[int, Answers]) -> list[str]:
    return [j.tested.value for _, j in sorted(judge(classes, RankingConfig()).judgements.items())]


def test_the_median_of_the_other_ordinary_classes_and_how_they_differ() -> None:
    # class 0 says its class without the object: it is not ordinary, and sees all four others
    found = usual([0.5, 0.01, 0.03, 0.02, 0.0], [0.6, 0.02, 0.06, 0.04, 0.0])
    np.testing.assert_allclose(found["sufficiency"], [0.015, 0.02, 0.01, 0.01, 0.02], atol=1e-12)
    np.testing.assert_allclose(found["necessity"], [0.13, 0.14, 0.12, 0.12, 0.14], atol=1e-12)


def test_it_ends_at_a_cap_and_needs_three_classes() -> None:
    assert usual([0.0] * 5, [0.5] * 5)["necessity"].tolist() == [0.2] * 5
    assert usual([0.0] * 5, [-0.4] * 5)["necessity"].tolist() == [0.0] * 5
    few = usual([0.0, 0.0, 0.0, 0.4], [0.3] * 4)  # three are ordinary, each of them has two others
    assert few["necessity"].tolist() == [0.0, 0.0, 0.0, 0.2]


def test_what_any_foreign_scene_costs_is_no_dependence() -> None:
    rng = np.random.default_rng(0)
    photographs = {
        k: answers(0.02 * rng.standard_normal(N), np.clip(0.14 + 0.2 * rng.standard_normal(N), -1, 1))
        for k in range(1, 12)
    }
    scene = answers(values(0.0), values(0.6, 0.1))
    assert words({0: scene} | photographs) == ["depends"] + ["independent"] * 11


def test_a_network_that_needs_object_and_scene_together_in_every_class_is_told_so() -> None:
    assert words({k: answers(values(0.0), values(0.5, 0.2)) for k in range(8)}) == ["depends"] * 8


def test_the_upper_limit_knows_a_long_tail() -> None:
    symmetric, skewed = values(0.05, 0.1), np.where(np.arange(N) < 3, 0.6, 0.0)
    for of_class, has_tail in ((symmetric, False), (skewed, True)):
        bounds = Samples((0,), {"necessity": of_class[None]}).bounds("necessity")
        t, error = stats.t.ppf(0.95, N + 3), of_class.std(ddof=1) / N**0.5
        skewness = stats.skew(of_class) * ((N - 1) / N) ** 1.5  # of the deviation with n - 1
        johnson = of_class.mean() + error * (t + skewness * (1 + 2 * t**2) / (6 * N**0.5))
        assert bounds.ceiling[0] == pytest.approx(johnson)
        assert (bounds.ceiling[0] > of_class.mean() + t * error + 1e-6) == has_tail


def test_a_class_at_the_limit_with_a_long_tail_is_cleared_less_than_by_t() -> None:
    """Effects that are mostly near 0 and seldom large, mean at the limit of 0.1."""
    rng = np.random.default_rng(1)
    drawn = 0.1 + rng.beta(0.3, 1.5, (2000, 30)) - 0.3 / 1.8
    bounds = Samples(tuple(range(2000)), {"necessity": drawn}).bounds("necessity")
    t = bounds.mean + stats.t.ppf(0.95, 33) * bounds.error
    cleared, by_t = (bounds.ceiling < 0.1).mean(), (t < 0.1).mean()
    assert cleared < 0.08 < by_t


def test_a_look_excludes_more_strictly_than_the_end() -> None:
    """Upper limit just below the limit: cleared if it is the end, but worth another look before."""
    of_class = values(0.0, 0.1)
    t = stats.t.ppf(0.95, N + 3) * of_class.std(ddof=1) / N**0.5
    near = of_class + 0.1 - t - 0.003
    classes = {0: answers(near, near), 1: answers(values(0.0, 0.1), values(0.0, 0.1))}
    assert words(classes) == ["independent", "independent"]
    assert open_classes(classes) == (0,)
