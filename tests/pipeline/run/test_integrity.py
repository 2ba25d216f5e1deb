"""Parts and documents belong to their run: what does not is refused when read, and named by ``verify``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows import cli
from flows.report import rank_run, write_report_file
from pipeline import schema
from pipeline.config_sections import RankingConfig
from pipeline.errors import InputError
from pipeline.run.documents import MethodsDocument, RankedMethod, RankingDocument
from pipeline.run.folder import MANIFEST, RANKING, TRIAGE, part_name
from pipeline.run.hashes import hashed
from pipeline.run.inventory import planned_tables
from pipeline.run.store import Store
from pipeline.run.verify import repair, verify
from pipeline.statistics.ranking import rank
from reports.gate.evaluate import evaluate
from tests.tables import with_inventories, write_run

EARLIER = Path(__file__).parents[2] / "fixtures" / "run-schema-1"
POLICY = "[[check]]\nstatistic = 'n_suspicious'\nmax = 30\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 4 classes in 4 shards of 20 images, with ranking and report."""
    path = tmp_path_factory.mktemp("whole") / "run"
    write_run(path, 4, 20, 0, shard_size=20, ranking={"draws": 100, "n_min": 2})
    with_inventories(path)
    write_report_file(str(path), rank_run(str(path)))
    rank_run(str(path), RankingConfig(draws=100, n_min=2, images="all"))
    (path.parent / "policy.toml").write_text(POLICY)
    return path


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def part(run: Path, table: str, number: int = 1) -> Path:
    return run / part_name(table, Store(run).manifest["shards"][number])


def judge(run: Path, whole: Path) -> bool:
    return evaluate(run, whole.parent / "policy.toml").passed


# -- what the issue names


def other_run(run: Path) -> None:
    """A part of a run with another seed, as large as the own one or not."""
    other = run.parent / "other"
    write_run(other, 4, 20, 1, shard_size=20)
    with_inventories(other)
    for table in ("scores", "examples"):
        shutil.copy(part(other, table), part(run, table))


def cut_rows(rows: int) -> Callable[[Path], None]:
    def cut(run: Path) -> None:
        path = part(run, "examples")
        pq.write_table(pq.read_table(path)[:rows], path)

    return cut


def missing_scores(run: Path) -> None:
    part(run, "scores").unlink()


def missing_inventory(run: Path) -> None:
    shutil.rmtree(run / "inventory")


def replaced(run: Path) -> None:
    """The same rows with one other value, in a file that says it is of this run."""
    path = part(run, "scores")
    table = pq.read_table(path)
    values = table["value"].to_numpy().copy()
    values[0] += 1
    changed = table.set_column(3, table.schema.field("value"), pa.array(values, from_pandas=True))
    pq.write_table(changed, path, compression="zstd", write_page_checksum=True)


def renamed(run: Path) -> None:
    """The parts of two shards, exchanged."""
    for table in schema.TABLES:
        if part(run, table).exists():
            first, second = part(run, table, 0).read_bytes(), part(run, table, 1).read_bytes()
            part(run, table, 0).write_bytes(second)
            part(run, table, 1).write_bytes(first)


def unplanned(run: Path) -> None:
    path = part(run, "examples")
    shutil.copy(path, path.with_name("part-validation-000000100-000000120.parquet"))


PARTS = [
    *(other_run, cut_rows(4), cut_rows(0), missing_scores, missing_inventory, replaced, renamed, unplanned)
]
NAMES = ["other run", "4 rows", "0 rows", "no scores", "no inventory", "replaced", "renamed", "unplanned"]


@pytest.mark.parametrize("spoil", PARTS, ids=NAMES)
def test_parts_that_are_not_the_run_s_are_refused_and_made_anew(run: Path, whole: Path, spoil):
    spoil(run)
    for read in (rank, lambda run: judge(run, whole)):
        with pytest.raises(InputError, match="hansaudit verify") as caught:
            read(run)
        assert "\n" not in str(caught.value)
    store = Store(run)
    found = verify(store)
    assert found.faults
    assert found.shards_to_drop
    before = set(store.manifest["shards"])
    repair(store, found)
    assert set(store.missing()) == before & set(found.shards_to_drop)
    for key in store.missing():  # what the next run does
        tables = {t: pq.read_table(p) for t in schema.TABLES if (p := whole / part_name(t, key)).exists()}
        store.write_shard(key, tables)
    again = verify(store)
    assert [f.file for f in again.faults if f.shard] == []
    assert judge(run, whole) == judge(whole, whole)  # the same parts: the ranking is theirs again


