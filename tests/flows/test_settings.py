"""What is set for Prefect, and what of the user's is left alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from flows.settings import prepare_prefect


@pytest.fixture
def nothing_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user who set nothing of Prefect; returns where the state of programs is kept."""
    for name in ("PREFECT_HOME", "PREFECT_API_URL", "PREFECT_PROFILE"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards, whatever happens meanwhile
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def test_prefect_keeps_its_database_in_a_private_folder_of_this_program(nothing_chosen: Path):
    prepare_prefect()
    home = nothing_chosen / "hansaudit" / "prefect"
    assert os.environ["PREFECT_HOME"] == str(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["PREFECT_HOME", "PREFECT_API_URL", "PREFECT_PROFILE"])
def test_who_names_their_own_prefect_gets_it(
    nothing_chosen: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setenv(name, "mine")
    prepare_prefect()
    assert os.environ[name] == "mine"
    assert os.environ.get("PREFECT_HOME") == ("mine" if name == "PREFECT_HOME" else None)
    assert list(nothing_chosen.iterdir()) == []


def test_a_home_that_cannot_be_made_is_named_all_the_same(nothing_chosen: Path):
    (nothing_chosen / "hansaudit").write_text("a file is in the way")
    prepare_prefect()
    assert os.environ["PREFECT_HOME"] == str(nothing_chosen / "hansaudit" / "prefect")
