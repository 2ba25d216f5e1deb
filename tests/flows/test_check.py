"""``hansaudit check``, and what every command says before it loads a framework."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows import cli
from tests.tables import forge_manifest, write_run

ROOT = Path(__file__).parents[2]
CARD = "height = 16\nwidth = 16\nresize = 'stretch'\n"
BOXES = "file,label,xmin,ymin,xmax,ymax\ncat/a.png,cat,1,1,5,5\ndog/b.png,dog,1,1,5,5\n"

LIGHTLY = """
import io, json, sys
from contextlib import redirect_stderr
from flows import cli
said, codes, loaded = [], [], []
for line in json.loads(sys.argv[1]):
    with redirect_stderr(io.StringIO()) as err:
        codes.append(cli.run(line))
    said.append(err.getvalue())
    loaded.append("tensorflow" in sys.modules)
print("\\n" + json.dumps([codes, said, loaded]))
"""


def lightly(lines: list[list[str]]) -> list[str]:
    """What command lines say that end with code 2 before TensorFlow is loaded, all in one process."""
    done = subprocess.run(
        [sys.executable, "-c", LIGHTLY, json.dumps(lines)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    codes, said, loaded = json.loads(done.stdout.splitlines()[-1])
    assert codes == [cli.WRONG_INPUT] * len(lines), said
    assert [line for line, heavy in zip(lines, loaded, strict=True) if heavy] == []
    assert not any("Traceback" in text for text in said)
    return said


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images of two classes, with their boxes."""
    from PIL import Image

    for name in ("cat/a.png", "dog/b.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        Image.new("RGB", (20, 20)).save(tmp_path / "photos" / name)
    (tmp_path / "photos/annotations.csv").write_text(BOXES)
    return tmp_path / "photos"


def test_faults_of_small_files_are_said_before_tensorflow_is_loaded(photos: Path, tmp_path: Path):
    card, net = tmp_path / "card.toml", tmp_path / "net.keras"
    card.write_text(CARD)
    net.write_bytes(b"never opened")
    files = {
        "header.csv": "image,label,xmin,ymin,xmax,ymax\ncat/a.png,cat,1,1,5,5\n",
        "short.json": '{"images": []}',
        "bad.toml": CARD + "size = 3\n",
        "others.toml": CARD + 'class_names = ["lorry", "boat"]\n',
        "tfds.toml": f'[dataset]\nsource = "tfds"\npath = "{tmp_path}"\n[model]\nsource = "VGG16"\n',
        "metric.toml": f'[dataset]\nsource = "folder"\npath = "{photos}"\n[model]\nsource = "VGG16"\n'
        '[audit]\nmetrics = ["iou"]\n',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    faults = {
        "columns ['file'] are missing": ["--annotations", str(tmp_path / "header.csv")],
        "not COCO's layout": ["--annotations", str(tmp_path / "short.json")],
        "no such file or folder": ["--annotations", str(tmp_path / "nowhere.csv")],
        "unknown field 'size'": ["--card", str(tmp_path / "bad.toml")],
        "cannot read the model card": ["--card", str(tmp_path / "nowhere.toml")],
        "share no class: cat, dog against lorry, boat": ["--card", str(tmp_path / "others.toml")],
        "no such model file": ["--model", str(tmp_path / "gone.keras")],
        "no model card": ["--model", str(net)],
        "weights 'gone.h5': no such file": ["--model", "VGG16", "--weights", "gone.h5"],
        "no dataset there": ["--config", str(tmp_path / "tfds.toml")],
        "metric 'iou' is unknown": ["--config", str(tmp_path / "metric.toml")],
    }
    data = ["--dataset", str(photos)]
    network = ["--model", "VGG16", "--card", str(card)]
    lines = []
    for command, rest in (("check", []), ("run", ["--out", str(tmp_path / "out")])):
        for fault in faults.values():
            given = [*data * ("--config" not in fault), *network * (fault[0] not in ("--config", "--model"))]
            lines.append([command, *given, *fault, *rest])
    for message, said in zip([*faults, *faults], lightly(lines), strict=True):
        assert message in said, said
    assert not (tmp_path / "out").exists()


def test_a_run_folder_of_another_run_is_said_at_once(photos: Path, tmp_path: Path):
    write_run(tmp_path / "other", 3, 20, seed=1)
    (tmp_path / "stuff").mkdir()
    (tmp_path / "stuff/thesis.txt").write_text("mine")
    (tmp_path / "card.toml").write_text(CARD)
    line = ["run", "--dataset", str(photos), "--model", "VGG16", "--card", str(tmp_path / "card.toml")]
    other, stuff = lightly([[*line, "--out", str(tmp_path / name)] for name in ("other", "stuff")])
    assert "holds another run" in other
    assert "the data are others" in other
    assert "holds other files (thesis.txt)" in stuff
    assert (tmp_path / "stuff/thesis.txt").read_text() == "mine"


def test_faults_of_a_gallery_are_said_before_tensorflow_is_loaded(photos: Path, tmp_path: Path):
    image, card, torn = str(photos / "cat/a.png"), tmp_path / "card.toml", tmp_path / "torn.png"
    card.write_text(CARD)
    torn.write_bytes(b"no image")
    (tmp_path / "bad.toml").write_text(CARD + "size = 3\n")
    (tmp_path / "empty").mkdir()
    network = ["--model", "VGG16", "--card", str(card)]
    faults = {
        "nowhere.png: cannot read the image: No such file": ["explain", "nowhere.png", *network],
        "torn.png: not an image file": ["explain", image, str(torn), *network],
        "--labels: received 2 for 1 images": ["explain", image, *network, "--labels", "cat,dog"],
        "unknown field 'size'": ["explain", image, "--model", "VGG16", "--card", str(tmp_path / "bad.toml")],
        "gone.keras: no such model file": ["explain", image, "--model", "gone.keras"],
        "holds no image": ["explain", image, *network, "--references", str(tmp_path / "empty")],
        "one.png: cannot read the image": ["compare", "one.png", "--models", "VGG16,ResNet50"],
        "two.keras: no such model file": ["compare", image, "--models", "VGG16,two.keras"],
        "three.keras: no such model file": [
            *("sweep", image, "--model", "three.keras"),
            *("--method", "smoothgrad", "--vary", "noise_scale=0.1,0.2"),
        ],
    }
    for message, said in zip(faults, lightly(list(faults.values())), strict=True):
        assert message in said, said


def test_missing_files_of_other_commands_are_said_before_tensorflow_is_loaded(photos: Path, tmp_path: Path):
    (tmp_path / "boxes.csv").write_text("")
    (tmp_path / "audit.toml").write_text(
        f'[dataset]\nsource = "folder"\npath = "{photos}"\n[model]\nsource = "two.keras"\n'
    )
    ready = ["prepare", "ilsvrc2012", "--boxes", str(tmp_path / "boxes.csv"), "--out", str(tmp_path / "out")]
    faults = {
        "one.keras: no such model file": ["plan", "one.keras"],
        "images.tar: no such file": [*ready, "--images", "images.tar"],
        "names.txt: no such file": [*ready, "--images", str(photos), "--mapping", "names.txt"],
        "three.keras: no such model file": ["canary", "--photos", str(photos), "--model", "three.keras"],
        "two.keras: no such model file": [
            *("serve", "--cron", "0 3 * * *", "--config", str(tmp_path / "audit.toml"))
        ],
    }
    for message, said in zip(faults, lightly(list(faults.values())), strict=True):
        assert message in said, said


def test_confirm_says_what_it_looks_for_and_where(small_run, tiny_cnn_file: Path, tmp_path: Path):
    manifest = json.loads((Path(small_run.path) / "manifest.json").read_text())
    other = tmp_path / "other.keras"
    other.write_bytes(b"another network")
    gone = tmp_path / "gone"
    lines, expected = [], []
    for section, place, options, words in (
        ("dataset", {"path": str(gone)}, [], "there is no dataset; put it back there, or say where"),
        ("model", {"source": str(gone / "net.keras")}, [], "there is no such file; put it back there"),
        ("model", {}, ["--model", str(other)], "what is there is not the run's any more"),
    ):
        run = tmp_path / f"run-{len(lines)}"
        shutil.copytree(small_run.path, run)
        forge_manifest(run, {section: place})
        lines.append(["confirm", str(run), *options])
        identity = manifest[section]["fingerprint" if section == "dataset" else "sha256"][:12]
        where = other if options else next(iter(place.values()))
        expected.append((f"{run}: its {section} ({identity}) is looked for at {where}", words))
    for texts, said in zip(expected, lightly(lines), strict=True):
        for text in (*texts, "--dataset" if "dataset" in texts[0] else "--model"):
            assert text in said
    assert not gone.exists(), "nothing is drawn or trained"


def test_confirm_goes_on_where_the_data_are_now(small_run, tiny_planted, tmp_path: Path, monkeypatch):
    from pipeline.measure import bench

    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    shutil.copytree(small_run.path, run)
    shutil.copytree(tiny_planted.folder, elsewhere)
    places = []

    def spied(config, dataset, *given):
        places.append((config.source, dataset.folder))
        return load(config, dataset, *given)

    load = bench.load_model
    monkeypatch.setattr(bench, "load_model", spied)
    network = elsewhere / "cnn-0.keras"
    given = ["confirm", str(run), "--top", "1", "--images", "2"]
    assert cli.run([*given, "--dataset", str(elsewhere), "--model", str(network)]) == cli.DONE
    assert places == [(str(network), elsewhere)]
    assert list((run / "interventions").glob("part-more-*.parquet"))


@pytest.fixture(scope="module")
def planted(tiny_planted, tiny_cnn_file: Path) -> list[str]:
    """Options for the planted data and its network."""
    return ["--dataset", str(tiny_planted.folder), "--model", str(tiny_cnn_file)]


def test_check_shows_a_table(planted: list[str], capsys):
    assert cli.run(["check", *planted]) == cli.DONE
    shown = " ".join(capsys.readouterr().out.split())
    for text in (
        "all 24 looked at: 24 ok",
        "24 boxes on 24 of 24 images",
        "4 of 4 matched by id to 4 outputs: square = output 0",
        "decided: split validation, since none was chosen; there are train, validation",
        "decided: model card: cnn-0.toml, beside the model file",
        "usable",
    ):
        assert text in shown


def test_check_prints_json_for_machines(planted: list[str], tmp_path: Path, capsys):
    assert cli.run(["check", *planted, "--images", "6", "--json"]) == cli.DONE
    seen = json.loads(capsys.readouterr().out)
    assert seen["usable"] is True
    assert (seen["sample"]["images"], seen["sample"]["of"]) == (6, 24)
    assert seen["classes"]["by"] == "id"
    (tmp_path / "card.toml").write_text("height = 7\nwidth = 7\nresize = 'stretch'\n")
    code = cli.run(["check", *planted, "--card", str(tmp_path / "card.toml"), "--json"])
    assert code == cli.WRONG_INPUT
    said = json.loads(capsys.readouterr().out)
    assert said["usable"] is False
    assert "its card says (7, 7, 3)" in said["error"]


def test_a_warning_does_not_fail_a_check(planted: list[str], tmp_path: Path, capsys):
    card = tmp_path / "card.toml"
    names = '["ring", "star", "square", "rhombus"]'
    card.write_text(f"height = 32\nwidth = 32\nresize = 'stretch'\nclass_names = {names}\n")
    assert cli.run(["check", *planted, "--card", str(card)]) == cli.DONE
    shown = capsys.readouterr().out
    assert "warning: accuracy" in shown
    assert "the model card does not say, so by default: channel_order rgb, scale 1" in shown
    assert "usable, with" in shown