def test_a_part_that_is_missing_is_made_by_the_next_run(run: Path):
    missing_scores(run)
    store = Store(run)
    assert store.missing() == (store.manifest["shards"][1],)


def test_a_shortened_list_of_shards_is_refused(run: Path):
    for change in (hashed, dict):  # whether or not the hash is made to fit
        manifest = json.loads((run / MANIFEST).read_text())
        manifest["shards"] = manifest["shards"][:2]
        (run / MANIFEST).write_text(json.dumps(change(manifest)))
        with pytest.raises(InputError, match=r"manifest\.json: .*(do not cover the 80 images|sha256)"):
            rank(run)
        assert [f.file for f in verify(Store(run)).faults] == [MANIFEST]


def test_a_manifest_of_other_settings_than_its_id_is_refused(run: Path):
    manifest = json.loads((run / MANIFEST).read_text())
    manifest["config"]["audit"]["seed"] = 5
    (run / MANIFEST).write_text(json.dumps(hashed(manifest)))
    with pytest.raises(InputError, match=r"config\.audit is not what run_id was made of"):
        rank(run)


def test_an_edited_ranking_is_refused(run: Path, whole: Path):
    content = json.loads((run / RANKING).read_text())
    content["summary"]["verdicts"]["suspicious"] = 0
    content["classes"][0]["verdict"] = "unremarkable"
    (run / RANKING).write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"ranking\.json: its content is not what `hansaudit rank` wrote"):
        judge(run, whole)
    (run / RANKING).write_text(json.dumps({k: v for k, v in content.items() if k != "sha256"}))
    with pytest.raises(InputError, match=r"carries no sha256; make it again with `hansaudit rank"):
        judge(run, whole)


def test_a_ranking_of_other_parts_is_refused_until_it_is_made_again(run: Path, whole: Path):
    store = Store(run)
    key = store.manifest["shards"][1]
    tables = {t: pq.read_table(p) for t in schema.TABLES if (p := whole / part_name(t, key)).exists()}
    values = np.nan_to_num(tables["scores"]["value"].to_numpy())
    tables["scores"] = tables["scores"].set_column(3, schema.SCORES.field("value"), pa.array(values))
    store.write_shard(key, tables)  # as a run would
    with pytest.raises(InputError, match=r"it is of 4 other shards than the 4 finished ones"):
        judge(run, whole)
    assert [f.file for f in verify(store).faults] == [RANKING, TRIAGE, "ranking-images-all.json"]
    rank_run(str(run))
    judge(run, whole)


def test_a_report_leaves_out_what_is_of_other_parts(run: Path):
    methods = MethodsDocument(
        "aopc_gap", 3, 0, (RankedMethod(1, "m", 1.0, 0.5, 1.5, 0.0, 0, 0, True, False),)
    )
    methods.write(Store(run))
    page = Path(write_report_file(str(run), rank(run))).read_text()
    assert '<section id="methods"' in page
    key = Store(run).manifest["shards"][0]
    for table in schema.TABLES:
        part(run, table, 0).unlink(missing_ok=True)
    (run / "inventory" / f"{key}.json").unlink()
    page = Path(write_report_file(str(run), rank(run))).read_text()
    assert '<section id="methods"' not in page
    assert "methods.json is of 4 finished shards, the run has 3" in page


# -- any cut, any flipped bit

FILES = st.integers(min_value=0)
SAME = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


def spoilt(run: Path, number: int, change: Callable[[bytes], bytes]) -> tuple[Path, bytes]:
    """One of the files of the run, changed; returns it and what it held."""
    files = sorted(p for p in run.rglob("*") if p.is_file() and not p.name.startswith("."))
    path = files[number % len(files)]
    content = path.read_bytes()
    path.write_bytes(change(content))
    return path, content


