"""docs/dependencies.md names exactly what pyproject.toml asks for; LICENSE and metadata agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGE = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")


def rows(title: str) -> list[list[str]]:
    """Cells of the table below a heading, without its two header lines."""
    section = PAGE.split(f"## {title}")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def name(requirement: str) -> str:
    """The package of a requirement, its extras included, without versions."""
    match = re.match(r"[A-Za-z0-9_.-]+(\[[^\]]*\])?", requirement)
    assert match, requirement
    return match[0]


def test_every_dependency_is_explained() -> None:
    assert [row[0].strip("`") for row in rows("Always")] == [name(r) for r in PROJECT["dependencies"]]


def test_every_extra_is_explained() -> None:
    extras = {k: v for k, v in PROJECT["optional-dependencies"].items() if k != "dev"}
    explained = {(row[0].strip("`"), row[1].strip("`")) for row in rows("On request")}
    assert explained == {(extra, name(r)) for extra, group in extras.items() for r in group}


def test_every_tool_of_development_is_explained() -> None:
    needed = {name(r) for r in PROJECT["optional-dependencies"]["dev"]}
    assert {row[0].strip("`") for row in rows("For development")} == needed


@pytest.mark.parametrize("title", ["Always", "On request", "For development"])
def test_no_cell_is_empty(title: str) -> None:
    assert all(cell for row in rows(title) for cell in row)


def test_the_licence_is_the_one_that_the_package_declares() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("BSD 3-Clause License")
    assert PROJECT["license"] == "BSD-3-Clause"
    assert set(PROJECT["license-files"]) == {"LICENSE", "NOTICE"}


def test_the_oldest_versions_are_the_minima() -> None:
    text = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8")
    pinned = dict(line.split("==") for line in text.splitlines() if "==" in line)
    for requirement in PROJECT["dependencies"]:
        match = re.match(r"([A-Za-z0-9_.-]+)>=([0-9.]+)", requirement)
        assert match, requirement
        assert release(pinned[match[1]]) == release(match[2]), requirement


def release(version: str) -> list[int]:
    """Numbers of a version, without the zeros at its end: 2.0 is 2.0.0."""
    numbers = [int(part) for part in version.split(".")]
    while numbers[-1] == 0:
        numbers.pop()
    return numbers
