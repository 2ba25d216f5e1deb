"""Budgets that fit a given time: how many images are audited, edited, perturbed. Arithmetic, no clock.

There is one ladder from the smallest audit that says something to the one that the configuration asks for.
Every rung asks for at least as much of everything as the one below it, and the highest one that fits is
taken: more time never means less of anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.config import Config
from pipeline.errors import InputError
from pipeline.measure.forecast import Speeds, Work, forecast
from pipeline.run.costs import Forecast, duration

LEAST = 5  # images per class below which nothing is said of a class
GROWTH = 1.4  # images per class, from rung to rung
RESERVE = 0.1  # of the time: for ranking, report, and what a forecast gets wrong


@dataclass(frozen=True)
class Budget:
    """A configuration that fits, what it will cost, and of how many images it audits how many."""

    config: Config
    forecast: Forecast
    images: int
    of: int

    @property
    def words(self) -> str:
        """What was chosen, in one line."""
        parts = [f"{s.stage} of {s.images:,} images" for s in self.forecast.stages[1:]]
        share = "all " if self.images == self.of else f"{self.images:,} of "
        audited = f"{share}{self.of:,} images"
        return f"audit of {', '.join([audited, *parts])}: about {self.forecast.total.time}"


def fit(config: Config, work: Work, speeds: Speeds, seconds: float, spent: float = 0.0) -> Budget:
    """The most of ``config`` that fits into ``seconds``, of which ``spent`` are over.

    Raises:
        InputError: not even the smallest audit that says something fits.
    """
    best: Budget | None = None
    for limit, asked in _rungs(config, work):
        cost = forecast(asked, replace(work, images=limit), speeds)
        if cost.most > (1 - RESERVE) * (seconds - spent):
            if best is None:
                needed = duration(spent + cost.most / (1 - RESERVE))
                raise InputError(
                    f"--time {duration(seconds)}: the smallest audit that says something, {limit:,} images "
                    f"in {work.classes:,} classes, takes about {needed}"
                    + (f" ({duration(spent)} of it for loading and compiling)" if spent else "")
                    + "; give that much, or fewer classes"
                )
            break
        best = Budget(asked, cost, limit, work.images)
    assert best is not None
    return best


def _rungs(config: Config, work: Work) -> Iterator[tuple[int, Config]]:
    """Images and configuration, from the least to what was asked for."""
    settings = config.interventions
    for limit in _limits(work):
        fewer = config if limit == work.images else _limited(config, limit)
        first = min(settings.images, max(LEAST, limit // work.classes))
        yield limit, _with_edits(_with_curves(fewer, limit, _floor(limit)), first, first)
    least = _with_curves(config, work.images, _floor(work.images))
    for most in _doubling(settings.images, settings.most):
        yield work.images, _with_edits(least, settings.images, most)
    for images in _doubling(_floor(work.images), _asked(config, work.images)):
        yield work.images, _with_curves(config, work.images, images)
    yield work.images, config


def _limits(work: Work) -> Iterator[int]:
    """Images, by a growing number per class, up to all."""
    per_class = float(LEAST)
    while round(per_class) * work.classes < work.images:
        yield round(per_class) * work.classes
        per_class *= GROWTH
    yield work.images


def _limited(config: Config, limit: int) -> Config:
    update = {"limit": limit, "choice": "spread"}
    return config.model_copy(update={"dataset": config.dataset.model_copy(update=update)})


def _floor(limit: int) -> int:
    """Images with curves that an audit of ``limit`` images starts with: as many as by default."""
    return max(16, limit // 100)


def _asked(config: Config, images: int) -> int:
    return config.perturbation.most_images(images) if config.perturbation else 0


def _doubling(start: int, stop: int) -> Iterator[int]:
    while 0 < start < stop:
        start = min(2 * start, stop)
        yield start


def _with_edits(config: Config, images: int, most: int) -> Config:
    """With edits of ``images`` images per class, up to ``most`` where they decide."""
    settings = config.interventions
    if settings.images == 0 or (images, most) == (settings.images, max(settings.most, settings.images)):
        return config
    update = {"images": images, "most": most}
    return config.model_copy(update={"interventions": settings.model_copy(update=update)})


def _with_curves(config: Config, limit: int, images: int) -> Config:
    """With curves of ``images`` images at most; as it is, where no more are asked for."""
    if config.perturbation is None or _asked(config, limit) <= images:
        return config
    fewer = config.perturbation.model_copy(update={"images": images, "share": 1.0})
    return config.model_copy(update={"perturbation": fewer})
