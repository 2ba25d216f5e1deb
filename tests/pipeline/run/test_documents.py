"""The JSON documents of a run: faults are one line, and a stored ranking knows which run it belongs to."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pipeline.config_sections import RankingConfig
from pipeline.errors import InputError
from pipeline.run.documents import (
    CanaryDocument,
    ClustersDocument,
    ConfirmationDocument,
    Document,
    RankingDocument,
    SanityDocument,
    ShardsSeen,
)
from pipeline.run.folder import RunFolder, part_key, part_name
from pipeline.run.hashes import hashed
from pipeline.run.ranking_settings import ranking_files, ranking_method
from pipeline.statistics.ranking import rank
from tests.tables import write_run

EARLIER = Path(__file__).parents[2] / "fixtures" / "run-schema-1"
DOCUMENTS = (RankingDocument, ConfirmationDocument, SanityDocument, ClustersDocument, CanaryDocument)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with its own ranking, stored."""
    write_run(tmp_path, 4, 20, 0, maps=False, thumbnails=False, shard_size=40, ranking={"draws": 100})
    folder = RunFolder(tmp_path)
    rank(tmp_path).document().write(folder)
    return folder


def edit(folder: RunFolder, name: str, changes: dict[str, Any]) -> None:
    """Change fields of a JSON file, each given by its place: keys and positions with dots between."""
    content = json.loads(folder.files.get(name) or b"")
    for place, value in changes.items():
        *levels, last = [int(level) if level.isdigit() else level for level in place.split(".")]
        inner = content
        for level in levels:
            inner = inner[level]
        inner[last] = value
    folder.files.put(name, json.dumps(hashed(content)).encode())


def keeps(after: Any, before: Any) -> bool:
    """Whether all of ``before`` is in ``after``; objects may have more fields."""
    if isinstance(before, dict):
        return before.keys() <= after.keys() and all(keeps(after[k], v) for k, v in before.items())
    if isinstance(before, list):
        return len(after) == len(before) and all(map(keeps, after, before))
    return type(after) is type(before) and after == before


# -- reading


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_reading_and_writing_keeps_every_field_of_an_earlier_document(kind: type[Document], tmp_path: Path):
    shutil.copytree(EARLIER, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    before = json.loads(folder.files.get(kind.FILE) or b"")
    document = kind.read(folder)
    assert document is not None
    document.write(folder)
    after = json.loads(folder.files.get(kind.FILE) or b"")
    assert keeps(after, before)
    added = {key for key, value in after.items() if value is not None} - before.keys()
    assert added <= {"run_id", "shards", "table_sha256", "sha256"}


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("sanity.json", {"methods": 3}, "sanity.json: methods: "),
        ("sanity.json", {"methods.0": {"method": "x"}}, "sanity.json: methods.0.randomised: Field required"),
        ("confirm.json", {"classes.0.label": "7"}, "classes.0.label: .* (received '7')"),
        ("confirm.json", {"classes.0.role": "extra"}, "classes.0.role: .*'top' or 'control'"),
        ("clusters.json", {"classes.0.tau": [1]}, "classes.0.tau: .*number"),
        ("ranking.json", {"summary.n_shards": True}, "summary.n_shards: .*integer .received True"),
        ("ranking.json", {"classes.1": {"label": 1}}, "classes.1.rank: Field required"),
        ("ranking.json", {"classes.1.lift": "big"}, "column 'lift' is 'big', must be null or a JSON number"),
        ("ranking.json", {"classes.1.n_images": True}, "classes.1.n_images: .*integer .received True"),
        ("canary.json", {"cells.0.verdict": "fine"}, "cells.0.verdict: .*'suspicious'"),
    ],
)
def test_a_fault_is_one_line_with_its_place(tmp_path: Path, name: str, changes: dict[str, Any], said: str):
    folder = RunFolder(shutil.copytree(EARLIER, tmp_path / "run"))
    edit(folder, name, changes)
    kind = next(k for k in DOCUMENTS if name == k.FILE)
    with pytest.raises(InputError, match=said.replace("(", r"\(").replace(")", r"\)")) as caught:
        kind.read(folder)
    assert "\n" not in str(caught.value)
    assert f"`{kind.MADE_BY}` writes it again" in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "said"), [(b"{", "not valid"), (b"[1]", "an object"), (b"\xff", "not valid")]
)
def test_what_is_no_document_is_one_line(tmp_path: Path, raw: bytes, said: str):
    (tmp_path / "confirm.json").write_bytes(raw)
    with pytest.raises(InputError, match=said) as caught:
        ConfirmationDocument.read(RunFolder(tmp_path))
    assert "\n" not in str(caught.value)


