"""The audit as a deployment of a Prefect server: ``prefect.yaml``, a work pool, and workers to carry it out.

Unlike :mod:`flows.serving` nothing stays here: the server keeps the schedule, workers anywhere wait for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from flows.beside import refuse_unusable
from flows.nightly import Night
from flows.schedule import Schedule, check_schedule
from flows.server import require_server
from flows.serving import try_out
from pipeline.config import Config
from pipeline.errors import InputError, reason
from pipeline.measure.beforehand import glance
from pipeline.trust import NOTHING, Trust

POOL_TYPE: Final = "process"
# Prefect's scheduler looks for new deployments every five seconds and goes by what lies ahead then: what
# falls due before that has no run
SEEN: Final = timedelta(seconds=10)
_HEAD = (
    "# written by `hansaudit deploy`, which changes its own entries; `prefect deploy --all` reads it, too\n"
)
_FLOW = "flows.run.audit_flow"


@dataclass(frozen=True)
class Place:
    """Where a deployment is kept: ``pool`` of the server, and the ``file`` for Prefect's own command."""

    pool: str = "hansaudit"
    file: str = "prefect.yaml"


def deploy_audit(
    config: Config, night: Night, schedule: Schedule, place: Place, trust: Trust = NOTHING
) -> None:
    """Try the configuration out, write ``place.file`` and deploy what it says.

    ``night``: where runs go, from the folder of this process, and what follows them.

    Raises:
        ConfigError, InputError: the schedule or something in the configuration cannot be used, no server is
            configured, the file is somebody else's, or Prefect refuses; nothing is deployed then.
    """
    check_schedule(night.out, schedule)
    night.check("")
    require_server()
    others = _entries(place.file)
    refuse_unusable(config)
    glance(config, trust)
    try_out(config, trust)
    parameters = {
        "config": config.model_dump(mode="json"),
        "out": night.out,
        "trust": trust.to_dict(),
        "night": night.to_dict(),
    }
    made = entry(schedule, parameters, place.pool)
    write_file(place.file, [*(e for e in others if e.get("name") != schedule.name), made])
    deploy_file(place, schedule.name)


def entry(schedule: Schedule, parameters: Mapping[str, Any], pool: str) -> dict[str, Any]:
    """One deployment as ``prefect.yaml`` has it."""
    return {
        "name": schedule.name,
        "description": "hansaudit: audit, ranking and report",
        "entrypoint": _FLOW,
        "parameters": dict(parameters),
        "enforce_parameter_schema": False,
        "schedules": [{"cron": schedule.cron, "timezone": schedule.timezone, "active": True}],
        # two audits at once would only share the machine: the second one waits
        "concurrency_limit": {"limit": 1, "collision_strategy": "ENQUEUE"},
        "work_pool": {"name": pool, "job_variables": {"working_dir": os.getcwd()}},
        "pull": [],
    }


def write_file(path: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """``prefect.yaml`` with these deployments. Raises :class:`InputError` where it cannot be written."""
    import yaml

    try:
        Path(path).write_text(
            _HEAD + yaml.safe_dump({"deployments": list(entries)}, sort_keys=False), encoding="utf-8"
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {reason(error)}") from None


def deploy_file(place: Place, name: str) -> None:
    """Deploy ``name`` as ``place.file`` says, into the pool, which is made where it is missing.

    Raises:
        InputError: the pool is of another type, or Prefect refuses.
    """
    _make_pool(place.pool)
    _prefect("deploy", "--prefect-file", place.file, "--name", name)


def _entries(path: str) -> list[dict[str, Any]]:
    """The deployments of a file of ours; none where there is no file. Raises :class:`InputError`."""
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None
    if not text.startswith(_HEAD):
        raise InputError(
            f"{path}: was not written by `hansaudit deploy` and is left as it is; name another file by --file"
        )
    try:
        entries = yaml.safe_load(text)["deployments"]
        return [dict(e) for e in entries]
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        raise InputError(
            f"{path}: holds no deployments any more; remove it or name another by --file"
        ) from None


def _make_pool(name: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    with get_client(sync_client=True) as client:
        try:
            pool = client.read_work_pool(name)
        except ObjectNotFound:
            usual = ProcessWorker.get_default_base_job_template()
            pool = client.create_work_pool(WorkPoolCreate(name=name, type=POOL_TYPE, base_job_template=usual))
    if pool.type != POOL_TYPE:
        raise InputError(
            f"pool {name!r} is of type {pool.type!r}; valid: one of type {POOL_TYPE!r}, or a name that is "
            "free, which makes one"
        )


def _prefect(*arguments: str) -> None:
    """Prefect's own command line. Raises :class:`InputError` with its last words where it fails."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = " ".join((done.stderr.strip() or done.stdout.strip()).split())[-300:]
        raise InputError(f"prefect {arguments[0]} failed: {words or f'it ended with {done.returncode}'}")
