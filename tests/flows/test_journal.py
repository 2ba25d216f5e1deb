"""Progress where no bar is drawn: lines of a log, JSON, the file for Prometheus."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from flows import cli, journal, progress
from flows.journal import Pace
from flows.metrics_file import MetricsFile
from pipeline.errors import InputError
from pipeline.run.costs import clocked


@pytest.fixture
def log() -> Console:
    return Console(file=io.StringIO(), width=60, force_terminal=False)


@pytest.fixture
def clock(monkeypatch) -> Iterator[list[float]]:
    """The time, as a list of one number."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    yield now
    monkeypatch.undo()


def written(log: Console) -> list[str]:
    assert isinstance(log.file, io.StringIO)
    return log.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("pace", "words"),
    [
        (Pace("audit", 8.0, 64, 256, "images"), "audit: 64 of 256 images, 8.0 images/s, 24 s left"),
        (
            Pace("audit", 8.0, 8, 8, "images", "k-1"),
            "audit: k-1 finished; 8 of 8 images, 1.0 images/s, in 8.0 s",
        ),
        (Pace("audit", 30.0, 0, 8, "images"), "audit: 0 of 8 images, 30 s so far"),
        (Pace("ranking", 31.0), "ranking: 31 s so far"),
        (Pace("ranking", 0.0), "ranking: begins"),
    ],
)
def test_how_far_it_is_in_words(pace: Pace, words: str) -> None:
    assert pace.words == words


def test_a_log_gets_a_line_for_every_task_and_stage_whole_however_narrow_it_is(log: Console) -> None:
    key = "validation-000000000-000000128"
    with progress.shown_on(log):
        with progress.metering(256, "audit", "images") as meter:
            progress.report(key, 64)  # a batch: nobody wants a line for it
            meter.finish(key, 128)
        with clocked({}, "ranking"):
            pass
    first, second = written(log)
    assert re.match(rf"\d\d:\d\d:\d\d audit: {key} finished; 128 of 256 images, ", first)
    assert second.endswith(" ranking: begins")


def test_half_a_minute_without_a_line_is_ended_by_one(log: Console, clock: list[float]) -> None:
    watched = journal.Journal(lambda text: log.print(text, soft_wrap=True))
    meter = progress.Meter(100)
    with watched.metered(meter.pace):
        meter.add("k", 10)
        for now in (1029.0, 1030.0, 1031.0, 1059.0, 1060.0):
            clock[0] = now
            watched.beat()
    told = [line.partition(" ")[2] for line in written(log)]
    assert told == [
        "audit: 10 of 100 images, 0.3 images/s, 4 min 30 s left",
        "audit: 10 of 100 images, 0.2 images/s, 9 min 00 s left",
    ]
    with watched.stage("sanity"):
        clock[0] = 1100.0
        watched.beat()
    assert written(log)[-1].endswith("sanity: 40 s so far")


def test_a_terminal_gets_a_bar_and_no_lines() -> None:
    terminal = Console(file=io.StringIO(), width=100, force_terminal=True)
    with progress.shown_on(terminal), progress.metering(8, "audit", "images") as meter:
        meter.finish("validation-000000000-000000008", 8)
    assert isinstance(terminal.file, io.StringIO)
    assert "8 of 8 images" in terminal.file.getvalue()
    assert "finished" not in terminal.file.getvalue()


def test_json_is_an_object_per_line_errors_included(log: Console, capsys, tmp_path: Path) -> None:
    journal.use_json(True)
    with progress.shown_on(log):
        progress.say("editing")
        with progress.metering(8, "audit", "images") as meter:
            meter.finish("validation-000000000-000000004", 4)
    assert written(log) == []
    code = cli.run(
        ["run", "--log-json", "--dataset", "./nowhere", "--model", "m", "--out", str(tmp_path / "r")]
    )
    assert code == cli.WRONG_INPUT
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [e["event"] for e in events][:2] == ["said", "progress"]
    assert events[1]["stage"] == "audit"
    assert (events[1]["done"], events[1]["total"], events[1]["unit"]) == (4, 8, "images")
    assert events[1]["seconds_left"] == pytest.approx(events[1]["seconds"], abs=0.01)  # half is done
    assert events[-1]["event"] == "error"
    assert "nowhere" in events[-1]["text"]
    cli.run(["--version"])
    assert not journal.is_json(), "the next command line decides for itself"


SAMPLE = re.compile(r'([a-z_]+)\{([a-z]+="(?:[^"\\]|\\.)*"(?:,[a-z]+="(?:[^"\\]|\\.)*")*)\} (\S+)')


def samples(path: Path) -> dict[str, float]:
    """Read as Prometheus does: comments, then ``name{labels} value``."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# ")]
    matches = [SAMPLE.fullmatch(line) for line in lines]
    assert all(matches), lines
    return {m[1]: float(m[3]) for m in matches if m}


def test_the_file_for_prometheus_says_how_far_it_is_and_how_it_ended(
    tmp_path: Path, clock: list[float]
) -> None:
    path = tmp_path / "hansaudit.prom"
    file = MetricsFile(path, 'runs/"a\\b"')
    with file.watching():
        assert samples(path)["hansaudit_running"] == 1
        clock[0] += 2.0
        file.progress(Pace("audit", 10.0, 25, 100, "images"))
        now = samples(path)
        assert (now["hansaudit_stage_done"], now["hansaudit_stage_total"]) == (25, 100)
        assert now["hansaudit_seconds_left"] == pytest.approx(30.0)
        clock[0] += 0.5
        file.progress(Pace("audit", 10.5, 50, 100, "images"))
        assert samples(path)["hansaudit_stage_done"] == 25, "not more often than once a second"
    ended = samples(path)
    assert (ended["hansaudit_running"], ended["hansaudit_succeeded"]) == (0, 1)
    with pytest.raises(ZeroDivisionError), MetricsFile(path, "b").watching():
        raise ZeroDivisionError
    failed = samples(path)
    assert (failed["hansaudit_running"], failed["hansaudit_succeeded"]) == (0, 0)
    assert failed["hansaudit_success_timestamp_seconds"] == ended["hansaudit_success_timestamp_seconds"]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_file_that_cannot_be_written_is_said_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--metrics-file .*none/m\.prom: cannot be written \(No such file"):
        MetricsFile(tmp_path / "none" / "m.prom", "r").watching().__enter__()
