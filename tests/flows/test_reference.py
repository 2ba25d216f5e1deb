"""``hansaudit run --reference``: another network, or its run, on the same images; what cannot be compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from flows import cli
from pipeline.run.documents import ReferenceDocument
from pipeline.run.edited_parts import read_edited
from pipeline.run.folder import REFERENCE_RUN
from pipeline.run.store import Store
from pipeline.run.transfer_parts import AgainParts, read_transfer
from pipeline.run.verify import verify


@pytest.fixture(scope="module")
def other_network(tiny_planted, tiny_cnn, tmp_path_factory) -> Path:
    """The tiny network with one kernel scaled: another one, with a card beside it."""
    import keras

    from pipeline.inputs.planted_model import save_planted_model

    copy = keras.models.clone_model(tiny_cnn)
    copy.set_weights([1.1 * weights for weights in tiny_cnn.get_weights()])
    return save_planted_model(copy, tiny_planted, seed=77)


def edited(run: Path) -> set[tuple[str, str, str]]:
    """Picture, edit and donor of every row."""
    table = read_edited(Store(run)).to_pandas()
    rows = table[["example_id", "edit", "donor"]].astype(str)
    return set(rows.itertuples(index=False, name=None))


def windows(table: pa.Table) -> set[tuple]:
    """Picture, recipient and place of the rows of a table of pasted windows; not of those at other places."""
    rows = [row for row in table.to_pylist() if row["window"] == "relevant"]
    return {tuple(row[k] for k in ("example_id", "recipient", "x", "y", "width", "height")) for row in rows}


def test_a_model_is_measured_on_the_same_images_and_the_same_edits(
    prefect_api, options: list[str], other_network: Path, tmp_path: Path, monkeypatch
):
    said: list[str] = []
    monkeypatch.setattr("flows.terminal.print_line", said.append)
    line = ["run", *options, "--reference", str(other_network), "--out", str(tmp_path / "run")]
    assert cli.run(line) == cli.DONE
    assert any(f"reference: {other_network.stem}, 24 images of 4 classes compared" in line for line in said)
    run, nested = Store(tmp_path / "run"), Store(tmp_path / "run" / REFERENCE_RUN)
    document = ReferenceDocument.current(run)
    assert document is not None
    assert document.images == document.n_images == 24
    assert nested.manifest["config"]["audit"]["target"] == "label"
    assert document.model_sha256 == nested.manifest["model"]["sha256"] != run.manifest["model"]["sha256"]
    assert edited(tmp_path / "run" / REFERENCE_RUN) == edited(tmp_path / "run")
    again = AgainParts(nested).read()
    assert windows(again) == windows(read_transfer(run))
    assert document.windows == len({row["example_id"] for row in again.to_pylist()}) > 0
    assert not verify(run).faults + verify(nested).faults
    table = pd.read_csv(tmp_path / "run" / "ranking.csv")
    assert table["n_reference"].fillna(0).tolist() == table["n"].tolist()
    assert document.windows == table["n_windows"].sum()
    assert table["reference_transfer_added"].notna().tolist() == table["n_windows"].notna().tolist()
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Beside another network" in page
    assert "pasted windows compared" in page
    parts = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("part-*")}
    assert cli.run(line) == cli.DONE  # again: nothing is left to do
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("part-*")} == parts

    # the nested run, finished, is as good a reference as its model
    again = ["run", *options, "--reference", nested.path, "--out", str(tmp_path / "run")]
    before = (tmp_path / "run" / "ranking.csv").read_bytes()
    assert cli.run(again) == cli.DONE
    assert (tmp_path / "run" / "ranking.csv").read_bytes() == before

    # without one the comparison is forgotten, and the report says what it would bring
    assert cli.run(["run", *options, "--out", str(tmp_path / "run")]) == cli.DONE
    assert ReferenceDocument.read(run) is None
    assert pd.read_csv(tmp_path / "run" / "ranking.csv")["reference_lift"].isna().all()
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "This run has no reference network" in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("same", "the same network as the audited one"),
        ("cardless", "no model card: its input geometry and preprocessing are unknown"),
        ("missing", "no such model file"),
    ],
)
def test_a_reference_that_cannot_be_used_is_one_line_before_anything_runs(
    tiny_cnn_file: Path, options: list[str], tmp_path: Path, capsys, change: str, said: str
):
    model = tmp_path / "other.keras"
    if change != "missing":
        shutil.copyfile(tiny_cnn_file, model)
    if change == "same":
        shutil.copyfile(tiny_cnn_file.with_suffix(".toml"), model.with_suffix(".toml"))
    line = ["run", *options, "--reference", str(model), "--out", str(tmp_path / "run")]
    assert cli.run(line) == cli.WRONG_INPUT
    told = capsys.readouterr().err
    assert said in " ".join(told.split())
    assert "reference" in told
    assert "give --card" not in told
    assert not (tmp_path / "run").exists()
