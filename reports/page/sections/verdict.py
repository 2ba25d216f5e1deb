"""The headline: what the audit found, how sure it is, and what it could not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.run.documents import records
from pipeline.verdicts import InterventionVerdict, MapVerdict
from reports.page import words
from reports.page.data import RunData
from reports.page.figures import verdict_bar
from reports.page.headline import headline, tally
from reports.page.sections import Section

TEMPLATE = """
<p class="kicker">Audit of <bdi>{{ model }}</bdi> on <bdi>{{ dataset }}</bdi>
{%- if date %} · {{ date }}{% endif %}</p>
<h1>{{ headline }}</h1>
<div class="lede">
{% if names %}
<p>
{%- for i in names -%}
<a class="suspect" href="#{{ i.link }}"><bdi>{{ i.name }}</bdi></a>{{ i.glue }}
{%- endfor %}
{{ found }}</p>
{% else %}
<p>{{ found }}</p>
{% endif %}
</div>
{% for warning in warnings %}
<p class="answer bad" role="note">{{ warning }}</p>
{% endfor %}
<dl class="figures">
{% for fact in facts %}
<div><dt>{{ fact.label }}</dt>
<dd{% if fact.value | length > 10 %} class="long"{% endif %}>{{ fact.value }}</dd>
<dd class="note">{{ fact.note }}</dd></div>
{% endfor %}
</dl>
<div class="verdicts">
{{ bar }}
<ul>
{% for verdict, n, meaning in verdicts %}
<li class="{{ verdict }}{% if not n %} none{% endif %}"><b>{{ n | integer }}</b> {{ m.chip(verdict) }}
<span class="meaning">{{ meaning }}</span></li>
{% endfor %}
</ul>
</div>
<div class="caveats">
{% for title, text in caveats %}
<div><h2>{{ title }}</h2><p>{{ text }}</p></div>
{% endfor %}
{% if unconfirmed %}
<div><h2>What does this not show?</h2><p>A heat map says where the evidence lies, not what would happen
without it.
Take a named class as a reason to look, and intervene on its images with <code>hansaudit confirm</code>
before acting
on it.</p></div>
{% endif %}
</div>
"""


def build(run: RunData) -> dict[str, Any]:
    table, counts = run.classes, tally(run.classes)
    suspects = table[table["map_verdict"] == MapVerdict.SUSPICIOUS]
    confirmed = suspects[suspects["label"].map(run.tested) == InterventionVerdict.CONFIRMED]
    named = confirmed if len(confirmed) else suspects
    started = str((run.manifest.get("sessions") or [{}])[0].get("started", ""))
    return {
        "model": run.manifest.get("model", {}).get("name") or "model",
        "dataset": run.manifest.get("dataset", {}).get("name") or "dataset",
        "date": started[:10],
        "headline": headline(counts, len(confirmed)),
        "names": _names(named),
        "found": _found(counts, named, len(confirmed) > 0),
        "warnings": _warnings(run),
        "facts": _facts(run, counts),
        "bar": verdict_bar(counts),
        "verdicts": [(v, counts[v], v.meaning) for v in MapVerdict],
        "caveats": _caveats(run, counts),
        "unconfirmed": not run.edited,
    }


def _warnings(run: RunData) -> list[str]:
    """What takes the ground from under the report: maps that show no network, data that do not fit."""
    seen = run.preflight.warnings if run.preflight else ()
    told = [f"Seen before the first image: {warning}." for warning in seen]
    if failed := run.failures(run.method):
        told.append(
            f"Caution: the maps of {run.method} are {words.listing(failed)} in this run's sanity check. What "
            "follows describes the pictures more than the network; use another method."
        )
    return told


def _names(rows: pd.DataFrame) -> list[dict[str, str]]:
    """Names with links, and the word that follows each."""
    names = [{"name": str(r["class_name"]), "link": f"row-{r['label']}"} for r in records(rows.head(6))]
    rest = len(rows) - len(names)
    for i, item in enumerate(names):
        left = len(names) - 1 - i
        item["glue"] = ", " if left > 1 or (left == 1 and rest) else " and " if left == 1 else ""
    if rest and names:
        names[-1]["glue"] = f" and {rest} more"
    return names


def _found(counts: Mapping[MapVerdict, int], named: pd.DataFrame, confirmed: bool) -> str:
    if len(named):
        odds = float(np.exp(-named["adjusted_lift"].median()))
        verb = "is" if len(named) == 1 else "are"
        median = "" if len(named) == 1 else " (median of these classes)"
        text = (
            f" {verb} recognised, but what the network goes by lies beside the object more than it should: "
            "the odds that its evidence falls inside the object's box are "
            f"{words.number(odds, 1)} times lower than on comparable images of other classes{median}."
        )
        return text + (" Edited images confirm it." if confirmed else "")
    judged = counts[MapVerdict.UNREMARKABLE] + counts[MapVerdict.UNFOCUSED]
    if not judged:
        return (
            "Every class has fewer usable images, or a wider spread among them, than a statement takes. "
            "This is no clean bill of health: it is the absence of a verdict."
        )
    return (
        f"For {words.count(judged, 'class', 'classes')} there were enough images, and none of them has its "
        "evidence beside the object by more than matters, compared with images of other classes."
    )


def _facts(run: RunData, counts: Mapping[MapVerdict, int]) -> list[dict[str, str]]:
    images, used = run.images, run.used
    subset = run.rule("images")
    predicted = images[images["prediction"].notna()]
    median = used["mass"].median()
    true = run.setting("audit", "target") == "label"
    failed = int((images["status"] == "failed").sum())
    return [
        {
            "label": "images audited",
            "value": words.integer(len(images)),
            "note": f"{words.integer(failed)} could not be read" if failed else "all of them could be read",
        },
        {
            "label": "accuracy",
            "value": words.percent(predicted["correct"].mean() if len(predicted) else None, 1),
            "note": f"top-1, {words.count(len(run.classes), 'class', 'classes')}",
        },
        {
            "label": "images that count",
            "value": words.integer(len(used)),
            "note": "correctly classified, with a usable box" if subset == "correct" else "with a usable box",
        },
        {
            "label": "relevance on the object",
            "value": words.percent(median),
            "note": f"median image; its box covers {words.percent(used['box_area'].median())} of the picture",
        },
        {
            "label": "explained by",
            "value": run.method,
            "note": "target: the true class" if true else "target: the predicted class",
        },
    ]


def _caveats(run: RunData, counts: Mapping[MapVerdict, int]) -> list[tuple[str, str]]:
    level, relevant = float(run.rule("level")), float(run.rule("relevant_effect"))
    sure = (
        "Heat maps make a class suspicious only if it is lower than comparable images by more than "
        f"{-relevant:g} and by more than the classes of this run differ anyway, with false discoveries held "
        f"to {words.percent(level)} over all classes. "
        "Box size and position are accounted for: a small object alone makes no class suspicious."
    )
    out = [("How sure is this?", sure), ("What could not be said?", _unsaid(run, counts))]
    return [*out, ("Was it put to the test?", _test(run))] if run.edited else out


def _test(run: RunData) -> str:
    """What the interventions add to the heat maps."""
    parts = [f"The images of {words.count(len(run.edited), 'class', 'classes')} were edited."]
    for verdict in (
        InterventionVerdict.CONFIRMED,
        InterventionVerdict.ATTRIBUTION_ONLY,
        InterventionVerdict.HIDDEN,
    ):
        names = [c.class_name for c in run.edited.values() if c.verdict == verdict]
        if names:
            parts.append(f"{words.listing(names, 4)}: {verdict.meaning}.")
    return " ".join(parts)


def _unsaid(run: RunData, counts: Mapping[MapVerdict, int]) -> str:
    undecided = run.classes[run.classes["map_verdict"] == MapVerdict.UNDECIDED]
    parts = []
    if len(undecided):
        needed = undecided["n_needed"].dropna()
        text = f"{words.count(len(undecided), 'class is', 'classes are')} undecided"
        if len(needed):
            have = words.count(int(undecided["n"].median()), "usable image")
            text += (
                f": half of them have {have} or fewer, and a statement would take about "
                f"{words.integer(needed.median())} (median)"
                if len(undecided) > 1
                else f": it has {have} and would need about {words.integer(needed.median())}"
            )
        parts.append(text + ".")
    lost = int((~run.images["status"].isin(["ok"])).sum())
    if lost:
        parts.append(
            f"For {words.count(lost, 'image')} the question has no answer (no box, a box that fills the "
            "picture, or unreadable); they are counted below, not dropped."
        )
    if run.canary is not None:
        parts.append(run.canary.line)
    return " ".join(parts) or "Nothing: every class had enough images, and every image could be used."


SECTION = Section("verdict", "", "", 0, TEMPLATE, build)
