"""What other tools read of a run: one file per format, each with ``export(run, out)``.

``export`` writes, and returns what to type next to look at it. Formats are imported when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from pipeline.errors import InputError
from pipeline.run.store import Store

FORMATS = ("arrays", "coco", "duckdb", "mlflow", "virelay")
_MODULES = {"duckdb": "views", "mlflow": "tracking"}  # not to be taken for the packages of that name


def export(run: Store, format_: str, out: str) -> str:
    """Write ``run`` for another tool; returns what to do with it.

    Args:
        format_: one of :data:`FORMATS`.
        out: a folder or file; of ``mlflow`` the address of its tracking store.

    Raises:
        InputError: no such format, something that it needs is not stored, or its package is not installed.
    """
    if format_ not in FORMATS:
        raise InputError(f"--to {format_}: there is no such format; there are {', '.join(FORMATS)}")
    done: str = module_of(format_).export(run, out)
    return done


def module_of(format_: str) -> ModuleType:
    """The file of a format."""
    return import_module(f"pipeline.followup.exports.{_MODULES.get(format_, format_)}")
