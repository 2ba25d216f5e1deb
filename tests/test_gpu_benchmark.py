"""What the benchmark of GPUs measures first, where it stops, what its last line says; no GPU is needed."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import pytest

from benchmarks.gpu import peers
from benchmarks.gpu.order import AUDIT_LOOP, FRAMEWORK, LATER, LOOPS, PEERS, Step, steps, within
from benchmarks.gpu.table import Row, Table, failure
from benchmarks.gpu.wanted import verdict
from explainers.errors import UntraceableModel

NETWORKS = ("vgg16", "resnet50", "vit_b", "efficientnet_b0")
PRECISIONS = ("float32", "tf32", "bfloat16")


def test_every_network_method_and_precision_is_planned_once_and_what_is_wanted_first() -> None:
    planned = list(steps(NETWORKS, PRECISIONS))
    ways = (FRAMEWORK, "lrp.preset_a", *LATER)
    combined = {Step(*parts) for parts in itertools.product(NETWORKS, ways, PRECISIONS)}
    loops = {Step("vgg16", loop, name) for loop in LOOPS for name in ("float32", "bfloat16")}
    assert set(planned) == combined | loops | {Step("vgg16", PEERS, "float32")}
    assert len(planned) == len(set(planned))
    assert {(step.network, step.what) for step in planned[:6]} == {
        ("vgg16", FRAMEWORK),
        ("vgg16", "lrp.preset_a"),
    }
    assert planned[6] == Step("vgg16", AUDIT_LOOP, "bfloat16")
    for (network, what), group in itertools.groupby(planned, lambda step: (step.network, step.what)):
        if what in ways:  # the others are compared with it
            assert next(group).precision == "float32", (network, what)
    assert {step.network for step in steps(("vit_b",), PRECISIONS)} == {"vit_b"}


def test_nothing_is_begun_when_the_time_is_over_and_what_is_left_is_said(tmp_path: Path) -> None:
    clock = itertools.count(0, 60.0)  # every look at it, a minute has passed
    planned = list(steps(NETWORKS, PRECISIONS))
    done: list[Step] = []
    left = within(8 * 60, planned, done.append, lambda: next(clock))
    assert done == planned[:7]  # the look that sets the end is at 0, the eighth at the end itself
    assert left == planned[7:]
    table = _table(tmp_path)
    table.late += map(str, left[:2])
    table.write()
    assert (
        "Not measured, the time was over: vgg16 audit loop, lrp.preset_a float32; "
        "resnet50 framework's gradient float32." in (tmp_path / "gpu.md").read_text()
    )


def _table(folder: Path) -> Table:
    about = {"rates": dict.fromkeys(PRECISIONS, 8e14), "packages": {}, "device": "a card", "backend": "jax"}
    return Table(folder, about, counts=True)


def _row(precision: str, rate: float, fraction: float, beside: float) -> Row:
    return Row("vgg16", "lrp.preset_a", precision, 128, rate, None, 93.0, fraction, beside)


def test_the_last_line_says_of_each_thing_that_is_wanted_whether_it_was_reached(tmp_path: Path) -> None:
    reached = [
        _row("float32", 400, 0.6, 0.9),
        _row("tf32", 900, 0.4, 0.85),
        _row("bfloat16", 5000, 0.58, 1.1),
    ]
    said = verdict(reached, True, PRECISIONS)
    assert "in bfloat16: reached (58.0%); " in said
    assert "in every precision: reached (0.85 at the least); " in said
    assert said.endswith("of device time: reached (10.0 s).")  # 50,000 / 5,000
    short = [_row("float32", 400, 0.6, 0.79), _row("bfloat16", 800, 0.49, 1.0)]
    said = verdict(short, True, PRECISIONS)
    assert "in bfloat16: not reached (49.0%); " in said
    assert "in every precision: not reached (0.79 at the least); " in said
    assert said.endswith("not reached (62.5 s).")
    assert verdict(reached[:2], True, PRECISIONS).count("not measured") == 3  # bfloat16 is not there
    assert verdict(reached, False, PRECISIONS).count("not measured") == 3  # small networks say nothing of it
    table = _table(tmp_path)
    for row in [Row("resnet50", "gradient"), *reached, Row("resnet50", "lrp.epsilon")]:
        table.add(row)
    lines = (tmp_path / "gpu.md").read_text().splitlines()
    assert [line.split(" | ")[1] for line in lines[2:7]] == ["gradient", "lrp.epsilon", *["lrp.preset_a"] * 3]
    assert lines[-1] == verdict(reached, True, PRECISIONS)
    with (tmp_path / "gpu.csv").open() as file:
        assert [row["rate"] for row in csv.DictReader(file) if row["rate"]] == ["400", "900", "5000"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ImportError("no Arrow"), "not measured: no Arrow"),
        (UntraceableModel("node x: no rule"), "refused: node x: no rule"),
        (
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory"),
            "not measured: memory does not suffice for this batch",
        ),
        (TypeError("a | b\nc"), "failed: TypeError: a / b c"),
    ],
)
def test_what_could_not_be_measured_has_its_reason(error: Exception, said: str) -> None:
    assert failure(error) == said


def test_zennit_finds_what_it_reads_of_a_torchvision_that_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    for name in ("torchvision", "torchvision.models", "torchvision.models.resnet"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    peers.stand_in_for_torchvision()
    from torchvision.models.resnet import BasicBlock, Bottleneck

    assert BasicBlock is not Bottleneck
