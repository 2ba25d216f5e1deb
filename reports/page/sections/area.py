"""Lift against the size of the object: is a class low because its boxes are small?"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.run.documents import records
from pipeline.verdicts import ACCUSED, Verdict
from reports.page.data import RunData
from reports.page.figures import Dot, legend_mark, scatter
from reports.page.sections import Section

TEMPLATE = """
{% if plot %}
<div class="scroll plot" tabindex="0" role="region" aria-label="Scatter plot">{{ plot }}</div>
<ul class="legend">
{% for verdict, mark in marks %}
<li>{{ mark }} {{ verdict }}</li>
{% endfor %}
<li><svg viewBox="0 0 26 14" aria-hidden="true"><path class="band" d="M0 2H26V12H0Z"/>
<path class="curve" d="M0 7H26"/></svg> images of this run: median and middle half</li>
</ul>
<p class="reading"><b>How to read this.</b> A lift of 0 is what a map without any idea would reach, whatever
the size of the box. The band shows what images of this run reach for a box of that size: it is the size's
doing,
not the class's. The maps accuse a class not because it is low, or far to the left, but because its images lie
lower than the band too consistently for chance. The colours say what the whole audit says
{%- if accused %}: of {{ accused | count("confirmed or suspected class", "confirmed or suspected classes") }}
here, {{ below | integer }} lie{{ "s" if below == 1 }} below the band; for the others edited images spoke, or
other tests of the maps{% endif %}.</p>
{% else %}
<p class="missing">No class has an image with a usable box, so there is nothing to plot.</p>
{% endif %}
"""


def build(run: RunData) -> dict[str, Any]:
    rows = records(run.classes.dropna(subset=["lift", "box_area"]))
    # the ranking's mean area is over all images of the class; the dot belongs where its lift was measured
    areas = run.used.groupby("label")["box_area"].mean()
    dots = [
        Dot(
            float(areas.get(r["label"], r["box_area"])),
            float(r["lift"]),
            run.short(r["class_name"]),
            str(r["verdict"]),
            f"row-{r['label']}",
        )
        for r in rows
    ]
    accused = [d for d in dots if d.verdict in ACCUSED]
    low = run.expected.low
    return {
        "accused": len(accused) if len(low) else 0,
        "below": sum(d.y < np.interp(d.x, run.expected.area, low) for d in accused) if len(low) else 0,
        "plot": scatter(dots, run.expected) if dots else None,
        "marks": [(v, legend_mark(v)) for v in Verdict],
    }


SECTION = Section("area", "Against the size of the object", "Object size", 40, TEMPLATE, build)
