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
    for one in list_methods():
        names, parameters = _code((one.name, *one.aliases)), _code(one.parameters)
        rows.append((names, one.family, one.paper, one.cost, ", ".join(one.needs), parameters))
    return _table(("method", "family", "paper", "cost", "needs", "parameters"), rows)


def short() -> str:
    """By family, methods of one paper, cost and need in one row."""
    from explainers import list_methods

    found: dict[tuple[str, str, str], list[str]] = {}
    for one in sorted(list_methods(), key=lambda m: (FAMILIES.index(m.family), m.paper == "none", m.name)):
        needs = ", ".join(dict.fromkeys(NEEDS[word] for word in one.needs))
        found.setdefault((one.paper, one.cost, needs), []).extend((one.name, *one.aliases))
    rows = [
        (_code(names), "" if paper == "none" else paper, *rest) for (paper, *rest), names in found.items()
    ]
    return _table(("method", "paper", "cost", "needs"), rows)


TABLES = {"methods": markdown, "methods, short": short}


def rewritten(text: str) -> str:
    """The page with its tables made anew. Raises ValueError when the page has no place for one."""
    changed = False
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if found and ended:
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
