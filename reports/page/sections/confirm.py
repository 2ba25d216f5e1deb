"""What happened when the images were edited: is the evidence beside the object really used?"""

from __future__ import annotations

from typing import Any

from pipeline.run.documents import MeanEffect, records
from pipeline.statistics.effects import depends_on_background
from pipeline.verdicts import ACCUSED, Tested, Verdict
from reports.page import edits, words
from reports.page.data import RunData
from reports.page.sections import Section

ROWS = 40  # of classes of which nothing is said; the others are shown whatever their number

TEMPLATE = """
<p class="intro">{{ intro }}</p>
<ul class="tested">
{% for tested, n, heading, meaning in counts %}
<li><b>{{ n | integer }}</b> {{ heading }} <span class="meaning">{{ meaning }}</span></li>
{% endfor %}
</ul>
<div class="scroll table" tabindex="0" role="region" aria-label="Interventions per class">
<table class="plain effects">
<thead><tr><th scope="col">Class</th><th scope="col">Verdict</th><th scope="col">Heat maps say</th>
<th scope="col">Edited images show</th><th scope="col" class="num">Images</th>
{% for heading, about in headings %}
<th scope="col"><abbr title="{{ about }}">{{ heading }}</abbr></th>
{% endfor %}
</tr></thead>
<tbody>
{% for r in rows %}
<tr><th scope="row"><a href="#row-{{ r.label }}">{{ m.name(r.name) }}</a></th>
<td>{{ m.chip(r.verdict) }}</td><td>{{ m.maps(r.maps) }}</td>
<td>{{ r.showed }}{% if r.needed is given %} <small>needs {{ r.needed | integer }}
images</small>{% endif %}</td>
<td class="num">{{ r.n | integer }}</td>
{% for e in r.effects %}
<td>{% if e %}{{ m.effect(e) }}{% else %}<small>not possible</small>{% endif %}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
{% if left_out %}
<p class="fine">{{ left_out | count("more class", "more classes") }} without a finding: see the table of all
classes.</p>
{% endif %}
<p class="reading"><b>How to read this.</b> All figures but the gap are changes of the class's
probability, mean
over its images with 95 % interval, on one scale from −0.3 to 1; the dotted line is 0. <em>Background
alone</em>
and <em>object alone</em> decide: each compares the same picture, cut in the same way, on a background of
its own
class and of another; where backgrounds say nothing about the class both are 0, whatever the cutting
does. A class
needs its background if a test says so of all classes together (false discoveries held to
{{ level | percent }})
and the lower end of the interval of either, less what ordinary classes show, is {{ demand }}. An effect that
vanishes with <em>a wider rim</em> may be the object itself, cut off by its box.
{% if gap %}The <em>background gap</em> of all classes is {{ gap }} (Xiao et al. 2020).{% endif %}
{% if null is given %}
 Put to the same rule with foreign backgrounds in place of the own ones,
{{ null | count("class", "classes") }} would be confirmed: it should be none.
{% endif %}</p>
"""
_SHOWED = {
    Tested.DEPENDS: "needs its background",
    Tested.RIM: "the rim of the box",
    Tested.UNDECIDED: "not decided",
    Tested.INDEPENDENT: "does not need it",
}


def build(run: RunData) -> dict[str, Any] | None:
    judgements = run.edited
    if not judgements:
        return None
    heads = edits.headings(judgements.values())
    tested = [row for row in records(run.classes) if int(row["label"]) in judgements]
    shown, left_out = _chosen(tested)
    summary = run.ranking.summary
    return {
        "intro": (
            "A heat map is a hint. Here the images themselves were edited and shown to the network again: "
            f"{words.count(sum(j.n for j in judgements.values()), 'image')} of "
            f"{words.count(len(judgements), 'class', 'classes')}."
        ),
        "counts": _counts(tested),
        "headings": list(heads.values()),
        "rows": [_row(run, row, heads) for row in shown],
        "left_out": left_out,
        "demand": depends_on_background().demand,
        "level": run.rule("level"),
        "gap": _gap(summary.get("background_gap")),
        "null": summary.get("n_null_confirmed"),
    }


def _chosen(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """All classes of which something is to be said and the first others; how many are left out."""
    said = [row for row in rows if _says_something(row)]
    rest = [row for row in rows if not _says_something(row)]
    return said + rest[:ROWS], max(0, len(rest) - ROWS)


def _says_something(row: dict[str, Any]) -> bool:
    return row["verdict"] in (*ACCUSED, Verdict.CLEARED) or row["tested"] == Tested.RIM


def _counts(rows: list[dict[str, Any]]) -> list[tuple[Tested, int, str, str]]:
    counts = {t: sum(row["tested"] == t for row in rows) for t in Tested}
    return [(t, counts[t], _SHOWED[t], t.meaning) for t in Tested if counts[t]]


def _row(run: RunData, row: dict[str, Any], heads: dict[str, tuple[str, str]]) -> dict[str, Any]:
    judgement = run.edited[int(row["label"])]
    return {
        "label": int(row["label"]),
        "name": str(row["class_name"]),
        "verdict": row["verdict"],
        "maps": row["map_verdict"],
        "showed": _SHOWED[judgement.tested],
        "needed": judgement.n_needed,
        "n": judgement.n,
        "effects": edits.shown_effects(judgement, str(row["verdict"]), heads),
    }


def _gap(gap: MeanEffect | None) -> str:
    return "" if gap is None else f"{words.signed(gap['mean'])} {edits.interval(gap['low'], gap['high'])}"


SECTION = Section("confirm", "Put to the test: edited images", "Interventions", 25, TEMPLATE, build)
