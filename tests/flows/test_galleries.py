"""explain, compare, sweep and the monitor on the small planted network, as a user calls them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from flows import cli
from flows.galleries import split_methods
from flows.sweeps import parse_axis
from pipeline.config import ConfigError
from pipeline.errors import InputError
from reports.gallery.views import all_views


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, tiny_planted) -> list[str]:
    """Two pictures of the planted data as PNG files."""
    from pipeline.inputs.shards import plan_shards

    folder = tmp_path_factory.mktemp("photos")
    about = tiny_planted.info
    paths = []
    for record in tiny_planted.read(plan_shards(about.name, about.split, about.n_examples, 2)[0]):
        path = folder / f"{record.index}.png"
        Image.open(io.BytesIO(record.image)).convert("RGB").resize((50, 40)).save(path)
        paths.append(str(path))
    return paths


def call(*arguments: str) -> int:
    return cli.run(arguments)


def about(folder: Path) -> dict:
    with np.load(folder / "arrays.npz", allow_pickle=False) as file:
        return json.loads(str(file["about"])) | {"shape": file["relevance"].shape}


def test_explain_one_image_for_its_best_targets(photos, tiny_cnn_file: Path, tmp_path: Path) -> None:
    code = call(
        *("explain", photos[0], "--model", str(tiny_cnn_file), "--targets", "top3", "--save", "npz"),
        *(
            "--methods",
            "gradient,occlusion(size=8,value=0.5),integrated_gradients(steps=2)",
            "--labels",
            "ring",
        ),
        *("--out", str(tmp_path)),
    )
    assert code == 0
    assert {p.name for p in tmp_path.iterdir()} == {"gallery.png", "gallery.html", "arrays.npz"}
    found = about(tmp_path)
    assert found["shape"] == (3, 3, 32, 32, 3)
    assert found["columns"] == ["gradient", "occlusion(size=8,value=0.5)", "integrated_gradients(steps=2)"]
    assert [row["right"][2] for row in found["rows"]] == ["place 1", "place 2", "place 3"]
    shares = [float(row["right"][0].split("=")[1]) for row in found["rows"]]
    assert shares == sorted(shares, reverse=True)
    assert all("true: ring" in row["left"] for row in found["rows"])
    with np.load(tmp_path / "arrays.npz") as file:
        assert np.isfinite(file["relevance"]).all()
        assert file["pictures"].shape == (3, 32, 32, 3)


def test_explain_several_images_for_named_targets(photos, tiny_cnn_file: Path, tmp_path: Path) -> None:
    code = call(
        *("explain", *photos, "--model", str(tiny_cnn_file), "--targets", "star,0", "--methods", "random"),
        *("--out", str(tmp_path), "--save", "npz", "--view", "graymap", "--scope", "all"),
    )
    assert code == 0
    rows = about(tmp_path)["rows"]
    assert [row["left"][1] for row in rows] == ["target: star", "target: square"] * 2
    assert [row["left"][0] for row in rows] == [Path(p).name for p in photos for _ in range(2)]
    assert "graymap" in (tmp_path / "gallery.html").read_text()


def test_every_view_of_a_map_beside_each_other(photos, tiny_cnn_file: Path, tmp_path: Path) -> None:
    """Figure 3."""
    code = call(
        *("explain", photos[0], "--model", str(tiny_cnn_file), "--methods", "gradient", "--view", "all"),
        *("--out", str(tmp_path), "--save", "npz"),
    )
    assert code == 0
    views = all_views()
    assert about(tmp_path)["columns"] == list(views)
    assert about(tmp_path)["title"].endswith("by gradient")
    page = (tmp_path / "gallery.html").read_text()
    assert all(f"<dt>{view}</dt>" in page for view in views)


def test_help_lists_every_view_and_loads_none() -> None:
    code = """
import sys
from flows import cli
assert cli.run(["explain", "--help"]) == 0
assert "numpy" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"COLUMNS": "400"}, capture_output=True, check=True
    )
    (line,) = (line for line in done.stdout.decode().splitlines() if "--view" in line)
    assert all(re.search(rf"\b{view}\b", line) for view in all_views())


