"""A history as one long table: a row per run, class and figure; as CSV and Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from pipeline.csv_text import csv_line
from pipeline.errors import InputError
from reports.history.course import FIGURES, ClassCourse, Figure, History

if TYPE_CHECKING:
    import pyarrow as pa

VERDICT: Final = "verdict"


class HistoryRow(NamedTuple):
    """What one run says of one class.

    ``position``: of the run, from 0; ``started``: ISO 8601, empty where the run has no session; ``class_id``,
    ``class_name``: empty for figures of all classes; ``value``, ``low``, ``high``: of a number with its 95 %
    interval, null where the run does not say; ``word``: of a verdict; ``changed``: the verdict is another
    than the one before.
    """

    position: int
    run: str
    started: str
    class_id: str
    class_name: str
    figure: str
    value: float | None
    low: float | None
    high: float | None
    word: str | None
    changed: bool


def history_rows(history: History) -> Iterator[HistoryRow]:
    """All rows: figures of all classes first, then class by class, run by run."""
    for name, figures in history.overall.items():
        for k, figure in enumerate(figures):
            yield _row(history, k, None, name, figure)
    for course in history.classes:
        for k, verdict in enumerate(course.verdicts):
            word = None if verdict is None else verdict.value
            yield _row(history, k, course, VERDICT, Figure())._replace(word=word, changed=k in course.changes)
        for name in FIGURES:
            for k, figure in enumerate(course.figure(name)):
                yield _row(history, k, course, name, figure)


def _row(history: History, k: int, course: ClassCourse | None, name: str, figure: Figure) -> HistoryRow:
    run = history.runs[k]
    about = ("", "") if course is None else (course.key, course.name)
    return HistoryRow(k, run.path, run.started, *about, name, *figure, None, False)


def history_csv(history: History) -> str:
    """The rows as CSV; undefined values are empty."""
    return "".join([csv_line(HistoryRow._fields), *map(csv_line, history_rows(history))])


def history_table(history: History) -> pa.Table:
    """The rows as an Arrow table, for Parquet; undefined values are null."""
    import pyarrow as pa

    kinds = {"position": pa.int32(), "changed": pa.bool_()} | dict.fromkeys(
        ("value", "low", "high"), pa.float64()
    )
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in HistoryRow._fields])
    # undecodable bytes of names become visible, as in CSV
    rows = [
        {
            k: v.encode("utf-8", "backslashreplace").decode() if isinstance(v, str) else v
            for k, v in r._asdict().items()
        }
        for r in history_rows(history)
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def write_parquet(history: History, path: str) -> None:
    """Write the rows as Parquet. Raises :class:`InputError` where the file cannot be written."""
    import pyarrow.parquet as pq

    try:
        pq.write_table(history_table(history), path)
    except OSError as error:
        said = error.strerror or error
        raise InputError(f"{path}: cannot be written: {said}; choose another file") from None
