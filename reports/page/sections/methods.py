"""Explanation methods ranked by their perturbation curves (``hansaudit rank-methods``)."""

from __future__ import annotations

from typing import Any

from pipeline.run.documents import MethodsDocument
from reports.page.data import RunData
from reports.page.sections import Section

TEMPLATE = """
<div class="scroll" tabindex="0" role="region" aria-label="Ranking of the methods">
<table class="plain">
<thead><tr><th scope="col" class="num">#</th><th scope="col">Method</th>
<th scope="col" class="num">{{ metric }}</th><th scope="col" class="num">behind the best</th>
<th scope="col">note</th></tr></thead>
<tbody>
{% for r in methods %}
<tr><td class="num">{{ r.rank }}</td><th scope="row"><code>{{ r.method }}</code></th>
<td class="num">{{ r.mean | signed(3) }} <small>{{ r.low | signed(3) }} … {{ r.high | signed(3)
}}</small></td>
<td class="num">{% if r.rank == 1 %}best{% else %}{{ r.behind | number(3) }}
<small>{{ r.behind_low | signed(3) }} … {{ r.behind_high | signed(3) }}</small>{% endif %}</td>
<td>{% if r.tied and r.rank > 1 %}<span class="chip undecided">tied with the best</span>{% endif %}
{% if r.insensitive %}<span class="chip bad">insensitive</span>{% endif %}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
<p class="reading">Over the {{ n | count("image") }} for which every method has a curve
{%- if left_out %} ({{ left_out }} left out){% endif %}; 95 % intervals of the mean, and of the paired
difference to
the best method.</p>
"""


def build(run: RunData) -> dict[str, Any] | None:
    ranked = MethodsDocument.current(run.store)
    return vars(ranked) if ranked and ranked.methods else None


SECTION = Section("methods", "Which method describes the network best?", "Methods", 56, TEMPLATE, build)
