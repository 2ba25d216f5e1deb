"""Single images whose label or box may be wrong: apart from Clever Hans, for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pipeline.run.documents import BoxCandidate, LabelCandidate, TriageDocument
from pipeline.run.documents.triage import Evidence
from reports.page import words
from reports.page.cards import show_images
from reports.page.data import RunData
from reports.page.sections import Section

PICTURED: Final = 8  # candidates of each kind that are shown; the CSV holds all
LISTED: Final = 40  # and that are listed below

TEMPLATE = """
<p class="intro">{{ n_labels | count("image looks", "images look") }} as if the label were wrong, {{ n_boxes |
count("image") }} as if the box were. They are candidates for a person to look at: no part of any verdict, and
not counted as Clever Hans, which is a habit of a whole class.</p>
{% for group in groups if group.rows %}
<h3>{{ group.title }}</h3>
<p>{{ group.why }}</p>
<div class="candidates">
{% for row in group.shown %}
<div class="candidate">{{ m.pair(row.picture, size) }}
<p>{{ row.said }}</p></div>
{% endfor %}
</div>
{% if group.listed %}
<details><summary>{{ group.listed | length | count("candidate") }} as a list{% if group.rows > group.listed |
length %}, the first of {{ group.rows | integer }}{% endif %}</summary>
<div class="scroll" tabindex="0" role="region" aria-label="{{ group.title }}">
<table class="plain">
<thead><tr><th scope="col">Image</th><th scope="col">Label</th><th scope="col">Why</th></tr></thead>
<tbody>
{% for row in group.listed %}
<tr><th scope="row"><bdi>{{ row.file }}</bdi></th><td><a href="#row-{{ row.label }}">{{ m.name(row.name)
}}</a></td><td>{{ row.said }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
</details>
{% endif %}
{% endfor %}
<p class="fine">Looked at: {{ looked[0] | count("image") }} for their labels, {{ looked[1] | count("image") }}
for their boxes. All candidates are in <code>{{ file }}</code>. A class that has fewer than {{ n_min |
count("image") }} to compare with is left out.</p>
"""


def build(run: RunData) -> dict[str, Any] | None:
    told = TriageDocument.current(run.store)
    if told is None:
        return None
    n_labels, n_boxes = told.counts
    groups = [
        _group(run, "Wrong label?", _why_labels(told), told.labels) | {"rows": n_labels},
        _group(run, "Wrong box?", _why_boxes(told), told.boxes) | {"rows": n_boxes},
    ]
    return {
        "n_labels": n_labels,
        "n_boxes": n_boxes,
        "groups": groups,
        "looked": (told.n_labels, told.n_boxes),
        "file": told.TABLE,
        "n_min": told.n_min,
        "size": run.size,
    }


def _group(
    run: RunData, title: str, why: str, candidates: Sequence[LabelCandidate] | Sequence[BoxCandidate]
) -> dict[str, Any]:
    rows = [_row(run, one) for one in candidates[:LISTED]]
    pictures = show_images(run, [one.example_id for one in candidates[:PICTURED]])
    shown = [
        row | {"picture": picture}
        for row, picture in zip(rows, pictures, strict=False)
        if picture is not None
    ]
    return {"title": title, "why": why, "shown": shown, "listed": rows}


def _row(run: RunData, one: LabelCandidate | BoxCandidate) -> dict[str, Any]:
    said = _label(run, one) if isinstance(one, LabelCandidate) else _box(run, one)
    return {"file": one.file_name or one.example_id, "label": one.label, "name": one.class_name, "said": said}


def _why_labels(told: TriageDocument) -> str:
    times = words.number(told.limits["times"], 0)
    return (
        "The network is surer of another class than of images that carry that label, and at least "
        f"{times} times as sure as of the label itself. A network that is wrong and sure of it looks the "
        "same: the weaker the network, the more of them are its own errors. On images that it was trained "
        "on it may have learned the wrong label."
    )


def _why_boxes(told: TriageDocument) -> str:
    outlying = words.number(told.limits["outlying"], 0)
    above = words.count(told.n_mirrored, "image lies", "images lie")
    return (
        "The network is right, but its map misses the box as no other image of the class does: "
        f"{outlying} robust standard deviations or more below the median of the class, worse than chance, "
        "its strongest point outside. Where the image was edited and the box alone keeps the class, it is "
        f"acquitted. {above} as far above the class: about so many would lie below by chance alone, if the "
        "spread were even."
    )


def _label(run: RunData, one: LabelCandidate) -> str:
    label, seen = run.short(one.class_name), run.short(one.predicted_name)
    said = (
        f"Labelled {label} ({words.percent(one.label_probability)}); the network says {seen}, "
        f"{words.percent(one.confidence)} (images labelled so: {words.percent(one.threshold)})."
    )
    mark = " That class is confirmed or suspected itself: its mark may be in this picture."
    return said + (mark if one.accused else "")


def _box(run: RunData, one: BoxCandidate) -> str:
    said = (
        f"{run.short(one.class_name)}: adjusted lift {words.signed(one.adjusted_lift, 1)}, median of the "
        f"class {words.signed(one.class_median, 1)} ({words.number(-one.z, 1)} deviations below)."
    )
    if one.object_keeps is not None and one.background_keeps is not None:
        said += (
            f" Edited: the box on another background keeps {words.percent(min(one.object_keeps, 1))} of the "
            f"probability, the rest without it {words.percent(min(one.background_keeps, 1))}"
            f"{', as with a box in the wrong place' if one.evidence is Evidence.MAP_AND_EDITS else ''}."
        )
    return said + (" The class is confirmed or suspected, which may be why." if one.accused else "")


SECTION = Section("triage", "Wrong label or wrong box?", "Triage", 29, TEMPLATE, build)
