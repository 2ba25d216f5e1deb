"""All classes in one table that sorts and filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.columns import RANKING
from pipeline.run.documents import records
from pipeline.run.ranking_settings import ranking_files
from pipeline.verdicts import ACCUSED, Verdict
from reports.page import words
from reports.page.cards import carded
from reports.page.data import RunData
from reports.page.decided import tags
from reports.page.edits import AXIS
from reports.page.figures import whisker, whisker_axis
from reports.page.sections import Section
from reports.page.svg import Axis

# (column of the ranking, heading, what a reader of the table must know besides)
HEADINGS = (
    ("rank", "#", ""),
    ("class_name", "Class", ""),
    ("verdict", "Verdict", "see “How to read this”"),
    ("map_verdict", "Maps say", ""),
    ("effect", "Effect", ""),
    ("effect_low", "its 95\u202f% interval", "the line is 0; sorts by the lower end"),
    ("n", "Images", "of all images of the class"),
    ("accuracy", "Accuracy", ""),
    ("adjusted_lift", "Adj. lift", ""),
    ("high", "its 95\u202f% interval", "the line is 0; sorts by the upper end"),
    ("ratio", "Ratio", ""),
    ("ratio_rank", "#\u202fratio", "confounded by box size"),
    ("box_area", "Box", ""),
    ("q_effect", "q eff.", ""),
    ("q_relative", "q rel.", ""),
    ("q_absolute", "q abs.", ""),
    ("n_needed", "Need", ""),
)

TEMPLATE = """
<div class="controls" role="group" aria-label="Filter the table">
<label class="search">Find
<input type="search" id="find" placeholder="{{ 'class, id or tag' if tagged else 'class name or id' }}"
autocomplete="off" spellcheck="false"></label>
<div class="toggles" role="group" aria-label="Verdicts shown">
{% for verdict, n in counts if n %}
<button type="button" class="toggle chip {{ verdict }}" data-verdict="{{ verdict }}" aria-pressed="true">
{{ verdict }} <b>{{ n | integer }}</b></button>
{% endfor %}
</div>
<button type="button" class="reset" id="reset" hidden>Show all</button>
<p class="shown" id="shown" role="status">{{ rows | length | count("class", "classes") }}</p>
</div>
<div class="scroll table" tabindex="0" role="region" aria-label="Table of all classes">
<table id="ranking">
<caption class="hidden">All classes, most suspicious first. The buttons in the heading sort.</caption>
<thead><tr>
{% for c in columns %}
<th scope="col" data-name="{{ c.name }}" class="c-{{ c.name }}{% if c.numeric %} num{% endif %}"
aria-sort="{{ 'ascending' if c.name == 'rank' else 'none' }}"><button type="button" title="{{ c.about }}">{{
c.heading }}
</button></th>
{% endfor %}
</tr></thead>
<tbody>
{% for r in rows %}
<tr id="row-{{ r.label }}" data-v="{{ r.verdict }}"><td class="num">{{ r.rank }}</td>
<th scope="row">
{%- if r.card %}<a href="#card-{{ r.label }}">{{ m.name(r.name, r.id) }}</a>
{%- else %}{{ m.name(r.name, r.id) }}
{%- endif %}
{%- for tag in r.tags %} <bdi class="mark">{{ tag }}</bdi>{% endfor %}
{%- if r.planted %} <abbr class="planted" title="planted: known to carry an artefact">planted</abbr>{%
endif -%}
</th>
<td>{{ m.chip(r.verdict) }}</td>
<td>{{ m.maps(r.maps) }}</td>
{% if edited %}
<td class="num strong">{{ r.effect | signed }}</td>
<td data-s="{{ r.effect_low if r.effect_low is given else '' }}"
title="{{ r.effect_low | signed }} … {{ r.effect_high | signed }}">{{ r.effect_bar }}</td>
{% endif %}
<td class="num" data-s="{{ r.n }}">{{ r.n | integer }}<small>/
{%- if r.images %}<a href="{{ r.images }}" title="all its images">{{ r.n_images | integer }}</a>
{%- else %}{{ r.n_images | integer }}{% endif %}</small></td>
<td class="num">{{ r.accuracy | percent }}</td>
<td class="num strong">{{ r.adjusted | signed }}</td>
<td data-s="{{ r.high if r.high is given else '' }}"
title="{% if r.high is given %}{{ r.low | signed }} … {{ r.high | signed }}{% else %}{{ too_few }}
{%- endif %}">
{{- r.whisker }}</td>
<td class="num">{{ r.ratio | number }}</td>
<td class="num">{{ r.ratio_rank | integer }}</td>
<td class="num">{{ r.box | percent }}</td>
{% if edited %}
<td class="num" data-s="{{ r.q_eff if r.q_eff is given else '' }}">{{ r.q_eff | probability }}</td>
{% endif %}
<td class="num" data-s="{{ r.q_rel if r.q_rel is given else '' }}">{{ r.q_rel | probability }}</td>
<td class="num" data-s="{{ r.q_abs if r.q_abs is given else '' }}">{{ r.q_abs | probability }}</td>
{% if needs %}
<td class="num">{{ r.needed | integer if r.needed is given else "" }}</td>
{% endif %}
</tr>
{% endfor %}
</tbody>
</table>
<button type="button" class="reset more" id="more" hidden>Show the others</button>
<p class="nothing" hidden>No class matches.</p>
</div>
<p class="fine">The line in the interval columns is 0: {% if edited %}the background adds nothing to the
probability of the class; {% endif %}as much relevance on the object as on comparable images. Hover or focus a
heading for its meaning. The same table is in <code>{{ files.table }}</code> and
<code>{{ files.document }}</code>.</p>
"""


def build(run: RunData) -> dict[str, Any]:
    table = run.classes
    enough = int(run.rule("n_min"))
    tagged = tags(run)
    edited, needs = bool(table["tested"].notna().any()), bool(table["n_needed"].notna().any())
    unused = set() if edited else {"effect", "effect_low", "q_effect"}
    unused |= set() if needs else {"n_needed"}
    return {
        "files": ranking_files(run.manifest, run.ranking.settings),
        "columns": [_heading(*h) for h in HEADINGS if h[0] not in unused],
        "rows": _rows(run, enough, tagged),
        "counts": [(v, int((table["verdict"] == v).sum())) for v in Verdict],
        "tagged": bool(tagged),
        "needs": needs,
        "edited": edited,
        "too_few": f"no interval of fewer than {words.count(enough, 'image')}",
    }


def _rows(run: RunData, enough: int, tagged: Mapping[int, Sequence[str]]) -> list[dict[str, Any]]:
    """A row per class, in the order of the ranking."""
    table = run.classes
    with_card = {int(label) for part in carded(table) for label in part["label"]}
    accused = table[table["verdict"].isin(ACCUSED)]
    ends, compared = ([*t["low"], *t["high"]] for t in (table, accused))
    axis = whisker_axis(ends, compared)
    rows = []
    for r in records(table):
        label = int(r["label"])
        links = {
            "label": label,
            "card": label in with_card,
            "images": run.pages.get(label, ""),
            "tags": tagged.get(label, ()),
        }
        rows.append(_cells(r) | _interval(r, axis, enough) | links)
    return rows


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the ranking says of a class."""
    return {
        "rank": int(row["rank"]),
        "name": str(row["class_name"]),
        "id": str(row["class_id"]),
        "verdict": row["verdict"],
        "maps": row["map_verdict"],
        "effect": row["effect"],
        "effect_low": _round(row["effect_low"]),
        "effect_high": _round(row["effect_high"]),
        "effect_bar": whisker(AXIS, row["effect_low"], row["effect"], row["effect_high"], row["verdict"]),
        "q_eff": _round(row["q_effect"], 6),
        "planted": row.get("planted") is True,
        "n": int(row["n"]),
        "n_images": int(row["n_images"]),
        "accuracy": row["accuracy"],
        "adjusted": row["adjusted_lift"],
        "ratio": row["ratio"],
        "ratio_rank": row["ratio_rank"],
        "box": row["box_area"],
        "q_rel": _round(row["q_relative"], 6),
        "q_abs": _round(row["q_absolute"], 6),
        "needed": row["n_needed"],
    }


def _interval(row: Mapping[str, Any], axis: Axis, enough: int) -> dict[str, Any]:
    """The interval of the adjusted lift; none of fewer images than a verdict takes."""
    low, high = (row["low"], row["high"]) if int(row["n"]) >= enough else (None, None)
    bar = whisker(axis, low, row["adjusted_lift"], high, row["verdict"])
    return {"low": _round(low), "high": _round(high), "whisker": bar}


def _heading(name: str, heading: str, note: str) -> dict[str, Any]:
    column = RANKING[name]
    about = f"{column.about}; {note}" if note else column.about
    return {"name": name, "heading": heading, "about": about, "numeric": column.kind in ("integer", "number")}


def _round(value: float | None, digits: int = 3) -> float | None:
    return round(float(value), digits) if words.given(value) and value is not None else None


SECTION = Section("table", "All classes", "All classes", 30, TEMPLATE, build)
