"""docs/tutorial.md as a new user follows it: every command, in its order, on what the one before left."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.statistics.ranking import rank
from pipeline.verdicts import Verdict

Ended = dict[str, subprocess.CompletedProcess[str]]  # by the name of the command
PAGE = (Path(__file__).parents[2] / "docs/tutorial.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """The folder in which the tutorial was followed, and what became of each command, by its name."""
    folder, done = tmp_path_factory.mktemp("tutorial"), {}
    for language, block in re.findall(r"^```(toml|console)\n(.*?)^```", PAGE, re.M | re.S):
        if language == "toml":
            name = re.match(r"# (\S+)\n", block)
            assert name, block
            (folder / name[1]).write_text(block, encoding="utf-8")
            continue
        words = shlex.split(block.removeprefix("$ hansaudit"))
        command = [sys.executable, "-c", "from flows.cli import main; main()", *words]
        done[words[0]] = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return folder, done


def test_every_command_ends_as_the_page_says(followed) -> None:
    _, done = followed
    codes = {name: process.returncode for name, process in done.items()}
    assert codes == {"demo": 0, "confirm": 0, "gate": 1, "clusters": 0, "verify": 0}, {
        name: process.stderr[-2000:] for name, process in done.items() if process.returncode not in (0, 1)
    }


def test_the_audit_confirms_the_three_planted_classes_and_no_other(followed) -> None:
    folder, _ = followed
    table = rank(folder / "runs/demo/run").table
    confirmed = table[table["verdict"] == Verdict.CONFIRMED]
    assert sorted(confirmed["class_name"]) == ["hexagram", "rhombus", "sickle"]
    assert confirmed["planted"].all()


def test_the_gate_names_the_three_classes(followed) -> None:
    _, done = followed
    assert all(name in done["gate"].stdout for name in ("hexagram", "rhombus", "sickle"))
