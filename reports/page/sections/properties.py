"""What the files say of the classes without any network: shortcuts that lie in the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from pipeline.run.documents import PropertiesDocument, ToldClass
from pipeline.verdicts import Verdict
from reports.page.data import RunData
from reports.page.sections import Section
from reports.page.svg import Axis
from reports.page.words import number

SENTENCES = 5
ROWS = 24
PLOT = (150, 22)
PLACES = {
    "file": "a shortcut that lies in the files",
    "picture": "it lies in the pictures, whatever the object",
    "boxes": "it lies in how the objects are boxed",
}

TEMPLATE = """
{% if sentences %}
<ul class="intro">
{% for words, name in sentences %}
<li>{{ words[0] }} tells {{ m.name(name) }} {{ words[1] }}</li>
{% endfor %}
</ul>
{% else %}
<p class="intro">No single property tells a class from the rest beyond chance with an AUC above
{{ limits.auc | number }}.</p>
{% endif %}
<div class="scroll" tabindex="0" role="region" aria-label="Classes and properties">
<table class="plain">
<thead><tr><th scope="col">Class</th><th scope="col">Property</th><th scope="col" class="num">AUC</th>
<th scope="col" class="num">p</th><th scope="col">class (above) and rest</th>
<th scope="col" class="num">median</th><th scope="col" class="num">of the rest</th></tr></thead>
<tbody>
{% for r, plot in rows %}
<tr><th scope="row">{{ m.name(r.class_name) }}</th>
<td>{{ r.name.words }}{% if r.stands_out %} <span class="chip bad">stands out</span>{% endif %}</td>
<td class="num">{{ r.strength | number }}
<small>{{ ends(r)[0] | number }} … {{ ends(r)[1] | number }}</small></td>
<td class="num">{{ r.p | probability }}</td><td>{{ plot }}</td>
<td class="num">{{ r.quantiles[2] | number }}</td><td class="num">{{ r.quantiles_rest[2] | number }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% if left_out %}<p class="fine">{{ left_out | count("more") }} stand out:
<code>{{ file }}</code>.</p>{% endif %}
<h3>All classes together</h3>
<div class="scroll" tabindex="0" role="region" aria-label="Properties">
<table class="plain">
<thead><tr><th scope="col">Property</th><th scope="col">what it is</th>
<th scope="col" class="num">says of the class</th><th scope="col" class="num">p</th></tr></thead>
<tbody>
{% for r in properties %}
<tr><th scope="row">{{ r.name.words }}</th>
<td>{{ r.name.meaning }}{% if r.stands_out %} <span class="chip bad">stands out</span>{% endif %}</td>
<td class="num">{{ r.information | number }} bits</td><td class="num">{{ r.p | probability }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
<p class="reading"><b>How to read this.</b> No network was asked: these are figures of
{{ images | count("image") }} (a seeded sample) and of the {{ tested | count("class", "classes") }} with at
least {{ n_min }} of them. AUC: the chance that an image of the class has the larger value than one of
another class (or the smaller one, whichever is nearer to 1). p: how often shuffled labels reach as much in
any class and property. What stands out is no chance and has an AUC whose 95 % interval begins at
{{ limits.auc | number }} or above, or says at least {{ limits.information | number }} bits. That a
property tells a class does not show that the network uses it; brightness and colours may belong to a class
(snow), the quality of a file hardly does.</p>
"""


def told(row: ToldClass) -> tuple[str, str]:
    """One class and property in words: what comes before its name, and what after."""
    which = "higher" if row.auc > 0.5 else "lower"
    words = row.name.words[0].upper() + row.name.words[1:]
    return words, f"from the rest with AUC {number(row.strength)} ({which}): {PLACES[row.name.origin]}"


def ranges(own: Sequence[float], rest: Sequence[float]) -> Markup:
    """5, 25, 50, 75 and 95 % of a class above those of the rest: thin line, thick line, dot."""
    low, high = min(*own, *rest), max(*own, *rest)
    x = Axis(low, high if high > low else low + 1.0, 5, PLOT[0] - 5)
    body = ""
    for y, values in ((6, own), (16, rest)):
        a, b, middle, c, d = (x(v) for v in values)
        body += f'<path d="M{a:g} {y}H{d:g}"/><path d="M{b:g} {y - 2}H{c:g}V{y + 2}H{b:g}Z"/>'
        body += f'<circle cx="{middle:g}" cy="{y}" r="3"/>'
    head = Markup('<svg class="whisker {}" viewBox="0 0 {} {}" aria-hidden="true">{}</svg>')
    return head.format(Verdict.UNDECIDED, *PLOT, Markup(body))


def ends(row: ToldClass) -> tuple[float, float]:
    """The interval of the strength."""
    return (row.low, row.high) if row.auc >= 0.5 else (1 - row.high, 1 - row.low)


def build(run: RunData) -> dict[str, Any] | None:
    checked = PropertiesDocument.current(run.store)
    if checked is None:
        return None
    loud = [row for row in checked.classes if row.stands_out]
    rows = checked.classes[:ROWS]
    return {
        "sentences": [(told(row), row.class_name) for row in loud[:SENTENCES]],
        "rows": [(r, ranges(r.quantiles, r.quantiles_rest)) for r in rows],
        "left_out": max(0, checked.n_standing_out - len(rows)),
        "properties": checked.properties,
        "images": checked.images,
        "tested": checked.classes_tested,
        "n_min": checked.n_min,
        "limits": checked.limits,
        "ends": ends,
        "file": checked.FILE,
    }


SECTION = Section("properties", "What do the files alone give away?", "Files", 51, TEMPLATE, build)
