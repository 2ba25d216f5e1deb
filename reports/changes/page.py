"""What changed between two runs as one self-contained page, and its figure: intervals of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup, escape

from pipeline.statistics.comparison import ClassChange, Comparison
from pipeline.statistics.differences import RELEVANT_EFFECT, RELEVANT_LIFT
from pipeline.verdicts import Change
from reports.changes.tables import about, changed, headline, row_words
from reports.inline import assets, environment

SHOWN: Final = 40  # classes in the figure
_ROW, _LEFT, _WIDE, _GAP, _TOP = 22, 190, 270, 30, 46
_COLOURS: Final = {
    Change.NEW: "#b3261e",
    Change.WORSE: "#c4622d",
    Change.UNDECIDED: "#8a8a8a",
    Change.UNCHANGED: "#6b7f8c",
    Change.BETTER: "#3d7a4e",
    Change.GONE: "#1f5c8b",
}


def changes_page(comparison: Comparison) -> str:
    """The page: what was compared, figure, table of all classes. Fetches nothing, runs nothing."""
    rows = [(row, row.change, *row_words(row), _number(row.q)) for row in comparison.classes]
    return (
        environment("reports.changes")
        .get_template("changes.html.j2")
        .render(
            comparison=comparison,
            headline=headline(comparison),
            about=about(comparison),
            figure=Markup(changes_figure(comparison)),
            rows=rows,
            words=[(word.words, word.meaning, _COLOURS[word]) for word in Change],
            limits=(RELEVANT_LIFT, RELEVANT_EFFECT),
            **assets("reports.changes", "changes"),
        )
    )


def changes_figure(comparison: Comparison) -> str:
    """An SVG: change of lift and effect of the changed classes (the largest others where none is)."""
    rows = (list(changed(comparison)) or list(comparison.classes))[:SHOWN]
    figures = (
        ("adjusted lift", RELEVANT_LIFT, [(r.lift, r.lift_low, r.lift_high) for r in rows]),
        ("effect", RELEVANT_EFFECT, [(r.effect, r.effect_low, r.effect_high) for r in rows]),
    )
    panels: list[_Panel] = []
    for title, relevant, intervals in figures:
        if any(mean is not None for mean, _, _ in intervals):
            left = _LEFT + (_WIDE + _GAP) * len(panels)
            panels.append(_Panel(title, left, relevant, intervals))
    height, width = _TOP + _ROW * len(rows) + 14, _LEFT + 2 * _WIDE + _GAP + 16
    body = [_names(rows), *(panel.draw([_COLOURS[r.change] for r in rows]) for panel in panels)]
    said = escape(headline(comparison))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="currentColor" aria-label="{said}">'
        f"<title>{said}</title>{''.join(body)}</svg>"
    )


def _names(rows: Sequence[ClassChange]) -> str:
    texts = []
    for k, row in enumerate(rows):
        name = row.class_name if len(row.class_name) <= 26 else row.class_name[:25] + "…"
        safe = "".join(c if c.isprintable() else "�" for c in name)
        texts.append(
            f'<text x="{_LEFT - 10}" y="{_TOP + _ROW * k + 4}" text-anchor="end">{escape(safe)}</text>'
        )
    return "".join(texts)


class _Panel:
    """One figure of the classes: intervals about 0, with the band of what does not matter."""

    def __init__(
        self,
        title: str,
        left: int,
        relevant: float,
        intervals: Sequence[tuple[float | None, float | None, float | None]],
    ) -> None:
        self._title, self._left, self._relevant, self._intervals = title, left, relevant, intervals
        ends = [abs(end) for interval in intervals for end in interval if end is not None]
        self._reach = max([2 * relevant, *ends])

    def _x(self, value: float) -> float:
        return round(self._left + _WIDE * (value / self._reach + 1) / 2, 1)

    def draw(self, colours: Sequence[str]) -> str:
        bottom = _TOP + _ROW * len(self._intervals) - 8
        low, high = self._x(-self._relevant), self._x(self._relevant)
        parts = [
            f'<text x="{self._x(0)}" y="14" text-anchor="middle">change of the {self._title}</text>',
            f'<rect x="{low}" y="26" width="{high - low:.1f}" height="{bottom - 26}" opacity="0.08"/>',
            f'<path d="M{self._x(0)} 26V{bottom}" stroke="currentColor" opacity="0.5"/>',
        ]
        for value in (-self._reach, self._reach):
            anchor = "start" if value < 0 else "end"
            parts.append(
                f'<text x="{self._x(value)}" y="28" text-anchor="{anchor}" opacity="0.7">{value:+.2f}</text>'
            )
        for k, ((mean, first, last), colour) in enumerate(zip(self._intervals, colours, strict=True)):
            if mean is None:
                continue
            y = _TOP + _ROW * k
            if first is not None and last is not None:
                line = f"M{self._x(first)} {y}H{self._x(last)}"
                parts.append(f'<path d="{line}" stroke="{colour}" stroke-width="2"/>')
            parts.append(f'<circle cx="{self._x(mean)}" cy="{y}" r="4" fill="{colour}"/>')
        return "".join(parts)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
