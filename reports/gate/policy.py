"""A gate's policy: TOML in, checks out. Knows nothing of runs.

inconclusive = "fail"               # what too little evidence counts as; else "inconclusive", "pass"
min_coverage = 0.9                  # or a table: see :class:`reports.gate.coverage.Coverage`
baseline = "runs/last"              # the run to compare with, from where the policy lies

[[check]]
name = "no class is right for the wrong reason"
statistic = "n_confirmed"
max = 0

[[check]]
metric = "accuracy"
min = 0.6

[[check]]
scope = "class"                     # every class for itself
statistic = "adjusted_lift"
min = -1.0
min_images = 10                     # a class with fewer ranked images is undecided
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pipeline.columns import RANKING
from pipeline.toml import read_toml
from reports.decisions import fields
from reports.decisions.fields import PolicyError
from reports.decisions.file import DECISIONS_FILE, WAIVING, Decision
from reports.gate.coverage import Coverage, read_coverage
from reports.gate.operators import ON_WORDS, OPERATORS, Operator
from reports.gate.state import State
from reports.gate.statistics import AGGREGATES, OF_CLASS, OF_RUN

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
    "min_coverage",
    *OPERATORS,
)
_POLICY_KEYS = (
    "check",
    "allow_incomplete",
    "inconclusive",
    "min_coverage",
    "baseline",
    "decisions",
    "waive",
    "unused_waivers",
)


@dataclass(frozen=True)
class Check:
    """One demand.

    ``statistic`` names a ranking statistic or ``metric`` a stored per-image metric (its ``aggregate`` over
    ``images``); ``scope`` "class" judges every class (of ``classes``, if given). ``coverage``: how much must
    be known.
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
    coverage: Coverage = field(default_factory=Coverage)

    @property
    def subject(self) -> str:
        """What is judged, in words."""
        what = self.statistic or self.metric
        return what if self.scope == "class" or what in OF_RUN else f"{self.aggregate} {what}"

    @property
    def title(self) -> str:
        """The name it was given, or one that says what is judged."""
        return self.name or (f"{self.subject} of every class" if self.scope == "class" else self.subject)

    @property
    def demand(self) -> str:
        """What is demanded, in words."""
        return "must be " + " and ".join(map(str, self.operators))


@dataclass(frozen=True)
class Policy:
    """What a run must fulfil.

    Attributes:
        inconclusive: what a gate that could neither pass nor fail counts as.
        baseline: run to compare with; empty: none.
        decisions: file of the decisions; empty: none.
        waive: decisions that waive; unused_fail: a waiver that nothing needed fails.
    """

    checks: tuple[Check, ...]
    allow_incomplete: bool = False
    inconclusive: State = State.INCONCLUSIVE
    coverage: Coverage = field(default_factory=Coverage)
    baseline: str = ""
    decisions: str = ""
    waive: tuple[Decision, ...] = WAIVING
    unused_fail: bool = False


def load_policy(path: str | Path) -> Policy:
    """Read a TOML policy; files that it names, and ``decisions.toml``, lie beside it.

    Raises :class:`PolicyError`.
    """
    data = read_toml(path, "policy", PolicyError)
    policy = parse_policy(data, str(path))
    here = Path(path).parent
    if not policy.decisions and (here / DECISIONS_FILE).is_file():
        policy = replace(policy, decisions=DECISIONS_FILE)
    return replace(policy, baseline=_beside(here, policy.baseline), decisions=_beside(here, policy.decisions))


def _beside(folder: Path, name: str) -> str:
    """A path that is meant from ``folder``; addresses and empty ones stay as they are."""
    return name if not name or "://" in name else os.path.join(folder, name)


def parse_policy(data: Mapping[str, Any], where: str = "policy") -> Policy:
    """Validate ``data``. Raises :class:`PolicyError`: one line with place, fault and what is valid."""
    fields.only_keys(data, _POLICY_KEYS, where)
    checks = fields.tables(data, "check", where)
    if not checks:
        raise PolicyError(f"{where}: no [[check]]; a policy that demands nothing would pass everything")
    coverage = read_coverage(data, where)
    words = fields.texts(data, "waive", where) if "waive" in data else WAIVING
    return Policy(
        checks=tuple(_check(c, coverage, f"{where}: check {k}") for k, c in enumerate(checks, start=1)),
        allow_incomplete=fields.flag(data, "allow_incomplete", where),
        inconclusive=State(fields.choice(data, "inconclusive", _COUNTS_AS, where)),
        coverage=coverage,
        baseline=fields.text(data, "baseline", where),
        decisions=fields.text(data, "decisions", where),
        waive=tuple(Decision(fields.one_of(w, list(Decision), f"{where}: waive")) for w in words),
        unused_fail=fields.choice(data, "unused_waivers", ("warn", "fail"), where) == "fail",
    )


_COUNTS_AS: Final = (State.INCONCLUSIVE.value, State.FAIL.value, State.PASS.value)


def _check(data: Mapping[str, Any], coverage: Coverage, where: str) -> Check:
    if isinstance(data.get("name"), str) and data["name"]:
        where += f" ({data['name']!r})"
    fields.only_keys(data, _CHECK_KEYS, where)
    scope = fields.choice(data, "scope", SCOPES, where)
    statistic, metric = _subject(data, scope, where)
    return Check(
        operators=_operators(data, is_word(statistic), where),
        name=fields.text(data, "name", where),
        statistic=statistic,
        metric=metric,
        scope=scope,
        aggregate=fields.choice(data, "aggregate", tuple(AGGREGATES), where),
        images=fields.choice(data, "images", IMAGES, where),
        method=fields.text(data, "method", where),
        classes=fields.texts(data, "classes", where),
        coverage=replace(
            coverage,
            classes=fields.share(data, "min_coverage", coverage.classes, where),
            images=fields.whole(data, "min_images", coverage.images, where),
        ),
    )


def is_word(statistic: str) -> bool:
    """Whether its values are words, not numbers."""
    return statistic in RANKING and RANKING[statistic].kind == "text"


def _subject(data: Mapping[str, Any], scope: str, where: str) -> tuple[str, str]:
    """The statistic and the metric of a check: one is given, the other empty."""
    subjects = [key for key in ("statistic", "metric") if key in data]
    if len(subjects) != 1:
        received = " and ".join(subjects) or "neither"
        raise PolicyError(f"{where}: needs either 'statistic' or 'metric', received {received}")
    statistic, metric = fields.text(data, "statistic", where), fields.text(data, "metric", where)
    if metric:
        return "", metric
    valid = OF_CLASS if scope == "class" else (*OF_RUN, *OF_CLASS)
    fields.one_of(statistic, valid, f"{where}: statistic")
    if is_word(statistic) and scope == "overall":
        raise PolicyError(f'{where}: {statistic!r} is a class\'s; add scope = "class", or use n_confirmed')
    return statistic, ""


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
        return fields.texts(data, key, where)
    limit = data[key]
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not abs(limit) < 1e300:
        raise PolicyError(f"{where}: {key} must be a number, received {limit!r}")
    return limit
