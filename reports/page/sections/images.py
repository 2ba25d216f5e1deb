"""Every image of a class: where they are, and in the one-file page those of the first classes."""

from __future__ import annotations

from typing import Any

from pipeline.run.documents import records
from pipeline.unboxed import quoted
from reports.page.cards import carded
from reports.page.data import RunData
from reports.page.explore import class_shots, effect_heading
from reports.page.sections import Section

# a name of an option stands between the isolates of Unicode: there is no element inside one
TEMPLATE = """
<p class="intro">All images of a class, also those that were taken for another one: with their maps, to sort
and to filter.</p>
{% if elsewhere %}
<p>Every class has a page of its own; the numbers of images in the table lead to them, and so do these:
{% for link, name, full in pages %}<a href="{{ link }}"><bdi title="{{ full }}">{{ name }}</bdi></a>{{ ", " if
not loop.last }}{% endfor %}{% if more %} and {{ more | count("more class", "more classes") }}{% endif %}.</p>
{% else %}
<p class="pick"><label>Class <select id="pick"><option value="">choose one</option>
{% for of in classes %}
<option value="{{ of.label }}">{{ of.rank }}. \u2068{{ of.name | short }}\u2069 ({{ of.verdict }}, {{
of.shots | length }})</option>
{% endfor %}
</select></label></p>
<div id="gallery" role="region" aria-live="polite" aria-label="Images of the class"></div>
{% for of in classes %}
<template id="shots-{{ of.label }}">
<p class="about">{{ m.chip(of.verdict) }} <a href="#row-{{ of.label }}">its row in the table</a>
{%- if of.label in cards %} · <a href="#card-{{ of.label }}">its card</a>{% endif %}</p>
{{ m.explore(of, size, heading) }}</template>
{% endfor %}
{% if more %}
<p class="fine">{{ more | count("more class has", "more classes have") }} no room in one file.
<code>{{ command }}</code> writes a folder with a page per class.</p>
{% endif %}
{% endif %}
"""

LISTED = 60  # classes that a page of a folder names beside the table


def build(run: RunData) -> dict[str, Any] | None:
    if not run.pages:
        return None
    elsewhere = not all(link.startswith("#") for link in run.pages.values())
    rows = records(run.classes)
    return _linked(run, rows) if elsewhere else _inside(run, len(rows))


def _linked(run: RunData, rows: list[dict[str, Any]]) -> dict[str, Any]:
    shown = [
        (run.pages[int(r["label"])], run.short(r["class_name"]), str(r["class_name"]))
        for r in rows
        if int(r["label"]) in run.pages
    ]
    return {"elsewhere": True, "pages": shown[:LISTED], "more": max(0, len(shown) - LISTED)}


def _inside(run: RunData, n_classes: int) -> dict[str, Any]:
    return {
        "elsewhere": False,
        "classes": list(class_shots(run, list(run.pages))),
        "cards": {int(label) for part in carded(run.classes) for label in part["label"]},
        "more": n_classes - len(run.pages),
        "command": f"hansaudit report {quoted(run.store.path)} --folder pages",
        "size": run.size,
        "heading": effect_heading(),
    }


SECTION = Section("images", "Every image of a class", "Images", 31, TEMPLATE, build)
