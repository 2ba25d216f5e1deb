"""``hansaudit plan``: can this method explain this model, and how."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
