"""How to read the report: the quantities and the verdicts in short."""

from __future__ import annotations

from typing import Any

from pipeline.statistics.decision import criteria
from pipeline.statistics.ordinary import RELEVANT
from pipeline.verdicts import MapVerdict, Verdict
from reports.page.data import RunData
from reports.page.sections import Section

TEMPLATE = """
<dl class="glossary">
<div><dt>Relevance</dt><dd>How much each pixel spoke for the explained class, according to the explanation
method
<code>{{ method }}</code>, pooled over the colour channels (<code>{{ pooling }}</code>).</dd></div>
<div><dt>Mass</dt><dd>The share of the relevance that lies inside the object's box. The bigger the box, the
bigger
the share: on its own it says little.</dd></div>
<div><dt>Lift</dt><dd><span class="formula">logit(mass) − logit(box area)</span>. How much better than a
uniform map
the relevance finds the object. 0: no better, whatever the size of the box. Below 0: it is rather beside
it.</dd></div>
<div><dt>Adjusted lift</dt><dd>The lift of an image minus what images of other classes reach with a box of
that size at
that distance from the centre, averaged over the class and drawn towards 0 where there are few images. −1
means odds
2.7 times lower than on comparable images.</dd></div>
<div><dt>95 % interval</dt><dd>Student's t over the images of the class, and the curve they are compared
with: how far the figure would move
with other
pictures of the same kind.</dd></div>
<div><dt>Ratio</dt><dd>Relevance inside over relevance outside the box: the measure of Alber (2019,
Software and Application Patterns for Explanation Methods), whose question this audit follows.
Shown because it is known, not because it ranks well: it falls with the size of the box.</dd></div>
<div><dt>Effect</dt><dd>What a background of the own class adds to the probability of the class over one
of another
class, on pictures that are cut in the same way: with the object (it lacks something elsewhere) or
without it (the
background alone says the class), whichever is larger, less what ordinary classes show.</dd></div>
<div><dt>Background gap</dt><dd>Accuracy on backgrounds of the own class minus that on other classes'
(ImageNet-9,
Xiao et al. 2020).</dd></div>
<div><dt>q effect</dt><dd>Does the effect exceed {{ relevant_effect }}? A test for bounded values,
corrected for
the number of classes.</dd></div>
<div><dt>q relative</dt><dd>Is the adjusted lift lower than 0 by more than matters ({{ relevant }}), and by
more than the classes of this run differ anyway? Corrected for the number of classes
({{ correction }}).</dd></div>
<div><dt>q absolute</dt><dd>Does the map find the object at all? Boxes exchanged between images of similar
box area,
corrected the same way.</dd></div>
{% for verdict, meaning in verdicts %}
<div><dt>{{ m.chip(verdict) }}</dt><dd>{{ meaning[0] | upper }}{{ meaning[1:] }}.</dd></div>
{% endfor %}
{% for verdict, meaning, rule in maps %}
<div><dt>maps: {{ m.maps(verdict) }}</dt><dd>{{ meaning[0] | upper }}{{ meaning[1:] }}
(<span class="formula">{{ rule }}</span>).</dd></div>
{% endfor %}
</dl>
<p class="reading"><b>Which verdict?</b> Only edited images confirm or clear a class. Not edited, or not
decided, it
is suspected where its heat maps are suspicious or unfocused. Water around a fish belongs to the fish:
whether what a
confirmed class needs is legitimate context is the reviewer's to say.</p>
<p class="reading"><b>Which images?</b> {{ images }} {{ target }}</p>
"""


def build(run: RunData) -> dict[str, Any]:
    correct = run.rule("images") == "correct"
    demanded = criteria(run.ranking.settings).items()
    rules = {verdict: " and ".join(map(str, rule)) for verdict, rule in demanded}
    predicted = run.setting("audit", "target", "predicted") != "label"
    return {
        "method": run.method,
        "pooling": run.setting("audit", "pooling", "abs_sum"),
        "relevant": f"{run.ranking.settings.relevant_effect:g}",
        "correction": {"bh": "Benjamini–Hochberg", "by": "Benjamini–Yekutieli"}.get(run.rule("fdr"), ""),
        "verdicts": [(v, v.meaning) for v in Verdict],
        "maps": [(v, v.meaning, rules.get(v, "none of the others")) for v in MapVerdict],
        "relevant_effect": RELEVANT,
        "images": "Right for the wrong reason presupposes right: only correctly classified images count."
        if correct
        else "All images with a usable box count, whether classified correctly or not.",
        "target": f"Explained is the {'predicted' if predicted else 'true'} class of each image.",
    }


SECTION = Section("reading", "How to read this", "How to read this", 80, TEMPLATE, build)