def test_true_classes_are_those_of_the_images_in_order(photos, tiny_cnn_file: Path, tmp_path: Path) -> None:
    """Two images of one name in two folders, each with a label of its own."""
    other = tmp_path / "other" / Path(photos[0]).name
    other.parent.mkdir()
    other.write_bytes(Path(photos[1]).read_bytes())
    code = call(
        *("explain", photos[0], str(other), "--model", str(tiny_cnn_file), "--methods", "constant"),
        *("--labels", "ring,star", "--targets", "true", "--out", str(tmp_path), "--save", "npz"),
    )
    assert code == 0
    rows = about(tmp_path)["rows"]
    assert [row["left"][1] for row in rows] == ["target: ring", "target: star"]
    assert [row["left"][3] for row in rows] == ["true: ring", "true: star"]


def test_many_rows_go_through_the_network_a_few_at_a_time(photos, tiny_cnn_file: Path, monkeypatch) -> None:
    from explainers import create_analyzer
    from pipeline.config_sections import ModelConfig
    from pipeline.inputs.models import load_model
    from pipeline.measure import explain

    model = load_model(ModelConfig(source=str(tiny_cnn_file)))
    read = [explain.read_photo(path, model.card) for path in photos]
    methods = {"gradient": create_analyzer("gradient").fit(model.model)}
    whole = explain.explain_photos(read, model, methods, "top4")
    monkeypatch.setattr(explain, "AT_ONCE", 3)
    assert [list(rows) for rows, _ in explain.pieces(7)] == [[0, 1, 2], [3, 4, 5], [6, 6, 6]]
    parts = explain.explain_photos(read, model, methods, "top4")
    assert [one.target for one in parts] == [one.target for one in whole]
    for a, b in zip(parts, whole, strict=True):
        np.testing.assert_allclose(a.explanations[0].relevance, b.explanations[0].relevance, atol=1e-5)
    monkeypatch.setattr(explain, "MOST_MAPS", 7)
    with pytest.raises(InputError, match="8 rows of 1 methods are more than 7 pictures"):
        explain.explain_photos(read, model, methods, "top4")


def test_methods_that_estimate_take_reference_images(
    photos, tiny_planted, tiny_cnn_file: Path, tmp_path: Path, capsys
) -> None:
    command = ["explain", photos[0], "--model", str(tiny_cnn_file), "--methods", "deep_shap(references=2)"]
    assert call(*command, "--out", str(tmp_path)) == 2
    assert "--references" in capsys.readouterr().err
    folder = tiny_planted.config.path
    assert call(*command, "--out", str(tmp_path), "--references", folder) == 0


def test_compare_networks(photos, tiny_cnn_file: Path, tmp_path: Path) -> None:
    models = f"{tiny_cnn_file},{tiny_cnn_file}"
    code = call(
        "compare",
        photos[0],
        "--models",
        models,
        "--methods",
        "gradcam",
        "--out",
        str(tmp_path),
        "--save",
        "npz",
    )
    assert code == 0
    rows = about(tmp_path)["rows"]
    assert [row["left"][0] for row in rows] == [tiny_cnn_file.stem] * 2


