"""LRP against TensorFlow's own compiled gradient of the logit: ``python -m benchmarks.lrp``.

Run time: all in one process, the same weights and batch, repetitions interleaved (A B C A B C), medians.
Setup (trace, canonise, compile, first batch) and peak memory: one fresh process per figure.
Writes ``lrp.json`` and ``lrp.md``.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.output import publish, versions

DEFAULT = ["vgg16", "resnet50", "squeezenet", "efficientnet_lite0"]
METHODS = ("lrp.epsilon", "lrp.preset_a", "lrp.preset_b")
XLA = ", XLA"  # behind a method: whole passes compiled by it
MUST_REACH = {"lrp.epsilon": 0.95, "lrp.preset_a": 1.25, "lrp.preset_b": 1.9}  # vgg16, times the gradient
PEAK_MUST_REACH = 1.3
SETUP_MUST_REACH = {"vgg16": 8.0, "nasnet_large": 30.0}


def set_threads(n: int) -> None:
    """``n`` threads inside an operation, ``n`` between operations; before TensorFlow starts them."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(n)
    tf.config.threading.set_inter_op_parallelism_threads(n)


def gradient_of_logit(model: Any) -> Callable[[Any], Any]:
    """The framework's best: the gradient of the predicted class's logit, one compiled function."""
    import tensorflow as tf

    @tf.function
    def gradient(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            explained = tf.reduce_sum(tf.reduce_max(model(x, training=False), axis=-1))
        return tape.gradient(explained, x)

    return lambda x: gradient(tf.constant(x)).numpy()


def forward_pass(model: Any) -> Callable[[Any], Any]:
    """One forward pass: what a method cannot cost less than, times the passes that it needs."""
    import tensorflow as tf

    run = tf.function(lambda x: model(x, training=False))
    return lambda x: run(tf.constant(x)).numpy()


def analysis(method: str, model: Any) -> Callable[[Any], Any]:
    """``x`` -> the maps of ``method``, by the public interface; one that ends with `XLA` compiled by it."""
    from explainers import create_analyzer, engine

    fitted = create_analyzer(method.removesuffix(XLA)).fit(model)

    def maps(x: Any) -> Any:
        with engine.xla() if method.endswith(XLA) else nullcontext():
            return fitted.analyze(x).relevance

    return maps


def named(xla: bool) -> tuple[str, ...]:
    """The methods that are measured."""
    return (*METHODS, *(method + XLA for method in METHODS)) if xla else METHODS


def measure_run(network: str, options: argparse.Namespace, warm_up: int = 2) -> dict[str, list[float]]:
    """Seconds per batch of every method, interleaved."""
    from benchmarks.networks import build, images

    model = build(network)
    x = images(model, options.batch)
    subjects = {"forward": forward_pass(model), "gradient": gradient_of_logit(model)}
    subjects |= {name: analysis(name, model) for name in named(options.xla)}
    seconds: dict[str, list[float]] = {method: [] for method in subjects}
    for repeat in range(warm_up + options.repeats):
        for method, function in subjects.items():
            start = time.perf_counter()
            function(x)
            if repeat >= warm_up:
                seconds[method].append(time.perf_counter() - start)
    return seconds


def measure_alone(network: str, method: str, batch: int) -> dict[str, float]:
    """Setup seconds (without building the network) and peak resident MiB of this process, three batches."""
    from benchmarks.networks import build, images

    model = build(network)
    x = images(model, batch)
    built = peak_mebibytes()
    start = time.perf_counter()
    function = gradient_of_logit(model) if method == "gradient" else analysis(method, model)
    function(x)
    setup = time.perf_counter() - start
    for _ in range(2):
        function(x)
    return {"setup_s": setup, "peak_mib": peak_mebibytes(), "peak_before_mib": built}


def peak_mebibytes() -> float:
    unit = 1 if platform.system() == "Darwin" else 1024  # ru_maxrss: bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def in_fresh_process(arguments: list[str]) -> Any:
    """The last line that ``python -m benchmarks.lrp ARGUMENTS`` prints, read as JSON."""
    command = [sys.executable, "-m", "benchmarks.lrp", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(network: str, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one network."""
    common = ["--networks", network, "--batch", str(options.batch), "--threads", str(options.threads)]
    repeats = ["--repeats", str(options.repeats), *(["--xla"] if options.xla else [])]
    run = in_fresh_process([*common, *repeats, "--role", "run"]) if options.repeats else {}
    alone = {
        method: in_fresh_process([*common, "--role", "alone", "--method", method])
        for method in ("gradient", *named(options.xla))
    }
    return {"run_s": run, "alone": alone}


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else float("nan")


def row(network: str, method: str, figures: dict[str, Any], batch: int) -> list[str]:
    """One line of the table."""
    seconds, base = figures["run_s"].get(method, []), figures["run_s"].get("gradient", [])
    ratio = median([s / g for s, g in zip(seconds, base, strict=True)])
    limit = MUST_REACH.get(method) if network == "vgg16" else None
    run = [network, method, "", ""]
    if seconds:
        run[2:] = [
            f"{1000 * median(seconds) / batch:.0f}",
            f"{ratio:.2f}" + (f" (<= {limit})" if limit else ""),
        ]
    if method not in figures["alone"]:
        return [*run, "", "", ""]
    alone, alone_base = figures["alone"][method], figures["alone"]["gradient"]
    return [
        *run,
        f"{alone['peak_mib']:.0f}",
        f"{alone['peak_mib'] / alone_base['peak_mib']:.2f}"
        + (f" (<= {PEAK_MUST_REACH})" if limit and method == "lrp.preset_a" else ""),
        f"{alone['setup_s']:.1f}"
        + (f" (<= {SETUP_MUST_REACH[network]:.0f})" if network in SETUP_MUST_REACH else ""),
    ]


def markdown(result: dict[str, Any]) -> str:
    """The tables, with what they were measured on."""
    head = ["network", "method", "ms / image", "x gradient", "peak MiB", "x gradient's peak", "setup s"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for network, figures in result["networks"].items():
        for method in ("forward", "gradient", *named(result["xla"])):
            lines.append("| " + " | ".join(row(network, method, figures, result["batch"])) + " |")
    for peer in result["peers"]:
        shown = f"{peer['ratio']:.2f}" if "ratio" in peer else peer["reason"]
        lines.append(f"| vgg16 | {peer['name']} (its own gradient = 1) | | {shown} | | | |")
    about = f"{result['machine']}, {result['threads']} threads, batch {result['batch']}, float32, "
    about += f"{result['repeats']} interleaved repetitions, medians; " + ", ".join(result["versions"])
    return "\n".join([*lines, "", about, ""])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lrp", description=__doc__)
    parser.add_argument("--networks", nargs="+", default=DEFAULT)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=9, help="0: setup and memory only")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--xla", action="store_true", help="and the methods compiled as a whole by XLA")
    parser.add_argument("--peers", action="store_true", help="and iNNvestigate, Zennit, Captum where found")
    parser.add_argument("--peer-python", nargs="+", default=[sys.executable], help="that can import peers")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--role", choices=("all", "run", "alone"), default="all", help=argparse.SUPPRESS)
    parser.add_argument("--method", default="gradient", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    network = options.networks[0]
    if options.role != "all":
        set_threads(options.threads)
        if options.role == "run":
            print(json.dumps(measure_run(network, options)))
        else:
            print(json.dumps(measure_alone(network, options.method, options.batch)))
        return
    from benchmarks.peers import measure_peers

    result = {
        "machine": f"{platform.machine()} {platform.system()}",
        "threads": options.threads,
        "batch": options.batch,
        "repeats": options.repeats,
        "xla": options.xla,
        "versions": versions(),
        "networks": {name: measure(name, options) for name in options.networks},
        "peers": measure_peers(options) if options.peers else [],
    }
    publish(options.out, "lrp", result, markdown(result))


if __name__ == "__main__":
    main()
