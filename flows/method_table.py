"""The table of all methods in ``docs/methods.md``: ``python -m flows.method_table docs/methods.md``."""

from __future__ import annotations

import sys
from pathlib import Path

BEGIN, END = "<!-- methods: begin -->", "<!-- methods: end -->"


def markdown() -> str:
    """The registry as a Markdown table: method, paper, cost, needs, parameters."""
    from explainers import list_methods

    head = ("method", "family", "paper", "cost", "needs", "parameters")
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for one in list_methods():
        name = ", ".join(f"`{n}`" for n in (one.name, *one.aliases))
        parameters = ", ".join(f"`{p}`" for p in one.parameters)
        cells = (name, one.family, one.paper, one.cost, ", ".join(one.needs), parameters)
        lines.append(f"| {' | '.join(c.replace('|', '/') for c in cells)} |")
    return "\n".join(lines)


def rewritten(text: str) -> str:
    """The page with its table made anew. Raises ValueError when the page has no place for it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{markdown()}\n{END}{after}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")
