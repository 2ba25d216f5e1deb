"""A gate's policy: TOML in, checks out. Knows nothing of runs.

known = ["basketball"]              # classes whose fault is known: not judged, not counted

[[check]]
name = "no suspicious class"
statistic = "n_suspicious"
max = 0

[[check]]
metric = "accuracy"
min = 0.6

[[check]]
scope = "class"                     # every class for itself
statistic = "adjusted_lift"
min = -1.0
min_images = 5                      # classes with fewer ranked images are not judged
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.columns import RANKING
from pipeline.errors import InputError
from pipeline.toml import read_toml
from reports.gate.operators import ON_WORDS, OPERATORS, Operator
from reports.gate.statistics import AGGREGATES, OF_CLASS, OF_RUN


class PolicyError(InputError):
    """A policy that cannot be used; one line that says what is valid."""


SCOPES = ("overall", "class")
IMAGES = ("all", "correct")
_CHECK_KEYS = (
    "name",
    "statistic",
    "metric",
    "scope",
    "aggregate",
    "images",
    "method",
    "classes",
    "min_images",
    *OPERATORS,
)
_POLICY_KEYS = ("known", "allow_incomplete", "check")


@dataclass(frozen=True)
class Check:
    """One demand.

    ``statistic`` names a ranking statistic or ``metric`` a stored per-image metric (its ``aggregate`` over
    ``images``); ``scope`` "class" judges every class (of ``classes``, if given) that has ``min_images``.
    """

    operators: tuple[Operator, ...]
    name: str = ""
    statistic: str = ""
    metric: str = ""
    scope: str = "overall"
    aggregate: str = "mean"
    images: str = "all"
    method: str = ""
    classes: tuple[str, ...] = ()
    min_images: int = 0

    @property
    def subject(self) -> str:
        """What is judged, in words."""
        what = self.statistic or self.metric
        return what if self.scope == "class" or what in OF_RUN else f"{self.aggregate} {what}"

    @property
    def title(self) -> str:
        """The name it was given, or one that says what is judged."""
        return self.name or (f"{self.subject} of every class" if self.scope == "class" else self.subject)


@dataclass(frozen=True)
class Policy:
    """Checks, the classes that are known and excused, and whether an unfinished run may be judged."""

    checks: tuple[Check, ...]
    known: tuple[str, ...] = ()
    allow_incomplete: bool = False


def load_policy(path: str | Path) -> Policy:
    """Read a TOML policy. Raises :class:`PolicyError`."""
    data = read_toml(path, "policy", PolicyError)
    return parse_policy(data, str(path))


def parse_policy(data: Mapping[str, Any], where: str = "policy") -> Policy:
    """Validate ``data``. Raises :class:`PolicyError`: one line with place, fault and what is valid."""
    _keys(data, _POLICY_KEYS, where)
    checks = data.get("check", [])
    if not isinstance(checks, list) or not all(isinstance(c, dict) for c in checks):
        raise PolicyError(f"{where}: 'check' must be written as [[check]] tables")
    if not checks:
        raise PolicyError(f"{where}: no [[check]]; a policy that demands nothing would pass everything")
    incomplete = data.get("allow_incomplete", False)
    if not isinstance(incomplete, bool):
        raise PolicyError(f"{where}: allow_incomplete must be true or false, received {incomplete!r}")
    parsed = tuple(_check(c, f"{where}: check {k}") for k, c in enumerate(checks, start=1))
    return Policy(parsed, _strings(data, "known", where), incomplete)


def _check(data: Mapping[str, Any], where: str) -> Check:
    if isinstance(data.get("name"), str) and data["name"]:
        where += f" ({data['name']!r})"
    _keys(data, _CHECK_KEYS, where)
    scope = _choice(data, "scope", SCOPES, where)
    statistic, metric = _subject(data, scope, where)
    return Check(
        operators=_operators(data, _is_word(statistic), where),
        name=_text(data, "name", where),
        statistic=statistic,
        metric=metric,
        scope=scope,
        aggregate=_choice(data, "aggregate", tuple(AGGREGATES), where),
        images=_choice(data, "images", IMAGES, where),
        method=_text(data, "method", where),
        classes=_strings(data, "classes", where),
        min_images=_whole(data, "min_images", where),
    )


def _subject(data: Mapping[str, Any], scope: str, where: str) -> tuple[str, str]:
    """The statistic and the metric of a check: one is given, the other empty."""
    subjects = [key for key in ("statistic", "metric") if key in data]
    if len(subjects) != 1:
        received = " and ".join(subjects) or "neither"
        raise PolicyError(f"{where}: needs either 'statistic' or 'metric', received {received}")
    statistic, metric = _text(data, "statistic", where), _text(data, "metric", where)
    if metric:
        return "", metric
    valid = OF_CLASS if scope == "class" else (*OF_RUN, *OF_CLASS)
    one_of(statistic, valid, f"{where}: statistic")
    if _is_word(statistic) and scope == "overall":
        raise PolicyError(f'{where}: {statistic!r} is a class\'s; add scope = "class", or use n_suspicious')
    return statistic, ""


def _is_word(statistic: str) -> bool:
    """Whether its values are words, not numbers."""
    return statistic in RANKING and RANKING[statistic].kind == "text"


def _operators(data: Mapping[str, Any], words: bool, where: str) -> tuple[Operator, ...]:
    """The operators of a check; ``words``: the value is a word, not a number."""
    given = [key for key in OPERATORS if key in data]
    if not given:
        raise PolicyError(f"{where}: demands nothing; add one of: {', '.join(OPERATORS)}")
    return tuple(OPERATORS[key](_limit(data, key, words, where)) for key in given)


def _limit(data: Mapping[str, Any], key: str, words: bool, where: str) -> Any:
    """What an operator compares with: texts for a word, a number for a number."""
    if words != (key in ON_WORDS):
        suits = [k for k in OPERATORS if (k in ON_WORDS) == words]
        raise PolicyError(f"{where}: operator {key!r} does not suit this value; use {', '.join(suits)}")
    if words:
        return _strings(data, key, where)
    limit = data[key]
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not abs(limit) < 1e300:
        raise PolicyError(f"{where}: {key} must be a number, received {limit!r}")
    return limit


def _keys(data: Mapping[str, Any], valid: Collection[str], where: str) -> None:
    for key in data:
        one_of(key, valid, f"{where}: key")


def _choice(data: Mapping[str, Any], key: str, valid: tuple[str, ...], where: str) -> str:
    return one_of(data.get(key, valid[0]), valid, f"{where}: {key}")


def _text(data: Mapping[str, Any], key: str, where: str) -> str:
    value = data.get(key, "")
    if not isinstance(value, str) or (key in data and not value):
        raise PolicyError(f"{where}: {key} must be a non-empty text, received {value!r}")
    return value


def _whole(data: Mapping[str, Any], key: str, where: str) -> int:
    value = data.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise PolicyError(f"{where}: {key} must be a whole number >= 0, received {value!r}")
    return value


def _strings(data: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise PolicyError(f"{where}: {key} must be a list of texts, received {value!r}")
    return tuple(value)


def one_of(value: Any, valid: Collection[str], subject: str) -> str:
    """``value`` if it is valid; else a :class:`PolicyError` that names the nearest and all valid ones."""
    if isinstance(value, str) and value in valid:
        return value
    near = difflib.get_close_matches(str(value), valid, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = ", ".join(sorted(valid)) if len(valid) <= 60 else f"{len(valid)} names"
    raise PolicyError(f"{subject} {value!r} is not known; {hint}valid: {listed or 'none'}")
