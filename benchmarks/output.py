"""What the benchmarks of the methods say of themselves, and where they put it."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any


def versions() -> list[str]:
    """What was measured, with versions."""
    return [f"{package} {version(package)}" for package in ("hansaudit", "tensorflow", "keras")]


def publish(folder: Path, name: str, result: dict[str, Any], table: str) -> None:
    """``NAME.json`` and ``NAME.md`` in ``folder``; the table on the terminal, too."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (folder / f"{name}.md").write_text(table, encoding="utf-8")
    print(table)
