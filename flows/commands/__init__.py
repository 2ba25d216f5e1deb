"""One file per group of commands, each with ``register(app)``; nothing heavy is imported before one runs."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """The end of a command's help: what to type, without the leading ``hansaudit``."""
    shown = [f"[cyan]hansaudit {line.replace('[', chr(92) + '[')}[/]" for line in lines]
    return "\n\n".join(["[bold]Examples[/bold]", *shown])
