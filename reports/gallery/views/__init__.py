"""The visualisations, one file each: drop a module in here that defines ``VIEW``, and it is offered.

The command line's help lists the files without loading them.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.gallery.view import View


def names() -> tuple[str, ...]:
    """Names of all visualisations, in alphabetical order; nothing is loaded."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@cache
def all_views() -> dict[str, View]:
    """Every visualisation by its name, in the order in which they stand beside each other."""
    views: list[View] = [importlib.import_module(f"{__name__}.{name}").VIEW for name in names()]
    return {view.name: view for view in sorted(views, key=lambda view: view.order)}
