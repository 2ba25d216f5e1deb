"""What could not be measured: counts by status and reason, with examples."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pipeline import schema
from reports.page.data import RunData
from reports.page.sections import Section

EXAMPLES = 5

MEANING = {
    schema.STATUS_OK: "measured",
    schema.STATUS_NO_BOX: "the dataset has no box for it",
    schema.STATUS_NO_VISIBLE_BOX: "the crop that the model sees holds nothing of the box",
    schema.STATUS_BOX_COVERS_IMAGE: "the box fills the whole picture: there is no outside",
    schema.STATUS_FAILED: "could not be read, decoded or explained",
}

TEMPLATE = """
<p class="intro">{{ intro }}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Images by status">
<table class="plain">
<thead><tr><th scope="col">Status</th><th scope="col" class="num">Images</th><th scope="col">What it
means</th>
<th scope="col">Reason given, and examples</th></tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row"><code>{{ row.status }}</code></th>
<td class="num">{{ row.n | integer }}<small> {{ row.share | percent(1) }}</small></td><td>{{ row.meaning
}}</td>
<td>
{% for r in row.reasons %}
<p>{% if r.reason %}<bdi>{{ r.reason }}</bdi> <small>({{ r.n | integer }})</small>{% endif %}
<span class="fine">{% for e in r.examples %}<bdi>{{ e }}</bdi>{{ ", " if not loop.last }}{% endfor %}
{% if r.n > r.examples | length %}, …{% endif %}</span></p>
{% endfor %}
</td></tr>
{% endfor %}
</tbody>
</table>
</div>
"""


def build(run: RunData) -> dict[str, Any]:
    images = run.images
    counts = images["status"].value_counts()
    lost = [s for s in schema.STATUSES if s != schema.STATUS_OK and counts.get(s, 0)]
    rows = [
        {
            "status": status,
            "n": int(counts.get(status, 0)),
            "share": counts.get(status, 0) / max(len(images), 1),
            "meaning": MEANING[status],
            "reasons": [] if status == schema.STATUS_OK else _reasons(images, status),
        }
        for status in (schema.STATUS_OK, *lost)
    ]
    intro = (
        "Every image is a row: what has no answer is counted with its reason, and takes part in no average."
        if lost
        else "Every image could be measured."
    )
    return {"rows": rows, "intro": intro}


def _reasons(images: pd.DataFrame, status: str) -> list[dict[str, Any]]:
    """The most frequent reasons of a ``status``, each with how often and the first few images."""
    part = images.loc[images["status"] == status, ["reason", "file_name", "example_id"]]
    out: list[dict[str, Any]] = []
    for reason, group in part.fillna({"reason": ""}).groupby("reason", sort=False):
        names = group["file_name"].fillna(group["example_id"]).head(EXAMPLES)
        out.append({"reason": reason, "n": len(group), "examples": list(names)})
    return sorted(out, key=lambda r: -int(r["n"]))[:EXAMPLES]


SECTION = Section("failures", "What could not be measured", "Failures", 70, TEMPLATE, build)
