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
import math
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.verdicts import DEPENDENT, RankingVerdict


class PolicyError(InputError):
    """A policy that cannot be used; one line that says what is valid."""


Value = float | str


@dataclass(frozen=True)
class Operator(ABC):
    """Decides whether a value is acceptable, and words what it demands: the message cannot disagree."""

    limit: Any

    @abstractmethod
    def holds(self, value: Value) -> bool:
        """Whether ``value`` is acceptable."""

    @abstractmethod
    def __str__(self) -> str:
        """What is demanded, after "must be"."""


class AtLeast(Operator):
    """``min``"""

    def holds(self, value: Value) -> bool:
        return value >= self.limit

    def __str__(self) -> str:
        return f"at least {show(self.limit)}"


class AtMost(Operator):
    """``max``"""

    def holds(self, value: Value) -> bool:
        return value <= self.limit

    def __str__(self) -> str:
        return f"at most {show(self.limit)}"


class Above(Operator):
    """``above``"""

    def holds(self, value: Value) -> bool:
        return value > self.limit

    def __str__(self) -> str:
        return f"above {show(self.limit)}"


class Below(Operator):
    """``below``"""

    def holds(self, value: Value) -> bool:
        return value < self.limit

    def __str__(self) -> str:
        return f"below {show(self.limit)}"


class OneOf(Operator):
    """``one_of``"""

    def holds(self, value: Value) -> bool:
        return value in self.limit

    def __str__(self) -> str:
        return "one of " + ", ".join(map(show, self.limit))


class NoneOf(Operator):
    """``none_of``"""

    def holds(self, value: Value) -> bool:
        return value not in self.limit

    def __str__(self) -> str:
        return "none of " + ", ".join(map(show, self.limit))


OPERATORS: dict[str, type[Operator]] = {
    "min": AtLeast,
    "max": AtMost,
    "above": Above,
    "below": Below,
    "one_of": OneOf,
    "none_of": NoneOf,
}
_LISTS = ("one_of", "none_of")

VERDICT_COUNTS = tuple(f"n_{v}" for v in RankingVerdict)
# what `hansaudit confirm` (or [confirm] in the configuration) found by intervening on the images
INTERVENTION_COUNTS = tuple(f"n_{v}" for v in DEPENDENT)
OVERALL = (
    *VERDICT_COUNTS,
    *INTERVENTION_COUNTS,
    "n_classes",
    "n_images",
    "n_images_used",
    "accuracy",
    "failed_fraction",
    "correlation_ratio",
    "correlation_small_box",
    "correlation_low_accuracy",
    "correlation_constant_map",
)
# columns of the ranking; overall they need an `aggregate`
PER_CLASS = (
    "rank",
    "n",
    "n_images",
    "n_correct",
    "accuracy",
    "confidence",
    "box_area",
    "n_undefined",
    "ratio",
    "ratio_pooled",
    "ratio_rank",
    "mass",
    "lift",
    "adjusted_lift",
    "adjusted_lift_raw",
    "low",
    "high",
    "p_relative",
    "q_relative",
    "p_absolute",
    "p_exchange",
    "p_shift",
    "q_absolute",
    "power_absolute",
    "verdict",
    "n_needed",
    "small_box_rank",
    "low_accuracy_rank",
    "constant_map_rank",
)
AGGREGATES = ("mean", "median", "min", "max")
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

    name: str
    operators: tuple[Operator, ...]
    statistic: str = ""
    metric: str = ""
    scope: str = "overall"
    aggregate: str = "mean"
    images: str = "all"
    method: str = ""
    classes: tuple[str, ...] = ()
    min_images: int = 0


@dataclass(frozen=True)
class Policy:
    """Checks, the classes that are known and excused, and whether an unfinished run may be judged."""

    checks: tuple[Check, ...]
    known: tuple[str, ...] = ()
    allow_incomplete: bool = False


def load_policy(path: str | Path) -> Policy:
    """Read a TOML policy. Raises :class:`PolicyError`."""
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyError(f"{path}: cannot read the policy: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: not valid TOML: {error}") from None
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
    subjects = [key for key in ("statistic", "metric") if key in data]
    if len(subjects) != 1:
        received = " and ".join(subjects) or "neither"
        raise PolicyError(f"{where}: needs either 'statistic' or 'metric', received {received}")
    text = {key: _text(data, key, where) for key in ("name", "statistic", "metric", "method")}
    scope = _choice(data, "scope", SCOPES, where)
    statistic = text["statistic"]
    if "statistic" in data:
        valid = PER_CLASS if scope == "class" else (*OVERALL, *PER_CLASS)
        one_of(statistic, valid, f"{where}: statistic")
    aggregate = _choice(data, "aggregate", AGGREGATES, where)
    if statistic == "verdict" and scope == "overall":
        raise PolicyError(
            f"{where}: 'verdict' is a class's; add scope = \"class\", or use {VERDICT_COUNTS[0]}"
        )
    least = data.get("min_images", 0)
    if not isinstance(least, int) or isinstance(least, bool) or least < 0:
        raise PolicyError(f"{where}: min_images must be a whole number >= 0, received {least!r}")
    return Check(
        name=text["name"] or _default_name(text, scope, aggregate),
        operators=_operators(data, statistic == "verdict", where),
        statistic=statistic,
        metric=text["metric"],
        scope=scope,
        aggregate=aggregate,
        images=_choice(data, "images", IMAGES, where),
        method=text["method"],
        classes=_strings(data, "classes", where),
        min_images=least,
    )


def _default_name(text: Mapping[str, str], scope: str, aggregate: str) -> str:
    subject = text["statistic"] or text["metric"]
    if scope == "class":
        return f"{subject} of every class"
    return subject if subject in OVERALL else f"{aggregate} {subject}"


def _operators(data: Mapping[str, Any], words: bool, where: str) -> tuple[Operator, ...]:
    """The operators of a check; ``words``: the value is a word, not a number."""
    found = []
    for key in OPERATORS:
        if key not in data:
            continue
        limit = data[key]
        if words != (key in _LISTS):
            suits = _LISTS if words else tuple(k for k in OPERATORS if k not in _LISTS)
            raise PolicyError(f"{where}: operator {key!r} does not suit this value; use {', '.join(suits)}")
        if words:
            limit = _strings(data, key, where)
        elif isinstance(limit, bool) or not isinstance(limit, int | float) or math.isnan(limit):
            raise PolicyError(f"{where}: {key} must be a number, received {limit!r}")
        found.append(OPERATORS[key](limit))
    if not found:
        raise PolicyError(f"{where}: demands nothing; add one of: {', '.join(OPERATORS)}")
    return tuple(found)


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


def show(value: Value) -> str:
    """A value as people write it: 4 significant digits, whole numbers whole."""
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return str(int(value))
    return f"{value:.4g}"
