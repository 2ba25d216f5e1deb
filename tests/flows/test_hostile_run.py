"""A run folder, a configuration and a dataset of a stranger: whatever they say, nothing is executed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import cli
from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import open_dataset
from tests.tables import forge_manifest, with_inventories

MARK = "executed"  # the file that hostile code leaves behind


@pytest.fixture
def received(small_run, tmp_path: Path) -> Callable[..., Path]:
    """A copy of a finished run whose manifest says what the test wants it to say."""

    def with_model(model: dict, sha256: str | None = None) -> Path:
        run = tmp_path / "received"
        shutil.copytree(small_run.path, run)
        forge_manifest(run, {"model": model}, sha256)
        with_inventories(run)  # a forger's tables are of the run that the manifest names
        return run

    return with_model


def lambda_file(path: Path, mark: Path, side: int = 32, classes: int = 4) -> str:
    """Write a model whose Lambda layer leaves ``mark``, with its card; returns its sha256."""
    import keras

    # a literal in the code: the layer carries it along, whoever loads it
    hostile = eval(f"lambda x: (open({str(mark)!r}, 'w').close(), x)[1]")
    inputs = keras.Input((side, side, 3))
    x = keras.layers.Lambda(hostile)(inputs)  # without a shape, which is found by calling it
    x = keras.layers.Dense(classes)(keras.layers.GlobalAveragePooling2D()(x))
    keras.Model(inputs, keras.layers.Softmax()(x)).save(path)
    card = f'height = {side}\nwidth = {side}\nresize = "stretch"\n'
    path.with_suffix(".toml").write_text(card + "mean = [0, 0, 0]\nstd = [1, 1, 1]\n")
    mark.unlink(missing_ok=True)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hostile_module(folder: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module on the path that leaves ``mark`` when it is imported; returns a source that names it."""
    name = f"hostile_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    (folder / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close()\n\ndef make():\n    return 1\n")
    monkeypatch.syspath_prepend(str(folder))
    return f"{name}:make"


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_confirm_runs_no_code_of_the_model_that_a_run_names(received, tmp_path, suffix, capsys):
    path, mark = tmp_path / f"net{suffix}", tmp_path / MARK
    sha256 = lambda_file(path, mark)
    for unsafe in (True, False):
        run = received({"source": str(path), "unsafe": unsafe}, sha256)
        assert cli.run(["confirm", str(run)]) == cli.WRONG_INPUT
        shutil.rmtree(run)
        assert "--unsafe" in capsys.readouterr().err
    assert not mark.exists()


def test_the_same_file_does_run_its_code_when_the_command_line_says_so(received, tmp_path):
    from pipeline.measure.bench import reopen
    from pipeline.run.store import Store
    from pipeline.trust import Trust

    path, mark = tmp_path / "net.keras", tmp_path / MARK
    run = received({"source": str(path), "unsafe": True}, lambda_file(path, mark))
    reopen(Store(run), Trust(unsafe=True))
    assert mark.exists()


def test_confirm_calls_no_function_that_a_run_names(received, tmp_path, monkeypatch, capsys):
    mark = tmp_path / MARK
    run = received({"source": hostile_module(tmp_path, mark, monkeypatch)})
    assert cli.run(["confirm", str(run)]) == cli.WRONG_INPUT
    assert "--unsafe" in capsys.readouterr().err
    assert not mark.exists()
    assert (
        cli.run(["confirm", str(run), "--unsafe"]) == cli.WRONG_INPUT
    )  # it makes no model, but it was called
    assert mark.exists()


def test_a_model_file_is_compared_before_anything_of_it_is_read(received, tmp_path, monkeypatch, capsys):
    from pipeline.inputs import models

    path = tmp_path / "net.keras"
    lambda_file(path, tmp_path / MARK)
    monkeypatch.setattr(models, "load_file", lambda *given: pytest.fail("read before it was compared"))
    monkeypatch.setattr(models, "find_card", lambda *given: pytest.fail("read before it was compared"))
    run = received({"source": str(path)}, "0" * 64)
    assert cli.run(["confirm", str(run)]) == cli.WRONG_INPUT
    assert "not the run's any more" in capsys.readouterr().err


