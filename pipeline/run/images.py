"""The images of a run as plain arrays, read shard by shard from the store: what the ranking computes with.

Memory is some 80 bytes per image; identifiers, pictures and maps stay on disk.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.run.scores import Score, shard_scores
from pipeline.run.store import Store
from pipeline.schema import STATUS_OK, STATUSES

METRICS = ("relevance_in", "relevance_out", "ratio", "mass", "lift")
_EXAMPLES = (
    "example_id",
    "index",
    "label",
    "correct",
    "confidence",
    "box_area",
    "box_distance",
    "status",
)


@dataclass(frozen=True)
class Images:
    """All images of a run with one method's scores, sorted by class and index.

    Undefined numbers are nan. ``correct`` is False where there is no prediction (``predicted``).
    """

    method: str
    index: NDArray[np.int64]
    label: NDArray[np.int32]
    predicted: NDArray[np.bool_]
    correct: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    area: NDArray[np.float32]
    distance: NDArray[np.float32]
    status: NDArray[np.int8]  # position in schema.STATUSES
    scores: dict[str, NDArray[np.float64]]  # by metric
    stored: frozenset[str]  # metrics of METRICS that the run holds

    def __len__(self) -> int:
        return len(self.index)

    @property
    def boxed(self) -> NDArray[np.bool_]:
        """There is a box that the network sees, and something beside it."""
        return self.status == STATUSES.index(STATUS_OK)

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Localisation is defined: status ok, a finite lift and an area between 0 and 1."""
        usable = np.isfinite(self.scores["lift"]) & (self.area > 0) & (self.area < 1)
        return self.boxed & usable & np.isfinite(self.distance)


def read_images(store: Store, method: str, metrics: Sequence[str] = METRICS) -> Images:
    """Read the finished shards of ``store``.

    Raises:
        InputError: no finished shard, no scores of ``method`` or no ``lift``, an image twice, or a part that
            has not the columns it should.
    """
    pieces: list[dict[str, NDArray[Any]]] = []
    names: set[Score] = set()
    asked = [(method, metric) for metric in metrics]
    for shard in shard_scores(store, _EXAMPLES, asked):
        pieces.append(_examples(shard.examples) | {"scores": shard.values})
        names |= shard.names
    if not pieces:
        raise InputError(f"{store.path}: no shard is finished; let `hansaudit run` complete at least one")
    methods = {of_method for of_method, _ in names}
    if method not in methods:
        raise InputError(f"{store.path}: no scores of method {method!r}; {_nearest(method, methods)}")
    if (method, "lift") not in names:
        raise InputError(
            f"{store.path}: no 'lift' of method {method!r} is stored, and the ranking needs it; "
            'add "lift" to [audit] metrics and run again in a new folder'
        )
    columns = {name: np.concatenate([p.pop(name) for p in pieces]) for name in list(pieces[0])}
    order = np.lexsort((columns["index"], columns["label"]))
    _no_duplicates(columns["index"], store.path)
    values = columns.pop("scores")
    # column by column: the unsorted ones are let go one after the other
    return Images(
        method=method,
        **{name: columns.pop(name)[order] for name in list(columns)},
        scores={m: values[order, k] for k, m in enumerate(metrics)},
        stored=frozenset(metric for of_method, metric in names if of_method == method).intersection(metrics),
    )


def _examples(table: pa.Table) -> dict[str, NDArray[Any]]:
    correct = table["correct"]
    status = table["status"].combine_chunks().cast(pa.string())
    code = pc.index_in(status, pa.array(STATUSES))
    return {
        "index": table["index"].to_numpy(),
        "label": table["label"].to_numpy(),
        "predicted": correct.is_valid().to_numpy(),
        "correct": correct.fill_null(False).to_numpy(),
        "confidence": _floats(table["confidence"]),
        "area": _floats(table["box_area"]),
        "distance": _floats(table["box_distance"]),
        "status": code.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int8),
    }


def _floats(column: pa.ChunkedArray) -> NDArray[Any]:
    """A float column with nan for null."""
    return column.fill_null(float("nan")).to_numpy()


def _nearest(method: str, methods: set[str]) -> str:
    near = difflib.get_close_matches(method, methods, n=1, cutoff=0.0)
    return (
        f"did you mean {near[0]!r}? The run holds: {', '.join(sorted(methods))}" if near else "it holds none"
    )


def _no_duplicates(index: NDArray[np.int64], path: str) -> None:
    ordered = np.sort(index)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise InputError(
            f"{path}: image {twice[0]} is in two shards ({len(twice)} such images): the folder holds parts "
            "of differently cut shards; remove the ones that are not in the manifest"
        )