def test_sweep_two_parameters_and_choose_the_best(
    photos, tiny_cnn_file: Path, tmp_path: Path, capsys
) -> None:
    code = call(
        *("sweep", photos[0], "--model", str(tiny_cnn_file), "--method", "smoothgrad(augment_by_n=2)"),
        *("--vary", "postprocess=none,square", "--vary", "noise_scale=0.05,0.1,0.3", "--metric", "aopc_gap"),
        *("--repeats", "1", "--out", str(tmp_path), "--save", "npz"),
    )
    assert code == 0
    found = about(tmp_path)
    assert found["shape"][:2] == (2, 3)
    assert [row["left"] for row in found["rows"]] == [["postprocess = none"], ["postprocess = square"]]
    assert found["columns"] == ["noise_scale = 0.05", "noise_scale = 0.1", "noise_scale = 0.3"]
    values = {note: float(note.split()[1].rstrip(",")) for row in found["notes"] for note in row}
    assert max(values, key=lambda note: values[note]).endswith(", the best")
    assert sum("the best" in note for note in values) == 1
    best = found["facts"]["best by aopc_gap"]
    assert float(best.rsplit("(", 1)[1].rstrip(")")) == pytest.approx(max(values.values()))
    assert "best by aopc_gap: smoothgrad" in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "grad_cam"], "method 'grad_cam' is not known"),
        (["--methods", "occlusion(patch=8)"], "valid: size, stride"),
        (["--methods", "occlusion(size=99)"], "shorter side, 32"),
        (["--methods", "rise(samples=0)"], "samples: received 0"),
        (["--targets", "zebra"], "no such class"),
        (["--targets", "top0"], "top1 to top50"),
        (["--targets", "9"], "give an index 0..3"),
        (["--view", "rainbow"], "valid: auto, all, graymap"),
        (["--save", "csv"], "valid: npz"),
        (["--labels", "a,b,c"], "received 3 for 1 images"),
        (["--targets", "true"], "give --labels"),
        (["--percentile", "0"], "above 0, at most 100"),
        (["--methods", "integrated_gradients(steps=0)"], "steps: received 0"),
        (["--methods", "integrated_gradients(reference=7.0)"], "outside the input range"),
        (["--methods", ","], "none given"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(
    arguments, message: str, photos, tiny_cnn_file: Path, tmp_path, capsys
) -> None:
    base = {"--methods": "random"} | dict(zip(arguments[::2], arguments[1::2], strict=True))
    flat = [part for pair in base.items() for part in pair]
    assert call("explain", photos[0], "--model", str(tiny_cnn_file), "--out", str(tmp_path), *flat) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read the image"), (b"no image", "not an image file"), ("bomb", "exceeds limit")],
)
def test_images_that_cannot_be_used(
    content, message: str, tiny_cnn_file: Path, tmp_path: Path, capsys
) -> None:
    path = tmp_path / "x.png"
    if content == "bomb":
        path.write_bytes(png_header(60_000, 60_000))
    elif content is not None:
        path.write_bytes(content)
    assert (
        call(
            "explain", str(path), "--model", str(tiny_cnn_file), "--methods", "random", "--out", str(tmp_path)
        )
        == 2
    )
    assert message in capsys.readouterr().err


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG file that claims this size."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (body, b"IDAT")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_sweep_refuses_unknown_parameters(photos, tiny_cnn_file: Path, capsys) -> None:
    base = ["sweep", photos[0], "--model", str(tiny_cnn_file), "--method", "occlusion"]
    assert call(*base, "--vary", "patch=1,2") == 2
    assert "occlusion takes size, stride, value, batch_size" in capsys.readouterr().err
    assert call(*base, "--vary", "size=4", "--vary", "size=8") == 2
    assert "named twice" in capsys.readouterr().err
    assert call(*base, "--vary", "size=8", "--targets", "top2") == 2
    assert "received 2 classes; valid for sweep: one" in capsys.readouterr().err
    assert call(*base, "--vary", "size=8", "--view", "all") == 2
    assert "--view all" in capsys.readouterr().err
    assert call("compare", photos[0], "--models", ",") == 2
    assert "--models: none given" in capsys.readouterr().err
    assert call(*base, "--vary", "size=4", "--metric", "beauty") == 2
    assert "valid: aopc_morf" in capsys.readouterr().err


def test_words_are_taken_apart() -> None:
    assert split_methods('a,b(p=1,q="x,y"),c(v=[1,2])') == ["a", 'b(p=1,q="x,y")', "c(v=[1,2])"]
    assert parse_axis("reference=low,0.5,[0.1,0.2]") == ("reference", ("low", 0.5, [0.1, 0.2]))
    with pytest.raises(InputError, match="expected parameter=value"):
        parse_axis("steps")


