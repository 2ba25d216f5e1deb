"""Where the dataset says which classes carry an artefact: did they come first?"""

from __future__ import annotations

from typing import Any

import pandas as pd

from pipeline.canary.detection import detection
from pipeline.run.documents import records
from pipeline.verdicts import ACCUSED, Verdict
from reports.page import words
from reports.page.data import RunData
from reports.page.sections import Section

ROWS = 12
RANKINGS = (
    ("rank", "this audit"),
    ("ratio_rank", "ratio"),
    ("small_box_rank", "small box"),
    ("low_accuracy_rank", "low accuracy"),
)

TEMPLATE = """
<p class="answer {{ 'good' if good else 'bad' }}">{{ answer }}</p>
{% if rows %}
<div class="scroll" tabindex="0" role="region" aria-label="Planted classes">
<table class="plain">
<thead><tr><th scope="col">Planted class</th><th scope="col">What was planted</th><th scope="col">Verdict</th>
{% for h in headings %}
<th scope="col" class="num">{{ h }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for r in rows %}
<tr><th scope="row"><a href="#row-{{ r.label }}">{{ m.name(r.name) }}</a></th><td>{{ r.what }}</td>
<td>{{ m.chip(r.verdict) }}</td>
{% for k in r.ranks %}
<td class="num">{{ k | integer }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
<tfoot><tr><th scope="row" colspan="3">average precision over {{ total }} classes</th>
{% for ap in precision %}
<td class="num">{{ ap | number }}</td>
{% endfor %}
</tr></tfoot>
</table>
</div>
<p class="fine">{% if more %}{{ more }} more planted classes are in the table of all classes. {% endif %}
The last columns: rank by this audit, by the ratio of Alber (2019), by the smallest box and by
the lowest
accuracy.</p>
{% endif %}
"""


def build(run: RunData) -> dict[str, Any] | None:
    planted = run.manifest.get("dataset", {}).get("planted")
    table = run.classes
    if planted is None or "planted" not in table or table["planted"].isna().all():
        return None
    marked = table[table["planted"].eq(True)]
    answer, good = _answer(run, marked)
    return {
        "answer": answer,
        "good": good,
        "total": len(table),
        "headings": [title for _, title in RANKINGS],
        "precision": [_precision(table, column) for column, _ in RANKINGS],
        "more": max(0, len(marked) - ROWS),
        "rows": [
            {
                "label": int(r["label"]),
                "name": str(r["class_name"]),
                "what": _what(planted, r),
                "verdict": r["verdict"],
                "ranks": [r[column] for column, _ in RANKINGS],
            }
            for r in records(marked.head(ROWS))
        ],
    }


def _answer(run: RunData, marked: pd.DataFrame) -> tuple[str, bool]:
    table, n = run.classes, len(marked)
    accused = set(table.loc[table["verdict"].isin(ACCUSED), "label"])
    if not n:
        if not accused:
            return "This is generated data without any artefact, and no class was accused: right.", True
        alarms = words.count(len(accused), "false alarm")
        return f"This is generated data without any artefact: {alarms}.", False
    places = sorted(int(r) for r in marked["rank"])
    first = places == list(range(1, n + 1))
    who = "the one planted class" if n == 1 else f"the {words.spell(n)} planted classes"
    among = sum(place <= n for place in places)
    where = f"{who} came first" if first else f"{among} of the first {n} places are theirs"
    named, called = accused, "confirmed or suspected"
    if run.edited:
        named = set(table.loc[table["verdict"] == Verdict.CONFIRMED, "label"])
        called = Verdict.CONFIRMED.words
    hits, false = len(named & set(marked["label"])), len(named - set(marked["label"]))
    those = "All of them" if hits == n > 1 else f"{words.spell(hits).capitalize()} of them"
    text = (
        f"In this generated data, {words.count(n, 'class carries', 'classes carry')} an artefact beside the "
        f"object on purpose. In the ranking, {where}. {those} {'is' if hits == 1 else 'are'} {called}, with "
        f"{words.spell(false)} false alarm{'' if false == 1 else 's'}."
    )
    return text, first and hits == n and not false


def _precision(table: pd.DataFrame, column: str) -> float | None:
    """Average precision of a ranking; classes of equal rank stand in order of their label, not in ours."""
    order = table.sort_values("label").sort_values(column, kind="stable", na_position="last")["label"]
    return detection(order.tolist(), set(table.loc[table["planted"].eq(True), "label"]))["ap"]


def _what(planted: Any, row: dict[str, Any]) -> str:
    """The dataset's own words about a class: a text, or a mapping of properties."""
    if not isinstance(planted, dict):
        return ""
    keys = (row["class_name"], row["class_id"], str(row["label"]))
    about = next((planted[k] for k in keys if k in planted), "")
    if isinstance(about, dict):
        return ", ".join(f"{k}: {v}" for k, v in about.items())
    return str(about)


SECTION = Section("planted", "Did it find what was planted?", "Ground truth", 10, TEMPLATE, build)
