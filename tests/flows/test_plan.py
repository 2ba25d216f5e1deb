"""``hansaudit plan``: what a method would do with a model, or why it cannot."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers

from explainers import create_analyzer, plan
from explainers.rules import ChainRule, Flat
from explainers.rules.presets import Named, Subgraph
from flows import cli
from tests.explainers.zoo import randomise


def network() -> keras.Model:
    """Rescaling, padding, convolution, BatchNorm, ReLU, Dropout, dense with softmax."""
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3), name="pixels")
    t = layers.ZeroPadding2D(1, name="pad")(layers.Rescaling(1 / 255, name="rescale")(x))
    t = layers.Conv2D(4, 3, use_bias=False, name="conv")(t)
    t = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn")(t))
    t = layers.Dropout(0.5, name="drop")(layers.Flatten(name="flat")(t))
    return randomise(keras.Model(x, layers.Dense(3, activation="softmax", name="top")(t), name="net"))


def softmax_in_the_middle() -> keras.Model:
    x = keras.Input((4, 3))
    t = layers.Flatten()(layers.Softmax(axis=1, name="odd")(x))
    return keras.Model(x, layers.Dense(2, name="top")(t), name="odd_net")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "net.keras"
    network().save(path)
    return path


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = cli.run(["plan", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_json_says_which_rule_explains_which_node_and_why(file: Path, capsys) -> None:
    code, found = as_json(capsys, str(file), "--method", "lrp.preset_b_flat")
    assert code == cli.DONE
    assert found["ok"] is True
    assert found["model"] == "net"
    assert found["method"] == "lrp.preset_b_flat"
    rows = {row["node"]: row for row in found["rows"]}
    assert list(rows) == ["rescale", "conv", "relu", "flat", "top"]
    assert rows["rescale"]["rule"] == "Pass()"
    assert "InputPart" in rows["rescale"]["why"]
    assert (rows["conv"]["rule"], rows["conv"]["why"]) == ("Flat()", "InputLayer()")
    assert rows["conv"]["shape"] == [None, 8, 8, 4]
    assert rows["conv"]["folded"] == ["bn"]
    assert rows["top"]["rule"] == "Epsilon(eps=1e-06)"
    assert "'dense'" in rows["top"]["why"]
    assert found["input_layer"] == ["conv"]
    changes = dict(found["changes"])
    assert changes["drop"] == "Dropout dropped"
    assert changes["bn"] == "BatchNormalization folded into conv"
    assert changes["pad"].startswith("zero padding ((1, 1), (1, 1)) merged into conv")
    assert changes["top/softmax"] == "trailing softmax cut"
    assert 0 <= found["equality"] < 1e-5
    assert found["unsupported"] == []
    assert found["problems"] == []


def test_cost_is_counted_in_forward_passes(file: Path, capsys) -> None:
    """Multiply-adds: convolution 8*8*4*27 = 6912, rescaling 192, dense 256*3 = 768."""
    forward = 6912 + 192 + 768
    conv = {"lrp.epsilon": 1, "lrp.preset_a": 4, "lrp.z_plus": 4, "lrp.preset_a_flat": 0}
    dense = {"lrp.epsilon": 1, "lrp.preset_a": 1, "lrp.z_plus": 2, "lrp.preset_a_flat": 1}
    for method in conv:
        _, found = as_json(capsys, str(file), "--method", method)
        work = 6912 * conv[method] + 768 * dense[method]  # raw input of both signs: two halves
        assert found["cost"] == pytest.approx(1 + work / forward), method


def test_table_names_rules_reasons_changes_and_the_verdict(file: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    assert cli.run(["plan", str(file), "--method", "lrp.preset_a"]) == cli.DONE
    said = capsys.readouterr().out
    for words in (
        "AlphaBeta(alpha=1",
        "Epsilon(eps=1e-06)",
        "bn: BatchNormalization folded into conv",
        "input-layer rule: conv",
        "canonised logits differ from the original's by",
        "forward passes",
        "lrp.preset_a can explain net",
    ):
        assert words in said


def test_a_model_that_the_method_cannot_explain_is_wrong_input(tmp_path: Path, capsys) -> None:
    path = tmp_path / "odd.keras"
    softmax_in_the_middle().save(path)
    code, found = as_json(capsys, str(path), "--method", "lrp.preset_a")
    assert code == cli.WRONG_INPUT
    assert found["ok"] is False
    assert found["cost"] is None
    (unsupported,) = found["unsupported"]
    assert (unsupported["node"], unsupported["layer"]) == ("odd", "Softmax")
    assert unsupported["reason"] == "softmax over axis 1; only the last axis is supported"
    assert cli.run(["plan", str(path), "--method", "lrp.preset_a"]) == cli.WRONG_INPUT
    said = " ".join(capsys.readouterr().out.split())
    assert "node 'odd' (Softmax) has no rule: softmax over axis 1" in said
    assert "lrp.preset_a cannot explain odd_net" in said


def test_without_a_method_the_first_candidate_that_fits_is_shown(file: Path, capsys, monkeypatch) -> None:
    from pipeline.measure import choice

    code, found = as_json(capsys, str(file))
    assert (code, found["method"]) == (cli.DONE, choice.CANDIDATES[0][0])
    monkeypatch.setattr(choice, "CANDIDATES", (("gradcam(layer='none')",), ("lrp.epsilon",)))
    code, found = as_json(capsys, str(file))
    assert (code, found["method"]) == (cli.DONE, "lrp.epsilon")
    monkeypatch.setattr(choice, "CANDIDATES", (("gradcam(layer='none')",),))
    code, found = as_json(capsys, str(file))
    assert (code, found["method"]) == (cli.WRONG_INPUT, "gradcam")


def test_a_method_that_is_no_preset_is_tried(tmp_path: Path, capsys) -> None:
    x = keras.Input((4, 4, 3))
    path = tmp_path / "norm.keras"
    t = layers.Flatten()(layers.LayerNormalization(name="norm")(x))
    keras.Model(x, layers.Dense(2)(t), name="normed").save(path)
    code, found = as_json(capsys, str(path), "--method", "deeplift")
    assert code == cli.WRONG_INPUT
    assert "'norm'" in found["problems"][0]
    code, found = as_json(capsys, str(path), "--method", "occlusion(size=2)")
    assert (code, found["cost"]) == (cli.DONE, None)
    assert "forward" in found["cost_note"]


@pytest.mark.parametrize(
    ("method", "rule"),
    [
        ("pattern_net", "AlongPattern(times_weight=False)"),
        ("pattern_attribution", "AlongPattern(times_weight=True)"),
    ],
)
def test_methods_that_estimate_show_their_rules(file: Path, capsys, method: str, rule: str) -> None:
    code, made = as_json(capsys, str(file), "--method", method)
    assert code == cli.DONE
    rows = {row["node"]: row["rule"] for row in made["rows"]}
    assert (rows["conv"], rows["top"], rows["relu"]) == (rule, rule, "ChainRule()")
    assert made["cost"] == pytest.approx(2)  # every layer is crossed once, with a kernel of its own size
    assert "3 forward passes per image of the data" in made["cost_note"]


def test_a_method_without_rules_says_so_in_one_line(file: Path, capsys) -> None:
    assert cli.run(["plan", str(file), "--method", "occlusion(size=4)"]) == cli.DONE
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "occlusion has no rules: it only evaluates the network" in said
    assert "cost: 1 + ceil(h / stride) x ceil(w / stride) forward passes" in said


def test_h5_files_and_names_of_applications(file: Path, tmp_path: Path, capsys) -> None:
    old = tmp_path / "net.h5"
    keras.models.load_model(file).save(old)
    one, other = (as_json(capsys, str(path)) for path in (file, old))
    assert one == other
    code, found = as_json(capsys, "MobileNet", "--method", "lrp.epsilon(eps=0.1)")
    assert code == cli.DONE
    assert found["input_layer"] == ["conv1"]
    assert len(found["rows"]) > 50
    assert "Epsilon(eps=0.1)" in {row["rule"] for row in found["rows"]}


WRONG = [
    (["nowhere.keras"], "no such model file"),
    (["NoSuchNet"], "neither a .keras or .h5 file nor a keras.applications name"),
    (["MobileNet", "--method", "lrp.preset_z"], "is not known"),
    (["MobileNet", "--method", "lrp.epsilon(epsilon=1)"], "takes no parameter 'epsilon'; valid: eps"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_wrong_words_are_one_clear_message(words: list[str], message: str, capsys) -> None:
    assert cli.run(["plan", *words]) == cli.WRONG_INPUT
    said = capsys.readouterr()
    assert message in " ".join((said.err + said.out).split())
    assert "Traceback" not in said.err


def test_the_command_s_json_is_all_that_it_prints(file: Path) -> None:
    command = shutil.which("hansaudit", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("the command is not installed beside this interpreter")
    done = subprocess.run([command, "plan", str(file), "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert json.loads(done.stdout)["ok"] is True


def test_a_plan_from_python_takes_an_analyzer_with_rules_of_ones_own() -> None:
    rules = ((Named("top"), Flat()), (Subgraph("relu", "flat"), ChainRule()))
    found = plan(network(), create_analyzer("lrp.preset_a", rules=rules))
    rows = {row.node: row for row in found.rows}
    assert rows["top"].rule == "Flat()"
    assert rows["top"].why == "Named(pattern='top')"
    assert rows["flat"].kind == "subgraph"
    assert found.ok
    assert found.to_dict()["ok"] is True


def test_with_a_dataset_it_says_what_an_audit_would_cost(
    options: list[str], tiny_planted, tiny_cnn_file: Path, monkeypatch, capsys
) -> None:
    """With speeds that are given: an image takes a second, a forward pass half of one."""
    from pipeline.measure.forecast import Speeds

    speeds = Speeds(image=1.0, explanation=1.0, forward=0.5, fit=10.0, bytes=1000)
    monkeypatch.setattr("flows.foresight.speeds_of", lambda bench: speeds)
    words = (str(tiny_cnn_file), "--config", options[1], "--dataset", tiny_planted.config.path)
    code, told = as_json(capsys, *words)
    assert code == cli.DONE
    audit, sanity, edits, windows = told["forecast"]["stages"]  # the configuration wants no curves
    assert (audit["stage"], audit["images"], audit["passes"]) == ("audit", 24, 48)
    assert (audit["seconds"], audit["bytes"]) == (24.0, 24_000)
    assert sanity["seconds"] == 10 + 5 * 4
    # 4 classes of 6 images, fewer than the 10 of a first look, in 11 passes each
    assert (edits["passes"], edits["seconds"], edits["most"]) == (24 * 11, 132, 132)
    # a window of each image and one of another class, onto two recipients each, and recipients as they are
    assert 24 * 2 * 2 < windows["passes"] <= 24 * 2 * 2 + 24
    assert windows["seconds"] == windows["passes"] / 2
    assert told["forecast"]["total"]["seconds"] == 24 + 30 + 132 + windows["seconds"]
    assert "chosen" not in told["forecast"]
    code, told = as_json(capsys, *words, "--time", "30m")
    assert told["forecast"]["chosen"].startswith("audit of all 24 images")
    assert cli.run(["plan", *words, "--time", "60s"]) == cli.WRONG_INPUT
    assert "the smallest audit that says something, 20 images in 4 classes" in capsys.readouterr().err
    assert cli.run(["plan", *words]) == cli.DONE
    assert "time of one worker" in capsys.readouterr().out


def test_a_time_needs_a_dataset(file: Path, capsys) -> None:
    assert cli.run(["plan", str(file), "--time", "1h"]) == cli.WRONG_INPUT
    assert "--time: how long an audit takes depends on its images" in capsys.readouterr().err
