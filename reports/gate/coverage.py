"""How much must be known before a gate may pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.decisions.fields import PolicyError, only_keys, share, whole


@dataclass(frozen=True)
class Coverage:
    """What ``min_coverage`` demands; the defaults let nothing pass by not looking.

    Attributes:
        classes: share of the judged classes that must be decided. Below 1 a pass means that up to the rest
            may be faulty.
        images: images of a class below which nothing about it passes.
        power: share of the marks that the network uses, planted by the run's canary, that must have been
            found; 0 demands no canary.
    """

    classes: float = 1.0
    images: int = 5
    power: float = 0.0

    def suffices(self, undecided: int, judged: int) -> bool:
        """Whether so many of the judged classes may be undecided."""
        return undecided <= (1 - self.classes) * judged + 1e-9


def read_coverage(data: Mapping[str, Any], where: str) -> Coverage:
    """``min_coverage`` of a policy: a number (of ``classes``) or a table. Raises :class:`PolicyError`."""
    given = data.get("min_coverage", {})
    if isinstance(given, int | float) and not isinstance(given, bool):
        given = {"classes": given}
    if not isinstance(given, Mapping):
        raise PolicyError(
            f"{where}: min_coverage must be a number from 0 to 1, or a table, received {given!r}"
        )
    where, default = f"{where}: min_coverage", Coverage()
    only_keys(given, ("classes", "images", "power"), where)
    return Coverage(
        classes=share(given, "classes", default.classes, where),
        images=whole(given, "images", default.images, where),
        power=share(given, "power", default.power, where),
    )
