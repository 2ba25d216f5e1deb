"""Every benchmark can be started: what it imports and parses exists. Their figures are measured by hand."""

from __future__ import annotations

import importlib
import re
import subprocess
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
FILES = [path for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__"]
NAMES = sorted([*(path.stem for path in FILES), "gpu"])


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_can_be_imported_and_says_how_it_is_run(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    assert module.__doc__
    if callable(getattr(module, "main", None)):
        assert "python -m benchmarks." in module.__doc__


@pytest.mark.parametrize(
    "page", ["README.md", "Makefile", "docs/lrp.md", "docs/evidence.md", "docs/statistics.md", "docs/gate.md"]
)
def test_the_benchmarks_that_are_named_exist(page: str) -> None:
    named = set(re.findall(r"benchmarks\.(\w+)", (ROOT / page).read_text(encoding="utf-8")))
    assert named <= set(NAMES)


def test_originals_are_compared_image_by_image_and_what_fails_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A peer whose maps are 1 % longer, and that has none of the second network."""
    from benchmarks import originals

    monkeypatch.setattr(originals, "PAIRS", originals.PAIRS[:1])
    monkeypatch.setattr(originals, "NETWORKS", {"plain": "no BatchNorm", "norm": "BatchNorm"})

    def peer(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        file = Path(command[-1])
        made = originals.ours(dict(np.load(file)))
        np.savez(file.with_suffix(".maps.npz"), **{"plain/0": 1.01 * made["plain/0"]})
        return subprocess.CompletedProcess(command, 0, "norm, lrp.epsilon: fails\n", "")

    monkeypatch.setattr(originals.subprocess, "run", peer)
    try:
        (differences,) = originals.measured("python").values()
    finally:
        keras.backend.set_floatx("float32")
    assert differences[0] == pytest.approx(0.01 / 1.01)
    assert differences[1] is None
    (line,) = originals.table({originals.PAIRS[0].name: differences}).splitlines()[2:]
    assert line == "| `lrp.epsilon`, profile=innvestigate_2 | `lrp.epsilon` | 1e-02 | fails |"


def test_an_environment_that_cannot_be_made_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import originals

    def pip(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "a warning\nERROR: No matching distribution\nmore")

    monkeypatch.setattr(originals.venv, "create", lambda folder, with_pip: None)
    monkeypatch.setattr(originals.subprocess, "run", pip)
    with pytest.raises(
        SystemExit, match=r"^innvestigate==\S+ and tensorflow==\S+ could not be installed: ERROR"
    ):
        originals.environment(tmp_path)


def test_efficientnet_lite0_is_the_published_one() -> None:
    """Tan and Le's Lite0: parameters and layers of the released checkpoint, up to its logits."""
    from benchmarks.networks import efficientnet_lite0

    model = efficientnet_lite0()
    kinds = [type(layer).__name__ for layer in model.layers]
    assert model.count_params() == 4_694_024
    counts = {kind: kinds.count(kind) for kind in ("BatchNormalization", "DepthwiseConv2D", "Conv2D", "Add")}
    assert counts == {"BatchNormalization": 49, "DepthwiseConv2D": 16, "Conv2D": 33, "Add": 9}
    assert model.get_layer(index=-3).output.shape == (None, 7, 7, 1280)