def test_there_is_none_where_there_is_none(tmp_path: Path):
    assert [kind.read(RunFolder(tmp_path)) for kind in DOCUMENTS] == [None] * len(DOCUMENTS)


# -- what a ranking is a ranking of


def test_the_own_ranking_fits(run: RunFolder):
    stored = RankingDocument.read(run)
    assert stored is not None
    assert stored.misfit(run) is None
    assert stored.run_id == run.manifest["run_id"]
    keys = "\n".join(sorted(run.done))  # these shards have no inventories
    assert stored.shards == ShardsSeen(2, sha256(keys.encode()).hexdigest())


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("ranking.json", {"schema_version": 3}, "schema version 3"),
        ("ranking.json", {"run_id": "0" * 16}, "is of run 0000000000000000, this is run "),
        ("ranking.json", {"method": "gradient"}, "method = 'gradient', the run's own is 'lrp.preset_a'"),
        ("ranking.json", {"summary.config.images": "all"}, "images = 'all', the run's own is 'correct'"),
        ("ranking.json", {"summary.n_shards": 1}, "is of 1 finished shards, the run has 2"),
        ("ranking.json", {"edited": "0" * 64}, "rests on other edited images"),
        ("ranking.json", {"shards.sha256": "0" * 64}, "2 other shards than the 2 finished"),
        ("manifest.json", {"config.ranking.level": 0.01}, "level = 0.05, the run's own is 0.01"),
    ],
)
def test_a_ranking_that_does_not_fit_says_why(run: RunFolder, name: str, changes: dict[str, Any], why: str):
    edit(run, name, changes)
    stored = RankingDocument.read(run)
    assert stored is not None
    assert why in (stored.misfit(run) or "")


def test_naming_the_first_method_is_the_own_ranking(run: RunFolder):
    manifest = run.manifest
    assert ranking_method(manifest) == "lrp.preset_a"
    named = RankingConfig(method="lrp.preset_a", draws=100)
    assert ranking_files(manifest, named).document == "ranking.json"
    assert ranking_files(manifest, RankingConfig()).document == "ranking-draws-2000.json"


def test_a_ranking_of_before_it_said_so_fits_by_its_shards_and_settings(run: RunFolder):
    content = json.loads(run.files.get("ranking.json") or b"")
    del content["run_id"], content["shards"], content["sha256"]
    run.files.put("ranking.json", json.dumps(content).encode())
    stored = RankingDocument.read(run)
    assert stored is not None
    assert stored.misfit(run) is None
    edit(run, "ranking.json", {"summary.n_shards": 3})
    assert "3 finished shards, the run has 2" in str(RankingDocument.read(run).misfit(run))


# -- names


def test_other_settings_never_share_a_name(run: RunFolder):
    manifest = run.manifest
    methods = ("a(b=1)", "a(b=[1])", "a[b=1]", "x" * 200, "x" * 201)
    names = [ranking_files(manifest, RankingConfig(method=m, draws=100)).report for m in methods]
    assert len(set(names)) == len(methods)
    assert all(len(name) < 120 and name.startswith("report-method-") and "/" not in name for name in names)


def test_part_names_and_keys_are_inverse():
    key = "validation-000000000-000000128"
    table, _, name = part_name("scores", key).partition("/")
    assert (table, part_key(name)) == ("scores", key)
    assert [part_key(n) for n in ("part-x.parquet.tmp", "x.parquet", ".tmp-part-x.parquet-7")] == [None] * 3
