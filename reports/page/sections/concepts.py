"""Channels of a layer that speak for a class: what they look at, and whether the network needs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline import schema
from pipeline.run.documents import ChannelEvidence, ClassConcepts, ConceptsDocument
from pipeline.run.folder import CONCEPTS, CONCEPTS_TABLE
from reports.inline import data_uri
from reports.page import words
from reports.page.data import RunData
from reports.page.sections import Section

MOST_CLASSES = 8
_Key = tuple[int, str, str, int]  # label, method, layer, channel

TEMPLATE = """
<p class="intro">What single channels of a layer say for a class: the places of its images at which they say
most, how much of what they say lies outside the boxes, and what becomes of the class without them.</p>
{% for c in classes %}
<article class="card concepts">
<div class="who"><h3>{{ m.name(c.name) }}</h3><p>{{ c.sentence }}</p></div>
<div class="scroll table" tabindex="0" role="region" aria-label="Channels of {{ c.name | short }}">
<table class="plain effects">
<thead><tr><th scope="col">Channel</th><th scope="col">Where it says most</th>
<th scope="col" class="num">Share</th><th scope="col" class="num">Outside</th>
<th scope="col" class="num"><abbr title="by how much the class's log odds fall when the channel is replaced">
Falls</abbr></th>
<th scope="col" class="num"><abbr title="beyond what other channels of about this relevance let expect">
Beyond</abbr></th><th scope="col">The class</th></tr></thead>
<tbody>
{% for k in c.channels %}
<tr><th scope="row">{{ k.channel }}</th>
<td><span class="windows">{% for crop in k.crops %}<img src="{{ crop.uri }}" alt="{{ crop.alt }}"
title="{{ crop.alt }}" decoding="async">{% endfor %}</span></td>
<td class="num">{{ k.share | percent }}</td><td class="num">{{ k.outside | percent }}</td>
<td class="num">{{ k.fall | signed }}<br><small>{{ k.fall_low | signed }} … {{ k.fall_high | signed }}</small>
</td>
<td class="num">{{ k.beyond | signed }}<br><small>{{ k.beyond_low | signed }} … {{ k.beyond_high | signed }}
</small></td><td>{{ k.said }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
</article>
{% endfor %}
{% if left_out %}<p class="fine">{{ left_out | count("more class", "more classes") }} in
<code>{{ file }}</code>.</p>{% endif %}
<p class="reading"><b>How to read this.</b> Concept relevance propagation (Achtibat et al. 2023): the
relevance of the class that runs through one channel. <em>Share</em>: of all in the layer. <em>Outside</em>:
of the positive relevance in the channel's map. <em>Falls</em>: log odds of the class when the channel is
replaced, with 95 % intervals over images. Any class falls when something is taken from it, so what counts is
whether it falls further than other channels of about this relevance let expect, in proportion. A channel is
no concept by itself: what its crops share is for people to say. None of this changes a verdict.</p>
"""


def build(run: RunData) -> dict[str, Any] | None:
    stored, table = ConceptsDocument.current(run.store), run.store.read_side_table(CONCEPTS_TABLE)
    if stored is None or table is None or not stored.classes:
        return None
    crops = _crops(table)
    shown = stored.classes[:MOST_CLASSES]
    return {
        "classes": [_class(c, crops) for c in shown],
        "left_out": len(stored.classes) - len(shown),
        "file": CONCEPTS,
    }


def _crops(table: pa.Table) -> dict[_Key, list[dict[str, Any]]]:
    """The stored pictures of each channel, those first in which it says most."""
    crops: dict[_Key, list[dict[str, Any]]] = {}
    if not set(schema.CONCEPTS.names) <= set(table.column_names):
        return crops
    for row in sorted(table.to_pylist(), key=lambda r: r["place"]):
        if row["picture"] is not None:
            key = (row["label"], row["method"], row["layer"], row["channel"])
            crops.setdefault(key, []).append(row)
    return crops


def _class(entry: ClassConcepts, crops: Mapping[_Key, list[dict[str, Any]]]) -> dict[str, Any]:
    key = (entry.label, entry.method, entry.layer)
    return {
        "name": entry.class_name,
        "sentence": _sentence(entry),
        "channels": [_channel(c, crops.get((*key, c.channel), [])) for c in entry.channels],
    }


def _channel(entry: ChannelEvidence, crops: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("share", "outside", "fall", "fall_low", "fall_high", "beyond", "beyond_low", "beyond_high")
    numbers = {name: getattr(entry, name) for name in names}
    pictures = [{"uri": data_uri(row["picture"], "image/png"), "alt": _alt(row)} for row in crops]
    return numbers | {"channel": entry.channel, "said": entry.said, "crops": pictures}


def _alt(row: Mapping[str, Any]) -> str:
    beside = "" if row["outside"] is None else f", {words.percent(row['outside'])} outside the boxes"
    return (
        f"{row['width']} x {row['height']} pixels at {row['x']}, {row['y']} of {row['example_id']}: "
        f"{words.percent(row['relevance'])} of the relevance{beside}"
    )


def _sentence(entry: ClassConcepts) -> str:
    chosen = f"{words.count(len(entry.channels), 'channel')} with most relevance of {entry.n_channels}"
    text = f"Layer {entry.layer}, {chosen}, by {entry.method} on {words.count(entry.n, 'image')}"
    if entry.outside_area is not None:
        text += f"; {words.percent(entry.outside_area)} of these pictures lie outside the boxes"
    outside = {c.channel: c.outside for c in entry.channels if c.outside is not None}
    if outside:
        furthest = max(outside, key=outside.__getitem__)
        text += f". Channel {furthest}: {words.percent(outside[furthest])} outside"
    needed = [str(c.channel) for c in entry.channels if c.needed]
    if needed:
        text += f". Without {words.listing(needed)} the class falls further than their share lets expect"
    return f"{text}. Replaced by {entry.replaced}."


SECTION = Section("concepts", "What single channels say", "Channels", 28, TEMPLATE, build)
