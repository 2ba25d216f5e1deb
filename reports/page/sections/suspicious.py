"""Cards of the confirmed and suspected classes, and of unremarkable ones as contrast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.verdicts import ACCUSED
from reports.page.cards import Card, carded, make_cards
from reports.page.data import RunData
from reports.page.sections import Section

TEMPLATE = """
<p class="intro">{{ intro }}</p>
<p class="key"><span class="swatch box"></span> the object's box <span class="swatch heat"></span>
relevance, from
none to the strongest of the picture (every map has its own scale)</p>
<p class="fine paper">Printed with one edited image per class; heat maps and all figures are in the page on a
screen.</p>
{% for card, between in suspects %}
{% if loop.index == first + 1 %}
<div class="others" data-n="{{ suspects | length - first + contrast | length }}">
{% endif %}
{% if between %}
<p class="between">{{ between }}</p>
{% endif %}
{{ m.card(card, size) }}
{% endfor %}
{% if left_out %}
<p class="fine">{{ left_out | count("more class", "more classes") }} that are confirmed or suspected without a
card: see the table.</p>
{% endif %}
{% if contrast %}
{% if suspects | length <= first %}
<div class="others" data-n="{{ contrast | length }}">
{% endif %}
<h3 class="contrast">For contrast: where the evidence lies on the object</h3>
{% for card in contrast %}
{{ m.card(card, size) }}
{% endfor %}
{% endif %}
{% if contrast or suspects | length > first %}
</div>
{% endif %}
"""

FIRST = 4  # cards that a phone shows at once; the others come out of their fold


def build(run: RunData) -> dict[str, Any]:
    suspects, contrast = carded(run.classes)
    named = int(run.classes["verdict"].isin(ACCUSED).sum())
    intro = (
        "For each class: the images with the least evidence on the object for a box of that size and place, "
        "and, to compare, those with the most; below them, what editing its images did to the network."
        if named
        else "No class is confirmed or suspected. These come closest: they are shown so that you can judge "
        "for yourself, not because anything has been found."
    )
    return {
        "intro": intro,
        "suspects": _with_gaps(make_cards(run, suspects)),
        "contrast": make_cards(run, contrast),
        "left_out": max(0, named - len(suspects)),
        "size": run.size,
        "first": FIRST,
    }


def _with_gaps(cards: Sequence[Card]) -> list[tuple[Card, str]]:
    """Each card, and what is said before it where it does not follow the one above in the ranking."""
    out, last = [], 0
    for card in cards:
        first, before = last + 1, card.rank - 1
        ranks = f"Rank {first} is" if first == before else f"Ranks {first} to {before} are"
        out.append((card, f"{ranks} neither confirmed nor suspected." if first <= before else ""))
        last = card.rank
    return out


SECTION = Section("classes", "The classes in pictures", "Pictures", 20, TEMPLATE, build)