def test_confirm_makes_nothing_that_a_run_names(received, tmp_path, capsys):
    run = received({"source": "planted"})
    forge_manifest(run, {"dataset": {"source": "planted", "path": str(tmp_path / "elsewhere")}})
    assert cli.run(["confirm", str(run)]) == cli.WRONG_INPUT
    assert str(tmp_path / "elsewhere") in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


POLICY = '[[check]]\nstatistic = "n_suspicious"\nmax = 0\n'


@pytest.mark.parametrize(
    "command",
    [
        ("rank", "--draws", "100"),
        ("report",),
        ("gate", "--policy", "{policy}"),
        ("clusters", "--top", "1"),
        ("export", "--to", "coco", "--out", "{out}"),
        ("export", "--to", "virelay", "--out", "{out}"),
        ("rank-methods", "--metric", "aopc_morf"),
    ],
    ids=lambda command: "-".join(command[:3:2]),
)
def test_no_other_command_that_takes_a_run_executes_anything(received, tmp_path, monkeypatch, command):
    mark = tmp_path / MARK
    run = received({"source": hostile_module(tmp_path, mark, monkeypatch), "unsafe": True})
    (tmp_path / "policy.toml").write_text(POLICY)
    places = {"policy": tmp_path / "policy.toml", "out": tmp_path / "exported"}
    name, *options = (part.format(**places) for part in command)
    assert cli.run([name, str(run), *options]) != cli.FAILURE
    assert not mark.exists()


def test_comparing_two_runs_executes_nothing(received, tmp_path, monkeypatch):
    mark = tmp_path / MARK
    run = received({"source": hostile_module(tmp_path, mark, monkeypatch), "unsafe": True})
    assert cli.run(["diff", str(run), str(run), "--html", str(tmp_path / "c.html")]) != cli.FAILURE
    (tmp_path / "policy.toml").write_text(POLICY)
    command = ["gate", str(run), "--policy", str(tmp_path / "policy.toml"), "--baseline", str(run)]
    assert cli.run(command) != cli.FAILURE
    assert not mark.exists()


def test_a_canary_that_is_attached_executes_nothing(received, tmp_path, monkeypatch):
    from pipeline.canary.summary import attach
    from pipeline.run.documents import CanaryDocument, FalseAlarms
    from pipeline.run.folder import RunFolder

    mark = tmp_path / MARK
    run = received({"source": hostile_module(tmp_path, mark, monkeypatch), "unsafe": True})
    attach(RunFolder(run), CanaryDocument("test", 1, 0.5, {}, (), FalseAlarms(0, 0, 0, 0), "nothing"))
    assert CanaryDocument.read(RunFolder(run)) is not None
    assert not mark.exists()


@pytest.mark.parametrize("command", ["run", "serve"])
@pytest.mark.parametrize("kind", ["lambda", "function"])
def test_a_configuration_runs_no_code(tmp_path, monkeypatch, capsys, command, kind):
    mark = tmp_path / MARK
    if kind == "lambda":
        lambda_file(tmp_path / "net.keras", mark)
        model = f'source = "{tmp_path / "net.keras"}"\nunsafe = true'
    else:
        model = f'source = "{hostile_module(tmp_path, mark, monkeypatch)}"'
    toml = tmp_path / "audit.toml"
    toml.write_text(f'[dataset]\nsource = "planted"\npath = "{tmp_path / "data"}"\n[model]\n{model}\n')
    given = {"run": ["--out", str(tmp_path / "out")], "serve": ["--cron", "0 3 * * *"]}[command]
    assert cli.run([command, "--config", str(toml), *given]) == cli.WRONG_INPUT
    assert capsys.readouterr().err.count("--unsafe") == 1
    assert not mark.exists()
    assert not (tmp_path / "data").exists()  # said before anything is made


