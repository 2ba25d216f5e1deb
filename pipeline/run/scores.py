"""The scores of a run with a row per image again: the one place where the long table ``scores`` is pivoted.

``scores`` has a row per image, method and metric. Here a shard has a row per image and a column per (method,
metric) that was asked for, in the order of its examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.run.parts import shard_tables
from pipeline.run.store import Store
from pipeline.schema import EXAMPLES

Score = tuple[str, str]  # method key, metric
_COLUMNS = ("example_id", "method", "metric", "value")


@dataclass(frozen=True)
class WideScores:
    """Scores of n images, one column for each of the k that were asked for.

    Attributes:
        examples: the images, with the columns that were asked for and ``example_id``.
        values: (n, k), nan where there is no score or it is undefined (null).
        stored: (n, k), whether there is a score, defined or not.
        names: every (method, metric) that these images have scores of, asked for or not.
    """

    examples: pa.Table
    values: NDArray[np.float64]
    stored: NDArray[np.bool_]
    names: frozenset[Score]

    @property
    def methods(self) -> list[str]:
        """The methods in ``names``, sorted."""
        return sorted({method for method, _ in self.names})


def shard_scores(
    store: Store, example_columns: Sequence[str], asked: Sequence[Score]
) -> Iterator[WideScores]:
    """Per finished shard, in order of the keys, the scores ``asked`` for.

    Raises :class:`InputError` for a part that cannot be read or has not the columns it should.
    """
    for _, examples, scores in shard_tables(store, _with_id(example_columns), "scores", _COLUMNS):
        yield _widen(examples, scores, asked)


def read_scores(store: Store, example_columns: Sequence[str], asked: Sequence[Score]) -> WideScores:
    """:func:`shard_scores` of the whole run, in one piece."""
    none = pa.schema([EXAMPLES.field(name) for name in _with_id(example_columns)]).empty_table()
    pieces = [_widen(none, None, asked), *shard_scores(store, example_columns, asked)]
    return WideScores(
        pa.concat_tables([p.examples for p in pieces]),
        np.concatenate([p.values for p in pieces]),
        np.concatenate([p.stored for p in pieces]),
        frozenset().union(*(p.names for p in pieces)),
    )


def _with_id(columns: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(["example_id", *columns]))


def _widen(examples: pa.Table, scores: pa.Table | None, asked: Sequence[Score]) -> WideScores:
    values = np.full((len(examples), len(asked)), np.nan)
    stored = np.zeros(values.shape, dtype=bool)
    if scores is None or len(scores) == 0:
        return WideScores(examples, values, stored, frozenset())
    of_method, methods = _codes(scores["method"])
    of_metric, metrics = _codes(scores["metric"])
    names = [(method, metric) for method in methods for metric in metrics]
    name = of_method * len(metrics) + of_metric
    position = {score: k for k, score in enumerate(asked)}
    column = np.array([position.get(score, -1) for score in names], dtype=np.int64)[name]
    keep = column >= 0
    ids = scores["example_id"].combine_chunks().filter(pa.array(keep))
    row = pc.index_in(ids, examples["example_id"].combine_chunks())
    row = row.fill_null(-1).to_numpy(zero_copy_only=False)
    column, value = column[keep], scores["value"].fill_null(np.nan).to_numpy()[keep]
    has_example = row >= 0  # a score without its example belongs to a shard written twice: examples decide
    values[row[has_example], column[has_example]] = value[has_example]
    stored[row[has_example], column[has_example]] = True
    return WideScores(examples, values, stored, frozenset(names[k] for k in np.unique(name)))


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Integer codes and the names they stand for."""
    joined = column.combine_chunks()
    if isinstance(joined, pa.ChunkedArray):
        joined = joined.unify_dictionaries().combine_chunks()
    return joined.indices.to_numpy(zero_copy_only=False).astype(np.int64), joined.dictionary.to_pylist()
