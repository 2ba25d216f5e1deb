"""Is a run folder what was written? Everything that can be said without its data and its model.

Parts against inventories, keys and one another; documents against their own hashes and the parts that they
are computed from. Hashes notice accidents and edits; they do not prove who wrote the folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.inputs.shards import parse_key
from pipeline.run.block_parts import BlockParts
from pipeline.run.documents import (
    CanaryDocument,
    ChoiceDocument,
    ClustersDocument,
    ConceptsDocument,
    ConfirmationDocument,
    Document,
    GroupsDocument,
    MethodsDocument,
    PropertiesDocument,
    RankingDocument,
    ReferenceDocument,
    SanityDocument,
    TriageDocument,
    VisualizedDocument,
)
from pipeline.run.edited_parts import EditedParts
from pipeline.run.folder import (
    COMMIT,
    INVENTORY,
    MANIFEST,
    RANKING,
    REPORT,
    RankingFiles,
    inventory_name,
    part_name,
)
from pipeline.run.hashes import HASH, bytes_hash, carries_hash
from pipeline.run.inventory import Contents, Fault
from pipeline.run.parts import FAULTY, Parts, open_parquet, unreadable
from pipeline.run.store import Store
from pipeline.run.transfer_parts import AgainParts, TransferParts, WindowParts
from pipeline.schema import TABLES

DOCUMENTS: tuple[type[Document], ...] = (
    RankingDocument,
    ConfirmationDocument,
    GroupsDocument,
    ChoiceDocument,
    SanityDocument,
    ClustersDocument,
    ConceptsDocument,
    MethodsDocument,
    PropertiesDocument,
    ReferenceDocument,
    CanaryDocument,
    TriageDocument,
    VisualizedDocument,
)


BY_BLOCK: tuple[type[BlockParts], ...] = (EditedParts, TransferParts, WindowParts, AgainParts)


@dataclass(frozen=True)
class Verification:
    """What was found.

    Attributes:
        faults: what is not as it was written; empty: all good.
        lacking: what cannot be said of a run that an earlier version began.
        shards: finished and planned ones.
    """

    faults: tuple[Fault, ...]
    lacking: tuple[str, ...]
    shards: tuple[int, int]

    @property
    def shards_to_drop(self) -> tuple[str, ...]:
        """Keys of the shards that have to be made again."""
        return tuple(sorted({fault.shard for fault in self.faults if fault.shard}))


def verify(run: Store) -> Verification:
    """Check every file of ``run``.

    Raises:
        InputError: there is no manifest, so this is no run folder.
    """
    try:
        manifest = run.manifest
    except InputError as error:
        if not run.exists:
            raise
        received = str(error).removeprefix(f"{run.path}/{MANIFEST}: ")
        return Verification((Fault(MANIFEST, received, "that of a run"),), (), (0, 0))
    contents = Contents(run)
    planned = sorted(contents.done & set(manifest["shards"]))  # of the others strangers() tells
    shards = [fault for key in planned for fault in _shard(run, contents, key)]
    documents = [fault for of_one in _documents(run) for fault in _document(run, *of_one)]
    edited = [fault for kind in BY_BLOCK for fault in kind(run).faults()]
    faults = (*contents.strangers(), *shards, *edited, *documents, *_pages(run))
    return Verification(faults, tuple(_lacking(run, contents)), (len(contents.done), len(manifest["shards"])))


def repair(run: Store, verification: Verification) -> None:
    """Remove the shards and documents at fault, so that the same run and commands make them again.

    Raises:
        InputError: another process writes the run, or a file cannot be removed.
    """
    with run.lock():
        for key in verification.shards_to_drop:
            # the commit mark first: a shard that is half dropped is an unfinished one
            for table in sorted(TABLES, key=lambda name: name != COMMIT):
                run.files.remove(part_name(table, key))
            run.files.remove(inventory_name(key))
        for fault in verification.faults:
            if fault.made_by:
                run.files.remove(fault.file)


def _shard(run: Store, contents: Contents, key: str) -> Iterator[Fault]:
    """Faults of a finished shard."""
    if faults := contents.shard_faults(key):
        yield from faults
        return
    parts = Parts(run, contents)
    ids: pa.ChunkedArray | None = None
    for table in sorted(TABLES, key=lambda name: name != COMMIT):
        if not parts.has(table, key):
            continue
        raw = run.files.get(part_name(table, key))
        fault = parts.fault(table, key, raw)
        if fault is None:
            assert raw is not None
            fault, part = _decoded(table, key, raw)
            ids = part["example_id"] if table == COMMIT and part is not None else ids
            if fault is None and part is not None and ids is not None:
                fault = _rows(table, key, part, ids)
        if fault is not None:
            yield fault


def _decoded(table: str, key: str, raw: bytes) -> tuple[Fault | None, pa.Table | None]:
    """All pages of a part, whose checksums are compared on the way."""
    try:
        return None, open_parquet(raw).read(use_threads=False)
    except FAULTY as error:
        return unreadable(table, key, error), None


def _rows(table: str, key: str, part: pa.Table, ids: pa.ChunkedArray) -> Fault | None:
    """Rows that are not of the shard's images."""
    name = part_name(table, key)
    if table != COMMIT:
        strange = pc.sum(pc.invert(pc.is_in(part["example_id"], ids.combine_chunks()))).as_py() or 0
        return Fault(name, f"{strange} rows of other images", "rows of its shard's", key) if strange else None
    shard = parse_key("", key)
    index = part["index"].to_pylist()
    if sorted(i for i in index if i is not None) != list(range(shard.start, shard.stop)):
        return Fault(name, "images of other positions", f"{shard.start} to {shard.stop - 1}", key)
    return None


