"""A run as views of DuckDB: a text file of SQL that names its Parquet parts.

Only finished shards are named, so a run under way can be looked at.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.run.edited_parts import EditedParts
from pipeline.run.folder import AGAIN, EDITED, RANKING_TABLE, TRANSFER, WINDOWS, part_name
from pipeline.run.parts import Parts
from pipeline.run.store import Store
from pipeline.run.transfer_parts import AgainParts, TransferParts, WindowParts


def export(run: Store, out: str) -> str:
    """Write the views of ``run`` to the file ``out``; returns how to open them."""
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(views(run), encoding="utf-8")
    return f"duckdb -init {path}"


def views(run: Store) -> str:
    """The SQL."""
    root = run.path if "://" in run.path else str(Path(run.path).resolve())
    parts = Parts.whole(run)
    files = {t: [part_name(t, key) for key in parts.keys if parts.has(t, key)] for t in run.tables}
    files[EDITED] = [part_name(EDITED, key) for key in EditedParts(run).usable()]
    files[TRANSFER] = [part_name(TRANSFER, key) for key in TransferParts(run).usable()]
    files[WINDOWS] = [part_name(WINDOWS, key) for key in WindowParts(run).usable()]
    files[AGAIN] = [part_name(AGAIN, key) for key in AgainParts(run).usable()]
    lines = [f"-- run {run.manifest['run_id']}"]
    for table, names in files.items():
        if names:
            listed = ",\n  ".join(_quoted(f"{root}/{name}") for name in names)
            lines.append(f"CREATE OR REPLACE VIEW {table} AS SELECT * FROM read_parquet([\n  {listed}\n]);")
    if run.files.get(RANKING_TABLE) is not None:
        source = _quoted(f"{root}/{RANKING_TABLE}")
        lines.append(f"CREATE OR REPLACE VIEW ranking AS SELECT * FROM read_csv({source}, header = true);")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
