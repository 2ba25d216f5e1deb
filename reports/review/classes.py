"""The classes of a run as a reviewer decides about them, and the decisions that come back."""

from __future__ import annotations

from collections import Counter
from datetime import date
from functools import cached_property
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from pipeline.verdicts import ACCUSED, Verdict
from reports.decisions.book import DecisionBook, stamp
from reports.decisions.file import LONGEST_TAG, Decision, Waiver, is_tag
from reports.gate.classes import numbers
from reports.gate.gated_run import GatedRun

LONGEST_COMMENT: Final = 2000  # characters
LONGEST_NAME: Final = 200
MOST_TAGS: Final = 20


class Decided(BaseModel):
    """What a reviewer sends. ``seen``: the stamp of the entry that the page showed, empty for none."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    label: int = Field(strict=True, ge=0)
    decision: Decision | None = None
    reason: str = Field(default="", max_length=LONGEST_COMMENT)
    owner: str = Field(default="", max_length=LONGEST_NAME)
    until: date | None = None
    tags: list[str] = Field(default=[], max_length=MOST_TAGS)
    seen: str = Field(default="", max_length=64)


class ReviewedClasses:
    """The classes of ``run``, confirmed and suspected ones first, with what ``book`` says of them."""

    def __init__(self, run: GatedRun, book: DecisionBook) -> None:
        self._run, self._book = run, book

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        order = {verdict.value: k for k, verdict in enumerate((*ACCUSED, Verdict.UNDECIDED))}
        return sorted(
            (dict(row) for row in self._run.classes),
            key=lambda row: (order.get(row["verdict"], len(order)), row["rank"]),
        )

    @cached_property
    def _named(self) -> Counter[str]:
        return Counter(self._run.class_names)

    def keys(self, label: int) -> tuple[str, ...]:
        """Id of a class, and its name where no other class has it. Raises KeyError for no class."""
        ids, names = self._run.class_ids, self._run.class_names
        if not 0 <= label < len(ids):
            raise KeyError(label)
        alone = names[label] not in ids and self._named[names[label]] == 1
        return tuple(dict.fromkeys((ids[label], *([names[label]] if alone else []))))

    def state(self) -> list[dict[str, Any]]:
        """Every class with its verdict, figures and entry, JSON-ready."""
        entries = self._book.read()
        whole = {w.class_key: w for w in entries if not w.check}
        partial: dict[str, list[str]] = {}
        for waiver in entries:
            if waiver.check:
                partial.setdefault(waiver.class_key, []).append(f"in check {waiver.check}: {waiver}")
        return [self._class(row, whole, partial) for row in self._rows]

    def _class(
        self, row: dict[str, Any], whole: dict[str, Waiver], partial: dict[str, list[str]]
    ) -> dict[str, Any]:
        label = int(row["label"])
        keys = self.keys(label)
        entry = next((whole[key] for key in keys if key in whole), None)
        return {
            "label": label,
            "name": str(row["class_name"]),
            "id": keys[0],
            "verdict": str(row["verdict"]),
            "numbers": f"{numbers(row)}; {numbers(row, 'adjusted_lift')}",
            "entry": entry_json(entry),
            "others": [text for key in keys for text in partial.get(key, [])],
        }

    def decide(self, sent: Decided, today: date) -> Waiver | None:
        """Write a decision, or take it back (none). Returns the entry.

        Raises:
            KeyError: there is no such class.
            ValueError: comment or reviewer are missing, or a tag cannot be one.
            ChangedMeanwhile, PolicyError, InputError: as :meth:`DecisionBook.put`.
        """
        keys = self.keys(sent.label)
        if sent.decision is None:
            self._book.put(keys, None, sent.seen)
            return None
        if not sent.reason or not sent.owner:
            raise ValueError("a decision needs a comment and a reviewer")
        tags = tuple(dict.fromkeys(sent.tags))
        if not all(map(is_tag, tags)):
            raise ValueError(f"a tag is a word or a few, of {LONGEST_TAG} characters at most")
        entry = Waiver(keys[0], sent.decision, sent.reason, sent.owner, sent.until, decided=today, tags=tags)
        self._book.put(keys, entry, sent.seen)
        return entry


def entry_json(entry: Waiver | None) -> dict[str, Any] | None:
    """An entry as the page shows it."""
    if entry is None:
        return None
    return {
        "decision": entry.decision.value,
        "reason": entry.reason,
        "owner": entry.owner,
        "until": entry.until.isoformat() if entry.until else "",
        "decided": entry.decided.isoformat() if entry.decided else "",
        "tags": list(entry.tags),
        "stamp": stamp(entry),
    }
