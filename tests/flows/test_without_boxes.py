"""Plain class folders: everything that needs no boxes, a list of images to draw them on, and back again."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from flows import cli
from pipeline.config_sections import DatasetConfig
from pipeline.inputs.datasets.planted import (
    Artefact,
    PlantedDataset,
    PlantedSpec,
    draw_example,
    prepare_planted,
)
from pipeline.run.documents import ClustersDocument, PropertiesDocument, RankingDocument, SanityDocument
from pipeline.run.edited_parts import EditedParts
from pipeline.run.store import Store
from pipeline.run.verify import verify
from reports.gate.evaluate import evaluate
from reports.gate.policy import parse_policy
from reports.gate.state import State

N = 24  # images per class
SIDES = ("xmin", "ymin", "xmax", "ymax")


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> PlantedDataset:
    """Four classes, two with a mark beside the object, and enough training images to learn them by it."""
    spec = PlantedSpec(
        classes=("square", "rhombus", "ring", "star"),
        artefacts=(("rhombus", Artefact("patch")), ("star", Artefact("stripe"))),
        train_per_class=80,
        validation_per_class=1,
        side=32,
    )
    folder = prepare_planted(spec, tmp_path_factory.mktemp("planted"))
    return PlantedDataset(DatasetConfig(source="planted", path=str(folder)), folder)


@pytest.fixture(scope="module")
def drawn(planted: PlantedDataset, tmp_path_factory) -> tuple[Path, dict[str, tuple[int, ...]]]:
    """A folder per class with pictures alone, and the boxes of the objects by file, which no file holds."""
    root, boxes = tmp_path_factory.mktemp("plain") / "photos", {}
    for label, name in enumerate(planted.spec.classes):
        (root / name).mkdir(parents=True)
        for number in range(N):
            picture, box, _ = draw_example(planted.spec, "validation", label, number)
            Image.fromarray(picture).save(root / name / f"{number}.png")
            boxes[f"{name}/{number}.png"] = tuple(map(int, box))
    return root, boxes


@pytest.fixture(scope="module")
def arguments(planted: PlantedDataset, drawn, tmp_path_factory) -> list[str]:
    """An audit of them."""
    from pipeline.inputs.planted_model import save_planted_model, train_planted_model

    network = save_planted_model(train_planted_model(planted, epochs=12), planted)
    toml = tmp_path_factory.mktemp("audit") / "audit.toml"
    toml.write_text(
        f'perturbation = false\n[dataset]\nsource = "folder"\npath = "{drawn[0]}"\n'
        f'[model]\nsource = "{network}"\n[[methods]]\nname = "lrp.preset_a"\n[ranking]\ndraws = 100\n'
    )
    return ["run", "--config", str(toml), "--batch-size", "8", "--maps", "8"]


@pytest.fixture(scope="module")
def bare(prefect_api: str, arguments: list[str], tmp_path_factory) -> Path:
    """The finished run."""
    out = tmp_path_factory.mktemp("runs") / "bare"
    assert cli.run([*arguments, "--out", str(out)]) == cli.DONE
    return out


def test_a_run_without_boxes_does_what_needs_none(bare: Path):
    run = Store(bare)
    ranking = RankingDocument.current(run)
    assert [row["n_boxed"] for row in ranking.classes] == [0] * 4
    assert {row["verdict"] for row in ranking.classes} == {"undecided"}
    assert {row["map_verdict"] for row in ranking.classes} == {"undecided"}
    assert ranking.summary["accuracy"] is not None
    assert run.read("maps").num_rows == 4 * N
    assert not EditedParts(run).keys
    assert SanityDocument.current(run) is not None
    assert PropertiesDocument.current(run) is not None
    clustered = ClustersDocument.current(run).classes
    correct = {row["class_name"]: row["n_correct"] for row in ranking.classes}
    assert {entry.class_name: entry.n for entry in clustered} == correct
    assert not any(entry.candidates for entry in clustered)
    assert all(cluster.adjusted_lift is None for entry in clustered for cluster in entry.clusters)
    assert not verify(run).faults


def test_terminal_and_report_say_what_boxes_would_add(bare: Path, capsys):
    assert cli.run(["report", str(bare)]) == cli.DONE
    said = capsys.readouterr().out
    page = (bare / "report.html").read_text()
    command = f"hansaudit boxes {bare} --top 4"
    untested = "4 of 4 classes have no image with a usable box: they are not tested and stay undecided"
    assert untested in page
    assert f"{command} lists the images" in page
    assert "No class could be tested: no image has a usable box" in page
    assert cli.run(["rank", str(bare)]) == cli.DONE
    said = capsys.readouterr().out
    assert f"{untested}; a dozen boxes each would test them: `{command}`" in said
    assert "No class could be tested: no image has a usable box." in said


@pytest.mark.parametrize(
    "check",
    [
        {"statistic": "n_confirmed", "max": 0},
        {"statistic": "verdict", "scope": "class", "none_of": ["confirmed"]},
        {"statistic": "n_suspicious", "max": 0},
    ],
)
def test_a_gate_passes_nothing_that_boxes_would_decide(bare: Path, check: dict):
    outcome = evaluate(bare, parse_policy({"check": [check]}))
    assert outcome.state is State.INCONCLUSIVE
    assert f"4 classes without a box: `hansaudit boxes {bare} --top 4` lists" in str(outcome.checks[-1].steps)


def test_boxes_are_written_filled_and_read_again(bare: Path, drawn, tmp_path: Path, monkeypatch, capsys):
    """Two classes of four, most of the rows filled: their images are edited, the others stay untested."""
    monkeypatch.chdir(tmp_path)
    named = ["--class", "rhombus", "--class", "ring"]
    assert cli.run(["boxes", str(bare), *named, "--images", "20"]) == cli.DONE
    command = capsys.readouterr().out.splitlines()[-1].strip()
    assert command == f"hansaudit run --config boxes.toml --out {bare}-boxes"
    with open("boxes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = {"rhombus", "ring"}
    assert {row["label"] for row in rows} == chosen
    assert len(rows) == len({row["file"] for row in rows})
    right = Store(bare).read("examples").to_pandas().set_index("file_name")["correct"]
    assert all(right[row["file"]] for row in rows)
    assert all((row["width"], row["height"]) == ("32", "32") for row in rows)
    assert not any(row[side] for row in rows for side in SIDES)
    filled = [row for i, row in enumerate(rows) if i % 4]
    for row in filled:
        row.update(zip(SIDES, drawn[1][row["file"]], strict=True))
    with open("boxes.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert cli.run(["boxes", str(bare)]) == cli.WRONG_INPUT
    assert "boxes.csv: is there already and may be filled" in capsys.readouterr().err
    assert cli.run([*command.split()[1:-1], str(tmp_path / "run")]) == cli.DONE
    run = Store(tmp_path / "run")
    images = run.read("examples").to_pandas().set_index("file_name")
    boxes = {name: tuple(boxes[0].values()) for name, boxes in images["boxes"].items() if len(boxes)}
    assert boxes == {row["file"]: drawn[1][row["file"]] for row in filled}
    filled_of = Counter(row["label"] for row in filled)
    ranking = {row["class_name"]: row for row in RankingDocument.current(run).classes}
    for name, row in ranking.items():
        assert row["n_boxed"] == (row["n_edited"] or 0) == filled_of[name]
        assert (row["tested"] is None) == (name not in chosen)
        assert name in chosen or (row["verdict"], row["map_verdict"]) == ("undecided", "undecided")
    assert ranking["rhombus"]["verdict"] == "confirmed"
    assert ranking["ring"]["verdict"] != "confirmed"
    assert run.manifest["run_id"] != Store(bare).manifest["run_id"]
    outcome = evaluate(run.path, parse_policy({"check": [{"statistic": "n_confirmed", "max": 0}]}))
    assert outcome.state is not State.PASS
