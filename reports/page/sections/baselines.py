"""The trivial rankings beside ours, so that nobody mistakes one for the other."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pipeline.columns import rank_column
from reports.page.data import RunData
from reports.page.figures import correlation
from reports.page.sections import Section

TOP = 10

# baseline (see pipeline.columns.BASELINES) -> heading, what it is
HEADINGS = {
    "ratio": ("ratio of Alber (2019)", "lowest mean ratio of relevance inside to outside the box"),
    "small_box": ("small box", "smallest mean box: no model and no heat map needed"),
    "constant_map": ("constant map", "the ratio that a map without any idea gets"),
    "low_accuracy": ("low accuracy", "least often right: no heat map needed"),
}

TEMPLATE = """
<p class="intro">A ranking is worth something only if a trivial one would not have given it.
A heat map that is the same
for every picture, for instance, orders the classes by the size of their boxes and by nothing else.</p>
<dl class="correlations">
{% for b in baselines %}
<div><dt>{{ b.title }}<span class="fine">{{ b.about }}</span></dt>
<dd>{{ b.bar }} <b>{{ b.value | signed }}</b></dd></div>
{% endfor %}
</dl>
<p class="fine">Rank correlation (Spearman) of this audit's ranking with each baseline over
{{ n | count("class", "classes") }}: 0 is unrelated, 1 the same order.</p>
<div class="tops">
{% for title, top in tops %}
<div><h3>{{ title }}</h3><ol>
{% for r in top %}
<li class="{{ r.verdict }}">{{ m.name(r.name) }}</li>
{% endfor %}
</ol></div>
{% endfor %}
</div>
<p class="fine">The first {{ tops[0][1] | length }} of each ranking; classes that this audit
confirms or suspects are printed in the colour of the verdict.</p>
"""


def build(run: RunData) -> dict[str, Any] | None:
    table = run.classes
    if len(table) < 2:
        return None
    values = run.ranking.summary.get("correlations", {})
    # a constant map has nearly the order of the small boxes: its correlation says enough
    listed = [(rank_column(name), title) for name, (title, _) in HEADINGS.items() if name != "constant_map"]
    ranks = [("rank", "this audit"), *listed]
    return {
        "n": len(table),
        "tops": [(title, _top(run, table, column)) for column, title in ranks],
        "baselines": [
            {"title": title, "about": about, "value": values.get(name), "bar": correlation(values.get(name))}
            for name, (title, about) in HEADINGS.items()
        ],
    }


def _top(run: RunData, table: pd.DataFrame, column: str) -> list[dict[str, str]]:
    rows = table[table[column].notna()].sort_values(column, kind="stable").head(TOP)
    return [
        {"name": run.short(n), "verdict": str(v)}
        for n, v in zip(rows["class_name"], rows["verdict"], strict=True)
    ]


SECTION = Section("baselines", "What a trivial ranking would say", "Baselines", 60, TEMPLATE, build)