def test_the_monitor_writes_a_strip_and_metrics(tiny_planted, tmp_path: Path) -> None:
    from flows.monitor import METRICS, Fixed, Monitor
    from pipeline.inputs.batches import iter_batches
    from pipeline.inputs.planted_model import build_planted_model, planted_card
    from pipeline.inputs.shards import plan_shards

    card = planted_card(tiny_planted.spec.side, tiny_planted.spec.classes)
    info = tiny_planted.info
    batch = next(
        iter_batches(tiny_planted, plan_shards(info.name, info.split, info.n_examples, 6)[0], card, 6)
    )
    model = build_planted_model(card.height, 4)
    model.compile("adam", "sparse_categorical_crossentropy")
    fixed = Fixed.of(batch, most=2)
    watch = Monitor(fixed, card, ["gradcam", "occlusion(size=16)"], tmp_path, every=2, tensorboard=True)
    before = [w.copy() for w in model.get_weights()]
    model.fit(batch.inputs, batch.labels, epochs=4, verbose=0, callbacks=[watch], shuffle=False)
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 2 * len(METRICS)
    assert {row["epoch"] for row in rows} == {"2", "4"}
    assert all((row["value"] == "") == (row["reason"] != "") for row in rows)
    strip = watch.gallery()
    assert strip.columns == ("epoch 2", "epoch 4")
    assert len(strip.lines) == 2 * 2
    first, last = (cell.relevance for cell in strip.lines[1].cells)
    assert not np.array_equal(first, last)  # the network has learned in between
    assert (tmp_path / "monitor.html").stat().st_size > 1000
    course = (tmp_path / "course.html").read_text()
    last = [row for row in rows if row["metric"] == "mass" and row["epoch"] == "4" and row["value"]]
    assert last
    assert all(f"epoch 4: {100 * float(row['value']):.0f}\u202f%" in course for row in last)
    assert tags_of(tmp_path / "tensorboard") >= {f"mass/gradcam/{fixed.names[0]}"}


def tags_of(folder: Path) -> set[str]:
    """Names in TensorBoard's event files."""
    import tensorflow as tf

    files = sorted(str(path) for path in folder.iterdir())
    assert len(files) == 2
    found = set()
    for record in tf.data.TFRecordDataset(files):
        event = tf.compat.v1.Event.FromString(record.numpy())
        found |= {value.tag for value in event.summary.value}
    return found


def test_a_long_training_keeps_a_short_strip(tmp_path: Path) -> None:
    from flows.monitor import Fixed, Monitor
    from pipeline.inputs.planted_model import planted_card

    zeros = np.zeros((1, 8, 8, 3), np.uint8)
    fixed = Fixed(zeros, zeros, np.zeros(1, int), np.zeros((1, 8, 8), bool), ("one",))
    watch = Monitor(fixed, planted_card(8, ("a", "b")), ["gradient"], tmp_path)
    watch.set_model(
        keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, name="out")])
    )
    watch.on_train_begin()
    kept = []
    for epoch in range(40):
        watch._maps[epoch + 1], watch._notes[epoch + 1] = [np.zeros((1, 8, 8, 3))], [(None,)]
        watch._thin()
        kept.append(len(watch.gallery().columns))
    columns = [int(name.split()[1]) for name in watch.gallery().columns]
    assert max(kept) == 16
    assert columns == sorted(columns)
    assert (columns[0], columns[-1]) == (1, 40)


def test_the_monitor_refuses_nonsense(tmp_path: Path) -> None:
    from flows.monitor import Fixed, Monitor
    from pipeline.inputs.planted_model import planted_card

    card = planted_card(8, ("a", "b"))
    one = Fixed(
        np.zeros((1, 8, 8, 3)),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros(1, int),
        np.zeros((1, 8, 8), bool),
        ("x",),
    )
    with pytest.raises(InputError, match="every=0"):
        Monitor(one, card, ["gradient"], tmp_path, every=0)
    with pytest.raises(ValueError, match="not known"):
        Monitor(one, card, ["grad"], tmp_path)
    with pytest.raises(ConfigError, match="expected name"):
        Monitor(one, card, ["a b"], tmp_path)
    with pytest.raises(InputError, match="as many of each"):
        Fixed(np.zeros((2, 8, 8, 3)), one.pictures, one.labels, one.masks, one.names)
    assert issubclass(Monitor, keras.callbacks.Callback)
