"""What happened when the images were edited: is the evidence beside the object really used?"""

from __future__ import annotations

from typing import Any

from pipeline.measure.interventions.kinds import all_contrasts
from pipeline.run.documents import EditEffect
from pipeline.statistics.effects import depends_on_background
from pipeline.verdicts import InterventionVerdict
from reports.page import words
from reports.page.data import RunData
from reports.page.figures import whisker
from reports.page.sections import Section
from reports.page.svg import Axis

TEMPLATE = """
<p class="intro">{{ intro }}</p>
<ul class="tested">
{% for verdict, n, meaning in counts %}
<li><b>{{ n }}</b> {{ m.tested(verdict) }} <span class="meaning">{{ meaning }}</span></li>
{% endfor %}
</ul>
<div class="scroll" tabindex="0" role="region" aria-label="Interventions per class">
<table class="plain effects">
<thead><tr><th scope="col">Class</th><th scope="col">Heat maps say</th><th scope="col">Edits say</th>
{% for contrast in contrasts %}
<th scope="col"><abbr title="{{ contrast.about }}">{{ contrast.heading }}</abbr></th>
{% endfor %}
</tr></thead>
<tbody>
{% for r in rows %}
<tr><th scope="row"><a href="#row-{{ r.label }}">{{ m.name(r.name) }}</a>
{% if r.control %}<small>control</small>{% endif %}</th>
<td>{{ m.chip(r.attribution) }}</td><td>{{ m.tested(r.verdict) }}
{% if r.needed is given %}<small>needs {{ r.needed | integer }} images</small>{% endif %}</td>
{% for e in r.effects %}
<td>{{ e.bar }}<small title="95 % interval {{ e.low | signed }} … {{ e.high | signed }}">{{ e.mean | signed
}}</small></td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
<p class="reading"><b>How to read this.</b> All figures are changes of the class's probability, mean over
the class's
images with 95 % interval, on one scale from −0.3 to 1; the dotted line is 0. <em>Background alone</em> and
<em>object
alone</em> decide: each compares the same picture, cut in the same way, on a background of its own class
and of another.
A class depends on its background if the lower end of the interval of either, less what is usual for the
other classes, is {{ demand }}. Controls were chosen at random.</p>
"""


def build(run: RunData) -> dict[str, Any] | None:
    content = run.confirmation
    if content is None or not content.classes:
        return None
    axis = Axis(-0.3, 1.0, 4, 116)
    shown = [c for c in all_contrasts().values() if c.heading]
    contrasts = [c for c in shown if c.decides] + [c for c in shown if not c.decides]
    rows = [
        {
            "label": c.label,
            "name": c.class_name,
            "control": c.role == "control",
            "attribution": c.attribution,
            "verdict": c.verdict,
            "needed": c.n_needed,
            "effects": [_effect(axis, c.effects.get(contrast.name), c.verdict) for contrast in contrasts],
        }
        for c in content.classes
    ]
    counts = content.counts
    looked = sum(c.role != "control" for c in content.classes)
    return {
        "intro": (
            "A heat map is a hint. Here the images themselves were edited and shown to the network again: "
            f"{words.count(looked, 'class', 'classes')} from the top of the ranking, "
            f"{words.count(len(rows) - looked, 'other', 'others')} as controls, "
            f"up to {words.count(content.plan['images'], 'image')} each."
        ),
        "counts": [(v, counts[v], v.meaning) for v in InterventionVerdict if counts.get(v)],
        "contrasts": contrasts,
        "rows": rows,
        "demand": depends_on_background(content.relevant).demand,
    }


def _effect(axis: Axis, effect: EditEffect | None, verdict: str) -> dict[str, Any]:
    low, mean, high = (effect.low, effect.mean, effect.high) if effect else (None, None, None)
    return {"bar": whisker(axis, low, mean, high, f"test-{verdict}"), "low": low, "mean": mean, "high": high}


SECTION = Section("confirm", "Put to the test: edited images", "Interventions", 25, TEMPLATE, build)
