"""The images of a run as plain arrays, read shard by shard from the store: what the ranking computes with.

``scores`` is long (a row per image, method and metric); here every image is one row again. Memory is some 80
bytes per image; identifiers, pictures and maps stay on disk.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.run.folder import COMMIT, part_name
from pipeline.run.store import Store
from pipeline.schema import STATUS_OK, STATUSES, TABLES

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
    def ok(self) -> NDArray[np.bool_]:
        """Localisation is defined: status ok, a finite lift and an area between 0 and 1."""
        usable = np.isfinite(self.scores["lift"]) & (self.area > 0) & (self.area < 1)
        return (self.status == STATUSES.index(STATUS_OK)) & usable & np.isfinite(self.distance)


def read_images(store: Store, method: str, metrics: Sequence[str] = METRICS) -> Images:
    """Read the finished shards of ``store``.

    Raises:
        InputError: no finished shard, no scores of ``method`` or no ``lift``, an image twice, or a part that
            has not the columns it should.
    """
    pieces: list[dict[str, NDArray[Any]]] = []
    methods: set[str] = set()
    stored: set[str] = set()
    for _, examples, scores in shard_tables(store, _EXAMPLES, "scores", _SCORES):
        piece = _examples(examples)
        piece["scores"] = _pivot(examples["example_id"], scores, method, metrics, methods, stored)
        pieces.append(piece)
    if not pieces:
        raise InputError(f"{store.path}: no shard is finished; let `hansaudit run` complete at least one")
    if method not in methods:
        raise InputError(f"{store.path}: no scores of method {method!r}; {_known(method, methods)}")
    if "lift" not in stored:
        raise InputError(
            f"{store.path}: no 'lift' of method {method!r} is stored, and the ranking needs it; "
            'add "lift" to [audit] metrics and run again in a new folder'
        )
    columns = {name: np.concatenate([p.pop(name) for p in pieces]) for name in list(pieces[0])}
    order = np.lexsort((columns["index"], columns["label"]))
    columns = {name: values[order] for name, values in columns.items()}
    _no_duplicates(columns["index"], store.path)
    values = columns.pop("scores")
    return Images(
        method=method,
        **columns,
        scores={m: np.ascontiguousarray(values[:, k]) for k, m in enumerate(metrics)},
        stored=frozenset(stored),
    )


_SCORES = ("example_id", "method", "metric", "value")


def shard_tables(
    store: Store, example_columns: Sequence[str], table: str = "", columns: Sequence[str] = ()
) -> Iterator[tuple[str, pa.Table, pa.Table | None]]:
    """Per finished shard, in order of the keys: (key, its examples, its part of ``table`` or None)."""
    there = store.keys_of(table) if table else frozenset()
    for key in sorted(store.done):
        examples = _read_part(store, part_name(COMMIT, key), example_columns)
        yield key, examples, _read_part(store, part_name(table, key), columns) if key in there else None


def _read_part(store: Store, name: str, columns: Sequence[str]) -> pa.Table:
    (path,), filesystem = store.files.arrow([name])
    expected = TABLES[name.partition("/")[0]]
    try:
        with pq.ParquetFile(path, filesystem=filesystem) as part:
            found = part.schema_arrow
            for column in columns:
                position = found.get_field_index(column)
                if position < 0 or found.field(position).type != expected.field(column).type:
                    is_ = "missing" if position < 0 else f"of type {found.field(position).type}"
                    raise InputError(
                        f"{path}: column {column!r} is {is_}, expected {expected.field(column).type}; "
                        "the parts of one run must agree: remove this part and run again to make it anew"
                    )
            return part.read(columns=list(columns), use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{path}: not a readable Parquet file ({error}); remove it and run again to make it anew"
        ) from None


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


def _pivot(
    ids: pa.ChunkedArray,
    scores: pa.Table | None,
    method: str,
    metrics: Sequence[str],
    methods: set[str],
    stored: set[str],
) -> NDArray[np.float64]:
    """Values (images, metrics) of ``method``, nan where there is none; adds what it meets to the two sets."""
    out = np.full((len(ids), len(metrics)), np.nan)
    if scores is None or len(scores) == 0:
        return out
    of_method, names = _codes(scores["method"])
    methods.update(names)
    if method not in names:
        return out
    metric, metric_names = _codes(scores["metric"])
    column = np.array([metrics.index(m) if m in metrics else -1 for m in metric_names], dtype=np.int64)[
        metric
    ]
    keep = (of_method == names.index(method)) & (column >= 0)
    row = pc.index_in(scores["example_id"].combine_chunks().filter(pa.array(keep)), ids.combine_chunks())
    row = row.fill_null(-1).to_numpy(zero_copy_only=False)
    column, value = column[keep], _floats(scores["value"])[keep]
    known = row >= 0  # a score without its example belongs to a shard written twice: examples decide
    out[row[known], column[known]] = value[known]
    stored.update(metrics[k] for k in np.unique(column))
    return out


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Integer codes and the names they stand for."""
    joined = column.combine_chunks()
    if isinstance(joined, pa.ChunkedArray):
        joined = joined.unify_dictionaries().combine_chunks()
    return joined.indices.to_numpy(zero_copy_only=False), joined.dictionary.to_pylist()


def _known(method: str, methods: set[str]) -> str:
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
