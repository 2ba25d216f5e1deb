"""The same maps on JAX and PyTorch, against the same oracles.

Keras takes its back-end when it is imported, so each engine gets a process. TensorFlow goes through it with
few layers, as it has all of them in test_oracle_rules.py. JAX is part of the development set, so that
its path cannot rot unseen; PyTorch is tested by hand, where it is installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FEW = {"tensorflow": ("conv2d", "separable_plain")}
# hundreds of tiny programs, each run once: their optimisation would be half of the time
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
JAX = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1", "XLA_FLAGS": QUICK}


@cache
def cases_on(engine: str) -> dict[str, Any]:
    """What ``engine_cases.py`` measures."""
    if engine == "torch" and importlib.util.find_spec(engine) is None:
        pytest.skip("PyTorch is tested by hand; its command is in the README")
    environment = os.environ | {"KERAS_BACKEND": engine} | (JAX if engine == "jax" else {})
    done = subprocess.run(
        [sys.executable, "-m", "tests.explainers.engine_cases", *FEW.get(engine, ())],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["backend"] == engine
    return measured


every_engine = pytest.mark.parametrize("engine", ["tensorflow", "jax", "torch"])


@every_engine
def test_every_rule_on_every_kind_of_layer(engine: str) -> None:
    assert {case: e for case, e in cases_on(engine)["maps"].items() if not e <= 1e-5} == {}


@every_engine
def test_a_residual_network_with_batch_norm(engine: str) -> None:
    assert {case: e for case, e in cases_on(engine)["networks"].items() if not e <= 1e-4} == {}


@every_engine
def test_ties_of_a_max_pooling_go_to_the_first_in_row_major_order(engine: str) -> None:
    assert cases_on(engine)["ties"] == {
        "2x2": [0, 2, 8, 10],
        "3x3 stride 2 same": [0, 2, 8, 10],
        "1d": [0, 2],
        "3d": [0],
        "global": [0],
    }


@every_engine
def test_the_ledger_closes_and_results_repeat_bit_by_bit_and_agree_together(engine: str) -> None:
    measured = cases_on(engine)
    assert measured["gap"] < 1e-4
    assert measured["repeats"]
    assert measured["together"] < 1e-4
