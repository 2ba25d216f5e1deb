"""The task runners: each that can be configured is there, and says what to install where it cannot be."""

from __future__ import annotations

import builtins
from typing import get_args

import pytest

from pipeline.config import ExecutionConfig
from pipeline.errors import InputError
from pipeline.inputs.shards import plan_shards


def test_every_runner_that_can_be_configured_is_there():
    from flows.runners import RUNNERS

    assert set(RUNNERS) == set(get_args(ExecutionConfig.model_fields["runner"].annotation))


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_a_runner_whose_package_is_missing_says_what_to_install(name: str, monkeypatch):
    from flows.runners import task_runner

    real = builtins.__import__

    def without(module: str, *rest):
        if module == f"prefect_{name}":
            raise ImportError(module)
        return real(module, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=rf"'{name}': its package .* pip install 'hansaudit\[{name}\]'"):
        task_runner(ExecutionConfig(runner=name, workers=2))


def test_one_worker_runs_the_shards_in_order_and_sums_their_images():
    from flows.runners import run_shards

    keys = [shard.key for shard in plan_shards("d", "validation", 20, 8)]
    done = []

    def task(key: str, out: str) -> int:
        done.append((key, out))
        return int(key[-9:]) - int(key[-19:-10])

    assert run_shards(task, keys, {"out": "runs/x"}, ExecutionConfig()) == 20  # type: ignore[arg-type]
    assert done == [(key, "runs/x") for key in keys]
    assert run_shards(task, [], {"out": "runs/x"}, ExecutionConfig(workers=2)) == 0  # type: ignore[arg-type]
