"""The scores of a run with a row per image again: the one place where the long table ``scores`` is pivoted.

``scores`` has a row per image, method and metric. Here a shard has a row per image and a column per (method,
metric) that was asked for, in the order of its examples. Of the long table a piece is decoded at a time
(:meth:`pipeline.run.parts.Parts.pieces`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.run.parts import shard_pieces
from pipeline.run.store import Store
from pipeline.schema import EXAMPLES

Score = tuple[str, str]  # method key, metric
_COLUMNS = ("example_id", "method", "metric", "value")
PIECE: Final = 1 << 18  # scores that are decoded at a time: some 10 MB
_NEAR: Final = 1 << 12  # rows about the last one among which the next are looked for: many batches


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
    for _, examples, pieces in shard_pieces(store, _with_id(example_columns), "scores", _COLUMNS, PIECE):
        yield _widen(examples, pieces, asked)


def read_scores(store: Store, example_columns: Sequence[str], asked: Sequence[Score]) -> WideScores:
    """:func:`shard_scores` of the whole run, in one piece."""
    none = pa.schema([EXAMPLES.field(name) for name in _with_id(example_columns)]).empty_table()
    pieces = [_widen(none, (), asked), *shard_scores(store, example_columns, asked)]
    return WideScores(
        pa.concat_tables([p.examples for p in pieces]),
        np.concatenate([p.values for p in pieces]),
        np.concatenate([p.stored for p in pieces]),
        frozenset().union(*(p.names for p in pieces)),
    )


def _with_id(columns: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(["example_id", *columns]))


def _widen(examples: pa.Table, pieces: Iterable[pa.RecordBatch], asked: Sequence[Score]) -> WideScores:
    values = np.full((len(examples), len(asked)), np.nan)
    stored = np.zeros(values.shape, dtype=bool)
    position = {score: k for k, score in enumerate(asked)}
    ids = examples["example_id"].combine_chunks()
    names: set[Score] = set()
    last = 0
    for piece in pieces:
        of_method, methods = _codes(piece["method"])
        of_metric, metrics = _codes(piece["metric"])
        scores = [(method, metric) for method in methods for metric in metrics]
        code = of_method * len(metrics) + of_metric
        names |= {scores[k] for k in np.flatnonzero(np.bincount(code, minlength=len(scores)))}
        column = np.array([position.get(score, -1) for score in scores], dtype=np.int64)[code]
        row = _rows_of(piece["example_id"], ids, last)
        last = int(row.max(initial=last))
        # a score without its example belongs to a shard written twice: examples decide
        keep = (column >= 0) & (row >= 0)
        values[row[keep], column[keep]] = piece["value"].fill_null(np.nan).to_numpy()[keep]
        stored[row[keep], column[keep]] = True
    return WideScores(examples, values, stored, frozenset(names))


def _rows_of(ids: pa.StringArray, examples: pa.StringArray, near: int) -> NDArray[np.int64]:
    """The row in ``examples`` of each of ``ids``, -1 where it has none.

    The scores of an image follow one another, and images come in the order of the examples, batch by batch:
    an id is looked up once for all of them, about the row ``near`` first, among all only where that fails.
    """
    if len(ids) == 0:
        return np.empty(0, dtype=np.int64)
    first = np.concatenate([[True], pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)])
    images = ids.filter(pa.array(first))
    start = max(0, near - _NEAR)
    row = pc.index_in(images, examples.slice(start, len(images) + 2 * _NEAR))
    if row.null_count:
        start, row = 0, pc.index_in(images, examples)
    of_image = row.cast(pa.int64()).fill_null(-1 - start).to_numpy(zero_copy_only=False) + start
    return of_image[np.cumsum(first) - 1]


def _codes(column: pa.DictionaryArray) -> tuple[NDArray[np.int64], list[str]]:
    """Integer codes and the names they stand for."""
    return column.indices.to_numpy(zero_copy_only=False).astype(np.int64), column.dictionary.to_pylist()
