"""Which decisions are about which class of the run, and the tags that readers gave it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pipeline.run.documents import records
from reports.decisions.file import Waiver
from reports.page.data import RunData


def decided(run: RunData) -> list[tuple[dict[str, Any], Waiver]]:
    """Row of the ranking and decision, in the order of the ranking; those about other datasets' classes are
    left out."""
    if not run.beside.decisions:
        return []
    table = records(run.classes)
    named = Counter(str(row["class_name"]) for row in table)
    return [
        (row, waiver) for row in table for waiver in run.beside.decisions if _is_about(waiver, row, named)
    ]


def tags(run: RunData) -> Mapping[int, tuple[str, ...]]:
    """Label -> the tags of its decisions, each once; classes without any are absent."""
    given: dict[int, dict[str, None]] = {}
    for row, waiver in decided(run):
        if waiver.tags:
            given.setdefault(int(row["label"]), {}).update(dict.fromkeys(waiver.tags))
    return {label: tuple(of_class) for label, of_class in given.items()}


def _is_about(waiver: Waiver, row: Mapping[str, Any], named: Counter[str]) -> bool:
    """By its id, or by its name where that names one class."""
    name = str(row["class_name"])
    return waiver.class_key == str(row["class_id"]) or (waiver.class_key == name and named[name] == 1)
