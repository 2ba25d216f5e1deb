"""A whole run of 100,000 small images: rate and memory over time.

    python -m benchmarks.many_images --archive tiny-imagenet-200.zip --model squeezenet_v1.1.keras \
        --cache FOLDER [--images 100000]

Tiny ImageNet's validation and training images, as many as the archive has, repeated under other names until
they are enough; the network that was fine-tuned without marks (`benchmarks.real_networks`), at 112 x 112; a
default `hansaudit run`, as a user starts it. Beside it memory is looked at every second: of the run's own
process, and of all that it started. Writes `many.csv`, `many.png`, `many.md` and `many.json` to the cache.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.output import publish, versions
from benchmarks.real_marks import write_folder
from benchmarks.real_networks import Inputs, arguments, inputs_of
from benchmarks.real_runs import COMMAND, markdown

TABLE = "annotations.csv"
AUDIT = "audit"  # the stage whose images are counted
MB = 1 << 20


@dataclass(frozen=True)
class Sample:
    """Seconds since the start, and resident memory in MB: the run's process, and all processes of it."""

    seconds: float
    own: float
    all: float


@dataclass(frozen=True)
class Told:
    """A line of progress: seconds since the start, the stage, and how many it has done, of what."""

    seconds: float
    stage: str
    done: int
    unit: str


def repeated_folder(inputs: Inputs, images: int) -> Path:
    """``images`` pictures and their boxes: those of the archive, then the same again under other names, whose
    files are links."""
    out = inputs.cache / f"many-{images}"
    if out.is_dir():
        return out
    unfinished = out.with_name(f"{out.name}.unfinished")
    write_folder(inputs.photos("val"), unfinished)
    more = unfinished.with_name(f"{out.name}.training")
    write_folder(inputs.photos("train"), more)
    for picture in more.glob("*.png"):
        picture.rename(unfinished / picture.name)
    head, rows = _rows(unfinished / TABLE)
    rows |= _rows(more / TABLE)[1]
    (more / TABLE).unlink()
    more.rmdir()
    with (unfinished / TABLE).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(head)
        names = list(rows)
        for i in range(images):
            name, again = names[i % len(names)], i // len(names)
            link = f"again-{again}-{name}" if again else name
            if again:
                os.link(unfinished / name, unfinished / link)
            table.writerows([link, *row[1:]] for row in rows[name])
        for name in names[images:]:
            (unfinished / name).unlink()
    unfinished.rename(out)
    return out


def _rows(path: Path) -> tuple[list[str], dict[str, list[list[str]]]]:
    """Head of a table of boxes, and its rows by picture."""
    with path.open(newline="", encoding="utf-8") as file:
        head, *lines = csv.reader(file)
    rows: dict[str, list[list[str]]] = {}
    for line in lines:
        rows.setdefault(line[0], []).append(line)
    return head, rows


def watched_run(words: Sequence[str], log: Path) -> tuple[list[Sample], float]:
    """`hansaudit run` with its progress as JSON in ``log``; memory while it ran, and when it began (UNIX).

    Raises:
        SystemExit: it failed; with its last words.
    """
    began, samples = time.time(), []
    with log.open("w", encoding="utf-8") as lines:
        run = subprocess.Popen([*COMMAND, *words, "--log-json"], stdout=subprocess.DEVNULL, stderr=lines)
        process = psutil.Process(run.pid)
        while run.poll() is None:
            samples += _look(process, time.time() - began)
            time.sleep(1)
    if run.returncode:
        raise SystemExit(f"hansaudit {' '.join(words)}:\n{log.read_text(encoding='utf-8')[-2000:]}")
    return samples, began


def _look(process: psutil.Process, seconds: float) -> list[Sample]:
    try:
        own = process.memory_info().rss / MB
        others = 0.0
        for child in process.children(recursive=True):
            try:
                others += child.memory_info().rss / MB
            except psutil.NoSuchProcess:
                continue
    except psutil.NoSuchProcess:  # it has just ended
        return []
    return [Sample(seconds, own, own + others)]


def progress(log: Path, began: float) -> list[Told]:
    """What the run said of its stages."""
    told = []
    for line in log.read_text(encoding="utf-8").splitlines():
        if not line.startswith("{"):
            continue  # a warning of a library
        event = json.loads(line)
        if event.get("event") == "progress":
            seconds = datetime.fromisoformat(event["time"]).timestamp() - began
            told.append(Told(seconds, event["stage"], event.get("done", 0), event.get("unit", "")))
    return told


def stages(told: Sequence[Told], ended: float) -> list[dict[str, Any]]:
    """Each stage in turn: from when, for how long, how many of what."""
    rows: list[dict[str, Any]] = []
    for line in told:
        if not rows or rows[-1]["stage"] != line.stage:
            rows.append({"stage": line.stage, "from": line.seconds})
        rows[-1] |= {"done": line.done, "unit": line.unit}
    for row, until in zip(rows, [*(row["from"] for row in rows[1:]), ended], strict=True):
        row["seconds"] = until - row["from"]
    return rows


