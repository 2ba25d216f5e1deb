"""``hansaudit compact``: few large parts in place of many small ones."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import examples


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(no_args_is_help=True, epilog=examples("compact runs/today", "compact runs/today --size 64"))(
        compact
    )


def compact(
    run: Annotated[str, typer.Argument(help="Run folder or object-store prefix.", show_default=False)],
    size: Annotated[int, typer.Option(help="MB that a shard's largest part may get: 32 to 256.")] = 128,
) -> None:
    """Merge the parts of neighbouring finished shards; no row changes, and rankings and reports stay valid.

    Killed in the middle it loses nothing: the same command goes on.
    """
    from flows import terminal
    from pipeline.run import compact as compaction
    from pipeline.run.store import Store

    compaction.check_size(size)
    done = compaction.compact(Store(run), size * 1_000_000)
    terminal.console.print(
        f"{done.before:,} shards are {done.after:,} now; the largest part has {done.largest / 1e6:.1f} MB, "
        f"all have {done.total / 1e6:,.1f} MB",
        markup=False,
        soft_wrap=True,
    )
