"""``hansaudit review``: decide about the classes of a run, and draw boxes, in a browser on this machine."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands import examples

if TYPE_CHECKING:
    from reports.review.app import Review


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "review runs/nightly",
            "review runs/nightly --decisions ci/decisions.toml --reviewer 'vision team'",
            "review runs/photos --boxes boxes.csv",
        ),
    )(review)


def review(
    run: Annotated[str, typer.Argument(help="Run folder that `hansaudit run` wrote.", show_default=False)],
    decisions: Annotated[
        str, typer.Option(help="The file that decisions are written to.")
    ] = "decisions.toml",
    boxes: Annotated[
        str | None, typer.Option(help="Draw boxes, too, into this CSV of `hansaudit boxes`.")
    ] = None,
    reviewer: Annotated[str, typer.Option(help="Who decides; default the name of the account.")] = "",
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: one that is free.", min=0, max=65535)] = 0,
) -> None:
    """Serve a page on this machine on which a reviewer decides about each class, until interrupted.

    Clever Hans, legitimate context, label or box error, unsure; with comment, reviewer and a date. The gate
    reads the file, and a decision waives where its policy says so (docs/gate.md). Only 127.0.0.1, and only
    who has the printed address.
    """
    from flows import terminal
    from flows.reviewing import listen, server_of
    from reports.review.guard import Keys

    subject = review_of(run, decisions, boxes, reviewer or _account())
    with listen(port) as socket:
        keys = Keys(socket.getsockname()[1])
        terminal.print_line(f"review of {run}; decisions go to {decisions}. Open:")
        terminal.print_path("review", keys.address)
        terminal.print_line("Ctrl-C ends it; what was decided is in the file.")
        server_of(subject, keys).run(sockets=[socket])


def review_of(run: str, decisions: str, boxes: str | None, reviewer: str) -> Review:
    """What is reviewed. Raises :class:`InputError` for a run, decisions or boxes that cannot be read."""
    from pipeline.run.folder import RunFolder
    from pipeline.run.store import Store
    from reports.decisions.book import DecisionBook
    from reports.gate.gated_run import GatedRun
    from reports.review.app import Review
    from reports.review.classes import ReviewedClasses
    from reports.review.drawing import BoxesFile
    from reports.review.pictures import Pictures

    gated, book = GatedRun(run), DecisionBook(decisions)
    classes = ReviewedClasses(gated, book)
    classes.state()  # a fault of run or file is said before anything is served
    pictures = Pictures(Store(run)) if boxes else None
    file = BoxesFile(boxes, pictures.images) if boxes and pictures else None
    return Review(RunFolder(run), classes, reviewer, decisions, file, pictures)


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name
        return ""
