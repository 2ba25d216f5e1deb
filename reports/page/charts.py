"""Figures of the later analyses: perturbation curves and maps of clusters, as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from pipeline.verdicts import Verdict
from reports.page import svg
from reports.page.svg import Axis
from reports.page.words import number, percent


@dataclass(frozen=True)
class Line:
    """A curve over 0..1 with a band; ``kind`` is its colour class."""

    name: str
    kind: str
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


def lines(curves: Sequence[Line], titles: tuple[str, str]) -> Markup:
    """Curves over the share of the picture that was replaced; each named at its right end."""
    x = Axis(0.0, 1.0, 58, 696)
    everything = np.concatenate([[0.0], *(c.low for c in curves), *(c.high for c in curves)])
    low, high = float(everything.min()), float(everything.max())
    pad = 0.04 * (high - low or 1.0)
    y = Axis(low - (pad if low < 0 else 0.0), high + pad, 330, 34)
    body = []
    for v in y.ticks():
        body.append(f'<path class="grid" d="M{x.start:g} {y(v):g}H{x.stop:g}"/>')
        body.append(svg.text(x.start - 10, y(v) + 4, number(v, 2), "tick", "end"))
    body += [svg.text(x(v), y.start + 20, percent(v), "tick") for v in x.ticks()]
    body.append(svg.text((x.start + x.stop) / 2, y.start + 44, titles[0], "axis"))
    body.append(svg.text(x.start - 46, y.stop - 16, titles[1], "axis", "start"))
    heights: list[float] = []
    for c in sorted(curves, key=lambda c: -float(c.middle[-1])):
        at = [x(v) for v in np.linspace(0, 1, len(c.middle))]
        up = [(a, y(float(v))) for a, v in zip(at, c.high, strict=True)]
        down = [(a, y(float(v))) for a, v in zip(at, c.low, strict=True)]
        body.append(svg.path(up + down[::-1], f"ribbon {c.kind}", close=True))
        body.append(svg.path([(a, y(float(v))) for a, v in zip(at, c.middle, strict=True)], f"line {c.kind}"))
        height = max([y(float(c.middle[-1])) + 4, *(h + 16 for h in heights[-1:])])
        heights.append(height)
        body.append(svg.text(x.stop + 10, height, c.name, "name", "start"))
    label = f"{titles[1]} against {titles[0]}: {', '.join(c.name for c in curves)}"
    return svg.figure(860, 384, label, body, "figure")


def small_lines(curves: Sequence[Line], limits: tuple[float, float], name: str) -> Markup:
    """One of many small figures on the same scale: curves with bands, coloured as in the large one."""
    x = Axis(0.0, 1.0, 40, 292)
    y = Axis(limits[0], limits[1] if limits[1] > limits[0] else limits[0] + 1.0, 132, 10)
    body = []
    for v in y.ticks(3):
        body.append(f'<path class="grid" d="M{x.start:g} {y(v):g}H{x.stop:g}"/>')
        body.append(svg.text(x.start - 8, y(v) + 4, number(v, 2), "tick", "end"))
    body += [svg.text(x(v), y.start + 18, percent(v), "tick") for v in (0.0, 0.5, 1.0)]
    for c in curves:
        at = [x(v) for v in np.linspace(0, 1, len(c.middle))]
        up, down, middle = (
            [(a, y(float(v))) for a, v in zip(at, row, strict=True)] for row in (c.high, c.low, c.middle)
        )
        body.append(svg.path(up + down[::-1], f"ribbon {c.kind}", close=True))
        body.append(svg.path(middle, f"line {c.kind}"))
    return svg.figure(310, 156, f"{name}: {', '.join(c.name for c in curves)}", body, "figure small")


def embedding(x: np.ndarray, y: np.ndarray, cluster: np.ndarray, candidate: Sequence[bool]) -> Markup:
    """The images of a class in the plane, numbered by cluster at its middle; candidates are filled."""
    side, margin = 260, 14
    across = Axis(*_limits(x), margin, side - margin)
    down = Axis(*_limits(y), side - margin, margin)
    body = []
    for px, py, c in zip(x, y, cluster, strict=True):
        kind = Verdict.SUSPECTED if candidate[int(c)] else Verdict.UNDECIDED
        body.append(f'<circle class="dot {kind}" cx="{across(px):g}" cy="{down(py):g}" r="4"/>')
    for c in range(len(candidate)):
        member = cluster == c
        if member.any():
            px, py = across(float(np.median(x[member]))), down(float(np.median(y[member])))
            body.append(f'<circle class="tag" cx="{px:g}" cy="{py:g}" r="10"/>')
            body.append(svg.text(px, py + 4.5, c + 1, "tag"))
    label = f"Embedding of {len(x)} maps in {len(candidate)} clusters"
    return svg.figure(side, side, label, body, "embedding")


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = float(np.min(values)), float(np.max(values))
    return (low, high) if high > low else (low - 1.0, low + 1.0)
