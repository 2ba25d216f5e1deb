"""What this set-up finds and what it would have missed, measured on planted marks (``hansaudit canary``)."""

from __future__ import annotations

from typing import Any

from pipeline.canary.detection import CLASS_ORDERS
from reports.page.data import RunData
from reports.page.sections import Section

TEMPLATE = """
<p class="answer">{{ line }}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Planted marks">
<table class="plain">
<thead><tr><th scope="col">Mark</th><th scope="col" class="num">Size</th><th scope="col" class="num">On</th>
<th scope="col" class="num">Adds to the class</th><th scope="col">Verdict</th>
<th scope="col">Heat maps say</th><th scope="col">Found</th></tr></thead>
<tbody>
{% for c in cells %}
<tr><th scope="row">{{ c.kind }}{% if c.inside %} <small>on the object</small>{% endif %}
{% if not c.visible %} <small>invisible</small>{% endif %}</th>
<td class="num">{{ c.size | percent }}</td><td class="num">{{ c.probability | percent }}
{%- if c.carried is given and (c.carried | percent) != (c.probability | percent) %} <small>{{
c.carried | percent }} carry it</small>{% endif %}</td>
<td class="num">{{ c.added | signed }}{% if not c.used %} <small>not used</small>{% endif %}</td>
<td>{{ m.chip(c.said) }}</td><td>{{ m.maps(c.verdict) }}</td>
<td>{{ "found" if c.found else "missed" if c.used else "not used" }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% if orders %}
<h3>How well each order of the classes finds the marked ones</h3>
<div class="scroll" tabindex="0" role="region" aria-label="Figures of the detector">
<table class="plain">
<thead><tr><th scope="col">Order of the classes</th><th scope="col" class="num">Average precision</th>
<th scope="col" class="num">AUC</th><th scope="col" class="num">Recall at k</th></tr></thead>
<tbody>
{% for title, f in orders %}
<tr><th scope="row">{{ title }}</th><td class="num">{{ f.ap | number }}</td><td class="num">{{ f.auc |
number }}</td>
<td class="num">{{ f.recall | number }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
<p class="reading"><b>How to read this.</b> {{ networks | count("network") }} were trained on
{% if photographs %}real photographs (a linear head on the frozen features of another network)
{%- else %}generated pictures{% endif %} with marks of known size (share of the picture's side) on a known
share of a class's pictures, and audited like this run.
<em>Adds to the class</em> is the probability that the mark itself contributes: what no network uses, no
audit can find.
Among {{ alarms.classes | count("class", "classes") }} without a mark, {{ alarms.suspicious | integer }}
were
suspicious by their maps and {{ alarms.confirmed + alarms.hidden }} confirmed. Measured on other networks
than this run's: a
yardstick, not
a guarantee.</p>
"""


def build(run: RunData) -> dict[str, Any] | None:
    canary = run.canary
    if canary is None:
        return None
    figures = canary.figures
    return {
        "line": canary.line,
        "cells": sorted(canary.cells, key=lambda c: (c.kind, c.inside, c.size, -c.probability)),
        "orders": [(title, figures[name]) for name, title in CLASS_ORDERS.items() if name in figures],
        "networks": canary.networks,
        "photographs": "photographs" in canary.about,
        "alarms": canary.false_alarms,
    }


SECTION = Section("canary", "What would this audit have missed?", "Canary", 65, TEMPLATE, build)
