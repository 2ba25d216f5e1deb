"""``hansaudit decompositions`` on the small planted network, as a user calls it."""

from __future__ import annotations

import csv
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from flows import cli
from pipeline.inputs.planted_model import planted_card


def test_a_gallery_and_two_tables(
    tiny_planted, tiny_cnn_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["decompositions", "--model", str(tiny_cnn_file), "--dataset", tiny_planted.config.path]
    assert cli.run([*words, "--count", "2", "--fast", "--save", "npz", "--out", str(tmp_path)]) == 0
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {
        *("gallery.png", "gallery.html", "arrays.npz"),
        *("decompositions.csv", "decompositions-images.csv"),
    }
    with open(tmp_path / "decompositions.csv", newline="") as file:
        table = {row["decomposition"]: row for row in csv.DictReader(file)}
    with open(tmp_path / "decompositions-images.csv", newline="") as file:
        images = list(csv.DictReader(file))
    ways = [name for name, row in table.items() if not row["remark"]]
    assert ways[0] == "BatchNorm folded (default)"
    assert len(images) == 2 * len(ways)
    assert table[ways[0]]["lift"]
    assert table[ways[0]]["gap"] == ""
    page, said = (tmp_path / "gallery.html").read_text(), capsys.readouterr().out
    assert "without merge_padding: not shown, no padding layer" in said.replace("\n", " ")
    assert "not shown: no padding layer" in page
    with np.load(tmp_path / "arrays.npz") as file:
        assert file["relevance"].shape == (2, len(ways), 32, 32, 3)


def test_files_have_no_boxes_and_a_plain_network_one_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers, picture = keras.layers, tmp_path / "noise.png"
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).save(picture)
    network = tmp_path / "plain.keras"
    keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2)]).save(network)
    planted_card(8, ("ring", "star")).save(network.with_suffix(".toml"))
    words = ["decompositions", str(picture), str(picture), "--model", str(network), "--targets", "ring"]
    assert cli.run([*words, "--out", str(tmp_path / "out")]) == 0
    with open(tmp_path / "out" / "decompositions-images.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["example_id"] for row in rows] == ["1: noise.png", "2: noise.png"]
    assert {row["lift"] for row in rows} == {""}
    assert all(row["gap"] for row in rows)
    assert "target: ring" in (tmp_path / "out" / "gallery.html").read_text()
    assert "BatchNorm two nodes: not shown, no BatchNorm" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "neither image files nor --dataset; valid: one of them"),
        (["--dataset", "planted", "x.png"], "both image files and --dataset; valid: one of them"),
        (["--dataset", "planted", "--view", "all"], "--view all: the columns are decompositions"),
        (["--dataset", "HERE", "--method", "gradient", "--fast"], "gradient: how a network is taken apart"),
        (["--dataset", "HERE", "--targets", "top2", "--fast"], "received 2 classes; valid here: one"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    words: list[str],
    message: str,
    tiny_planted,
    tiny_cnn_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [tiny_planted.config.path if word == "HERE" else word for word in words]
    options = ["--model", str(tiny_cnn_file), "--out", str(tmp_path / "out")]
    assert cli.run(["decompositions", *given, *options]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "out").exists()
