"""Figure 4 of Alber et al. (2019), setup and run time for 512 images: ``python -m benchmarks.figure4``.

Deconvnet, LRP-epsilon and LRP-* (the configuration of Lapuschkin et al. 2017), each repetition in a fresh
process, because setup can be measured only once in a process. Other packages are further columns where they
can be imported. Writes ``figure4.json`` and ``figure4.png``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

METHODS = {"Deconvnet": "deconvnet", "LRP-epsilon": "lrp.epsilon", "LRP-*": "lrp.star"}
SETUP, RUN = "#4477aa", "#ee6677"


def measure(method: str, options: Namespace) -> dict[str, Any]:
    """Setup (until the first batch is back) and the seconds of ``options.images`` images, in this process."""
    from benchmarks.lrp import analysis, set_threads
    from benchmarks.networks import build, images

    set_threads(options.threads)
    model = build(options.network)
    x = images(model, options.batch)
    start = time.perf_counter()
    explain = analysis(method, model)
    explain(x)
    setup = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(-(-options.images // options.batch)):
        explain(x)
    return {"setup_s": setup, "run_s": time.perf_counter() - start}


def measure_all(options: Namespace) -> dict[str, list[dict[str, float]]]:
    """Every method, repeated, interleaved, a process each."""
    figures: dict[str, list[dict[str, float]]] = {shown: [] for shown in METHODS}
    for _ in range(options.repeats):
        for shown, method in METHODS.items():
            command = [sys.executable, "-m", "benchmarks.figure4", *sys.argv[1:], "--method", method]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            figures[shown].append(json.loads(done.stdout.splitlines()[-1]))
    return figures


def peer_figures(options: Namespace) -> dict[str, list[dict[str, float]]]:
    """The peers' figures on VGG16, their run time of one batch times the number of batches."""
    from benchmarks.peers import measure_peers

    batches = -(-options.images // options.batch)
    return {
        peer["name"]: [{"setup_s": peer["setup_s"], "run_s": batches * value} for value in peer["run_s"]]
        for peer in measure_peers(options)
        if "run_s" in peer
    }


def plot(result: dict[str, Any], path: Path) -> None:
    """A bar of the median, a dot per repetition, logarithmic seconds."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt
    import numpy as np

    names = list(result["figures"])
    figure, axes = plt.subplots(figsize=(max(5.0, 1.3 * len(names) + 1.5), 3.6), layout="constrained")
    for offset, key, label, colour in ((-0.2, "setup_s", "setup", SETUP), (0.2, "run_s", "run", RUN)):
        for i, name in enumerate(names):
            values = [repetition[key] for repetition in result["figures"][name]]
            middle = float(np.median(values))
            axes.bar(i + offset, middle, 0.36, color=colour, label=None if i else label)
            axes.plot([i + offset] * len(values), values, "o", color="black", ms=3, alpha=0.6)
            axes.annotate(
                f"{middle:.3g} s", (i + offset, max(values)), (0, 4), textcoords="offset points", ha="center"
            )
    axes.set_yscale("log")
    axes.set_ylabel("seconds (log scale)")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.5), high * 1.6)
    axes.set_xticks(range(len(names)), [name.replace(" ", "\n", 1) for name in names])
    axes.set_title(
        f"{result['images']} images, {result['network']}, batch {result['batch']}, "
        f"{result['threads']} CPU threads",
        fontsize=10,
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", ncols=2)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figure4", description=__doc__)
    parser.add_argument("--network", default="vgg16")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", action="store_true", help="further columns, always on VGG16")
    parser.add_argument("--peer-python", nargs="+", default=[sys.executable], help="that can import peers")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--method", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.method:
        print(json.dumps(measure(options.method, options)))
        return
    figures = measure_all(options) | (peer_figures(options) if options.peers else {})
    about = {key: getattr(options, key) for key in ("network", "images", "batch", "repeats", "threads")}
    options.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**about, "figures": figures}, indent=1)
    (options.out / "figure4.json").write_text(text + "\n", encoding="utf-8")
    plot({**about, "figures": figures}, options.out / "figure4.png")
    print(text)


if __name__ == "__main__":
    main()
