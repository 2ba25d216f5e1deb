"""How the network fares in each group of the images: where do its errors lie?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.run.documents import GroupRow, GroupsDocument
from pipeline.verdicts import Verdict
from reports.page.data import RunData
from reports.page.figures import WHISKER, whisker
from reports.page.headline import worst_group
from reports.page.sections import Section
from reports.page.svg import Axis

ROWS = 24  # of a table; the others stand in the file

TEMPLATE = """
{% macro estimate(e) %}{% if e and e.mean is given %}{{ e.mean | signed }}
{% if e.low is given %}<small>{{ e.low | signed }} … {{ e.high | signed }}</small>{% endif %}
{% else %}–{% endif %}{% endmacro %}
{% if sentence %}<p class="intro">{{ sentence }}</p>{% endif %}
{% if note %}<p class="missing">{{ note }}</p>{% endif %}
{% for title, rows, left_out, by_class in tables %}
<h3>{{ title }}</h3>
<div class="scroll" tabindex="0" role="region" aria-label="{{ title }}">
<table class="plain">
<thead><tr>{% if by_class %}<th scope="col">Class</th>{% endif %}<th scope="col">{{ source }}</th>
<th scope="col" class="num">images</th><th scope="col" class="num">right</th><th scope="col">0 to 1</th>
<th scope="col" class="num">adjusted lift</th>
{% for name in effects %}<th scope="col" class="num">{{ name }}</th>{% endfor %}
{% if by_class %}<th scope="col" class="num">q</th>{% endif %}</tr></thead>
<tbody>
{% for r, bar in rows %}
<tr>{% if by_class %}<th scope="row">{{ m.name(r.class_name) }}</th>{% endif %}
<td>{% if r.group is none %}<i>unknown</i>{% else %}{{ m.name(r.group) }}{% endif %}</td>
<td class="num">{{ r.accuracy.n | integer }}</td>
<td class="num">{{ r.accuracy.mean | percent }}
{% if r.accuracy.low is given %}<small>{{ r.accuracy.low | percent }} … {{ r.accuracy.high | percent
}}</small>{% endif %}</td>
<td>{{ bar }}</td>
<td class="num">{{ estimate(r.lift) }}</td>
{% for name in effects %}<td class="num">{{ estimate(r.effects.get(name)) }}</td>{% endfor %}
{% if by_class %}<td class="num">{{ r.q | probability }}</td>{% endif %}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% if left_out %}<p class="fine">{{ left_out | count("more row") }} in <code>{{ file }}</code>.</p>{% endif %}
{% endfor %}
{% if tables %}
<p class="reading"><b>How to read this.</b> The worst group is the class and {{ source }} of which the
smallest share is right. It is the lowest of {{ n_counted }} figures, so chance makes it low, too: q says
whether the accuracies of a class's groups differ by more than chance. Groups of fewer than
{{ n_min | count("image") }} stand at the end without intervals and cannot be the worst
{%- if n_few %} (here {{ n_few }}){% endif %}. {% if n_unknown %}Of {{ n_unknown | count("image") }} the
{{ source }} is not known; they count in no summary. {% endif %}The lift is that of the images that the
ranking uses, by <code>{{ method }}</code>.</p>
{% endif %}
"""


def build(run: RunData) -> dict[str, Any] | None:
    groups = GroupsDocument.current(run.store)
    if groups is None:
        return None
    titles = (f"By class and {groups.source}", f"By {groups.source}, all classes")
    tables = [
        (title, [(row, _bar(row)) for row in rows[:ROWS]], max(0, len(rows) - ROWS), by_class)
        for title, rows, by_class in zip(titles, (groups.rows, groups.overall), (True, False), strict=True)
        if rows
    ]
    known = [row for row in groups.rows if row.group is not None]
    return {
        "sentence": f"Worst group: {worst_group(groups)}." if groups.worst else "",
        "note": groups.note,
        "tables": tables,
        "source": groups.source,
        "effects": _effects(groups.rows),
        "n_min": groups.n_min,
        "n_counted": len(groups.counted),
        "n_few": len(known) - len(groups.counted),
        "n_unknown": groups.n_unknown,
        "method": groups.method,
        "file": groups.TABLE,
    }


def _effects(rows: Sequence[GroupRow]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.effects))


def _bar(row: GroupRow) -> Any:
    e = row.accuracy
    return whisker(Axis(0.0, 1.0, 4, WHISKER[0] - 4), e.low, e.mean, e.high, Verdict.UNDECIDED)


SECTION = Section("groups", "Where do its errors lie?", "Groups", 50, TEMPLATE, build)
