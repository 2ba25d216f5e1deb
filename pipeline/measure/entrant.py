"""A method on its way through the choice: what is known of it so far, and in words why it is in or out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from explainers import Fitted
from pipeline.config_sections import MethodConfig
from pipeline.measure.contest import LEAST, SHARE, Contest
from pipeline.measure.sanity import STAGES
from pipeline.run.documents import Candidate, MethodSanity


@dataclass
class Entrant:
    """A candidate.

    Attributes:
        fitted: None where it does not fit the network; tried: the same, by a program that serves the copies
            with shuffled weights as well.
        sane: None where it could not be checked, and ``doubt`` says why.
        gaps: of the images that were measured, in their order; 0 where it has no map: nothing is ordered.
        runs: more images may still make it the one that is used.
    """

    config: MethodConfig
    fitted: Fitted | None = None
    tried: Fitted | None = None
    reason: str = ""
    doubt: str = ""
    sanity: MethodSanity | None = None
    sane: bool | None = None
    gaps: list[float] = field(default_factory=list)
    interval: tuple[float, float] | None = None
    passes: bool = False
    runs: bool = True
    seconds: float = 0.0

    @property
    def key(self) -> str:
        """The method's name in the tables."""
        return self.config.key

    @property
    def is_open(self) -> bool:
        """It may suit the network; the images do not show that it does not."""
        return self.fitted is not None and self.sane is not False and self.runs

    @contextmanager
    def timed(self, among: int = 1) -> Iterator[None]:
        """Count the time inside as its own, or as that of one of ``among``."""
        began = time.perf_counter()
        yield
        self.seconds += (time.perf_counter() - began) / among

    def checked(self, sanity: MethodSanity | None, failed: str) -> None:
        """Sanity checks, more of them, or why there are none."""
        if sanity is None:
            self.doubt = f"whether its maps depend on the network could not be checked: {failed}"
            return
        before = {} if self.sanity is None else self.sanity.randomised
        both = before | sanity.randomised
        stages = {name: both[name] for name in STAGES if name in both}
        self.sanity = replace(self.sanity or sanity, randomised=stages)
        self.sane = not self.sanity.failures
        if not self.sane:
            self.reason = f"its maps are {' and '.join(self.sanity.failures)}"

    def measured(self, state: Contest, j: int, eligible: bool, best: str | None) -> None:
        """Where it, the ``j``-th, stands after the images so far; ``best``: who has the largest gap."""
        low, high = float(state.low[j]), float(state.high[j])
        self.interval = (low, high) if np.isfinite(low) else None
        self.passes = bool(state.passes[j])
        self.runs = eligible and not (state.useless[j] or state.far_behind[j])
        if not eligible:
            return
        if state.far_behind[j]:
            self.reason = f"surely has less than {SHARE:g} of the gap of {best}"
        elif self.passes:
            self.reason = "passes; another one comes first"
        elif state.useless[j]:
            self.reason = "what it calls relevant matters no more than the rest"
        elif len(self.gaps) < LEAST:
            n = len(self.gaps)
            images = "1 image is" if n == 1 else f"{n} images are"
            self.reason = f"{images} too few to tell whether its gap is above 0"
        else:
            self.reason = f"on {len(self.gaps)} images its gap is not surely above 0"

    def row(self) -> Candidate:
        """What is stored of it."""
        low, high = self.interval or (None, None)
        return Candidate(
            method=self.key,
            passes=self.passes and bool(self.sane),
            verdict="; ".join(filter(None, (self.reason, self.doubt))),
            sanity=self.sanity,
            gap=float(np.mean(self.gaps)) if self.gaps else None,
            low=low,
            high=high,
            images=len(self.gaps),
            seconds=round(self.seconds, 2),
        )
