"""What became of each class since the baseline, where the report was given one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from markupsafe import Markup

from pipeline.statistics.comparison import ClassChange, Comparison
from pipeline.statistics.differences import RELEVANT_EFFECT, RELEVANT_LIFT
from pipeline.unboxed import quoted
from reports.page import words
from reports.page.data import RunData
from reports.page.edits import interval
from reports.page.figures import whisker, whisker_axis
from reports.page.sections import Section
from reports.page.since import TONES, changed, since

SHOWN: Final = 60  # classes in the table; `hansaudit diff` writes all

TEMPLATE = """
<p class="intro">{{ said }} Compared class by class on the {{ n | integer }} images that this run and
<bdi>{{ baseline }}</bdi> both use{{ about }}.</p>
<ul class="tested">
{% for tally in tallies if tally.n %}
<li class="{{ tally.tone }}"><b>{{ tally.n | integer }}</b> {{ tally.word.words }}<span class="meaning">{{
tally.word.meaning }}</span></li>
{% endfor %}
</ul>
{% if rows %}
<div class="scroll" tabindex="0" role="region" aria-label="Classes that changed">
<table class="plain">
<thead><tr><th scope="col">Class</th><th scope="col">Change</th><th scope="col">Verdict</th>
{% for heading, _ in measures %}<th scope="col">{{ heading }}</th>{% endfor %}
<th scope="col" class="num"><abbr title="false discovery rate at which it is said">q</abbr></th></tr></thead>
<tbody>
{% for row, tone in rows %}
<tr><th scope="row"><a href="#row-{{ row.label }}">{{ m.name(row.class_name, row.class_id) }}</a></th>
<td><span class="chip {{ tone }}">{{ row.change.words }}</span></td>
<td>{{ row.before or "absent" }}{% if row.before != row.after %} → {{ row.after or "absent" }}{% endif %}</td>
{% for _, shown in measures %}
{% set bar, figures, images = shown[row.label] %}
<td>{% if figures %}{{ bar }}<small><b>{{ figures }}</b> {{ images | count("image") }}</small>{% endif %}</td>
{% endfor %}
<td class="num">{{ row.q | probability }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
<p class="fine">{% if left_out %}{{ left_out | count("more class", "more classes") }} changed. {% endif %}An
effect that rises and a lift that falls are for the worse; changes below {{ limits[0] }} of an effect and {{
limits[1] }} of a lift are held not to matter. <code>{{ command }}</code> writes all classes with their
intervals.</p>
"""

Ends = tuple[float | None, float | None, float | None]  # low, mean, high


def build(run: RunData) -> dict[str, Any] | None:
    comparison, line = run.beside.comparison, since(run)
    if comparison is None or line is None:
        return None
    moved = changed(comparison)
    shown = moved[:SHOWN]
    effects = [((r.effect_low, r.effect, r.effect_high), r.n_edited) for r in shown]
    lifts = [((r.lift_low, r.lift, r.lift_high), r.n) for r in shown]
    return {
        "said": line.said,
        "n": comparison.n_images,
        "baseline": comparison.baseline,
        "about": _about(comparison),
        "tallies": line.tallies,
        "rows": [(row, TONES[row.change]) for row in shown],
        "measures": [
            (heading, _measured(shown, values))
            for heading, values in (("Change of the effect", effects), ("Change of the adj. lift", lifts))
            if any(mean is not None for (_, mean, _), _ in values)
        ],
        "left_out": len(moved) - len(shown),
        "limits": (words.number(RELEVANT_EFFECT), words.number(RELEVANT_LIFT)),
        "command": f"hansaudit diff {quoted(comparison.baseline)} {quoted(run.store.path)} --csv changes.csv",
    }


def _about(comparison: Comparison) -> str:
    before, now = comparison.accuracy
    told = ""
    if before is not None and now is not None:
        told += f"; accuracy {words.percent(before, 1)} before, {words.percent(now, 1)} now"
    if comparison.lift is not None and abs(comparison.lift) >= 0.005:
        told += f"; the lift of all images changed by {words.signed(comparison.lift)}, which is left out here"
    return told


def _measured(
    rows: Sequence[ClassChange], values: Sequence[tuple[Ends, int]]
) -> dict[int, tuple[Markup, str, int]]:
    """Label -> bar on one scale, figures in words (empty where there are none), of how many images."""
    axis = whisker_axis([end for (low, _, high), _ in values for end in (low, high) if end is not None])
    return {
        row.label: (whisker(axis, low, mean, high, TONES[row.change]), _figures(low, mean, high), n)
        for row, ((low, mean, high), n) in zip(rows, values, strict=True)
    }


def _figures(low: float | None, mean: float | None, high: float | None) -> str:
    return "" if mean is None else f"{words.signed(mean)} {interval(low, high)}".strip()


SECTION = Section("changes", "What changed since the baseline", "Changes", 11, TEMPLATE, build)
