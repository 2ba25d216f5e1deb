"""Strategies inside a class (SpRAy): do its maps fall into groups, and does one of them look elsewhere?"""

from __future__ import annotations

from typing import Any

import pandas as pd

from pipeline.run.documents import ClassStrategies, ClustersDocument
from pipeline.run.folder import CLUSTERS, CLUSTERS_TABLE
from pipeline.verdicts import Verdict
from reports.page import words
from reports.page.cards import Picture, show_images
from reports.page.charts import embedding
from reports.page.data import RunData
from reports.page.figures import whisker
from reports.page.sections import Section
from reports.page.svg import Axis

MOST_CLASSES, MOST_CLUSTERS, PROTOTYPES = 6, 4, 2

TEMPLATE = """
<p class="intro">The heat maps of a class, grouped by similarity: each group is a way in which the network
recognises the class. A group that stands apart and looks beside the object is marked as a candidate:
right for the wrong reason, on some of the images.</p>
{% for c in classes if c.clusters %}
<article class="card strategies">
<div class="who"><h3>{{ m.name(c.name) }}</h3><p>{{ c.sentence }}</p></div>
<div class="spray">
<figure>{{ c.picture }}<figcaption>Each dot is one map; near dots are similar maps.</figcaption></figure>
<ol class="clusters">
{% for k in c.clusters %}
<li>
<p><b class="tag">{{ k.number }}</b> {{ k.n | count("image") }} <small>{{ k.share | percent }}</small></p>
<p>{% if k.candidate %}<span class="chip suspected">candidate</span>{% elif k.lift is none %}<small>no
boxes: where it looks is not known</small>{% else %}<small>no candidate</small>{% endif %}</p>
<p>{{ k.whisker }} <b>{{ k.lift | signed }}</b></p>
<p><small>separability {{ k.separability | number }}</small></p>
<div class="pairs">
{% for picture in k.pictures %}
{{ m.pair(picture, size) }}
{% endfor %}
</div>
</li>
{% endfor %}
</ol>
</div>
{% if c.more %}
<p class="fine">{{ c.more | count("smaller group", "smaller groups") }} not shown; all are in
<code>{{ file }}</code>.</p>
{% endif %}
</article>
{% endfor %}
{% for c in classes if not c.clusters %}
<p><b>{{ m.name(c.name) }}</b> {{ c.sentence }}</p>
{% endfor %}
{% if left_out %}
<p class="fine">{{ left_out | count("more class", "more classes") }} in <code>{{ file }}</code>.</p>
{% endif %}
<p class="reading"><b>How to read this.</b> Spectral relevance analysis (Lapuschkin et al. 2019): pooled
maps, spectral
clustering, as many groups as the largest gap between eigenvalues says. The interval is that of the
adjusted lift. Separability (Fisher, 0 to 1) says
how far a
group stands apart; chance alone reaches the value given for each class. The pictures are the most central
of each
group.</p>
"""


def build(run: RunData) -> dict[str, Any] | None:
    stored, table = ClustersDocument.current(run.store), run.store.read_side_table(CLUSTERS_TABLE)
    entries = [c for c in stored.classes if c.method == run.method] if stored else []
    if not entries or table is None:
        return None
    places = table.to_pandas()
    places = places[places["method"].astype(str) == run.method]
    entries.sort(key=lambda c: (not c.candidates, -(c.tau or 0.0)))
    shown = entries[:MOST_CLASSES]
    ids = [i for c in shown for k in c.clusters[:MOST_CLUSTERS] for i in k.prototypes[:PROTOTYPES]]
    pictures = dict(zip(ids, show_images(run, ids), strict=True))
    return {
        "classes": [_class(c, places[places["label"] == c.label], pictures) for c in shown],
        "left_out": len(entries) - len(shown),
        "size": run.size,
        "file": CLUSTERS,
    }


def _class(
    entry: ClassStrategies, places: pd.DataFrame, pictures: dict[str, Picture | None]
) -> dict[str, Any]:
    clusters = entry.clusters if len(entry.clusters) > 1 else ()
    axis = Axis(-4.0, 2.0, 4, 116)
    return {
        "name": entry.class_name,
        "sentence": _sentence(entry),
        "picture": embedding(
            places["x"].to_numpy(float),
            places["y"].to_numpy(float),
            places["cluster"].to_numpy(int),
            [k.candidate for k in clusters],
        )
        if clusters
        else None,
        "clusters": [
            {
                "number": k.cluster + 1,
                "n": k.n,
                "share": k.share,
                "candidate": k.candidate,
                "lift": k.adjusted_lift,
                "separability": k.separability,
                "whisker": whisker(
                    axis,
                    k.low,
                    k.adjusted_lift,
                    k.high,
                    Verdict.SUSPECTED if k.candidate else Verdict.UNDECIDED,
                ),
                "pictures": [p for i in k.prototypes[:PROTOTYPES] if (p := pictures[i]) is not None],
            }
            for k in clusters[:MOST_CLUSTERS]
        ],
        "more": max(0, len(clusters) - MOST_CLUSTERS),
    }


def _sentence(entry: ClassStrategies) -> str:
    if entry.reason:
        return f"Not clustered: {entry.reason}."
    n = len(entry.clusters)
    if n == 1:
        return f"One strategy: its {words.count(entry.n, 'map')} form a single group."
    count = len(entry.candidates)
    candidates = words.count(count, "is a candidate", "are candidates") if count else "none is a candidate"
    if all(k.adjusted_lift is None for k in entry.clusters):
        candidates = "and no boxes that would tell whether one of them looks beside the object"
    return (
        f"{words.spell(n).capitalize()} groups among {words.count(entry.n, 'map')}, {candidates}. "
        f"Separability {words.number(entry.tau)}; chance alone reaches {words.number(entry.tau_null)}."
    )


SECTION = Section("strategies", "Strategies inside the classes", "Strategies", 27, TEMPLATE, build)
