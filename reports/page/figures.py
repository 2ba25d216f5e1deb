"""The page's figures as inline SVG: drawn by hand, coloured by the page's own CSS, so they follow dark mode.

Every function returns :class:`markupsafe.Markup`; texts that come from outside are escaped here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from pipeline.verdicts import ACCUSED, Verdict
from reports.page import svg
from reports.page.data import Expected
from reports.page.svg import Axis, span
from reports.page.words import count, given, number, percent, signed

WHISKER = (120, 18)


def whisker_axis(ends: Sequence[float], whole: Sequence[float] = ()) -> Axis:
    """One scale for all rows of the table: the bulk of the interval ``ends`` and all of ``whole``, those that
    a reader compares; what is beyond gets an arrow head."""
    bulk, all_of = ([v for v in values if given(v) and np.isfinite(v)] for values in (ends, whole))
    low, high = np.quantile(bulk, (0.01, 0.99)) if bulk else (-1.0, 1.0)
    return Axis(*span([max(low, -6.0), min(high, 6.0), *all_of]), 4, WHISKER[0] - 4)


def whisker(axis: Axis, low: float | None, middle: float | None, high: float | None, kind: str) -> Markup:
    """Interval and estimate of one class on the common scale; a dotted line marks 0."""
    y = WHISKER[1] / 2
    zero = f'<path class="z" d="M{axis(0):g} 0V{WHISKER[1]}"/>'
    body = ""
    if low is not None and high is not None and given(low) and given(high):
        body += f'<path d="M{axis(low):g} {y:g}H{axis(high):g}"/>'
        for value, way in ((low, -1), (high, 1)):
            if not axis.holds(value):
                x = axis(value)
                body += f'<path d="M{x - 4 * way:g} {y - 4:g}L{x:g} {y:g}L{x - 4 * way:g} {y + 4:g}"/>'
    if middle is not None and given(middle):
        body += f'<circle cx="{axis(middle):g}" cy="{y:g}" r="3.5"/>'
    return Markup('<svg class="whisker {}" viewBox="0 0 {} {}" aria-hidden="true">{}</svg>').format(
        kind, *WHISKER, Markup(zero + body)
    )


def verdict_bar(counts: Mapping[Verdict, int]) -> Markup:
    """Share of the classes per verdict, one stacked bar."""
    total = sum(counts.get(v, 0) for v in Verdict)
    body, x = [], 0.0
    for verdict in Verdict:
        width = 1000 * counts.get(verdict, 0) / total if total else 0.0
        if width:
            shown = max(width - 3, 2)
            body.append(
                f'<rect class="fill-{verdict}" x="{x:.1f}" y="0" width="{shown:.1f}" height="14" rx="2"/>'
            )
        x += width
    label = ", ".join(f"{counts.get(v, 0)} {v}" for v in Verdict)
    head = Markup(
        '<svg class="verdict-bar" viewBox="0 0 1000 14" preserveAspectRatio="none" role="img" '
        'aria-label="{}">'
    )
    return head.format(label) + Markup("".join(body) + "</svg>")


@dataclass(frozen=True)
class Dot:
    """One class in the scatter plot."""

    x: float
    y: float
    name: str
    verdict: str
    link: str = ""


def _mark(d: Dot, x: float, y: float) -> str:
    tip = f"<title>{escape(d.name)}: lift {signed(d.y)}, box {percent(d.x)}, {d.verdict}</title>"
    if d.verdict == Verdict.SUSPECTED:
        return f'<path class="dot {d.verdict}" d="M{x:g} {y - 6:g}l6 6l-6 6l-6 -6Z">{tip}</path>'
    radius = 5.5 if d.verdict == Verdict.CONFIRMED else 3.4
    return f'<circle class="dot {d.verdict}" cx="{x:g}" cy="{y:g}" r="{radius}">{tip}</circle>'


def legend_mark(verdict: str) -> Markup:
    """The mark of a verdict in the scatter plot, for its legend."""
    mark = _mark(Dot(0, 0, verdict, verdict), 7, 7)
    return Markup('<svg viewBox="0 0 14 14" aria-hidden="true">') + Markup(mark) + Markup("</svg>")


def scatter(dots: Sequence[Dot], expected: Expected) -> Markup:
    """Mean lift of each class against the mean area of its boxes, with what a typical image reaches."""
    right = max((d.x for d in dots), default=1.0)
    x = Axis(0.0, min(1.0, max(0.3, right * 1.08)), 58, 840)
    marked = [d for d in dots if d.verdict in ACCUSED]
    bulk = np.quantile([d.y for d in dots], (0.005, 0.995)) if dots else (-1.0, 1.0)
    y = Axis(*span([*bulk, *(d.y for d in marked), *expected.low, *expected.high]), 400, 34)
    body = svg.frame(x, y, ("mean share of the picture that the boxes cover", "mean lift"))
    inside = [i for i, a in enumerate(expected.area) if x.holds(float(a))]
    if len(inside) > 1:
        low, middle, high = (
            [(x(expected.area[i]), y(values[i])) for i in inside]
            for values in (expected.low, expected.middle, expected.high)
        )
        body += [svg.path(high + low[::-1], "band", close=True), svg.path(middle, "curve")]
    order = [str(v) for v in reversed(Verdict)]
    for d in sorted(dots, key=lambda d: order.index(d.verdict)):
        mark = _mark(d, x(d.x), y(d.y))
        body.append(f'<a href="#{escape(d.link)}">{mark}</a>' if d.link else mark)
    body += _labels([(x(d.x), y(d.y), d.name) for d in marked[:10]], x.stop)
    label = (
        f"Scatter plot of {len(dots)} classes: mean lift against mean box area; "
        f"{len(marked)} confirmed or suspected"
    )
    # an image has no parts that can be followed: where dots are links it is a group of them
    role = "group" if any(d.link for d in dots) else "img"
    return svg.figure(860, 454, label, body, "figure", role)


def _labels(points: Sequence[tuple[float, float, str]], right: float) -> list[str]:
    """Names beside their points, pushed down where they would overlap; to the left near the right edge."""
    body: list[str] = []
    placed: list[tuple[float, float, float]] = []
    for px, py, name in sorted(points, key=lambda p: p[1]):
        text = name if len(name) <= 26 else name[:25] + "…"
        width = 7.0 * len(text)
        left = px + 10 + width > right
        start = px - 10 - width if left else px + 10
        ty = py + 4
        for other_start, other_stop, other_y in placed:
            if start < other_stop and other_start < start + width and abs(ty - other_y) < 15:
                ty = other_y + 15
        placed.append((start, start + width, ty))
        body.append(svg.text(px + (-10 if left else 10), ty, text, "name", "end" if left else "start"))
    return body


def histogram(groups: Mapping[Verdict, np.ndarray], title: str) -> Markup:
    """Stacked histogram of a value per class, coloured by verdict."""
    everything = np.concatenate([*groups.values(), np.zeros(0)])
    everything = everything[np.isfinite(everything)]
    x = Axis(*span(list(everything)), 58, 840)
    edges = np.linspace(x.low, x.high, 49)
    counts = {v: np.histogram(groups[v], edges)[0] for v in Verdict if v in groups}
    top = int(max(sum(counts.values()).max(), 1)) if counts else 1  # type: ignore[union-attr]
    y = Axis(0, top, 170, 26)
    body = [f'<path class="zero" d="M{x(0):g} {y.stop - 8:g}V{y.start:g}"/>']
    base = np.zeros(len(edges) - 1)
    for verdict in Verdict:
        for i, n in enumerate(counts.get(verdict, ())):
            if n:
                left, width = x(edges[i]), x(edges[i + 1]) - x(edges[i]) - 1.5
                low, high = y(base[i]), y(base[i] + n)
                size = f'width="{width:.1f}" height="{low - high:.1f}"'
                body.append(f'<rect class="fill-{verdict}" x="{left:g}" y="{high:g}" {size}/>')
        base += counts.get(verdict, 0)
    body.append(f'<path class="base" d="M{x.start} {y.start + 0.5:g}H{x.stop}"/>')
    body += [svg.text(x(v), y.start + 18, signed(v, 1), "tick") for v in x.ticks()]
    body.append(svg.text((x.start + x.stop) / 2, y.start + 42, title, "axis"))
    body.append(svg.text(x.start - 10, y.stop + 5, top, "tick", "end"))
    body.append(svg.text(x.start - 10, y.start + 4, 0, "tick", "end"))
    return svg.figure(860, 220, f"Histogram: {title}, {len(everything)} classes", body, "figure")


@dataclass(frozen=True)
class Strip:
    """One row of the strip plot: the images of a class, or of all others."""

    name: str
    values: np.ndarray
    verdict: str


def strips(rows: Sequence[Strip], title: str) -> Markup:
    """A dot per image, a row per class, a bar at the median; more than 150 images become an outline."""
    pooled = np.concatenate([r.values for r in rows])
    low, high = np.quantile(pooled, (0.002, 0.998)) if len(pooled) else (-1.0, 1.0)
    x = Axis(*span([float(low), float(high)]), 190, 840)
    step, top = 44, 22
    bottom = top + step * len(rows)
    body = [
        f'<path class="{"zero" if v == 0 else "grid"}" d="M{x(v):g} {top - 6}V{bottom}"/>' for v in x.ticks()
    ]
    for i, row in enumerate(rows):
        middle = top + step * (i + 0.5)
        name = row.name if len(row.name) <= 22 else row.name[:21] + "…"
        body.append(svg.text(176, middle - 1, name, "name", "end"))
        body.append(svg.text(176, middle + 14, count(len(row.values), "image"), "tick", "end"))
        body.append(_outline(row, x, middle) if len(row.values) > 150 else _beads(row, x, middle))
        if len(row.values) > 2:  # of one or two, the bar would hide the dots
            centre = x(float(np.median(row.values)))
            body.append(f'<path class="median" d="M{centre:g} {middle - 15:g}v30"/>')
    body += [svg.text(x(v), bottom + 20, signed(v, 1), "tick") for v in x.ticks()]
    body.append(svg.text((x.start + x.stop) / 2, bottom + 44, title, "axis"))
    return svg.figure(860, bottom + 54, f"Strip plot: {title}, {len(rows)} rows", body, "figure")


def _beads(row: Strip, x: Axis, middle: float) -> str:
    """Dots stacked upwards and downwards from the middle where they would overlap."""
    taken: dict[int, int] = {}
    body = []
    for value in np.sort(row.values):
        column = round(x(float(value)) / 6)
        k = taken.get(column, 0)
        taken[column] = k + 1
        offset = (k + 1) // 2 * 5.4 * (-1 if k % 2 else 1)
        offset = max(-16.0, min(16.0, offset))
        body.append(
            f'<circle class="bead {row.verdict}" cx="{x(float(value)):g}" cy="{middle + offset:g}" r="2.9"/>'
        )
    return "".join(body)


def _outline(row: Strip, x: Axis, middle: float) -> str:
    """The histogram of many values as a shape symmetric about the row's middle."""
    edges = np.linspace(x.low, x.high, 66)
    counts = np.histogram(row.values, edges)[0].astype(float)
    counts = np.convolve(np.pad(counts, 1, mode="edge"), (0.25, 0.5, 0.25), mode="valid")
    half = 18 * counts / max(counts.max(), 1e-9)
    centres = (edges[1:] + edges[:-1]) / 2
    up = [(x(c), round(middle - h, 1)) for c, h in zip(centres, half, strict=True)]
    down = [(x(c), round(middle + h, 1)) for c, h in zip(centres, half, strict=True)]
    return svg.path(up + down[::-1], f"outline {row.verdict}", close=True)


def correlation(value: float | None) -> Markup:
    """A bar from 0 to a rank correlation on the scale -1..1."""
    axis = Axis(-1, 1, 2, 238)
    body = [f'<path class="track" d="M2 8H238"/><path class="z" d="M{axis(0):g} 1V15"/>']
    if given(value):
        assert value is not None
        a, b = sorted((axis(0), axis(value)))
        body.append(f'<rect class="bar" x="{a:g}" y="5" width="{max(b - a, 1):g}" height="6" rx="1.5"/>')
    return svg.figure(240, 16, f"rank correlation {number(value)}", body, "correlation")
