"""The device under Keras' back-end: what it is, when it is done, its peak memory, how fast it multiplies.

PyTorch and JAX; everything here is measured on whatever Keras uses, a CPU where there is no GPU.
"""

from __future__ import annotations

import gc
import importlib
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from explainers import engine

PACKAGES = ("keras", "jax", "jaxlib", "torch", "numpy", "zennit", "captum")
MOST_REPEATS = 30


class Device:
    """What computes.

    ``gpu``: whether it is one; ``name``: as its maker calls it; ``least``: seconds for which a subject is
    repeated.
    """

    def __init__(self, least: float) -> None:
        self.least = least
        self.backend = keras.backend.backend()
        self._module = importlib.import_module(self.backend)
        self._highest = 0.0
        if self.backend == "torch":
            self.gpu = self._module.cuda.is_available()
            self.name = self._module.cuda.get_device_name() if self.gpu else platform.processor() or "CPU"
        else:
            first = self._module.devices()[0]
            self.gpu, self.name = first.platform == "gpu", str(first.device_kind)

    def wait(self, result: Any) -> None:
        """Return when ``result``, and all before it, is computed."""
        if self.backend == "jax":
            self._module.block_until_ready(result)
        elif self.gpu:
            self._module.cuda.synchronize()

    def forget_peak(self) -> None:
        """From here on :meth:`peak` counts."""
        gc.collect()
        if self.backend == "torch" and self.gpu:
            self._module.cuda.empty_cache()
            self._module.cuda.reset_peak_memory_stats()
        elif not self.gpu:
            with suppress(OSError):  # where it may not be written, the peak is that of all before as well
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def peak(self) -> str:
        """MiB at most since :meth:`forget_peak`: of the device's memory, on a CPU of the process.

        JAX cannot forget a GPU's peak: ``<=`` stands before one that something earlier may have reached.
        """
        if not self.gpu:
            lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
            return next(f"{int(line.split()[1]) / 1024:.0f}" for line in lines if line.startswith("VmHWM"))
        if self.backend == "torch":
            return f"{self._module.cuda.max_memory_allocated() / 2**20:.0f}"
        now = self._module.devices()[0].memory_stats()["peak_bytes_in_use"] / 2**20
        before, self._highest = self._highest, max(now, self._highest)
        return f"{now:.0f}" if now > before else f"<= {now:.0f}"

    def seconds(self, call: Callable[[], Any]) -> float:
        """Median time of a call, after one that is not counted (it compiles)."""
        self.wait(call())
        taken: list[float] = []
        while not taken or (sum(taken) < self.least and len(taken) < MOST_REPEATS):
            start = time.perf_counter()
            self.wait(call())
            taken.append(time.perf_counter() - start)
        return statistics.median(taken)

    def matrix_rate(self, precision: str, side: int) -> float:
        """FLOP per second of a product of two random ``side`` x ``side`` matrices."""
        rng = np.random.default_rng(0)
        a, b = (
            keras.ops.convert_to_tensor(rng.normal(size=(side, side)).astype("float32")) for _ in range(2)
        )
        if precision == "bfloat16":
            a, b = keras.ops.cast(a, precision), keras.ops.cast(b, precision)
        with engine.precision(precision):
            product = engine.compile(lambda _, a, b: keras.ops.matmul(a, b), ())
            return 2 * side**3 / self.seconds(lambda: product(a, b))


def environment(device: Device) -> dict[str, Any]:
    """What was measured on what."""
    packages = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {
        "device": device.name,
        "gpu": device.gpu,
        "driver": _driver() if device.gpu else "",
        "backend": device.backend,
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "packages": packages,
    }


def _driver() -> str:
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.sm", "--format=csv,noheader"]
    with suppress(OSError):
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return ""
