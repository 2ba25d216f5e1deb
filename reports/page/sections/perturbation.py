"""Perturbation curves: does the network really go by what the heat maps call relevant?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config_sections import PerturbationConfig
from pipeline.terms import CurveOrder
from pipeline.verdicts import Verdict
from reports.page.charts import Line, lines, small_lines
from reports.page.data import RunData
from reports.page.sections import Section

# order -> (name on the page, verdict whose colour it has)
REGIONS: dict[str, tuple[str, str]] = {
    CurveOrder.MORF: (CurveOrder.MORF.meaning, Verdict.CONFIRMED),
    CurveOrder.RANDOM: (CurveOrder.RANDOM.meaning, Verdict.UNDECIDED),
    CurveOrder.LERF: (CurveOrder.LERF.meaning, Verdict.UNREMARKABLE),
}
CLASSES = 6  # that get a figure of their own
PIXELS: dict[str, tuple[str, str]] = {
    CurveOrder.DELETION: (CurveOrder.DELETION.words, Verdict.CONFIRMED),
    CurveOrder.INSERTION: (CurveOrder.INSERTION.words, Verdict.UNREMARKABLE),
}

TEMPLATE = """
{% for title, plot in plots %}
<h3>{{ title }}</h3>
<div class="scroll plot" tabindex="0" role="region" aria-label="{{ title }}">{{ plot }}</div>
{% endfor %}
{% if classes %}
<h3>The same for the first classes of the ranking</h3>
<div class="multiples">
{% for c in classes %}
<figure><figcaption>{{ m.name(c.name) }} <small>{{ c.n | count("image") }}{% if c.gap is given %},
gap {{ c.gap | signed(2) }}{% endif %}</small></figcaption>{{ c.plot }}</figure>
{% endfor %}
</div>
{% endif %}
{% if rows %}
<div class="scroll" tabindex="0" role="region" aria-label="Perturbation analysis per method">
<table class="plain">
<thead><tr><th scope="col">Method</th><th scope="col" class="num">Images</th>
<th scope="col" class="num">AOPC most relevant first − random</th>
<th scope="col" class="num">AOPC least − most relevant first</th></tr></thead>
<tbody>
{% for r in rows %}
<tr><th scope="row"><code>{{ r.method }}</code>
{% for failure in r.failures %} <span class="chip bad">{{ failure }}</span>{% endfor %}</th>
<td class="num">{{ r.n | integer }}</td>
<td class="num">{{ r.gain | signed(3) }}</td><td class="num">{{ r.gap | signed(3) }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
<p class="reading"><b>How to read this.</b> Regions of {{ region }} × {{ region }} pixels are replaced one
after the other
({{ fill }}), in the order that the heat map gives, and the {{ score }} of the explained class is watched
(Samek et al.
2017). If the map is right, replacing the most relevant regions first makes it fall faster than a random
order does, and
the least relevant first more slowly. Bands: the mean plus and minus two standard errors over the images.
AOPC is the mean drop along a curve.</p>
"""


def build(run: RunData) -> dict[str, Any] | None:
    if "curves" not in run.tables:
        return None
    names = dict(zip(run.classes["label"], run.classes["class_name"].map(run.short), strict=True))
    first = list(names)[:CLASSES]
    of_class = run.images.loc[run.images["label"].isin(first), ["example_id", "label"]]
    label_of = dict(of_class.itertuples(index=False, name=None))
    sums = _sums(run.store.scan("curves", ["example_id", "method", "order", "values"]), label_of)
    own = {o: curve for (method, o, label), curve in sums.items() if (method, label) == (run.method, None)}
    plots = [
        (title, lines([_line(own[o], *kinds[o]) for o in kinds if o in own], (across, _score(run))))
        for title, kinds, across in (
            (f"Regions replaced by the maps of {run.method}", REGIONS, "share of the steps"),
            ("Pixels deleted and inserted", PIXELS, "share of the picture"),
        )
        if any(o in own for o in kinds)
    ]
    if not plots:
        return None
    methods = list(dict.fromkeys(method for method, _, _ in sums))
    rows = [_row(m, {o: f for (k, o, label), f in sums.items() if (k, label) == (m, None)}) for m in methods]
    return {
        "plots": plots,
        "classes": _classes({k: names[k] for k in first}, sums, run.method),
        "rows": [r | {"failures": run.failures(r["method"])} for r in rows if r is not None],
        "region": _region(run),
        "fill": run.setting("perturbation", "fill", "uniform"),
        "score": _score(run),
    }


def _classes(
    names: Mapping[int, str], sums: Mapping[tuple[str, str, int | None], _Sum], method: str
) -> list[dict[str, Any]]:
    """A small figure per class whose regions were replaced, on one scale."""
    by_class = {k: {o: sums[method, o, k] for o in REGIONS if (method, o, k) in sums} for k in names}
    curves = {k: [_line(f, *REGIONS[o]) for o, f in own.items()] for k, own in by_class.items() if own}
    ends = [v for own in curves.values() for line in own for v in (line.low.min(), line.high.max())]
    span = (min([0.0, *ends]), max([0.0, *ends]))
    return [
        {
            "name": names[k],
            "n": max(f.n for f in by_class[k].values()),
            "gap": (_row(method, by_class[k]) or {}).get("gap"),
            "plot": small_lines(own, span, names[k]),
        }
        for k, own in curves.items()
    ]


def _region(run: RunData) -> int | None:
    """Side of a region; where the configuration leaves it open, by the size of the network's input."""
    card = run.manifest.get("model", {}).get("card") or {}
    side, height, width = run.setting("perturbation", "region", 9), card.get("height"), card.get("width")
    if side or not (isinstance(height, int) and isinstance(width, int)):
        return side
    return PerturbationConfig().region_side(height, width)


def _score(run: RunData) -> str:
    return "probability" if run.setting("perturbation", "score", "softmax") == "softmax" else "logit"


class _Sum:
    """Count, mean and spread of many curves of one length, one at a time (Welford, by chunks of rows)."""

    def __init__(self, length: int) -> None:
        self.n, self.mean, self.squares = 0, np.zeros(length), np.zeros(length)

    def add(self, values: np.ndarray) -> None:
        n, mean = len(values), values.mean(axis=0)
        shift = mean - self.mean
        total = self.n + n
        self.squares += ((values - mean) ** 2).sum(axis=0) + shift**2 * self.n * n / total
        self.mean += shift * n / total
        self.n = total

    @property
    def error(self) -> np.ndarray:
        """Standard error of the mean at every step."""
        return np.sqrt(self.squares / max(self.n - 1, 1) / max(self.n, 1))


def _sums(
    batches: Iterator[pa.RecordBatch], label_of: Mapping[str, int]
) -> dict[tuple[str, str, int | None], _Sum]:
    """Curves by (method, order, None), and of the images in ``label_of`` by (method, order, label) too.

    Of another length than the first of its kind, a curve is left out.
    """
    out: dict[tuple[str, str, int | None], _Sum] = {}
    for batch in batches:
        frame = batch.to_pandas().dropna(subset=["values"])
        frame["label"] = frame["example_id"].map(label_of)
        for (method, order), group in frame.groupby(["method", "order"], observed=True, sort=False):
            _add(out, (str(method), str(order), None), group["values"])
            for label, part in group.groupby("label"):
                _add(out, (str(method), str(order), int(label)), part["values"])  # type: ignore[call-overload]
    return out


def _add(out: dict[tuple[str, str, int | None], _Sum], key: tuple[str, str, int | None], curves: Any) -> None:
    length = len(out[key].mean) if key in out else len(curves.iloc[0])
    rows = [v for v in curves if len(v) == length]
    if rows:
        out.setdefault(key, _Sum(length)).add(np.stack(rows).astype(float))


def _line(curve: _Sum, name: str, kind: str) -> Line:
    return Line(name, kind, curve.mean, curve.mean - 2 * curve.error, curve.mean + 2 * curve.error)


def _row(method: str, by_order: dict[str, _Sum]) -> dict[str, Any] | None:
    """AOPC differences of the mean curves: the same as the mean of the images' differences."""
    if CurveOrder.MORF not in by_order:
        return None
    mean = {o: float(s.mean.mean()) for o, s in by_order.items()}
    return {
        "method": method,
        "n": by_order[CurveOrder.MORF].n,
        "gain": mean[CurveOrder.RANDOM] - mean[CurveOrder.MORF] if CurveOrder.RANDOM in mean else None,
        "gap": mean[CurveOrder.LERF] - mean[CurveOrder.MORF] if CurveOrder.LERF in mean else None,
    }


SECTION = Section("perturbation", "Are the heat maps right?", "Perturbation", 55, TEMPLATE, build)
