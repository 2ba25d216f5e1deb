"""The command line: ``hansaudit``.

Commands live in ``flows/commands``, one file per group, and import what they need when they run, so that help
is fast and a command that reads tables never loads TensorFlow.

Exit codes: :mod:`flows.exit_codes`, and the table of docs/gate.md.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn, cast

import typer
from typer import rich_utils

from flows import interrupts, journal
from flows.exit_codes import ExitCode
from flows.settings import quiet_logs
from pipeline.errors import plain
from pipeline.run import start_up

DONE, BREACH, WRONG_INPUT, FAILURE, INCONCLUSIVE, INTERRUPTED = ExitCode

COMMANDS = (
    "run",
    "check",
    "results",
    "diff",
    "history",
    "review",
    "clusters",
    "concepts",
    "boxes",
    "confirm",
    "rank_methods",
    "verify",
    "canary",
    "data",
    "status",
    "compact",
    "serve",
    "deploy",
    "worker",
    "plan",
    "explain",
    "decompositions",
    "export",
    "visualize",
    "repair",
)
# errors that a user can mend, looked up only in modules that are already loaded
_INPUT_ERRORS = (
    ("pipeline.errors", "InputError"),
    ("explainers.errors", "ExplainError"),
)

app = typer.Typer(
    name="hansaudit",
    help="Audit image classifiers at dataset scale: find classes that are right for the wrong reason.",
    epilog="Start with `hansaudit demo`. Every command shows examples with --help.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("hansaudit"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and leave.", is_eager=True, callback=_print_version
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure (anywhere on the line).")
    ] = False,
) -> None:
    """Options of all commands."""


for _name in COMMANDS:
    importlib.import_module(f"flows.commands.{_name}").register(app)


def main() -> NoReturn:
    """Entry point of the console script."""
    start_up.begin(start_up.process_start())
    code = run(sys.argv[1:])
    interrupts.end_at_once(code)  # from here on: nothing is left to be finished
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code and never raises."""
    debug = "--debug" in arguments or bool(os.environ.get("HANSAUDIT_DEBUG"))
    quiet_logs()
    journal.use_json("--log-json" in arguments)
    with interrupts.noticed():
        try:
            return _command([a for a in arguments if a != "--debug"], debug)
        except BaseException as error:
            if not interrupts.is_interruption(error):
                raise
            _say("interrupted; what was finished is kept: the same command goes on from there")
            return INTERRUPTED


def _command(arguments: Sequence[str], debug: bool) -> int:
    """The exit code of one command line. Raises what an interruption raises, and KeyboardInterrupt for it."""
    try:
        code = app(arguments, prog_name="hansaudit", standalone_mode=False)
        if code == INTERRUPTED:  # typer's translation of KeyboardInterrupt
            raise KeyboardInterrupt
        interrupts.stop_if_interrupted()
        return code if isinstance(code, int) else DONE
    except Exception as error:
        if interrupts.is_interruption(error) or isinstance(error, typer.Abort):
            raise KeyboardInterrupt from error
        return _failed(error, debug)


def _failed(error: Exception, debug: bool) -> int:
    """Say what failed; returns the exit code."""
    if hasattr(error, "format_message"):  # wrong usage: typer's own copy of click, or click
        rich_utils.rich_format_error(cast(Any, error))
        return WRONG_INPUT
    if debug:
        traceback.print_exc()
    if _is_input_error(error):
        _say(str(error))
        return WRONG_INPUT
    _say(f"internal failure: {type(error).__name__}: {_first_line(error)}\nwhat happened is in {_log()}")
    return FAILURE


def _is_input_error(error: BaseException) -> bool:
    loaded = [getattr(sys.modules[m], name) for m, name in _INPUT_ERRORS if m in sys.modules]
    return isinstance(error, tuple(loaded))


def _say(message: str) -> None:
    """One clear line on stderr; plain text, so that names with [brackets] stay as they are."""
    if journal.is_json():
        journal.write_event("error", {"text": plain(message)})
    else:
        print(f"hansaudit: {plain(message)}", file=sys.stderr)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or "no message").splitlines()[0]


def _log() -> str:
    """Write the traceback of the current exception to a file; returns its path, or why there is none."""
    text = f"{' '.join(sys.argv)}\n\n{traceback.format_exc()}"
    try:
        # a name that nobody can foresee, readable by its owner only: others write to this folder, too
        handle, path = tempfile.mkstemp(".log", f"hansaudit-{time.strftime('%Y%m%d-%H%M%S')}-")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        return (
            f"no file, since {tempfile.gettempdir()} cannot be written ({error.strerror}); --debug shows it"
        )
    return path
