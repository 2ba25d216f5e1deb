"""Speed and error of the explainers on the device at hand: ``python -m benchmarks.gpu --out FOLDER``.

    KERAS_BACKEND=torch python -m benchmarks.gpu --out runs/gpu            # an accelerator: under 9 minutes
    KERAS_BACKEND=jax python -m benchmarks.gpu --out runs/gpu --small      # a CPU: small networks

Needs Keras and JAX or PyTorch, no TensorFlow and no file: networks have fixed random weights. The loop of the
audit needs pyarrow, Pillow, pydantic, SciPy and scikit-image, too, the peers Zennit and Captum: what is not
there is left out with a line that says so, and so is what the time does not suffice for, last networks first.
Writes ``gpu.csv``, ``gpu.md`` and ``environment.json``, anew after each row.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LEAST_SECONDS = 0.5  # for which a subject is repeated
NETWORKS = ("vgg16", "resnet50", "vit_b", "efficientnet_b0")


class Report:
    """What is measured, in order, until the time is over."""

    def __init__(self, options: argparse.Namespace) -> None:
        from benchmarks.gpu.device import Device, environment
        from benchmarks.gpu.table import Table

        self.ends = time.monotonic() + 60 * options.minutes
        # a CPU is slow, and what it shows is that everything runs
        self.device, self.small = Device(0.0 if options.small else LEAST_SECONDS), options.small
        self.precisions = ("float32", "tf32", "bfloat16") if self.device.gpu else ("float32", "bfloat16")
        self.batch = options.batch or (2 if options.small else 128 if self.device.gpu else 4)
        side = 8192 if self.device.gpu else 512 if options.small else 2048
        about = environment(self.device) | {"options": {k: str(v) for k, v in vars(options).items()}}
        about["rates"] = {p: self.device.matrix_rate(p, side) for p in self.precisions}
        self.table = Table(options.out, about)

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self.ends

    def network(self, name: str) -> Any:
        """All methods on one network, in every precision; returns the network."""
        from benchmarks import networks
        from benchmarks.gpu import subjects
        from explainers import ExplainError

        def make() -> Any:
            return networks.build_small(name) if self.small else networks.build(name)

        model, self.frameworks = make(), dict[str, float]()
        x = networks.images(model, self.batch)
        first = subjects.of_method("gradient", model, x)
        flop = first("float32").flop
        self.rows(name, subjects.FRAMEWORK, subjects.of_framework(make, model, x, flop))
        self.rows(name, "gradient", first)
        for method in subjects.methods()[1:]:
            try:
                self.rows(name, method, subjects.of_method(method, model, x))
            except ExplainError as error:
                self.note(name, method, f"refused: {error}")
        return model

    def rows(self, network: str, what: str, subject_in: Callable[[str], Any]) -> None:
        """A row per precision, with the error against the maps in float32, the first."""
        from benchmarks.gpu.table import Row, difference

        exact = None
        for precision in self.precisions:
            if self.late:
                self.note(network, what, "not measured: the time was over", precision)
                continue
            subject = subject_in(precision)
            self.device.forget_peak()
            rate = self.batch / self.device.seconds(subject.on_device)
            peak, maps = self.device.peak(), subject.whole()
            fraction = rate * subject.flop / self.table.about["rates"][precision]
            best = self.frameworks.setdefault(precision, fraction)
            error = (None, None) if exact is None else difference(maps, exact)
            exact = maps if exact is None else exact
            whole = self.batch / self.device.seconds(subject.whole)
            self.table.add(
                Row(
                    network, what, precision, self.batch, rate, whole, subject.flop / 1e9, fraction,
                    fraction / best, peak, *error,
                )
            )  # fmt: skip

    def note(self, network: str, what: str, text: str, precision: str = "") -> None:
        """A row that says why there are no figures."""
        from benchmarks.gpu.table import Row

        self.table.add(Row(network, what, precision, note=text))

    def all(self, names: Sequence[str]) -> None:
        """Everything, what matters most first."""
        from benchmarks.gpu.loops import measure_loops
        from benchmarks.gpu.peers import measure_peers

        for name in names:
            if self.late:
                self.note(name, "all", "not measured: the time was over")
                continue
            model = self.network(name)
            if name == NETWORKS[0]:  # what surrounds the maps, and the peers, are measured on this one
                for precision in (self.precisions[0], self.precisions[-1]):
                    if not self.late:
                        measure_loops(self.table, self.device, model, self.batch, precision)
                if not self.late:
                    measure_peers(self.table, self.device, self.batch)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the table")
    parser.add_argument("--small", action="store_true", help="small networks, batches of 2: a CPU can do it")
    parser.add_argument("--batch", type=int, default=0, help="default: 128 on a GPU, 4 on a CPU, 2 if small")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--minutes", type=float, default=8.0, help="nothing new is begun after this time")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    began = time.monotonic()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # so that its peak is what was needed
    import keras

    if keras.backend.backend() not in ("jax", "torch"):
        raise SystemExit(
            f"Keras runs on {keras.backend.backend()}; set KERAS_BACKEND to jax or torch "
            "(TensorFlow is measured by python -m benchmarks.lrp)"
        )
    report = Report(options)
    report.all(options.networks)
    report.table.about["seconds"] = round(time.monotonic() - began, 1)
    report.table.write()
    print(f"{options.out}/gpu.md: {len(report.table.rows)} rows in {report.table.about['seconds']:.0f} s")


if __name__ == "__main__":
    main()
