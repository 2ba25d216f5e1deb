"""What people decided about the classes of the run: shown, and no part of any verdict."""

from __future__ import annotations

from typing import Any

from reports.page.data import RunData
from reports.page.decided import decided
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
<td><bdi>{{ said.reason }}</bdi>{% for tag in said.tags %} <bdi class="mark">{{ tag }}</bdi>{% endfor
%}</td>
<td><bdi>{{ said.owner }}</bdi>{% if said.decided %}<small> {{ said.decided }}</small>{% endif %}</td>
<td>{{ said.until or "no date: waives nothing" }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
"""


def build(run: RunData) -> dict[str, Any] | None:
    rows = [
        {
            "label": int(row["label"]),
            "name": str(row["class_name"]),
            "id": str(row["class_id"]),
            "verdict": str(row["verdict"]),
            "waiver": waiver,
        }
        for row, waiver in decided(run)
    ]
    return {"rows": rows} if rows else None


SECTION = Section("decisions", "What people decided", "Decisions", 12, TEMPLATE, build)
