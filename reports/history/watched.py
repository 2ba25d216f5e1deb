"""How figures of a few images move while a network learns, as one page: small charts per class and method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from reports.history.charts import SHARE, Frame, Scale, figure_chart
from reports.history.course import Figure
from reports.history.page import Chart
from reports.inline import assets, environment

_POINTS: Final = 60  # epochs of which each is a place to point at


class Measured(NamedTuple):
    """One figure of one image at one epoch: ``value`` None where it is not defined."""

    epoch: int
    image: str
    class_name: str
    method: str
    figure: str
    value: float | None


class WatchedRow(NamedTuple):
    """The charts of one class by one method, over ``images`` images."""

    class_name: str
    method: str
    images: int
    charts: Sequence[Chart]


def watched_page(title: str, measured: Sequence[Measured], shares: Sequence[str] = ()) -> str:
    """The page; fetches nothing. ``shares``: figures that read as per cent, from 0 to 1."""
    epochs = sorted({m.epoch for m in measured})
    names = list(dict.fromkeys(m.figure for m in measured))
    by_row: dict[tuple[str, str], list[Measured]] = {}
    for m in measured:
        by_row.setdefault((m.class_name, m.method), []).append(m)
    figures = {row: _figures(of, names, epochs) for row, of in by_row.items()}
    scales = {
        name: SHARE if name in shares else Scale.of(f for of in figures.values() for f in of[name])
        for name in names
    }
    frame = Frame([f"epoch {epoch}" for epoch in epochs], with_points=len(epochs) <= _POINTS)
    rows = [
        WatchedRow(*row, len({m.image for m in by_row[row]}), _charts(frame, of, scales))
        for row, of in figures.items()
    ]
    template = environment("reports.history").get_template("watched.html.j2")
    return template.render(title=title, epochs=epochs, rows=rows, **assets("reports.history", "history"))


def _figures(
    measured: Sequence[Measured], names: Sequence[str], epochs: Sequence[int]
) -> Mapping[str, tuple[Figure, ...]]:
    """Name -> epoch by epoch the mean over the images that have it, with the least and the greatest."""
    values: dict[tuple[str, int], list[float]] = {}
    for m in measured:
        if m.value is not None:
            values.setdefault((m.figure, m.epoch), []).append(m.value)
    return {name: tuple(_figure(values.get((name, epoch), [])) for epoch in epochs) for name in names}


def _figure(values: Sequence[float]) -> Figure:
    if len(values) < 2:
        return Figure(*values)
    return Figure(sum(values) / len(values), min(values), max(values))


def _charts(
    frame: Frame, figures: Mapping[str, Sequence[Figure]], scales: Mapping[str, Scale]
) -> list[Chart]:
    return [
        Chart(name, scales[name].interval(of[-1]), figure_chart(frame, of, scales[name], name))
        for name, of in figures.items()
    ]
