"""What a method costs, against the same number of plain passes: ``python -m benchmarks.methods``.

Forward passes: the compiled forward pass of the network on batches of the method's own size. Gradients:
``analyze`` of the method ``gradient`` on such batches. All in one process on the same image, repetitions
interleaved (method, passes, method, ...), medians of the pairwise ratios. Fitting parts that are no passes of
the network (the segmentation and the regression of LIME) are measured apart and left out of its ratio.
Writes ``methods.json`` and ``methods.md``.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lrp import median, set_threads
from benchmarks.output import publish, versions

LIMITS = {"occlusion": 1.15, "lime": 1.15, "rise": 1.15, "integrated_gradients": 1.1}
RANGE = {"low": -4.0, "high": 4.0}


@dataclass(frozen=True)
class Subject:
    """A method, its parameters, and how many passes of which kind it is compared with."""

    method: str
    params: dict[str, Any]
    passes: int
    kind: str = "forward"
    data: bool = False


def subjects(quick: bool) -> list[Subject]:
    """The methods; ``quick`` takes a tenth of the samples."""
    n = 100 if quick else 1000
    size = 24 if quick else 8
    windows = (-(-224 // size)) ** 2
    return [
        Subject("occlusion", {"size": size}, windows),
        Subject("lime", {"samples": n}, n),
        Subject("rise", {"samples": n}, n),
        Subject("kernel_shap", {"samples": n, "size": 32}, n),
        Subject("prediction_difference", {"size": 28, "samples": 2, "patches": 500}, 128, data=True),
        Subject("integrated_gradients", {**RANGE, "steps": 32}, 32, "gradient"),
        Subject("smoothgrad", {**RANGE, "augment_by_n": 32}, 32, "gradient"),
        Subject("gradient_shap", {"samples": 32, "references": 8}, 32, "gradient", data=True),
        Subject("deeplift", RANGE, 1, "gradient"),
        Subject("deep_shap", {"references": 8}, 8, "gradient", data=True),
        Subject("gradcam", {}, 1, "gradient"),
        Subject("pattern_net", {}, 1, "gradient", data=True),
    ]


def plain(model: Any, subject: Subject, limit: int, x: np.ndarray) -> Callable[[], None]:
    """``passes`` plain passes in batches of the method's size."""
    from explainers import create_analyzer
    from explainers.network import network
    from explainers.sampling.runner import batch_size

    size = batch_size(subject.passes, limit)
    batch = np.repeat(x, size, axis=0)
    count = -(-subject.passes // size)
    gradient = create_analyzer("gradient").fit(model)
    net = network(model)

    def run() -> None:
        for _ in range(count):
            if subject.kind == "forward":
                net.logits((batch,))
            else:
                gradient.analyze(batch, 0)

    return run


def fitting_seconds(subject: Subject, x: np.ndarray) -> float:
    """LIME's segmentation and regression; 0 for the others."""
    if subject.method != "lime":
        return 0.0
    from explainers import create_analyzer
    from explainers.methods.lime import neighbours, proximity, weighted_ridge

    analyzer: Any = create_analyzer("lime", **subject.params)
    start = time.perf_counter()
    labels = analyzer.cut().labels(x[0])
    z = neighbours(int(labels.max()) + 1, analyzer.samples, 0)
    weighted_ridge(z, np.random.default_rng(0).normal(size=len(z)), proximity(z, 0.25), 1.0)
    return time.perf_counter() - start


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(subject: Subject, model: Any, x: np.ndarray, repeats: int) -> dict[str, Any]:
    """Seconds of the method and of the plain passes, interleaved."""
    from explainers import create_analyzer

    analyzer: Any = create_analyzer(subject.method, **subject.params)
    fitted = analyzer.fit(model, np.repeat(x, 8, axis=0) + 0.01 if subject.data else None)
    passes = plain(model, subject, getattr(analyzer, "batch_size", 1), x)
    fitting = fitting_seconds(subject, x)
    for warm_up in (lambda: fitted.analyze(x, 0), passes):
        warm_up()
    rows = [(seconds(lambda: fitted.analyze(x, 0)) - fitting, seconds(passes)) for _ in range(repeats)]
    return {
        "method": subject.method,
        "params": subject.params,
        "passes": subject.passes,
        "kind": subject.kind,
        "seconds": median([a for a, _ in rows]),
        "plain_seconds": median([b for _, b in rows]),
        "ratio": median([a / b for a, b in rows]),
        "fitting_seconds": fitting,
    }


def markdown(result: dict[str, Any]) -> str:
    """The table, with what it was measured on."""
    head = ["method", "passes", "s", "plain s", "ratio", "fitting s"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in result["rows"]:
        limit = LIMITS.get(row["method"])
        cells = [
            row["method"],
            f"{row['passes']} {row['kind']}",
            f"{row['seconds']:.2f}",
            f"{row['plain_seconds']:.2f}",
            f"{row['ratio']:.2f}" + (f" (<= {limit})" if limit else ""),
            f"{row['fitting_seconds']:.1f}" if row["fitting_seconds"] else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    about = f"{result['network']}, one image, {result['machine']}, {result['threads']} threads, float32, "
    about += f"{result['repeats']} interleaved repetitions, medians; " + ", ".join(result["versions"])
    return "\n".join([*lines, "", about, ""])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__)
    parser.add_argument("--network", default="squeezenet")
    parser.add_argument("--methods", nargs="*", default=[], help="only these")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    options = parser.parse_args()
    set_threads(options.threads)
    from benchmarks.networks import build, images

    model = build(options.network)
    x = np.clip(images(model, 1), -4, 4)
    chosen = [s for s in subjects(options.quick) if not options.methods or s.method in options.methods]
    result = {
        "network": options.network,
        "machine": f"{platform.machine()} {platform.system()}",
        "threads": options.threads,
        "repeats": options.repeats,
        "versions": versions(),
        "rows": [measure(subject, model, x, options.repeats) for subject in chosen],
    }
    publish(options.out, "methods", result, markdown(result))


if __name__ == "__main__":
    main()
