"""Cards of the most suspicious classes, and of the least suspicious ones as contrast."""

from __future__ import annotations

from typing import Any

from pipeline.verdicts import MapVerdict
from reports.page.cards import carded, make_cards
from reports.page.data import RunData
from reports.page.sections import Section

TEMPLATE = """
<p class="intro">{{ intro }}</p>
<p class="key"><span class="swatch box"></span> the object's box <span class="swatch heat"></span>
relevance, from
none to the strongest of the picture (every map has its own scale)</p>
{% for card in suspects %}
{{ m.card(card, size) }}
{% endfor %}
{% if left_out %}
<p class="fine">{{ left_out | count("more suspicious class", "more suspicious classes") }} without a card:
see the
table.</p>
{% endif %}
{% if contrast %}
<h3 class="contrast">For contrast: where the evidence lies on the object</h3>
{% for card in contrast %}
{{ m.card(card, size) }}
{% endfor %}
{% endif %}
"""


def build(run: RunData) -> dict[str, Any]:
    suspects, contrast = carded(run.classes)
    named = int((run.classes["map_verdict"] == MapVerdict.SUSPICIOUS).sum())
    intro = (
        "For each class: the images with the least evidence on the object for a box of that size and place, "
        "and, to compare, those with the most."
        if named
        else "No class is suspicious. These come closest: they are shown so that you can judge for yourself, "
        "not because anything has been found."
    )
    return {
        "intro": intro,
        "suspects": make_cards(run, suspects),
        "contrast": make_cards(run, contrast),
        "left_out": max(0, named - len(suspects)),
        "size": run.size,
    }


SECTION = Section("classes", "The classes in pictures", "Pictures", 20, TEMPLATE, build)
