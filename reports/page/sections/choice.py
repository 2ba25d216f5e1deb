"""Why this explanation method? How ``auto`` chose it, where nobody named one."""

from __future__ import annotations

from typing import Any

from pipeline.run.documents import Candidate, ChoiceDocument
from reports.page.data import RunData
from reports.page.sections import Section

TEMPLATE = """
<p class="answer {{ 'good' if passed else 'bad' }}">{{ answer }}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Candidates">
<table class="plain">
<thead><tr><th scope="col">Method</th>
<th scope="col" class="num">all layers shuffled</th><th scope="col" class="num">another class</th>
<th scope="col" class="num">gap</th><th scope="col" class="num">images</th>
<th scope="col" class="num">seconds</th><th scope="col">Verdict</th></tr></thead>
<tbody>
{% for r in rows %}
<tr><th scope="row"><code>{{ r.method }}</code></th>
<td class="num">{{ r.shuffled | number }}</td><td class="num">{{ r.other | number }}</td>
<td class="num">{{ r.gap | signed(3) }}
{% if r.low is not none %}<small>{{ r.low | signed(3) }} … {{ r.high | signed(3) }}</small>{% endif %}</td>
<td class="num">{{ r.images }}</td><td class="num">{{ r.seconds | number(1) }}</td>
<td>{% if r.chosen %}
<span class="chip {{ 'good' if passed else 'bad' }}">used</span>
{% endif %}{{ r.verdict }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
<p class="reading"><b>How to read this.</b> Nobody named a method, so up to {{ images | count("image") }},
spread over the classes, decided before the audit. A candidate passes when its maps change with the weights
and with the class (rank correlations, as below), and when regions that it calls relevant matter more to the
network than the others: <em>gap</em> is the area between its two perturbation curves, with a 95 % interval
over all looks. Of those that pass, the first in this order is used, unless it surely has less than
{{ share | number(1) }} of the best one's gap; looking ended as soon as that was decided.</p>
"""


def build(run: RunData) -> dict[str, Any] | None:
    choice = ChoiceDocument.current(run.store)
    if choice is None:
        return None
    return {
        "passed": choice.passed,
        "answer": _answer(choice),
        "rows": [_row(candidate, choice.method) for candidate in choice.candidates],
        "images": choice.images,
        "share": choice.share,
    }


def _answer(choice: ChoiceDocument) -> str:
    if choice.passed:
        return f"{choice.method} explains this network: its maps follow what the network has learnt."
    return (
        f"No candidate passes. {choice.method} is {choice.chosen.verdict}: its maps alone make no class "
        "suspicious."
    )


def _row(candidate: Candidate, chosen: str) -> dict[str, Any]:
    sanity = candidate.sanity
    return vars(candidate) | {
        "chosen": candidate.method == chosen,
        "shuffled": sanity.randomised["all layers"][0] if sanity else None,
        "other": sanity.other_class[0] if sanity else None,
    }


SECTION = Section("choice", "Why this explanation method?", "Choice", 52, TEMPLATE, build)