@pytest.mark.parametrize("name", ["ranking.json", "ranking.csv", "report.html", ".lock"])
def test_a_link_out_of_a_run_is_not_written_through(received, tmp_path, name, capsys):
    from pipeline.run.store import Store

    run, outside = received({}), tmp_path / "outside"
    outside.write_text("mine")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(outside)
    if name == ".lock":
        with pytest.raises(InputError, match="leads out of the folder"), Store(run).lock():
            pytest.fail("the link was taken for a lock")
    else:
        assert cli.run(["report", str(run)]) == cli.WRONG_INPUT
        assert "leads out of the folder" in capsys.readouterr().err
    assert outside.read_text() == "mine"


def test_a_table_elsewhere_and_a_key_that_climbs_are_not_written(received, tmp_path):
    from pipeline.run.store import Store

    run, outside = Store(received({})), tmp_path / "outside"
    outside.mkdir()
    (Path(run.path) / "extra").symlink_to(outside)
    for name in ("extra/part.parquet", "../outside/part.parquet", str(outside / "part.parquet")):
        with pytest.raises(InputError, match="leads out of the folder"):
            run.files.put(name, b"x")
        with pytest.raises(InputError, match="leads out of the folder"):
            run.files.get(name)
    assert list(outside.iterdir()) == []


def test_a_link_in_the_way_of_a_temporary_file_is_not_written_through(tmp_path):
    from pipeline.run.files import open_files
    from pipeline.temporary import temporary_name

    outside, run = tmp_path / "outside", tmp_path / "run"
    outside.write_text("mine")
    run.mkdir()
    (run / temporary_name("x")).symlink_to(outside)
    with pytest.raises(InputError, match="cannot be written"):
        open_files(run).put("x", b"theirs")
    assert outside.read_text() == "mine"


@pytest.mark.parametrize("layout", ["pythonClassName", "python_class_name", "type"])
def test_a_dataset_imports_nothing_that_it_names(tiny_prepared, tmp_path, monkeypatch, layout, capsys):
    mark, folder = tmp_path / MARK, tmp_path / "data"
    shutil.copytree(tiny_prepared, folder)
    source = hostile_module(tmp_path, mark, monkeypatch)
    features = json.loads((folder / "features.json").read_text())
    features["featuresDict"]["features"]["label"].pop("pythonClassName")
    features["featuresDict"]["features"]["label"][layout] = source.replace(":", ".")
    if layout == "type":  # the older layout
        features = {"type": source.replace(":", "."), "content": {}}
    (folder / "features.json").write_text(json.dumps(features))
    given = [
        "--dataset",
        str(folder),
        "--model",
        "VGG16",
        "--weights",
        "none",
        "--out",
        str(tmp_path / "out"),
    ]
    assert cli.run(["run", *given]) == cli.WRONG_INPUT
    assert "features.json" in capsys.readouterr().err
    assert not mark.exists()


@pytest.mark.parametrize("name", ["kaggle:x", "huggingface:some/thing", "../elsewhere", "a.b:C"])
def test_a_catalog_name_brings_no_code_of_its_own(name, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds, "builder", lambda *given, **more: pytest.fail("asked TFDS"))
    with pytest.raises(InputError, match="no name of the TFDS catalog"):
        open_dataset(DatasetConfig(source="tfds", name=name))


def test_trust_is_made_from_a_command_line_and_nowhere_else():
    root = Path(cli.__file__).parents[1]
    made = {
        str(path.relative_to(root))
        for package in ("explainers", "pipeline", "reports", "flows")
        for path in (root / package).rglob("*.py")
        if "Trust(" in path.read_text()
    }
    assert made == {"flows/options.py", "pipeline/trust.py"}
