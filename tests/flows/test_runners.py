"""The task runners: each that can be configured is there, and says what to install where it cannot be."""

from __future__ import annotations

import builtins
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest

from flows.pools import WorkerDied
from flows.worker import run_call
from pipeline.config_sections import ExecutionConfig
from pipeline.errors import InputError
from pipeline.inputs.shards import plan_shards

# tasks outside a flow have nowhere to log to
pytestmark = pytest.mark.filterwarnings("ignore:Logger 'prefect.task_runs' attempted to send logs")


def test_every_runner_that_can_be_configured_is_there():
    from flows.runners import RUNNERS

    assert set(RUNNERS) == set(get_args(ExecutionConfig.model_fields["runner"].annotation))


@pytest.mark.parametrize(("name", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_runner_whose_package_is_missing_says_what_to_install(name: str, package: str, monkeypatch):
    from flows.runners import open_pool

    for module in (f"flows.pools.on_{name}", package):
        monkeypatch.delitem(sys.modules, module, raising=False)
    real = builtins.__import__

    def without(module: str, *rest):
        if module.partition(".")[0] == package:
            raise ImportError(module)
        return real(module, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=rf"'{name}': its package .* pip install 'hansaudit\[{name}\]'"):
        open_pool(ExecutionConfig(runner=name, workers=2), "")


def test_one_worker_runs_the_shards_in_order_and_sums_their_images():
    from flows.runners import run_shards

    keys = [shard.key for shard in plan_shards("d", "validation", 20, 8)]
    done = []

    def task(key: str, out: str) -> int:
        done.append((key, out))
        return int(key[-9:]) - int(key[-19:-10])

    assert run_shards(task, keys, {"out": "runs/x"}, ExecutionConfig()).amount == 20  # type: ignore[arg-type]
    assert done == [(key, "runs/x") for key in keys]
    assert run_shards(task, [], {"out": "runs/x"}, ExecutionConfig(workers=2)).amount == 0  # type: ignore[arg-type]


def test_the_fewest_images_that_a_device_held_are_told_once_and_kept(monkeypatch):
    from flows.runners import run_shards
    from pipeline.busy import Done

    keys = [shard.key for shard in plan_shards("d", "validation", 24, 8)]
    held, said = dict(zip(keys, (8, 4, 8), strict=True)), []
    monkeypatch.setattr("flows.progress.say", said.append)
    done = run_shards(lambda key: Done(8, at_once=held[key]), keys, {}, ExecutionConfig())  # type: ignore[arg-type]
    assert done.at_once == 4
    assert [line.split(": ")[1] for line in said] == [f"{n} images at once from now on" for n in (8, 4)]


class Mortal:
    """A pool whose workers die of the keys in ``deadly``, each as often as it says there; in this process."""

    deadly: ClassVar[dict[str, int]] = {}
    started = 0
    broken = True

    def __init__(self, execution: ExecutionConfig, folder: str) -> None:
        type(self).started += 1

    def run(self, call: bytes, key: str) -> int:
        if self.deadly.get(key, 0):
            self.deadly[key] -= 1
            raise WorkerDied("terminated abruptly")
        return run_call(call, key)

    def close(self, at_once: bool) -> None:
        pass


@pytest.fixture
def mortal(monkeypatch, prefect_api: str) -> type[Mortal]:
    from flows import runners

    monkeypatch.setattr(Mortal, "started", 0)
    monkeypatch.setattr(runners, "RUNNERS", {"processes": Mortal})
    return Mortal


def counting(done: Path) -> Any:
    """A task that says in the folder ``done`` which shards it did, and how often."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    @task(name="count", cache_policy=NO_CACHE, persist_result=False)
    def count(key: str) -> int:
        with open(done / key, "a") as file:
            file.write("x")
        return int(key[-9:]) - int(key[-19:-10])

    return count


def test_what_a_dead_worker_left_is_done_once_more(mortal: type[Mortal], monkeypatch, tmp_path: Path):
    from flows.runners import run_shards

    keys = [shard.key for shard in plan_shards("d", "validation", 20, 8)]
    monkeypatch.setattr(mortal, "deadly", {keys[1]: 1})
    assert run_shards(counting(tmp_path), keys, {}, ExecutionConfig(workers=2)).amount == 20
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(keys, "x")
    assert mortal.started == 2


def test_workers_that_die_again_say_what_to_do(mortal: type[Mortal], monkeypatch, tmp_path: Path):
    from flows.runners import run_shards

    keys = [shard.key for shard in plan_shards("d", "validation", 20, 8)]
    monkeypatch.setattr(mortal, "deadly", {keys[0]: 9, keys[2]: 1})
    said = r"workers died twice, 1 of 3 shards are left.*run the same command again.*fewer than 2 workers"
    with pytest.raises(InputError, match=said):
        run_shards(counting(tmp_path), keys, {}, ExecutionConfig(workers=2))
    assert mortal.started == 2


def test_the_stages_of_a_run_share_their_workers(mortal: type[Mortal], monkeypatch, tmp_path: Path):
    from flows.runners import kept_workers, run_shards

    keys = [shard.key for shard in plan_shards("d", "validation", 20, 8)]
    execution = ExecutionConfig(workers=2)
    with kept_workers(execution, ""):
        assert mortal.started == 0, "where nothing is left to do nobody is started"
        run_shards(counting(tmp_path), keys, {}, execution)
        run_shards(counting(tmp_path), keys, {}, execution)
    assert mortal.started == 1


def test_what_must_not_be_torn_is_finished_before_an_interruption():
    from flows import interrupts

    done: list[str] = []
    with interrupts.noticed():
        with suppress(KeyboardInterrupt):
            with interrupts.held_back():
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("whole")
            done.append("not interrupted")
        assert interrupts.is_interruption(ValueError("anything after it"))
    assert done == ["whole"]


def test_an_interruption_inside_a_callback_is_not_printed(capsys):
    from flows import interrupts

    class Interrupted:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    with interrupts.noticed(), suppress(KeyboardInterrupt):
        Interrupted()
        interrupts.stop_if_interrupted()
    assert capsys.readouterr().err == ""


def test_an_interruption_that_a_library_swallowed_ends_the_run_at_the_next_shard():
    from flows import interrupts
    from flows.runners import run_shards

    keys = [shard.key for shard in plan_shards("d", "validation", 20, 8)]
    done: list[str] = []

    def task(key: str) -> int:
        done.append(key)
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        return 8

    with interrupts.noticed(), pytest.raises(KeyboardInterrupt):
        run_shards(task, keys, {}, ExecutionConfig())  # type: ignore[arg-type]
    assert done == keys[:1]
