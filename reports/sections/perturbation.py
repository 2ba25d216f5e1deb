"""Perturbation curves: does the network really go by what the heat maps call relevant?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from reports.charts import Line, lines
from reports.data import RunData
from reports.sections import Section

# order -> (name on the page, colour)
REGIONS = {
    "morf": ("most relevant first", "suspicious"),
    "random": ("random order", "undecided"),
    "lerf": ("least relevant first", "unremarkable"),
}
PIXELS = {"deletion": ("deletion", "suspicious"), "insertion": ("insertion", "unremarkable")}

TEMPLATE = """
{% for title, plot in plots %}
<h3>{{ title }}</h3>
<div class="scroll plot" tabindex="0" role="region" aria-label="{{ title }}">{{ plot }}</div>
{% endfor %}
{% if rows %}
<div class="scroll" tabindex="0" role="region" aria-label="Perturbation analysis per method">
<table class="plain">
<thead><tr><th scope="col">Method</th><th scope="col" class="num">Images</th>
<th scope="col" class="num">AOPC most relevant first − random</th>
<th scope="col" class="num">AOPC least − most relevant first</th></tr></thead>
<tbody>
{% for r in rows %}
<tr><th scope="row"><code>{{ r.method }}</code></th><td class="num">{{ r.n | integer }}</td>
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
    sums = _sums(run.store.scan("curves", ["method", "order", "values"]))
    own = {order: found for (method, order), found in sums.items() if method == run.method}
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
    methods = list(dict.fromkeys(method for method, _ in sums))
    rows = [_row(m, {o: f for (k, o), f in sums.items() if k == m}) for m in methods]
    return {
        "plots": plots,
        "rows": [r for r in rows if r is not None],
        "region": run.setting("perturbation", "region", 9),
        "fill": run.setting("perturbation", "fill", "uniform"),
        "score": _score(run),
    }


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


def _sums(batches: Iterator[pa.RecordBatch]) -> dict[tuple[str, str], _Sum]:
    """Curves by (method, order); of another length than the first of its kind, a curve is left out."""
    out: dict[tuple[str, str], _Sum] = {}
    for batch in batches:
        frame = batch.to_pandas().dropna(subset=["values"])
        for key, group in frame.groupby(["method", "order"], observed=True, sort=False)["values"]:
            name = (str(key[0]), str(key[1]))  # type: ignore[index]
            length = len(out[name].mean) if name in out else len(group.iloc[0])
            rows = [v for v in group if len(v) == length]
            if rows:
                out.setdefault(name, _Sum(length)).add(np.stack(rows).astype(float))
    return out


def _line(found: _Sum, name: str, kind: str) -> Line:
    return Line(name, kind, found.mean, found.mean - 2 * found.error, found.mean + 2 * found.error)


def _row(method: str, found: dict[str, _Sum]) -> dict[str, Any] | None:
    """AOPC differences of the mean curves: the same as the mean of the images' differences."""
    if "morf" not in found:
        return None
    mean = {o: float(s.mean.mean()) for o, s in found.items()}
    return {
        "method": method,
        "n": found["morf"].n,
        "gain": mean["random"] - mean["morf"] if "random" in mean else None,
        "gap": mean["lerf"] - mean["morf"] if "lerf" in mean else None,
    }


SECTION = Section("perturbation", "Are the heat maps right?", "Perturbation", 55, TEMPLATE, build)
