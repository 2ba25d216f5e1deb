"""Speed and error of the explainers on the device at hand: ``python -m benchmarks.gpu --out FOLDER``.

    KERAS_BACKEND=torch python -m benchmarks.gpu --out runs/gpu            # an accelerator: under 9 minutes
    KERAS_BACKEND=jax python -m benchmarks.gpu --out runs/gpu --small      # a CPU: small networks

Needs Keras and JAX or PyTorch, no TensorFlow and no file: networks have fixed random weights. The loop of the
audit needs pyarrow, Pillow, pydantic, SciPy and scikit-image, too, the peers Zennit and Captum: what is not
there, or fails, has a row that says so. What matters most is measured first; what the time does not suffice
for is listed below the table. The last line says whether what is wanted of a GPU was reached. Writes
``gpu.csv``, ``gpu.md`` and ``environment.json``, anew after each row; ends with an error if a row failed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
NETWORKS = ("vgg16", "resnet50", "vit_b", "efficientnet_b0")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the table")
    parser.add_argument(
        "--small", action="store_true", help="small networks, batches of 2, on a CPU: that all of it runs"
    )
    parser.add_argument("--batch", type=int, default=0, help="default: 128 on a GPU, 4 on a CPU, 2 if small")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--minutes", type=float, default=8.0, help="nothing new is begun after this time")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    began = time.monotonic()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # so that its peak is what was needed
    if options.small:  # of JAX: what is compiled runs once, on a CPU
        os.environ.setdefault("XLA_FLAGS", QUICK)
    import keras

    if keras.backend.backend() not in ("jax", "torch"):
        raise SystemExit(
            f"Keras runs on {keras.backend.backend()}; set KERAS_BACKEND to jax or torch "
            "(TensorFlow is measured by python -m benchmarks.lrp)"
        )
    from benchmarks.gpu.order import steps, within
    from benchmarks.gpu.report import Report

    report = Report(options)
    table = report.table
    left = within(
        60 * options.minutes - (time.monotonic() - began),
        steps(options.networks, report.precisions),
        report.measure,
    )
    table.late += map(str, left)
    table.about["seconds"] = round(time.monotonic() - began, 1)
    table.write()
    print("\n".join([*table.remarks, table.verdict]))
    print(f"{options.out}/gpu.md: {len(table.rows)} rows in {table.about['seconds']:.0f} s")
    if failed := [row for row in table.rows if row.note.startswith("failed")]:
        raise SystemExit(f"{len(failed)} of them failed; their notes say how")


if __name__ == "__main__":
    main()