def _documents(run: Store) -> Iterator[tuple[type[Document], str, str]]:
    """The documents that ``run`` has: kind, name, name of the table beside it if it has one."""
    names = run.files.names("")
    for kind in DOCUMENTS:
        if kind.FILE in names:
            yield kind, kind.FILE, kind.TABLE
    stem, _, suffix = RANKING.rpartition(".")
    for name in names:  # rankings by other settings than the run's own
        if name.startswith(f"{stem}-") and name.endswith(f".{suffix}"):
            slug = name.removeprefix(f"{stem}-").removesuffix(f".{suffix}")
            yield RankingDocument, name, RankingFiles().beside(slug).table


def _document(run: Store, kind: type[Document], name: str, table: str) -> Iterator[Fault]:
    try:
        document = kind.parse(run.files.get(name) or b"", name)
    except InputError as error:
        received = str(error).removeprefix(f"{name}: ")
        yield Fault(name, received, f"what `{kind.MADE_BY}` writes", made_by=kind.MADE_BY)
        return
    if isinstance(document, RankingDocument) and document.is_outdated:
        return  # said as lacking
    # one by other settings than the run's own fits when it is of the same parts
    misfit = document.misfit(run) if name == kind.FILE else Document.misfit(document, run)
    if misfit:
        yield Fault(name, misfit, "that of the run as it is", made_by=kind.MADE_BY)
    if document.table_sha256 is not None and table:
        raw = run.files.get(table)
        if raw is None or bytes_hash(raw) != document.table_sha256:
            received = "is missing" if raw is None else "its content is not what was written"
            yield Fault(table, received, f"that of {name}", made_by=kind.MADE_BY)


def _is_outdated(run: Store) -> bool:
    """Whether the run's own ranking is one of an earlier version; one that cannot be read is a fault."""
    try:
        ranking = RankingDocument.read(run)
    except InputError:
        return False
    return ranking is not None and ranking.is_outdated


def _pages(run: Store) -> Iterator[Fault]:
    """Reports that do not end as a page does."""
    stem, _, suffix = REPORT.rpartition(".")
    for name in run.files.names(""):
        if not (name.startswith(stem) and name.endswith(f".{suffix}")):
            continue
        if not (run.files.get(name) or b"").rstrip().endswith(b"</html>"):
            yield Fault(name, "is cut", "a whole page", made_by="hansaudit report")


def _lacking(run: Store, contents: Contents) -> Iterator[str]:
    """What a run of an earlier version does not say."""
    plain = [key for key in contents.done if contents.inventory(key) is None]
    if plain and not contents.has_inventories:
        yield (
            f"{len(plain)} of {len(contents.done)} finished shards have no {INVENTORY}: of their parts only "
            "presence, columns, rows and images were checked, not that their content is what was written"
        )
    if RANKING in run.files.names("") and _is_outdated(run):
        yield f"{RANKING} was made by an earlier version of hansaudit: `hansaudit rank` makes it again"
    files = [MANIFEST, *(name for _, name, _ in _documents(run))]
    if unsaid := [name for name in files if not carries_hash(run.files.get(name))]:
        yield f"no {HASH} in {', '.join(unsaid)}: edits that leave a file consistent are not noticed"


def advice(run: Store, verification: Verification, repaired: bool = False) -> list[str]:
    """What to do about the faults of ``run``, a line per kind."""
    lines = []
    faults = verification.faults
    if verification.shards_to_drop:
        again = "run the same `hansaudit run` again: it makes these shards anew"
        drops = f"`hansaudit verify {run.path} --repair` drops these shards; then {again}"
        lines.append(f"dropped; {again}" if repaired else drops)
    makers = sorted({fault.made_by for fault in faults if fault.made_by})
    lines += [f"`{maker}` on this run makes its files again" for maker in makers]
    if any(fault.file == MANIFEST for fault in faults):
        lines.append(f"{MANIFEST} cannot be repaired: use a copy of the folder that is whole")
    return lines


def as_json(verification: Verification) -> str:
    """The verification as JSON: faults, shards to drop, what is lacking."""
    content = {
        "faults": [asdict(fault) for fault in verification.faults],
        "shards_to_drop": list(verification.shards_to_drop),
        "lacking": list(verification.lacking),
        "shards": dict(zip(("finished", "planned"), verification.shards, strict=True)),
    }
    return json.dumps(content, indent=1)