@given(number=FILES, share=st.floats(0, 1, exclude_max=True))
@SAME
def test_any_cut_of_any_file_is_noticed(run: Path, number: int, share: float):
    path, content = spoilt(run, number, lambda raw: raw[: int(share * len(raw.rstrip()))])
    try:
        assert path.name in " ".join(f.file for f in verify(Store(run)).faults)
    finally:
        path.write_bytes(content)


@given(number=FILES, place=st.integers(min_value=0), bit=st.integers(0, 7))
@SAME
def test_any_flipped_bit_is_noticed(run: Path, number: int, place: int, bit: int):
    def flip(raw: bytes) -> bytes:
        at = place % len(raw.rstrip())
        return raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]

    path, content = spoilt(run, number, flip)
    try:
        faults = verify(Store(run)).faults
        # the last digits of a number may say the same; a page is looked at, never computed with
        assert faults or path.suffix == ".html" or json.loads(path.read_bytes()) == json.loads(content)
    finally:
        path.write_bytes(content)


@given(number=FILES, place=st.integers(min_value=0), bit=st.integers(0, 7))
@SAME
def test_no_flipped_bit_of_a_part_changes_what_is_read(run: Path, number: int, place: int, bit: int):
    table = ("examples", "scores", "maps", "thumbnails")[number % 4]
    path = part(run, table, number % 3)
    raw = path.read_bytes()
    at = place % len(raw)
    path.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :])
    try:
        with pytest.raises(InputError, match="its content is not what was written"):
            Store(run).read(table)
    finally:
        path.write_bytes(raw)


# -- runs of before, and the command


def test_an_earlier_run_is_read_and_says_what_cannot_be_said(tmp_path: Path):
    run = Path(shutil.copytree(EARLIER, tmp_path / "run"))
    found = verify(Store(run))
    assert (found.faults, found.shards) == ((), (2, 2))
    assert "2 of 2 finished shards have no inventory" in found.lacking[0]
    assert "ranking.json was made by an earlier version" in found.lacking[1]
    assert "no sha256 in manifest.json, ranking.json" in found.lacking[2]


@pytest.mark.parametrize("spoil", [cut_rows(4), cut_rows(0), missing_scores, renamed, unplanned])
def test_parts_of_an_earlier_run_are_checked_as_far_as_they_say(tmp_path: Path, spoil):
    run = Path(shutil.copytree(EARLIER, tmp_path / "run"))
    shutil.rmtree(run / "curves")  # the helpers count by 20 images
    manifest = json.loads((run / MANIFEST).read_text())
    assert "curves" in planned_tables(manifest["config"])
    spoil(run)
    assert verify(Store(run)).shards_to_drop


def test_a_finished_shard_has_the_tables_that_its_configuration_asks_for(small_run: Store):
    assert set(small_run.tables) == planned_tables(small_run.manifest["config"]) | {"properties"}
    assert verify(small_run).faults == ()


def test_a_document_of_another_run_does_not_fit(run: Path, tmp_path: Path):
    content = json.loads((run / RANKING).read_text()) | {"run_id": "0" * 16}
    (run / RANKING).write_text(json.dumps(hashed(content)))
    assert "is of run 0000000000000000" in str(RankingDocument.read(Store(run)).misfit(Store(run)))


def test_the_command_says_what_to_do(run: Path, tmp_path: Path, capsys):
    assert cli.run(["verify", str(run)]) == cli.DONE
    assert "no fault; 4 of 4 planned shards are finished" in capsys.readouterr().out
    replaced(run)
    (run / "ranking.csv").write_text("rank\n1\n")
    assert cli.run(["verify", str(run)]) == cli.BREACH
    key, said = Store(run).manifest["shards"][1], capsys.readouterr().out
    assert f"scores/part-{key}.parquet: " in said
    assert "ranking.csv: its content is not what was written; expected that of ranking.json" in said
    assert f"shard to drop: {key}" in said
    assert "--repair` drops these shards" in said
    assert cli.run(["verify", str(run), "--json"]) == cli.BREACH
    assert json.loads(capsys.readouterr().out)["shards_to_drop"] == [key]
    assert cli.run(["verify", str(run), "--repair"]) == cli.BREACH
    assert Store(run).missing() == (key,)
    assert cli.run(["verify", str(tmp_path)]) == cli.WRONG_INPUT
    assert "no manifest.json" in capsys.readouterr().err
