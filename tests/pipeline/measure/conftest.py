"""Runs whose pasted windows several files of tests look at."""

from __future__ import annotations

import pytest

from pipeline.run.store import Store
from tests.drawn_runs import copied, noisy_run, pasted


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The colour of the red pictures is beside their object, that of the others on it."""
    where = {"red": "background", "green": "object", "blue": "object"}
    return noisy_run(tmp_path_factory.mktemp("mixed"), where, {"red": 14, "green": 12, "blue": 11})


@pytest.fixture(scope="session")
def finished(mixed: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same with its windows pasted."""
    store = copied(mixed, tmp_path_factory.mktemp("finished") / "run")
    pasted(store)
    return store
