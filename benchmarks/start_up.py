"""What a small run pays once: seconds from the start of its process to each step before its first shard.

    python -m benchmarks.start_up [DATASET MODEL] [--method lrp.preset_a] [--repeats 3] [--weights none]

`hansaudit run` as a user starts it, a new process each time with a server of its own, on the first 64 images.
The first run warms the machine up and is not counted; then the median of each step. The times are those that
every run notes in its manifest (`sessions[].start_up`); "end of the process" and processor time (server
included) are measured from outside. Without --method `hansaudit` chooses one itself.

Without DATASET and MODEL: SqueezeNet at 224 x 224 with random weights, and drawn pictures with boxes in 8
classes of ImageNet. It is right about none of them, so that the look asks whether another preparation of the
input would explain that, which a network that is right about its images is spared.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from pipeline.run.store import Store

CLASSES, PER_CLASS = 8, 8
WIDTH, HEIGHT = 500, 375
END, PROCESSOR = "end of the process", "processor time"
ENVIRONMENT = dict(
    os.environ
)  # as it was: JAX, which TensorFlow imports where it is, sets how much is logged


def draw_photos(folder: Path) -> None:
    """Smooth noise as JPEG files in folders named by synsets, and a box for each."""
    from pipeline.inputs.datasets.ilsvrc2012 import imagenet_classes

    rng = np.random.default_rng(0)
    lines = ["file,label,xmin,ymin,xmax,ymax"]
    for name in imagenet_classes()[0][:CLASSES]:
        (folder / name).mkdir(parents=True)
        for i in range(PER_CLASS):
            coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
            coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(folder / name / f"{i}.jpg")
            x, y = (int(v) for v in rng.integers(0, 150, 2))
            lines.append(f"{name}/{i}.jpg,{name},{x},{y},{x + 200},{y + 200}")
    (folder / "annotations.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def save_squeezenet(path: Path) -> None:
    """SqueezeNet with random weights, and its card."""
    from benchmarks.networks import build
    from pipeline.inputs.datasets.ilsvrc2012 import imagenet_classes

    build("squeezenet").save(path)
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    told = {"height": 224, "width": 224, "shorter_side": 256, "mean": mean, "std": std, "output": "logits"}
    card = [f"{key} = {json.dumps(value)}" for key, value in told.items()]
    card.append(f"class_ids = {json.dumps(imagenet_classes()[0])}")
    path.with_suffix(".toml").write_text("\n".join(card) + "\n", encoding="utf-8")


def measured(line: Sequence[str], out: Path) -> dict[str, float]:
    """Seconds by step of one run of a command line into ``out``."""
    code = "from flows.cli import main; main()"
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-c", code, *line, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} ended with {done.returncode}: {done.stderr.strip()}")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    (session,) = Store(out).manifest["sessions"]
    return session["start_up"] | {END: seconds, PROCESSOR: spent}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line per step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", nargs="?")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--method")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--weights", help="of an application's name as MODEL; none: random ones")
    asked = parser.parse_args(arguments)
    if asked.dataset and not asked.model:
        parser.error("DATASET needs a MODEL")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset, model = asked.dataset, asked.model
        if dataset is None:
            dataset, model = str(folder / "photos"), str(folder / "squeezenet.keras")
            draw_photos(Path(dataset))
            save_squeezenet(Path(model))
        line = ["run", "--dataset", dataset, "--model", model, "--limit", str(CLASSES * PER_CLASS)]
        line += ["--weights", asked.weights] if asked.weights else []
        line += ["--method", asked.method] if asked.method else []
        runs = [measured(line, folder / f"run-{i}") for i in range(1 + asked.repeats)][1:]
    print(f"{Path(model).stem}, {asked.method or 'method chosen by hansaudit'}, {os.cpu_count()} cores")
    for step in runs[0]:
        times = [run[step] for run in runs]
        print(f"{median(times):7.1f} s  {step}  ({min(times):.1f} to {max(times):.1f})")


if __name__ == "__main__":
    main()
