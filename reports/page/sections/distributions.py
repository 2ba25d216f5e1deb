"""How the classes, and the images inside the suspicious ones, are spread."""

from __future__ import annotations

from typing import Any

from pipeline.run.documents import records
from pipeline.verdicts import ACCUSED, Verdict
from reports.page.data import RunData
from reports.page.figures import Strip, histogram, strips
from reports.page.sections import Section

ROWS = 8

TEMPLATE = """
{% if classes %}
<h3>Classes by adjusted lift</h3>
<div class="scroll plot" tabindex="0" role="region" aria-label="Histogram of classes">{{ classes }}</div>
{% endif %}
{% if images %}
<h3>Images inside {{ "the classes that the audit points at" if apart else "the first classes" }}</h3>
<div class="scroll plot" tabindex="0" role="region" aria-label="Strip plot of images">{{ images }}</div>
<p class="reading"><b>How to read this.</b> One dot is one image; the bar is the median. A class that is low
as a whole relies on something else in every picture. One that falls into two heaps has two strategies:
perhaps
only the pictures of one source carry the mark.</p>
{% else %}
<p class="missing">No two classes have usable images: there is nothing to compare and nothing to show.</p>
{% endif %}
"""


def build(run: RunData) -> dict[str, Any]:
    table = run.classes
    measured = table[table["adjusted_lift"].notna()]
    groups = {v: measured.loc[measured["verdict"] == v, "adjusted_lift"].to_numpy(float) for v in Verdict}
    accused = table[table["verdict"].isin(ACCUSED)]
    chosen = accused if len(accused) else table
    chosen = chosen[chosen["n"] > 0].head(ROWS)
    used = run.used[["label", "excess"]].dropna(subset="excess")
    rows = [
        Strip(
            run.short(r["class_name"]),
            used.loc[used["label"] == r["label"], "excess"].to_numpy(float),
            r["verdict"],
        )
        for r in records(chosen)
    ]
    rest = used.loc[~used["label"].isin(chosen["label"]), "excess"].to_numpy(float)
    if len(rest):
        rows.append(Strip("all other classes", rest, Verdict.UNREMARKABLE))
    axis = "adjusted lift of a class (0: as on comparable images)"
    title = "lift of an image, minus the lift expected for the size of its box"
    return {
        "classes": histogram(groups, axis) if len(measured) else None,
        "images": strips(rows, title) if len(used) else None,
        "apart": len(accused) > 0,
    }


SECTION = Section("distributions", "Distributions", "Distributions", 50, TEMPLATE, build)
