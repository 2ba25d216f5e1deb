"""Do the heat maps depend on what the network has learnt? Sanity checks of the explanation methods."""

from __future__ import annotations

from typing import Any

from reports.page import words
from reports.page.data import RunData
from reports.page.figures import correlation
from reports.page.sections import Section

TEMPLATE = """
<p class="answer {{ 'good' if good else 'bad' }}">{{ answer }}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Sanity checks per method">
<table class="plain effects">
<thead><tr><th scope="col">Method</th>
{% for name in stages %}
<th scope="col">{{ name }} shuffled</th>
{% endfor %}
<th scope="col">another class</th><th scope="col">Verdict</th></tr></thead>
<tbody>
{% for r in rows %}
<tr><th scope="row"><code>{{ r.method }}</code></th>
{% for c in r.cells %}
<td>{{ c.bar }}<small>ρ {{ c.rho | number }} · SSIM {{ c.ssim | number }}</small></td>
{% endfor %}
<td>
{% for failure in r.failures %}
<span class="chip bad">{{ failure }}</span>
{% else %}
<span class="chip good">passed</span>
{% endfor %}
</td></tr>
{% endfor %}
{% for method, reason in unchecked.items() %}
<tr><th scope="row"><code>{{ method }}</code></th>
<td colspan="{{ stages | length + 2 }}">could not be checked: {{ reason }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
<p class="reading"><b>How to read this.</b> Maps of {{ images | count("image") }} before and after the
weights of the
network are shuffled, from the output down (Adebayo et al. 2018), and when another class is explained (Sixt
et al.
2020). ρ is the median rank correlation of the two maps; the bar shows it from −1 to 1. A map that stays
the same shows
the picture, not the network: <em>insensitive</em> from {{ limits.insensitive | number }} on with all
weights shuffled,
<em>class blind</em> from {{ limits.class_blind | number }} on for another class.</p>
"""


def build(run: RunData) -> dict[str, Any] | None:
    checks = run.sanity
    if checks is None or not (checks.methods or checks.unchecked):
        return None
    rows = [
        {
            "method": m.method,
            "cells": [_cell(*pair) for pair in (*m.randomised.values(), m.other_class)],
            "failures": m.failures,
        }
        for m in checks.methods
    ]
    return {
        "good": checks.failures(run.method) == (),
        "answer": _answer(run.method, checks.failures(run.method)),
        "stages": list(checks.methods[0].randomised) if checks.methods else [],
        "rows": rows,
        "unchecked": checks.unchecked or {},
        "images": checks.images,
        "limits": checks.limits,
    }


def _answer(method: str, failing: tuple[str, ...] | None) -> str:
    if failing is None:
        return (
            f"Whether the maps of {method}, on which this report rests, depend on the network is unchecked."
        )
    if failing:
        return (
            f"The maps of {method}, on which this report rests, are {words.listing(failing)}: they say "
            "little about what the network has learnt."
        )
    return f"The maps of {method} change when the network's knowledge is destroyed, as they should."


def _cell(rho: float | None, ssim: float | None) -> dict[str, Any]:
    return {"bar": correlation(rho), "rho": rho, "ssim": ssim}


SECTION = Section("sanity", "Do the maps depend on the network?", "Sanity", 53, TEMPLATE, build)
