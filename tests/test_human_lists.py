"""Lists of classes that people marked: read without running what is in them, compared, never more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.human_lists import agreement, compare, read_list, standard_error
from pipeline.errors import InputError

TENCH, GOLDFISH, SHARK = "n01440764", "n01443537", "n01484850"  # classes 0, 1, 2


def test_numbers_and_synsets_name_the_same_classes(tmp_path: Path) -> None:
    np.save(tmp_path / "list.npy", np.array([[0, 2]]))
    (tmp_path / "list.csv").write_text(f"0,3\n\n{SHARK} great white shark\n", encoding="utf-8")
    assert read_list(tmp_path / "list.npy") == read_list(tmp_path / "list.csv") == {TENCH, SHARK}


class _Trap:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_pickled_list_is_refused_and_nothing_in_it_runs(tmp_path: Path) -> None:
    np.save(tmp_path / "spurious_components.npy", {0: [1], 2: _Trap(tmp_path / "ran")}, allow_pickle=True)
    with pytest.raises(InputError, match=r"pickled.*write its keys as text"):
        read_list(tmp_path / "spurious_components.npy")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", ["1000\n", "tench\n", "-1\n", "\n"])
def test_what_is_no_class_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="no class of ImageNet"):
        read_list(tmp_path / "list.txt")


def _table(n: int) -> pd.DataFrame:
    """Classes of which the first two have the smallest boxes and the highest effects."""
    ids = [TENCH, GOLDFISH, SHARK, *(f"m{k}" for k in range(n - 3))]
    rising = np.arange(n, dtype=float)
    low = ("box_area", "ratio", "accuracy", "adjusted_lift_raw")
    high = {"effect_shrunk": -rising, "transfer": np.where(rising < 2, np.nan, rising), "evidence": rising}
    return pd.DataFrame({"class_id": ids, **dict.fromkeys(low, rising), **high})


def test_orders_are_compared_as_mann_and_whitney_do() -> None:
    told = agreement(_table(8), frozenset({TENCH, GOLDFISH}))
    assert told["small box"][0] == told["interventions"][0] == 1.0
    assert told["maps and windows"][0] == 0.0
    assert np.isnan(told["transfer"][0])  # neither listed class has a value
    assert told["transfer"][2] == 6
    mixed = agreement(_table(8), frozenset({TENCH, "m2"}))["small box"][0]
    assert mixed == stats.mannwhitneyu([0, -5], [-1, -2, -3, -4, -6, -7]).statistic / 12


def test_the_standard_error_of_a_coin_is_that_of_wilcoxon_s_test() -> None:
    assert standard_error(0.5, 7, 12) ** 2 == pytest.approx((7 + 12 + 1) / (12 * 7 * 12))
    assert np.isnan(standard_error(0.5, 0, 3))


def test_a_run_is_read_as_it_was_ranked(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("0\n1\n", encoding="utf-8")
    with pytest.raises(InputError, match="hansaudit rank"):
        compare(tmp_path / "list.txt", [tmp_path])
    _table(6).to_csv(tmp_path / "ranking.csv", index=False)
    assert "| 2 of 6 | small box | 6 | 1.00 [1.00, 1.00] |" in compare(tmp_path / "list.txt", [tmp_path])
    _table(6).assign(class_id="m1").to_csv(tmp_path / "ranking.csv", index=False)
    with pytest.raises(InputError, match="no class of ImageNet in it"):
        compare(tmp_path / "list.txt", [tmp_path])
