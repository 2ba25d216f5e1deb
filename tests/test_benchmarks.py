"""Every benchmark can be started: what it imports and parses exists. Their figures are measured by hand."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [path for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__"]
NAMES = sorted([*(path.stem for path in FILES), "gpu"])


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_can_be_imported_and_says_how_it_is_run(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    assert module.__doc__
    if callable(getattr(module, "main", None)):
        assert "python -m benchmarks." in module.__doc__


@pytest.mark.parametrize(
    "page", ["README.md", "Makefile", "docs/lrp.md", "docs/evidence.md", "docs/statistics.md", "docs/gate.md"]
)
def test_the_benchmarks_that_are_named_exist(page: str) -> None:
    named = set(re.findall(r"benchmarks\.(\w+)", (ROOT / page).read_text(encoding="utf-8")))
    assert named <= set(NAMES)
