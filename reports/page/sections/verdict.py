"""The headline: what the audit found, how sure it is, and what it could not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from pipeline.run.documents import records
from pipeline.unboxed import command, untested
from pipeline.verdicts import SUSPECT, Tested, Verdict
from reports.page import words
from reports.page.data import RunData
from reports.page.facts import run_facts
from reports.page.figures import verdict_bar
from reports.page.headline import count_unboxed, headline, tally
from reports.page.next_steps import next_steps
from reports.page.sections import Section
from reports.page.since import since
from reports.page.triptych import Triptych, triptychs

FINDINGS: Final = 3  # classes of which the first screen says what the network goes by

TEMPLATE = """
<p class="kicker">Audit of <bdi>{{ model }}</bdi> on <bdi>{{ dataset }}</bdi>
{%- if date %} · {{ date }}{% endif %}</p>
<h1>{{ headline }}</h1>
<div class="verdicts">
{{ bar }}
<ul>
{% for verdict, n, meaning in verdicts %}
<li class="{{ verdict }}{% if not n %} none{% endif %}"><a href="#table" data-only="{{ verdict }}"
title="{{ meaning }}"><b>{{ n | integer }}</b> {{ verdict }}</a></li>
{% endfor %}
</ul>
</div>
<div class="opening{% if not shown %} alone{% endif %}">
<div class="lede">
<p>
{%- for i in names -%}
<a class="suspect {{ verdict }}" href="#{{ i.link }}"><bdi
title="{{ i.full }}">{{ i.name }}</bdi></a>{{ i.glue }}
{%- endfor %}
{{ found }}</p>
{% if findings %}
<ul class="findings" aria-label="What the network goes by">
{% for name, finding in findings %}
<li><b><bdi>{{ name }}</bdi></b>: {{ finding }}</li>
{% endfor %}
</ul>
{% endif %}
</div>
{% if shown %}
{{ m.triptych(shown, of) }}
{% endif %}
</div>
{% if since %}{{ m.since(since) }}{% endif %}
{% if steps %}
<div class="steps">
<h2>What to do next</h2>
<ol>
{% for step in steps %}
<li>{{ step.text }}{% if step.command %} <code>{{ step.command }}</code>{% endif %}</li>
{% endfor %}
</ol>
</div>
{% endif %}
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
<div class="caveats">
{% for title, text in caveats %}
<div><h2>{{ title }}</h2><p>{{ text }}</p></div>
{% endfor %}
{% if unconfirmed %}
<div><h2>What does this not show?</h2><p>A heat map says where the evidence lies, not what would happen
without it.
Take a suspected class as a reason to look, and intervene on its images with <code>hansaudit confirm</code>
before acting on it.</p></div>
{% endif %}
</div>
"""


def build(run: RunData) -> dict[str, Any] | None:
    table, counts = run.classes, tally(run.classes)
    verdict = Verdict.CONFIRMED if counts[Verdict.CONFIRMED] else Verdict.SUSPECTED
    named = table[table["verdict"] == verdict]
    of, shown = _shown(run, named)
    started = str((run.manifest.get("sessions") or [{}])[0].get("started", ""))
    return {
        "model": run.manifest.get("model", {}).get("name") or "model",
        "dataset": run.manifest.get("dataset", {}).get("name") or "dataset",
        "date": started[:10],
        "headline": headline(counts, count_unboxed(table)),
        "verdict": verdict,
        "names": _names(run, named),
        "found": _found(run, counts, named),
        "findings": _findings(run, named),
        "of": of,
        "shown": shown,
        "since": since(run),
        "steps": next_steps(run),
        "warnings": _warnings(run),
        "facts": run_facts(run),
        "bar": verdict_bar(counts),
        "verdicts": [(v, counts[v], v.meaning) for v in Verdict],
        "caveats": _caveats(run),
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
    return [*told, *run.beside.lacking]


def _shown(run: RunData, named: pd.DataFrame) -> tuple[str, Triptych | None]:
    """Name and edited image of the strongest of the ``named`` classes that has one."""
    for row in records(named.head(6)):
        made = triptychs(run, [int(row["label"])])  # the typical one, where the first has no photograph
        if made:
            return run.short(row["class_name"]), made[int(row["label"])][0]
    return "", None


def _names(run: RunData, rows: pd.DataFrame) -> list[dict[str, str]]:
    """Names with links, and the word that follows each."""
    names = [
        {
            "name": run.short(r["class_name"]),
            "full": str(r["class_name"]),
            "link": f"row-{r['label']}",
        }
        for r in records(rows.head(6))
    ]
    rest = len(rows) - len(names)
    for i, item in enumerate(names):
        left = len(names) - 1 - i
        item["glue"] = ", " if left > 1 or (left == 1 and rest) else " and " if left == 1 else ""
    if rest and names:
        names[-1]["glue"] = f" and {rest} more"
    return names


def _findings(run: RunData, named: pd.DataFrame) -> list[tuple[str, str]]:
    """Name and finding of the first of the ``named`` classes of which something is said."""
    told = [(run.short(r["class_name"]), str(r["finding"])) for r in records(named) if r["finding"]]
    return told[:FINDINGS]


def _found(run: RunData, counts: Mapping[Verdict, int], named: pd.DataFrame) -> str:
    """What follows the names of the confirmed or suspected classes, or stands alone where there are none."""
    if counts[Verdict.CONFIRMED]:
        return _confirmed(named)
    if len(named):
        return _suspected(run, named)
    judged = counts[Verdict.UNREMARKABLE] + counts[Verdict.CLEARED]
    if not judged and count_unboxed(run.classes) == len(run.classes):
        return (
            "Whether the network needs what lies beside the objects can only be tested where the objects are "
            "known. What needs no boxes is below; it accuses no class and clears none."
        )
    if not judged:
        return (
            "Every class has fewer usable images, or a wider spread among them, than a statement takes. "
            "This is no clean bill of health: it is the absence of a verdict."
        )
    said = f"For {words.count(judged, 'class', 'classes')} there were enough images"
    if run.edited:
        return f"{said}, and the network needs what lies beside the object in none of them."
    return f"{said}, and the heat maps of none lie beside the object more than those of other classes do."


def _confirmed(named: pd.DataFrame) -> str:
    several = len(named) > 1
    effect = words.number(float(named["effect"].median())) if named["effect"].notna().any() else "more"
    unseen = int((~named["map_verdict"].isin(SUSPECT)).sum())
    text = (
        f" {'are' if several else 'is'} recognised, but not by the object alone. Interventions confirm it: "
        f"the pictures were edited, and the own background adds {effect} to the probability of the class"
        f"{' (median of these classes)' if several else ''}, beyond what ordinary classes show."
    )
    if unseen:
        text += f" The heat maps do not show {words.spell(unseen) + ' of them' if several else 'it'}."
    return text


def _suspected(run: RunData, named: pd.DataFrame) -> str:
    odds = words.number(float(np.exp(-named["adjusted_lift"].median())), 1)
    median = " (median of these classes)" if len(named) > 1 else ""
    edits = (
        "Edited images have not decided yet whether the network needs what is there."
        if named["tested"].notna().all()
        else "Whether the network needs what is there has not been tested."
    )
    return (
        f" {'are' if len(named) > 1 else 'is'} recognised, but the heat maps lie beside the object more than "
        f"they should: the odds that relevance falls inside its box are {odds} times lower than on "
        f"comparable images of other classes{median}. {edits}"
    )


def _caveats(run: RunData) -> list[tuple[str, str]]:
    caveats = [("How sure is this?", _sure(run)), ("What could not be said?", _unsaid(run)), *_tests(run)]
    if bare := count_unboxed(run.classes):
        caveats.append(("What would boxes add?", _boxes_add(run, bare)))
    return caveats


def _sure(run: RunData) -> str:
    level = words.percent(float(run.rule("level")))
    by_maps = (
        "A class is suspected only if its maps are lower than comparable ones by more than "
        f"{-float(run.rule('relevant_effect')):g} and by more than the classes of this run differ anyway, "
        f"with false discoveries held to {level}. Box size and position are accounted for: a small object "
        "alone accuses no class."
    )
    if run.ranking.summary["method_marks"]:
        by_maps = "The maps failed their sanity check, so no class is suspected by them."
    if not run.edited:
        return by_maps
    null = run.ranking.summary.get("n_null_confirmed")
    classes = "" if null is None else f"{words.spell(null)} class{'es' if null > 1 else ''}"
    told = f" Where nothing can be found, the same rule confirms {classes}." if classes else ""
    return (
        "A class is confirmed only if its own background adds more to its probability than another class's, "
        f"cut in the same way: by more than what matters, with false discoveries held to {level}, and beyond "
        f"what ordinary classes show.{told} {by_maps}"
    )


def _tests(run: RunData) -> list[tuple[str, str]]:
    """What the interventions add to the heat maps."""
    if not run.edited:
        return []
    table = run.classes
    n = sum(judgement.n for judgement in run.edited.values())
    parts = [f"{words.count(n, 'image')} of {words.count(len(run.edited), 'class', 'classes')} were edited."]
    for chosen, meaning in (
        (table["verdict"] == Verdict.CLEARED, Verdict.CLEARED.meaning),
        (table["tested"] == Tested.RIM, Tested.RIM.meaning),
    ):
        if chosen.any():
            parts.append(
                f"{words.listing([run.short(n) for n in table.loc[chosen, 'class_name']], 4)}: {meaning}."
            )
    return [("Was it put to the test?", " ".join(parts))]


def _boxes_add(run: RunData, bare: int) -> str:
    """What boxes on a dozen images of a class would tell, and the command that lists these images."""
    return (
        "With a box around the object on a dozen images of a class its background can be exchanged and its "
        "object taken out: whether the network needs what lies beside the object is then tested, class by "
        f"class. {command(run.store.path, bare)} lists the images on which boxes would decide most, in a CSV "
        "to fill."
    )


def _unsaid(run: RunData) -> str:
    undecided = run.classes[run.classes["verdict"] == Verdict.UNDECIDED]
    parts = []
    if bare := count_unboxed(run.classes):
        parts.append(f"{untested(bare, len(run.classes))}.")
        undecided = undecided[undecided["n_boxed"] != 0]
    if len(undecided):
        needed = undecided["n_needed"].dropna()
        text = f"{words.count(len(undecided), 'class is', 'classes are')} undecided"
        if len(needed):
            edited = undecided["n_edited"].dropna()
            n, what = (edited, "edited image") if len(edited) else (undecided["n"], "usable image")
            have = words.count(int(n.median()), what)
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
