"""What the benchmarks of the methods say of themselves, and where they put it."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any


def versions() -> list[str]:
    """What was measured, with versions."""
    return [f"{package} {version(package)}" for package in ("hansaudit", "tensorflow", "keras")]


def replace_table(page: Path, name: str, table: str) -> None:
    """Put a table into a Markdown page, between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, start, rest = page.read_text(encoding="utf-8").partition(begin)
    _, stop, after = rest.partition(end)
    if not start or not stop:
        raise SystemExit(f"{page}: needs the lines {begin} and {end}")
    page.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


def publish(folder: Path, name: str, result: dict[str, Any], table: str) -> None:
    """``NAME.json`` and ``NAME.md`` in ``folder``; the table on the terminal, too."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (folder / f"{name}.md").write_text(table, encoding="utf-8")
    print(table)
