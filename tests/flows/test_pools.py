"""Workers for real: processes, a Dask and a Ray cluster of two each; one is killed, others are strangers."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows import cli, worker
from flows.pools import Pool, WorkerDied, check_answers
from flows.runners import open_pool
from flows.settings import load_tensorflow
from flows.worker import Hello, packed, portable, refuse_strangers
from pipeline.config import ConfigError, parse_config
from pipeline.config_sections import ExecutionConfig
from pipeline.errors import InputError

# tasks outside a flow have nowhere to log to
pytestmark = pytest.mark.filterwarnings("ignore:Logger 'prefect.task_runs' attempted to send logs")
PACKAGES = {"dask": "distributed", "ray": "ray"}
KEYS = [f"k{number}" for number in range(8)]


def installed(runner: str) -> bool:
    return runner not in PACKAGES or importlib.util.find_spec(PACKAGES[runner]) is not None


def needs(runner: str) -> Any:
    return pytest.mark.skipif(not installed(runner), reason=f"the extra {runner} is not installed")


RUNNERS = [pytest.param(name, marks=needs(name)) for name in ("processes", "dask", "ray")]
CLUSTERS = RUNNERS[1:]


@contextmanager
def opened(runner: str, address: str = "", folder: str = "") -> Iterator[Pool]:
    pool = open_pool(ExecutionConfig(runner=runner, workers=2, address=address), folder)  # type: ignore[arg-type]
    try:
        yield pool
    finally:
        pool.close(at_once=False)


def all_of(pool: Pool, call: bytes, keys: list[str] = KEYS) -> list[Any]:
    """The results of every key, asked for side by side; the error where a worker died."""

    def run(key: str) -> Any:
        try:
            return pool.run(call, key)
        except WorkerDied as died:
            return died

    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(run, keys))


def doubled(key: str, by: int) -> tuple[int, int]:
    time.sleep(0.1)
    return int(key[1:]) * by, os.getpid()


def refuses(key: str) -> None:
    raise InputError(f"{key}: received nothing; valid: something")


class Peculiar(ValueError):
    """An error whose constructor takes what its text is made of."""

    def __init__(self, layer: str, what: str) -> None:
        super().__init__(f"{layer}: {what}")


def peculiar(key: str) -> None:
    raise Peculiar(key, "no rule")


def dies_once(key: str, folder: str) -> str:
    """Kills its own process at the third key, the first time."""
    mark = Path(folder, "died")
    if key == "k3" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return key


@pytest.mark.parametrize("runner", RUNNERS)
def test_two_workers_do_all_calls_keep_their_processes_and_say_what_is_wrong(runner: str) -> None:
    with opened(runner) as pool:
        first, second = (all_of(pool, packed(doubled, {"by": 3})) for _ in range(2))
        with pytest.raises(InputError, match=r"^k1: received nothing; valid: something$"):
            pool.run(packed(refuses, {}), "k1")
        with pytest.raises(InputError, match=r"^k1: no rule$"):
            pool.run(packed(peculiar, {}), "k1")
    assert [value for value, _ in first] == [3 * number for number in range(8)]
    processes = {process for _, process in first}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert {process for _, process in second} == processes


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_a_killed_worker_left_is_done_by_another(runner: str, prefect_api: str, tmp_path: Path) -> None:
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    from flows.runners import run_tasks

    @task(name="mortal", cache_policy=NO_CACHE, persist_result=False)
    def mortal(key: str, folder: str) -> int:
        return len(dies_once(key, folder))

    execution = ExecutionConfig(runner=runner, workers=2)  # type: ignore[arg-type]
    done = run_tasks(mortal, dict.fromkeys(KEYS, 2), {"folder": str(tmp_path)}, execution)
    assert done.amount == 16
    assert Path(tmp_path, "died").exists()


def test_every_process_has_its_device(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")

    def device(key: str) -> str:
        time.sleep(0.2)
        return os.environ["CUDA_VISIBLE_DEVICES"]

    with opened("processes") as pool:
        assert set(all_of(pool, packed(device, {}))) == {"3", "5"}


@needs("dask")
def test_every_dask_worker_of_this_machine_has_its_device(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")

    def device(key: str) -> str:
        time.sleep(0.2)
        return os.environ["CUDA_VISIBLE_DEVICES"]

    with opened("dask") as pool:
        assert set(all_of(pool, packed(device, {}))) == {"3", "5"}


@pytest.mark.parametrize("engine", ["tensorflow", "jax", "torch"])
def test_no_process_takes_a_gpu_before_it_needs_it_unless_told(engine: str, monkeypatch) -> None:
    """The flow's own process shares the first GPU with a worker; both load their framework this way."""
    for name in ("TF_FORCE_GPU_ALLOW_GROWTH", "XLA_PYTHON_CLIENT_PREALLOCATE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("KERAS_BACKEND", engine)
    load_tensorflow()
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    load_tensorflow()
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"


@pytest.mark.parametrize(
    ("visible", "expected"), [("", ()), ("-1", ()), ("0", ("0",)), ("GPU-1a, GPU-2b", ("GPU-1a", "GPU-2b"))]
)
def test_devices_are_those_that_are_visible(visible: str, expected: tuple[str, ...], monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert worker.devices() == expected


# -- strangers and addresses


def test_a_worker_with_another_version_is_refused(monkeypatch) -> None:
    own = worker.metadata.version("hansaudit")
    good = Hello("process 1 on a", own, True)
    refuse_strangers([good, good], "runs/x")
    with pytest.raises(InputError, match=r"worker process 2 on b: has hansaudit 9\.9, this is"):
        refuse_strangers([good, Hello("process 2 on b", "9.9", True)], "runs/x")
    with pytest.raises(InputError, match=r"process 3 on c: does not see the run runs/x; name a folder"):
        refuse_strangers([good, Hello("process 3 on c", own, False)], "runs/x")


@needs("dask")
def test_the_workers_of_an_address_are_asked_before_any_work(tmp_path: Path, monkeypatch) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, memory_limit=0) as cluster:
        with opened("dask", cluster.scheduler_address) as pool:
            assert all_of(pool, packed(doubled, {"by": 2}), ["k4"])[0][0] == 8
        with pytest.raises(InputError, match="does not see the run"):
            open_pool(ExecutionConfig(runner="dask", address=cluster.scheduler_address), str(tmp_path))
        monkeypatch.setattr(worker.metadata, "version", lambda name: "9.9")
        with pytest.raises(InputError, match=r"has hansaudit .*, this is 9\.9"):
            open_pool(ExecutionConfig(runner="dask", address=cluster.scheduler_address), "")


@needs("dask")
def test_a_cluster_without_workers_says_so(monkeypatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr("flows.pools.on_dask.PATIENCE", 1.0)
    with (
        LocalCluster(n_workers=0, dashboard_address=None) as cluster,
        pytest.raises(InputError, match="no worker; start some"),
    ):
        open_pool(ExecutionConfig(runner="dask", address=cluster.scheduler_address), "")


@pytest.mark.parametrize("runner", CLUSTERS)
def test_an_address_where_nobody_answers_is_one_clear_line(runner: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        said = rf"^execution\.address = '{re.escape(address)}': does not answer \(Connection refused\); start"
        with pytest.raises(InputError, match=said):
            open_pool(ExecutionConfig(runner=runner, workers=2, address=address), "")  # type: ignore[arg-type]


@needs("dask")
def test_an_address_where_something_else_listens_is_one_clear_line(monkeypatch) -> None:
    monkeypatch.setattr("flows.pools.on_dask.PATIENCE", 1.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InputError, match="answers, but not as a dask scheduler"):
            open_pool(ExecutionConfig(runner="dask", address=address), "")


@pytest.mark.parametrize("address", ["somewhere", "10.0.0.5", "tcp://10.0.0.5:port", "ray://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"is no address of a cluster; valid: .* such as 10\.0\.0\.5:6379"):
        check_answers("ray", address)


def test_processes_have_no_address() -> None:
    with pytest.raises(ConfigError, match='that of a cluster; say which: runner = "dask" or "ray"'):
        parse_config({"execution": {"address": "10.0.0.5:8786"}})


def begun(model: dict[str, str], data: dict[str, str]) -> Any:
    """A run that was begun with these."""
    config = {"dataset": {"path": "s3://audits/photos"}}
    return SimpleNamespace(manifest={"model": model, "dataset": data, "config": config})


def seen_by_worker(model: str, data: str, versions: str = "") -> Any:
    """What a worker has opened."""
    return SimpleNamespace(
        model=SimpleNamespace(sha256=model),
        dataset=SimpleNamespace(info=SimpleNamespace(fingerprint=data, versions=versions)),
        config=SimpleNamespace(dataset=SimpleNamespace(path="s3://audits/photos")),
    )


@pytest.mark.parametrize(("what", "model", "data"), [("weights", "b", "d"), ("data", "a", "e")])
def test_a_worker_with_other_weights_or_data_is_refused(what: str, model: str, data: str) -> None:
    from pipeline.measure.benches import refuse_other_bench

    run = begun({"sha256": "a" * 64}, {"fingerprint": "d" * 64})

    def bench(model: str, data: str) -> Any:
        return seen_by_worker(model * 64, data * 64)

    refuse_other_bench(run, bench("a", "d"))
    here, there = (model, "a") if what == "weights" else (data, "d")
    said = f"its {what} are not the run's \\({here * 12} instead of {there * 12}\\)"
    with pytest.raises(InputError, match=said):
        refuse_other_bench(run, bench(model, data))


def test_a_worker_on_another_framework_is_refused() -> None:
    from pipeline.measure.benches import refuse_other_bench

    run = begun({}, {})
    run.manifest["versions"] = {"engine": "jax"}
    with pytest.raises(InputError, match="Keras runs on tensorflow there, the run was begun on jax"):
        refuse_other_bench(run, seen_by_worker("", ""))


def test_a_worker_that_sees_other_objects_of_the_same_sizes_is_refused() -> None:
    from pipeline.measure.benches import refuse_other_bench

    run = begun({"sha256": "a"}, {"fingerprint": "d", "versions": "v"})
    refuse_other_bench(run, seen_by_worker("a", "d", "v"))
    with pytest.raises(InputError, match="s3://audits/photos: objects were replaced since the run was begun"):
        refuse_other_bench(run, seen_by_worker("a", "d", "w"))


def test_errors_that_do_not_survive_the_way_say_the_same() -> None:
    # an InputError, unless something that is installed teaches pickle to carry it as it is
    survived = portable(Peculiar("conv1", "no rule"))
    assert isinstance(survived, InputError | Peculiar)
    assert str(survived) == "conv1: no rule"
    foreign = portable(OSError(28, "No space left"))
    assert isinstance(foreign, OSError), "it survives as it is"

    class Local(Exception):
        pass

    assert str(portable(Local("first line\nsecond"))) == "Local: first line"


@pytest.mark.parametrize("command", ["run", "serve"])
def test_a_file_alone_names_no_cluster(command: str, tmp_path: Path, capsys) -> None:
    """Objects that run code go to a cluster and come from it; a configuration may be a stranger's."""
    toml = tmp_path / "audit.toml"
    toml.write_text(
        '[dataset]\nsource = "planted"\n[model]\nsource = "planted"\n'
        '[execution]\nrunner = "dask"\naddress = "203.0.113.7:8786"\n'
    )
    own = ["--out", str(tmp_path / "run")] if command == "run" else ["--cron", "0 3 * * *"]
    assert cli.run([command, "--config", str(toml), *own]) == cli.WRONG_INPUT
    assert "a file alone cannot name it; say --address 203.0.113.7:8786" in " ".join(
        capsys.readouterr().err.split()
    )
