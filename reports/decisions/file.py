"""What people decided about classes, and for how long: ``decisions.toml``, versioned beside the policy.

version = 1

[[decision]]
class = "n02102040"                 # id of the class in the dataset, or its name
decision = "legitimate_context"     # clever_hans, legitimate_context, label_or_box_error, unsure
reason = "a tench is photographed in the hands of whoever caught it"
owner = "vision team"
until = 2027-03-31                  # waives until then, that day included; without it nothing is waived
decided = 2026-11-26                # on that day; may be left out
check = "nothing confirmed"         # only there; without it in every check
tags = ["hands", "water"]           # free words to find classes by; may be left out
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from pipeline.terms import Term
from pipeline.toml import read_toml
from reports.decisions import fields
from reports.decisions.fields import PolicyError

DECISIONS_FILE: Final = "decisions.toml"
LONGEST_TAG: Final = 40  # characters
_VERSION: Final = 1
_KEYS: Final = ("class", "decision", "reason", "owner", "until", "check", "decided", "tags")


class Decision(Term):
    """What a person decided about a class."""

    CLEVER_HANS = "clever_hans", "right for the wrong reason; known, and somebody's to mend"
    LEGITIMATE_CONTEXT = "legitimate_context", "what lies beside the object belongs to the class"
    LABEL_OR_BOX_ERROR = "label_or_box_error", "the annotations are wrong, not the network"
    UNSURE = "unsure", "looked at, and not decided"


# what lets a class through unless a policy says otherwise: the others are to be mended, or not decided
WAIVING: Final = (Decision.LEGITIMATE_CONTEXT,)


@dataclass(frozen=True)
class Waiver:
    """One decision.

    ``class_key``: id or name of the class; ``check``: the only one it is for, if any; ``tags``: free words of
    the reader's, which decide nothing.
    """

    class_key: str
    decision: Decision
    reason: str
    owner: str
    until: date | None
    check: str = ""
    decided: date | None = None
    tags: tuple[str, ...] = ()

    def is_for(self, check: str) -> bool:
        """Whether it is for the check of this name."""
        return self.check in ("", check)

    def waives(self, today: date, allowed: Collection[Decision]) -> bool:
        """Whether it lets its class through today."""
        return self.until is not None and today <= self.until and self.decision in allowed

    def has_expired(self, today: date) -> bool:
        return self.until is not None and today > self.until

    def __str__(self) -> str:
        return f"{self.decision.words}: {self.reason}; {self.owner}, until {self.until}"


def load_decisions(path: str | Path) -> tuple[Waiver, ...]:
    """Read a file of decisions. Raises :class:`PolicyError`: place, fault and what is valid."""
    return parse_decisions(read_toml(path, "decisions", PolicyError), str(path))


def parse_decisions(data: Mapping[str, Any], where: str = "decisions") -> tuple[Waiver, ...]:
    """Validate ``data``. Raises :class:`PolicyError`."""
    fields.only_keys(data, ("version", "decision"), where)
    if (version := data.get("version", _VERSION)) != _VERSION:
        raise PolicyError(f"{where}: version is {version!r}, this hansaudit reads {_VERSION}")
    entries = fields.tables(data, "decision", where)
    waivers = tuple(_waiver(entry, f"{where}: decision {k}") for k, entry in enumerate(entries, start=1))
    keys = [(w.class_key, w.check) for w in waivers]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise PolicyError(f"{where}: two decisions about class {twice[0]!r}; keep the one that holds")
    return waivers


def _waiver(data: Mapping[str, Any], where: str) -> Waiver:
    fields.only_keys(data, _KEYS, where)
    decision = fields.text(data, "decision", where, needed=True)
    return Waiver(
        class_key=fields.text(data, "class", where, needed=True),
        decision=Decision(fields.one_of(decision, list(Decision), f"{where}: decision")),
        reason=fields.text(data, "reason", where, needed=True),
        owner=fields.text(data, "owner", where, needed=True),
        until=_day(data, "until", where),
        check=fields.text(data, "check", where),
        decided=_day(data, "decided", where),
        tags=_tags(data, where),
    )


def _tags(data: Mapping[str, Any], where: str) -> tuple[str, ...]:
    tags = fields.texts(data, "tags", where)
    if faulty := [tag for tag in tags if not is_tag(tag)]:
        raise PolicyError(
            f"{where}: tags: {faulty[0]!r}: a tag is a word or a few, of {LONGEST_TAG} characters at most "
            "and without a comma"
        )
    return tags


def is_tag(text: str) -> bool:
    """Whether this can be a tag: it is listed with commas between."""
    return bool(text) and text == text.strip() and "," not in text and len(text) <= LONGEST_TAG


def _day(data: Mapping[str, Any], key: str, where: str) -> date | None:
    day = data.get(key)
    # a date with a time is a date, too, in Python
    if day is not None and (not isinstance(day, date) or isinstance(day, datetime)):
        raise PolicyError(f"{where}: {key} must be a date such as 2027-03-31, received {day!r}")
    return day


@dataclass(frozen=True)
class WaivedClasses:
    """The decisions about the classes of one run, on one day.

    Attributes:
        by_label: label -> the waivers that hold, and those that ran out; lost: of classes that the dataset
            does not have (any more).
    """

    today: date
    holding: Mapping[int, Sequence[Waiver]]
    expired: Mapping[int, Sequence[Waiver]]
    lost: tuple[Waiver, ...]

    @classmethod
    def of(
        cls,
        waivers: Sequence[Waiver],
        labels: Mapping[str, Sequence[int]],
        allowed: Collection[Decision],
        today: date,
    ) -> WaivedClasses:
        """``labels``: id or name of a class -> its labels; ``allowed``: the decisions that waive."""
        holding: dict[int, list[Waiver]] = {}
        expired: dict[int, list[Waiver]] = {}
        for waiver in waivers:
            for label in labels.get(waiver.class_key, ()):
                if waiver.waives(today, allowed):
                    holding.setdefault(label, []).append(waiver)
                elif waiver.has_expired(today) and waiver.decision in allowed:
                    expired.setdefault(label, []).append(waiver)
        return cls(today, holding, expired, tuple(w for w in waivers if w.class_key not in labels))

    def in_check(self, check: str) -> dict[int, Waiver]:
        """Label -> the waiver that holds in the check of this name."""
        return {
            label: waiver
            for label, waivers in self.holding.items()
            for waiver in waivers
            if waiver.is_for(check)
        }
