"""The tables of all methods, from the registry: ``python -m flows.method_table docs/methods.md README.md``.

A page says by its markers which table it holds: ``<!-- methods: begin -->`` the long one, a row per method
with its parameters; ``<!-- methods, short: begin -->`` the short one, methods that share all in one row.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

FAMILIES = ("lrp", "gradient", "reference", "signal", "activation map", "perturbation", "baseline")
NEEDS = {
    "low": "input range",
    "high": "input range",
    "data": "images to fit on",
    "preset": "rules",
    "convolution": "a convolution",
}


def markdown() -> str:
    """A row per method: paper, cost, needs, parameters."""
    from explainers import list_methods

    rows = []
    for info in list_methods():
        names, parameters = _code((info.name, *info.aliases)), _code(info.parameters)
        rows.append((names, info.family, info.paper, info.cost, ", ".join(info.needs), parameters))
    return _table(("method", "family", "paper", "cost", "needs", "parameters"), rows)


def short() -> str:
    """By family, methods of one paper, cost and need in one row."""
    from explainers import list_methods

    alike: dict[tuple[str, str, str], list[str]] = {}
    for info in sorted(
        list_methods(), key=lambda info: (_place(info.family), info.paper == "none", info.name)
    ):
        needs = ", ".join(dict.fromkeys(NEEDS.get(word, word) for word in info.needs))
        alike.setdefault((info.paper, info.cost, needs), []).extend((info.name, *info.aliases))
    rows = [
        (_code(names), "" if paper == "none" else paper, *rest) for (paper, *rest), names in alike.items()
    ]
    return _table(("method", "paper", "cost", "needs"), rows)


def _place(family: str) -> int:
    """Where a family stands in the short table; one that FAMILIES does not name comes last."""
    return FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)


TABLES = {"methods": markdown, "methods, short": short}


def rewritten(text: str) -> str:
    """The page with its tables made anew. Raises ValueError when the page has no place for one."""
    changed = False
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, start, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if start and ended:
            text, changed = f"{before}{begin}\n{table()}\n{end}{after}", True
    if not changed:
        raise ValueError("the page needs the lines <!-- methods: begin --> and <!-- methods: end -->")
    return text


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")
