"""What people decided about the classes of the run: shown, and no part of any verdict."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipeline.run.documents import records
from reports.decisions.file import Waiver
from reports.page.data import RunData
from reports.page.sections import Section

TEMPLATE = """
<p class="intro">{{ rows | length | count("decision") }} about classes of this run. Verdicts are the audit's
and stay as they are; a gate may let a class pass by a decision, and then says so.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Decisions">
<table class="plain">
<thead><tr><th scope="col">Class</th><th scope="col">Verdict</th><th scope="col">Decision</th>
<th scope="col">Comment</th><th scope="col">Who</th><th scope="col">Until</th></tr></thead>
<tbody>
{% for row in rows %}
{% set said = row.waiver %}
<tr><th scope="row"><a href="#row-{{ row.label }}">{{ m.name(row.name, row.id) }}</a></th>
<td>{{ m.chip(row.verdict) }}</td>
<td>{{ said.decision.words }}{% if said.check %}<small> in <bdi>{{ said.check }}</bdi></small>{% endif %}</td>
<td><bdi>{{ said.reason }}</bdi></td>
<td><bdi>{{ said.owner }}</bdi>{% if said.decided %}<small> {{ said.decided }}</small>{% endif %}</td>
<td>{{ said.until or "no date: waives nothing" }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
"""


def build(run: RunData) -> dict[str, Any] | None:
    table = records(run.classes)
    named = Counter(str(row["class_name"]) for row in table)
    rows = [
        {
            "label": int(row["label"]),
            "name": str(row["class_name"]),
            "id": str(row["class_id"]),
            "verdict": str(row["verdict"]),
            "waiver": waiver,
        }
        for row in table
        for waiver in run.beside.decisions
        if _is_about(waiver, row, named)
    ]
    return {"rows": rows} if rows else None


def _is_about(waiver: Waiver, row: dict[str, Any], named: Counter[str]) -> bool:
    """By its id, or by its name where that names one class."""
    name = str(row["class_name"])
    return waiver.class_key == str(row["class_id"]) or (waiver.class_key == name and named[name] == 1)


SECTION = Section("decisions", "What people decided", "Decisions", 12, TEMPLATE, build)
