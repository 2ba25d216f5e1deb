"""The audited network beside another one on the same images: what belongs to the pictures cancels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from pipeline.run.documents import ReferenceDocument, records
from pipeline.run.reference import read_reference
from pipeline.verdicts import Verdict
from reports.page import svg
from reports.page.data import RunData
from reports.page.figures import whisker, whisker_axis
from reports.page.headline import beside_reference, reference_outliers
from reports.page.sections import Section
from reports.page.svg import Axis, span
from reports.page.words import percent, signed

ROWS = 20
AT_LEAST = 0.1  # probability: a difference of effects that matters

TEMPLATE = """
{% if not document %}
<p class="fine">This run has no reference network. One (the last release, a public network, the same
architecture trained on other data) would tell what belongs to the pictures and their boxes, which both
networks see alike, from what this network alone has learned: <code>hansaudit run ... --reference
last-release.keras</code>, or a finished run on the same images in its place.</p>
{% else %}
<p class="intro">The same images, each explained for its own class by another network, <bdi>{{ document.name
}}</bdi>. What belongs to the picture and its box (a plain background, a leg that sticks out) is in both maps
and cancels; what all classes share (another architecture, another resolution) is taken away. What is left of
a class is what this network alone goes by. A class that is an outlier here is suspected; only edited images
confirm it.</p>
<p class="answer{% if outliers %} bad{% endif %}">{{ headline }}.</p>
{{ figure }}
<p class="fine">One dot per class: mean lift of its {{ method }} maps in the reference (across) and in this
network (up), on the same images. On the line both differ as in the ordinary class. Filled: outliers.</p>
{% if pasted %}<p class="fine">Difference of its windows: what the most relevant windows of the class, pasted
onto images of others, add to it here beyond what the same ones add to it for the reference, log odds.</p>
{% endif %}
{% if rows %}
<div class="scroll table" tabindex="0" role="region" aria-label="Classes that differ most">
<table><caption class="hidden">Classes that differ most from the reference network</caption>
<thead><tr><th scope="col">Class</th><th scope="col">Verdict</th><th scope="col" class="num">Images</th>
<th scope="col" class="num">Difference of the lift</th><th scope="col">its 95&#8239;% interval</th>
<th scope="col" class="num">q</th>
{% if edited %}<th scope="col" class="num">Difference of the effect</th><th scope="col">Its background is
needed</th>{% endif %}
{% if pasted %}<th scope="col" class="num">Difference of its windows</th>{% endif %}</tr></thead><tbody>
{% for r in rows %}
<tr><th scope="row">{{ m.name(r.class_name, r.class_id) }}</th><td>{{ m.chip(r.verdict) }}</td>
<td class="num">{{ r.n_reference | integer }}</td><td class="num strong">{{ r.reference_lift | signed }}</td>
<td title="{{ r.reference_low | signed }} … {{ r.reference_high | signed }}">{{ r.bar }}</td>
<td class="num">{{ r.q_reference | probability }}</td>
{% if edited %}<td class="num"
title="{{ r.reference_effect_low | signed }} … {{ r.reference_effect_high | signed }}">{{ r.reference_effect |
signed }}</td><td>{{ r.needed }}</td>{% endif %}
{% if pasted %}<td class="num"
title="{{ r.reference_transfer_low | signed }} … {{ r.reference_transfer_high | signed }}">{{
r.reference_transfer | signed }}</td>{% endif %}</tr>
{% endfor %}
</tbody></table></div>
{% endif %}
<dl class="correlations">
{% for title, value in facts %}<div><dt>{{ title }}</dt><dd>{{ value }}</dd></div>{% endfor %}
</dl>
{% for note in document.notes %}<p class="fine">Note: {{ note }}.</p>{% endfor %}
{% endif %}
"""


def build(run: RunData) -> dict[str, Any]:
    stored = read_reference(run.store)
    if stored is None:
        return {"document": None}
    document, reference = stored
    table, level = run.classes, float(run.rule("level"))
    beyond = set(table.loc[reference_outliers(table, level), "label"].tolist())
    means = _means(run, reference.to_pandas())
    return {
        "document": document,
        "method": document.method,
        "headline": beside_reference(document, table, level),
        "outliers": bool(beyond),
        "figure": _figure(means, beyond) if len(means) > 1 else "",
        "rows": _rows(table),
        "edited": bool(table["reference_effect"].notna().any()),
        "pasted": bool(table["reference_transfer"].notna().any()),
        "facts": _facts(document),
    }


def _means(run: RunData, reference: pd.DataFrame) -> pd.DataFrame:
    """Per class with its name: mean ``lift`` and mean ``there``, of the images that have both."""
    there = reference.set_index("index")["lift"]
    used = run.used[["index", "label", "lift"]]
    images = used.assign(there=used["index"].map(there)).dropna(subset=["lift", "there"])
    means = images.groupby("label")[["lift", "there"]].mean()
    return means.join(run.classes.set_index("label")["class_name"])


def _figure(means: pd.DataFrame, beyond: set[int]) -> Markup:
    x = Axis(*span(means["there"].tolist()), 58, 840)
    y = Axis(*span(means["lift"].tolist()), 400, 34)
    body = svg.frame(x, y, ("mean lift in the reference network", "mean lift in this network"), "signed")
    offset = float(np.median(means["lift"] - means["there"]))
    low, high = max(x.low, y.low - offset), min(x.high, y.high - offset)
    if low < high:
        body.append(svg.path([(x(low), y(low + offset)), (x(high), y(high + offset))], "curve"))
    for label, row in sorted(means.iterrows(), key=lambda item: item[0] in beyond):
        kind = Verdict.SUSPECTED if label in beyond else Verdict.UNDECIDED
        tip = f"{escape(row['class_name'])}: {signed(row['lift'])}, there {signed(row['there'])}"
        place = f'cx="{x(row["there"]):g}" cy="{y(row["lift"]):g}"'
        body.append(f'<circle class="dot {kind}" {place} r="4"><title>{tip}</title></circle>')
    label = f"Scatter plot of {len(means)} classes: mean lift in this network against that in the reference"
    return svg.figure(860, 454, label, body, "figure")


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The classes that lie lowest against the reference, and the confirmed ones."""
    compared = table[table["reference_lift"].notna()].sort_values("reference_lift", kind="stable")
    head = compared.head(ROWS)
    axis = whisker_axis(head["reference_low"].tolist(), head["reference_high"].tolist())
    return [
        r
        | {
            "bar": whisker(axis, r["reference_low"], r["reference_lift"], r["reference_high"], r["verdict"]),
            "needed": _needed(r),
        }
        for r in records(head)
    ]


def _needed(row: dict[str, Any]) -> str:
    """Who needs the background of a class: read from the difference of the effects."""
    low, high = row["reference_effect_low"], row["reference_effect_high"]
    if low is None or high is None:
        return ""
    if low > 0:
        return "more by this network"
    if high < 0:
        return "more by the reference"
    return "alike" if max(-low, high) < AT_LEAST else "cannot be told apart"


def _facts(document: ReferenceDocument) -> list[tuple[str, str]]:
    card = document.card
    size = f"{card.get('height')} x {card.get('width')}"
    return [
        ("reference network", f"{document.name}, sha256 {document.model_sha256[:12]}, input {size}"),
        ("classes in common", f"{document.classes} of {document.n_classes}"),
        ("images compared", f"{document.images} of {document.n_images}, by {document.method}"),
        ("edited images compared", str(document.edited)),
        ("pasted windows compared", str(document.windows)),
        (
            "accuracy on these images",
            f"{percent(document.accuracy)} here, {percent(document.reference_accuracy)} there",
        ),
    ]


SECTION = Section("reference", "Beside another network", "Reference", 45, TEMPLATE, build)
