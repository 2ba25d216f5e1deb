"""What a ranking rests on besides the shards: the stored answers of the network to edited images."""

from __future__ import annotations

from hashlib import sha256

from pipeline.run.folder import CONFIRMATION, EDITED, TRANSFER, WINDOWS, RunFolder
from pipeline.run.hashes import bytes_hash


def edited_hash(run: RunFolder) -> str | None:
    """sha256 over the parts of the tables of interventions and of pasted windows
    (two), in order of their names;
    None where no image was edited. In runs of schema version 1 what edited images showed is a document, whose
    bytes count."""
    parts = run.files.read_all(EDITED)
    for table in (TRANSFER, WINDOWS):
        parts |= {f"{table}/{name}": raw for name, raw in run.files.read_all(table).items()}
    if not parts:
        document = run.files.get(CONFIRMATION)
        return None if document is None else bytes_hash(document)
    lines = [f"{name} {bytes_hash(raw)}" for name, raw in sorted(parts.items())]
    return sha256("\n".join(lines).encode()).hexdigest()
