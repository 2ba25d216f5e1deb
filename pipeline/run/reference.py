"""A run and its reference network's run: whose classes are whose, and what is stored of the comparison."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.run.documents import ReferenceDocument
from pipeline.run.folder import REFERENCE, REFERENCE_TABLE, RunFolder
from pipeline.run.hashes import bytes_hash
from pipeline.run.parts import FAULTY, open_parquet
from pipeline.schema import REFERENCE as COLUMNS
from pipeline.schema import REFERENCE_ADDED


def read_reference(run: RunFolder) -> tuple[ReferenceDocument, pa.Table] | None:
    """What ``run`` was compared with, and the rows per image; None where with nothing, or as it was before.

    Raises:
        InputError: the document or its table cannot be used.
    """
    document = ReferenceDocument.current(run)
    if document is None:
        return None
    raw = run.files.get(REFERENCE_TABLE) or b""
    try:
        table = open_parquet(raw).read(use_threads=False)
    except FAULTY as error:
        raise InputError(f"{run.path}/{REFERENCE_TABLE}: cannot be read ({error}); {_AGAIN}") from None
    table = _with_later_columns(table)
    if bytes_hash(raw) != document.table_sha256 or not table.schema.equals(COLUMNS):
        raise InputError(f"{run.path}/{REFERENCE_TABLE}: its content is not what was written; {_AGAIN}")
    return document, table


def _with_later_columns(table: pa.Table) -> pa.Table:
    """``table``, where it is one of before there were some of the columns with these, null."""
    if table.schema.equals(pa.schema([field for field in COLUMNS if field.name not in REFERENCE_ADDED])):
        for name in REFERENCE_ADDED:
            table = table.append_column(
                COLUMNS.field(name), pa.nulls(table.num_rows, COLUMNS.field(name).type)
            )
    return table


_AGAIN = f"remove {REFERENCE}, and the same `hansaudit run` with --reference makes both again"


def write_reference(run: RunFolder, document: ReferenceDocument, table: pa.Table) -> None:
    """Store the comparison. Raises :class:`InputError` where it cannot be written."""
    sink = io.BytesIO()
    pq.write_table(table.cast(COLUMNS), sink, compression="zstd", write_page_checksum=True)
    run.files.put(REFERENCE_TABLE, sink.getvalue())
    document.write(run)


def drop_reference(run: RunFolder) -> None:
    """Forget what ``run`` was compared with; the reference's own run stays."""
    for name in (REFERENCE, REFERENCE_TABLE):
        run.files.remove(name)


def match_classes(own: Mapping[str, Any], other: Mapping[str, Any], labels: Iterable[int]) -> dict[int, int]:
    """Label in a run -> label of the same class in another run, of the ``labels`` that both have.

    ``own``, ``other``: what their manifests say of the dataset. By the classes' ids where they share any,
    else by their names, of which the first synonym will do.
    """
    wanted = list(labels)
    for names in (_ids, _names, _first_synonyms):
        theirs = _unique(names(other))
        mine = _unique(names(own))
        pairs = {mine[name]: theirs[name] for name in mine.keys() & theirs.keys()}
        matched = {label: pairs[label] for label in wanted if label in pairs}
        if matched:
            return matched
    return {}


def _ids(dataset: Mapping[str, Any]) -> list[str]:
    return [str(name).strip().casefold() for name in dataset.get("class_ids") or ()]


def _names(dataset: Mapping[str, Any]) -> list[str]:
    return [str(name).strip().casefold() for name in dataset.get("class_names") or ()]


def _first_synonyms(dataset: Mapping[str, Any]) -> list[str]:
    return [name.partition(",")[0].strip() for name in _names(dataset)]


def _unique(names: Sequence[str]) -> dict[str, int]:
    """Name -> its place, of the names that no other class has."""
    times = Counter(names)
    return {name: place for place, name in enumerate(names) if times[name] == 1}
