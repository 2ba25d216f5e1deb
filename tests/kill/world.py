"""What is killed: the commands, on a tiny planted dataset, and what each leaves when nothing disturbs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-c", "from flows.cli import main; main()"]
MARK = "HANSAUDIT_KILL_CASE"  # in the environment of every process of a case
_OWN = ("run_id", "created", "sessions", "seconds", "sha256", "table_sha256")  # keys of what is a run's own
_CONFIG = """
perturbation = false
[dataset]
source = "planted"
path = "{data}"
[model]
source = "{network}"
[[methods]]
name = "lrp.preset_a"
[audit]
maps = 8
[execution]
shard_size = 2
batch_size = 2
[ranking]
draws = 200
[interventions]
images = 3
most = 5
"""


@dataclass(frozen=True)
class Target:
    """A command that is killed."""

    name: str
    arguments: Callable[[Path], list[str]]  # of its command line, for a folder
    before: Callable[[Path], None]  # makes the folder
    worker: bool = False  # a worker is killed, not the command


@dataclass
class World:
    """The folder with data, network, home of Prefect, and what the commands leave undisturbed."""

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)  # of each target, undisturbed

    def environment(self, mark: str) -> dict[str, str]:
        """For a process of the case ``mark``."""
        given = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
        home = str(self.folder / "prefect")
        return given | {MARK: mark, "PREFECT_HOME": home, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}

    def start(self, arguments: list[str], mark: str) -> subprocess.Popen[bytes]:
        """A command in a session of its own, its output in one pipe, as `run | tee log` has it."""
        return subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=ROOT,
            env=self.environment(mark),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def undisturbed(self, target: Target) -> Path:
        """The folder that ``target`` leaves when nothing disturbs it; made once, and timed."""
        folder = self.folder / "undisturbed" / target.name
        if target.name not in self.seconds:
            target.before(folder)
            started = time.monotonic()
            process = self.start(target.arguments(folder), "undisturbed")
            said, _ = process.communicate(timeout=600)
            if process.returncode:
                raise RuntimeError(f"{target.name}, undisturbed: code {process.returncode}: {said.decode()}")
            self.seconds[target.name] = time.monotonic() - started
        return folder

    def build(self) -> None:
        """Data, network and archives."""
        from pipeline.config_sections import DatasetConfig
        from pipeline.inputs.datasets.planted import Artefact, PlantedDataset, PlantedSpec, prepare_planted
        from pipeline.inputs.planted_model import save_planted_model, train_planted_model
        from tests.archives import write_archives

        spec = PlantedSpec(
            classes=("square", "rhombus", "ring", "star"),
            artefacts=(("rhombus", Artefact("patch")), ("star", Artefact("stripe"))),
            train_per_class=40,
            validation_per_class=6,
            side=32,
        )
        data = prepare_planted(spec, self.folder / "planted")
        dataset = PlantedDataset(DatasetConfig(source="planted", path=str(data)), data)
        network = save_planted_model(train_planted_model(dataset, epochs=6), dataset, seed=0)
        (self.folder / "audit.toml").write_text(_CONFIG.format(data=data, network=network))
        (self.folder / "archives").mkdir()
        write_archives(self.folder / "archives", 60)

    def targets(self) -> list[Target]:
        """Everything that is killed."""
        audit = ["run", "--config", str(self.folder / "audit.toml")]
        archives = self.folder / "archives"
        prepare = ["prepare", "ilsvrc2012", "--images", str(archives / "ILSVRC2012_img_val.tar")]
        prepare += ["--boxes", str(archives / "ILSVRC2012_bbox_val_v3.tgz")]
        run = Target("run", lambda folder: [*audit, "--out", str(folder)], _nothing)
        spread = Target("run, 2 workers", lambda folder: [*run.arguments(folder), "--workers", "2"], _nothing)

        def finished(folder: Path) -> None:
            shutil.copytree(self.undisturbed(run), folder)

        confirm = ["--top", "2", "--images", "6"]
        return [
            run,
            spread,
            Target("a worker of 2", spread.arguments, _nothing, worker=True),
            Target("confirm", lambda folder: ["confirm", str(folder), *confirm], finished),
            Target("rank", lambda folder: ["rank", str(folder), "--draws", "2000"], finished),
            Target("report", lambda folder: ["report", str(folder)], finished),
            Target("clusters", lambda folder: ["clusters", str(folder), "--class", "star"], finished),
            Target("prepare", lambda folder: [*prepare, "--out", str(folder)], _nothing),
        ]


def _nothing(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)


def content(folder: Path) -> dict[str, Any]:
    """What a folder says, by name: tables as frames in the order of their rows, documents as values."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != ".lock"):
        name = str(path.relative_to(folder))
        if path.suffix == ".parquet":
            found[name] = pq.read_table(path).to_pandas()
        elif path.suffix == ".json" and path.name not in ("dataset_info.json", "features.json"):
            found[name] = _without_own(json.loads(path.read_text()))
        elif path.suffix == ".csv":
            found[name] = pd.read_csv(path)
        elif "tfrecord" in path.name:
            found[name] = _examples(path)
        elif path.suffix == ".html":
            found[name] = "report"  # holds times and the run's id
        else:
            found[name] = path.read_bytes()
    return found


def difference(left: Mapping[str, Any], right: Mapping[str, Any]) -> str | None:
    """The first thing in which two folders differ: a name, or a name and how."""
    if left.keys() != right.keys():
        return f"files: {sorted(left.keys() ^ right.keys())[:3]}"
    for name, one in left.items():
        if isinstance(one, pd.DataFrame):
            try:
                pd.testing.assert_frame_equal(one, right[name], rtol=1e-5, atol=1e-6)
            except AssertionError as error:
                return f"{name}: {' '.join(str(error).split())[:200]}"
        elif one != right[name]:
            return f"{name}: {_first_key(one, right[name])}"
    return None


def _examples(path: Path) -> list[str]:
    """The examples of a TFRecord file; the order of their features is nobody's."""
    import tensorflow as tf

    examples = (tf.train.Example.FromString(raw.numpy()) for raw in tf.data.TFRecordDataset(str(path)))
    return [str(sorted(e.features.feature.items(), key=lambda item: item[0])) for e in examples]


def _first_key(left: Any, right: Any) -> str:
    """Where two documents differ first."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            if left.get(key) != right.get(key):
                return f"{key}.{_first_key(left.get(key), right.get(key))}"
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        place = next(i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b)
        return f"{place}.{_first_key(left[place], right[place])}"
    return f"{str(left)[:80]} for {str(right)[:80]}"


def _without_own(value: Any) -> Any:
    """A document without what is each run's own: ids, times; numbers to six digits."""
    if isinstance(value, dict):
        return {k: _without_own(v) for k, v in value.items() if k not in _OWN}
    if isinstance(value, list):
        return [_without_own(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
