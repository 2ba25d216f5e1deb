"""The sections of the report, one file each: drop a module in here that defines ``SECTION`` and it appears.

A section gets the run and returns what its template needs, or ``None`` when the run has nothing for it (its
table is not there): then it is left out. Names of classes and files come from strangers: templates are
auto-escaped, figures come from ``reports.page.figures``, which escapes, and nothing else may be marked safe.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reports.page.data import RunData


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        name: anchor on the page, letters and hyphens.
        title: heading; empty: none, and no entry in the navigation.
        short: entry in the navigation.
        order: place on the page, ascending.
        template: Jinja source; sees what ``build`` returns, the macros as ``m``, and the filters of
            :mod:`reports.page.words`.
        build: run -> variables of the template, or None to leave the section out.
    """

    name: str
    title: str
    short: str
    order: int
    template: str
    build: Callable[[RunData], dict[str, Any] | None]


def all_sections() -> tuple[Section, ...]:
    """Every section of this package in page order."""
    modules = (importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__))
    return tuple(sorted((m.SECTION for m in modules), key=lambda s: (s.order, s.name)))
