"""The section that says why this explanation method was used."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.run.documents import Candidate, ChoiceDocument, MethodSanity
from pipeline.run.store import Store
from pipeline.statistics.ranking import Ranking
from reports.page.html import write_report
from tests.reports.page.pages import Page


def candidate(name: str, passes: bool, verdict: str, gap: float | None, other: float = 0.5) -> Candidate:
    sanity = MethodSanity(name, {"all layers": (0.25, 0.5)}, (other, 0.5), False, other >= 0.95, 8)
    limits = (None, None) if gap is None else (gap - 0.125, gap + 0.125)
    return Candidate(name, passes, verdict, sanity if gap is not None else None, gap, *limits, 16, 2.5)


def page_of(folder: Path, ranking: Ranking, passed: bool, *candidates: Candidate) -> str:
    used = next(c for c in candidates if c.verdict.startswith("used"))
    ChoiceDocument(
        method=used.method,
        passed=passed,
        candidates=candidates,
        images=32,
        looks=3,
        share=0.5,
        passes=100,
        seconds=9.0,
    ).write(Store(folder))
    return Page(write_report(folder, ranking).read_text(encoding="utf-8")).text


def test_why_this_method(drawn: tuple[Path, Ranking], tmp_path: Path) -> None:
    folder, ranking = Path(shutil.copytree(drawn[0], tmp_path / "run")), drawn[1]
    assert "Why this explanation method?" not in Page(write_report(folder, ranking).read_text()).text
    text = page_of(
        folder,
        ranking,
        True,
        candidate("lrp.preset_b_flat", False, "its maps are class <blind>", 0.25, 0.97),
        candidate("lrp.epsilon_gamma_box", False, "cannot explain this network: no rule", None),
        candidate("lrp.preset_a", True, "used: the first in the order", 0.5),
    )
    assert "Why this explanation method?" in text
    assert "lrp.preset_a explains this network" in text
    assert "lrp.preset_b_flat 0.25 0.97 +0.250 +0.125 … +0.375 16 2.5 its maps are class <blind>" in text
    assert "lrp.epsilon_gamma_box \u2013 \u2013 \u2013 16 2.5 cannot explain this network: no rule" in text
    assert "lrp.preset_a 0.25 0.50 +0.500 +0.375 … +0.625 16 2.5 used used: the first" in text
    assert "surely has less than 0.5 of the best one's gap" in text


def test_no_candidate_passes(drawn: tuple[Path, Ranking], tmp_path: Path) -> None:
    folder, ranking = Path(shutil.copytree(drawn[0], tmp_path / "run")), drawn[1]
    text = page_of(
        folder, ranking, False, candidate("gradcam", False, "used, although none passes: no gap", 0.0)
    )
    assert "No candidate passes. gradcam is used, although none passes: no gap" in text