def rates(told: Sequence[Told]) -> dict[str, float]:
    """Images per second of the audit: whole, its first half, its second half."""
    counted = [(line.seconds, line.done) for line in told if line.stage == AUDIT and line.unit == "images"]
    middle = min(counted, key=lambda point: abs(point[1] - counted[-1][1] / 2))

    def rate(a: tuple[float, int], b: tuple[float, int]) -> float:
        return (b[1] - a[1]) / (b[0] - a[0])

    first, last = counted[0], counted[-1]
    return {
        "whole": rate(first, last),
        "first half": rate(first, middle),
        "second half": rate(middle, last),
    }


def memory(samples: Sequence[Sample], rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Largest memory in MB of each tenth of the audit that is named, and of each stage."""
    audit = next(row for row in rows if row["stage"] == AUDIT)
    tenth = audit["seconds"] / 10
    spans = {
        "second tenth of the audit": (audit["from"] + tenth, audit["from"] + 2 * tenth),
        "last tenth of the audit": (audit["from"] + 9 * tenth, audit["from"] + 10 * tenth),
        **{row["stage"]: (row["from"], row["from"] + row["seconds"]) for row in rows},
    }
    inside = {name: [s for s in samples if begin <= s.seconds <= end] for name, (begin, end) in spans.items()}
    return {
        name: {"own": max(s.own for s in some), "all": max(s.all for s in some)}
        for name, some in inside.items()
        if some
    }


def stored(out: Path) -> dict[str, float]:
    """MB of the run folder, by its folders and files of the first level."""
    sizes: dict[str, float] = {}
    for path in out.rglob("*"):
        if path.is_file():
            first = path.relative_to(out).parts[0]
            sizes[first] = sizes.get(first, 0.0) + path.stat().st_size / 1e6
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def draw(
    samples: Sequence[Sample], told: Sequence[Told], rows: Sequence[Mapping[str, Any]], path: Path
) -> None:
    """Images done, and memory, over time; stages as bands."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    done, used = figure.subplots(2, 1, sharex=True)
    counted = [line for line in told if line.stage == AUDIT and line.unit == "images"]
    done.plot([line.seconds / 60 for line in counted], [line.done / 1000 for line in counted], color="C0")
    done.set_ylabel("images explained (thousands)")
    minutes = [s.seconds / 60 for s in samples]
    used.plot(minutes, [s.all / 1024 for s in samples], color="0.6", label="all its processes")
    used.plot(minutes, [s.own / 1024 for s in samples], color="C0", label="the run's process")
    used.set(xlabel="minutes", ylabel="resident memory (GB)", ylim=(0, None))
    used.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    long = [row for row in rows if row["seconds"] > 0.03 * samples[-1].seconds]
    for number, row in enumerate(long):
        begin, end = row["from"] / 60, (row["from"] + row["seconds"]) / 60
        for axes in (done, used):
            axes.axvspan(begin, end, color="0.93" if number % 2 else "0.97", zorder=0)
        name = row["stage"].partition(",")[0]
        where = used.get_xaxis_transform()
        used.text((begin + end) / 2, 0.03, name, rotation=90, ha="center", color="0.3", transform=where)
    for axes in (done, used):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def report(result: Mapping[str, Any]) -> str:
    """The figures as tables."""
    used = result["memory"]
    rows = [
        [
            row["stage"],
            f"{row['seconds']:.0f}",
            f"{row['done']:,} {row['unit']}" if row["done"] else "",
            *(f"{used[row['stage']][name]:,.0f}" if row["stage"] in used else "" for name in ("own", "all")),
        ]
        for row in result["stages"]
    ]
    parts = [markdown(["stage", "seconds", "done", "peak MB", "peak MB, all processes"], rows)]
    rows = [[name, f"{value:.1f}"] for name, value in result["rates"].items()]
    parts.append(markdown(["audit", "images/s"], rows))
    rows = [[name, f"{used[name]['own']:,.0f}"] for name in used if "tenth" in name]
    parts.append(markdown(["", "peak MB of the run's process"], rows))
    rows = [[name, f"{size:,.1f}"] for name, size in list(result["stored"].items())[:8]]
    parts.append(markdown(["in the run folder", "MB"], rows))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    options = parser.parse_args()
    inputs = inputs_of(options)
    network, folder = inputs.trained(0, marked=False), repeated_folder(inputs, options.images)
    out, log = inputs.cache / "runs" / f"many-{options.images}", inputs.cache / "many.log"
    if out.exists():
        raise SystemExit(f"{out}: is there already; remove it, its rate cannot be measured again")
    words = ["run", "--dataset", str(folder), "--model", str(network), "--out", str(out)]
    samples, began = watched_run(words, log)
    told = progress(log, began)
    rows = stages(told, samples[-1].seconds)
    with (inputs.cache / "many.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["seconds", "own_mb", "all_mb"])
        table.writerows([round(s.seconds, 1), round(s.own), round(s.all)] for s in samples)
    draw(samples, told, rows, inputs.cache / "many.png")
    result = {
        "stages": rows,
        "rates": rates(told),
        "memory": memory(samples, rows),
        "stored": stored(out),
        "seconds": samples[-1].seconds,
    }
    publish(inputs.cache, "many", {"versions": versions(), "results": result}, report(result))


if __name__ == "__main__":
    main()
