"""One drawn run, ranked once, for all tests of the page; who changes it takes a copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.statistics.ranking import Ranking
from tests.reports.page.pages import planted_run


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ranking]:
    """A run of twelve classes with hostile names, three of them marked, and its ranking."""
    folder = tmp_path_factory.mktemp("drawn")
    return folder, planted_run(folder, hostile=True)


@pytest.fixture(scope="session")
def ranking(drawn: tuple[Path, Ranking]) -> Ranking:
    """The ranking of the drawn run."""
    return drawn[1]
