"""The table ``interventions``: a part per block of classes, each of one run, its shards and its settings.

A part is there, whole, or it is not. Its name ends with a hash of all that it is made of (the run, the
finished shards, the settings, the images of its classes): file names alone tell what has to be made, and a
part that is of something else counts as missing.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError, reason
from pipeline.run.folder import EDITED as TABLE
from pipeline.run.folder import RunFolder, part_key, part_name
from pipeline.run.inventory import Fault, ShardsSeen
from pipeline.run.parts import FAULTY, open_parquet
from pipeline.schema import INTERVENTIONS

MADE_BY = "hansaudit run"


def edited_key(name: str, of: Mapping[str, Any]) -> str:
    """Key of the part ``name`` that is made of ``of``, JSON-ready."""
    text = json.dumps(of, sort_keys=True, separators=(",", ":"))
    return f"{name}-{sha256(text.encode()).hexdigest()[:16]}"


def edited_keys(run: RunFolder) -> list[str]:
    """Keys of the parts that lie in ``run``, sorted."""
    return sorted(key for name in run.files.names(TABLE) if (key := part_key(name)) is not None)


def write_edited(run: RunFolder, key: str, rows: pa.Table, passes: int) -> None:
    """Write the part ``key``, whole or not at all; ``passes``: forward passes that it took.

    Raises:
        InputError: no space or no right to write.
    """
    about = _belongs_to(run) | {"passes": str(passes)}
    sink = io.BytesIO()
    table = rows.cast(INTERVENTIONS).replace_schema_metadata(about)
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    run.files.put(part_name(TABLE, key), sink.getvalue())


def drop_others(run: RunFolder, keep: Collection[str]) -> None:
    """Remove the parts that are not of the run as it is, but for ``keep``."""
    for key in edited_keys(run):
        if key not in keep:
            run.files.remove(part_name(TABLE, key))


def read_edited(run: RunFolder) -> pa.Table | None:
    """All rows of the parts that are of ``run`` as it is; None where it has none.

    Raises:
        InputError: a part cannot be used.
    """
    pieces = []
    for key in edited_keys(run):
        raw = run.files.get(part_name(TABLE, key)) or b""
        fault = edited_fault(run, key, raw)
        if fault is None:
            pieces.append(open_parquet(raw).read(use_threads=False).replace_schema_metadata(None))
        elif fault.made_by:
            raise InputError(
                f"{run.path}/{fault}; `hansaudit verify {run.path} --repair` drops this part, the same "
                "`hansaudit run` makes it again"
            )
    if not pieces:
        return None
    return pa.concat_tables([INTERVENTIONS.empty_table(), *pieces]).unify_dictionaries()


def edited_faults(run: RunFolder) -> Iterator[Fault]:
    """What is wrong with the parts in ``run``; one that is of other shards is left to be made again."""
    for key in edited_keys(run):
        fault = edited_fault(run, key, run.files.get(part_name(TABLE, key)) or b"")
        if fault is not None and fault.made_by:
            yield fault


def edited_fault(run: RunFolder, key: str, raw: bytes) -> Fault | None:
    """Why a part does not count, if so; without ``made_by`` it is whole, but of other shards of the run."""
    name = part_name(TABLE, key)
    try:
        part = open_parquet(raw)
        received, metadata = part.schema_arrow, part.metadata.metadata or {}
        part.read(use_threads=False)  # decodes all pages, and compares their checksums
    except FAULTY as error:
        return Fault(name, f"cannot be read ({reason(error)})", "a whole part", made_by=MADE_BY)
    if not received.equals(INTERVENTIONS, check_metadata=False):
        return Fault(name, "has other columns", ", ".join(INTERVENTIONS.names), made_by=MADE_BY)
    own = {k: metadata.get(k.encode(), b"").decode("utf-8", "replace") for k in ("run_id", "shards")}
    expected = _belongs_to(run)
    if own["run_id"] != expected["run_id"]:
        return Fault(name, f"belongs to run {own['run_id']}", f"run {expected['run_id']}", made_by=MADE_BY)
    if own["shards"] != expected["shards"]:
        return Fault(name, "is of other shards", "the finished ones of the run")
    return None


def edited_passes(run: RunFolder) -> int:
    """Forward passes that the parts in ``run`` took."""
    total = 0
    for key in edited_keys(run):
        metadata = open_parquet(run.files.get(part_name(TABLE, key)) or b"").metadata.metadata or {}
        total += int(metadata.get(b"passes", b"0"))
    return total


def _belongs_to(run: RunFolder) -> dict[str, str]:
    """What every part says of the run that it is of."""
    return {"run_id": run.manifest["run_id"], "shards": ShardsSeen.of(run).sha256}
