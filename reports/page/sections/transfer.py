"""What the network goes by: windows of classes that were pasted onto images of others."""

from __future__ import annotations

from typing import Any, Final

from pipeline.measure.transfer.gain import RELEVANT
from pipeline.run.documents import records
from pipeline.run.folder import RANKING_TABLE
from pipeline.run.transfer_parts import TransferParts
from pipeline.statistics.transfer import SHARE, STRONG
from pipeline.verdicts import Transferred
from reports.page import words
from reports.page.data import RunData
from reports.page.figures import whisker
from reports.page.sections import Section
from reports.page.svg import Axis
from reports.page.windows import windows_of

OTHERS: Final = 6  # classes that are shown beside those that transfer
ROWS: Final = 40
AXIS: Final = Axis(-2.0, 8.0, 4, 116)

TEMPLATE = """
<p class="intro">{{ intro }}</p>
<div class="scroll table" tabindex="0" role="region" aria-label="Pasted windows per class">
<table class="plain effects">
<thead><tr><th scope="col">Class</th><th scope="col">Verdict</th>
<th scope="col">The best</th><th scope="col">Its windows</th>
<th scope="col" class="num">Windows</th><th scope="col">They add, log odds</th>
<th scope="col" class="num">
<abbr title="share of the windows that add more than 2 log odds">Strong</abbr></th>
<th scope="col" class="num">Probability</th><th scope="col" class="num">Other classes'</th>
<th scope="col" class="num"><abbr title="windows of the same images at places where others are
explained, log odds">Elsewhere</abbr></th></tr></thead>
<tbody>
{% for r, bar, best in rows %}
<tr><th scope="row"><a href="#row-{{ r.label }}">{{ m.name(r.class_name) }}</a></th>
<td>{{ m.chip(r.verdict) }}</td><td>{{ m.windows(best, r.class_name) }}</td><td>{{ said[r.transferred] }}</td>
<td class="num">{{ r.n_windows | integer }}</td>
<td>{{ bar }}<small><b>{{ r.transfer | signed }}</b> {{ r.transfer_low | signed }} …
{{ r.transfer_high | signed }}</small></td>
<td class="num">{{ r.transfer_share | percent }}</td>
<td class="num">{{ r.transfer_added | signed }}</td><td class="num">{{ r.transfer_control | signed }}</td>
<td class="num">{{ r.transfer_elsewhere | signed }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% if left_out %}
<p class="fine">{{ left_out | count("more class", "more classes") }}: see the columns <code>transfer</code> of
<code>{{ file }}</code>.</p>
{% endif %}
{% if unused %}<p class="fine">{{ unused }}</p>{% endif %}
<p class="reading"><b>How to read this.</b> Of each image the window with most relevance beside the object is
pasted, at its place, onto images of other classes. The figures are what that adds to the class, beyond what a
window of another class from the same place adds on the same images: 0 where windows say nothing. A class
transfers where its mean gain is above {{ relevant | number(0) }} (its odds rise by a factor of 2.7), or more
than {{ share | percent }} of its windows gain more than {{ strong | number(0) }}, false discoveries held to
{{ level | percent }} over all classes. Under <em>elsewhere</em> the windows lie where <em>other</em> images
are explained: where these add as little as 0, the maps know what they point at. Such a class is suspected at
least; whether the network <em>needs</em> what is there, interventions say.</p>
"""
_SAID = {
    Transferred.TRANSFERS: "carry the class",
    Transferred.UNDECIDED: "not decided",
    Transferred.NOTHING: "carry nothing",
}


def build(run: RunData) -> dict[str, Any] | None:
    carried = run.ranking.carried
    if not carried:
        return None
    rows = [row for row in records(run.classes) if int(row["label"]) in carried]
    rows.sort(key=lambda r: (r["transferred"] != Transferred.TRANSFERS, -float(r["transfer"])))
    n = sum(row["transferred"] == Transferred.TRANSFERS for row in rows)
    shown = rows[: min(ROWS, n + OTHERS)]
    windows = windows_of(run, [int(row["label"]) for row in shown])
    counted = words.count(sum(c.n for c in carried.values()), "window")
    return {
        "intro": (
            f"{counted} of {words.count(len(carried), 'class', 'classes')} were pasted onto images of other "
            f"classes. {words.count(n, 'class transfers', 'classes transfer')}: what lies beside the objects "
            "makes the network see the class elsewhere, too."
        ),
        "rows": [(row, _bar(row), windows[int(row["label"])].best) for row in shown],
        "said": _SAID,
        "left_out": len(rows) - len(shown),
        "file": RANKING_TABLE,
        "unused": _unused(run),
        "relevant": RELEVANT,
        "share": SHARE,
        "strong": STRONG,
        "level": run.rule("level"),
    }


def _bar(row: dict[str, Any]) -> Any:
    ends = (row["transfer_low"], row["transfer"], row["transfer_high"])
    return whisker(AXIS, *ends, str(row["verdict"])) if all(map(words.given, ends)) else ""


def _unused(run: RunData) -> str:
    """Images that gave no window, and why."""
    parts = TransferParts(run.store)
    room, maps = parts.left_out("no_room"), parts.left_out("no_map")
    told = [
        f"{words.count(n, 'image')} {why}"
        for n, why in ((room, "with no room or no relevance beside the box"), (maps, "without a map"))
        if n
    ]
    return f"No window: {' and '.join(told)}." if told else ""


SECTION = Section("transfer", "What the network goes by: pasted windows", "Transfer", 26, TEMPLATE, build)
