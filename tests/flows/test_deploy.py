"""``hansaudit deploy``: what a Prefect server is told, and what is refused before it is told anything.

Whole nights, with servers and workers that are killed, are ``make schedules``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows import cli, deploying
from pipeline.config import load_config, parse_config


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command line in a folder of its own; nothing is opened."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(deploying, "try_out", lambda config, trust: None)
    Path("audit.toml").write_text('[dataset]\nsource = "planted"\n[model]\nsource = "planted"\n')
    return ["deploy", "--cron", "*/7 3 * * 1", "--config", "audit.toml", "--timezone", "Europe/Berlin"]


def test_the_server_and_the_file_are_told_the_same(
    line: list[str], prefect_api: str, tmp_path: Path, monkeypatch, capsys
):
    from prefect.client.orchestration import get_client

    monkeypatch.setenv("PREFECT_API_URL", prefect_api)  # of Prefect's own command as well
    assert cli.run([*line, "--keep", "3", "--name", "nights"]) == cli.DONE
    assert "hansaudit worker --pool hansaudit" in capsys.readouterr().out
    (written,) = yaml.safe_load(Path("prefect.yaml").read_text())["deployments"]
    with get_client(sync_client=True) as client:
        deployed = client.read_deployment_by_name("hansaudit/nights")
        assert client.read_work_pool("hansaudit").type == "process"
    (scheduled,) = deployed.schedules
    assert (scheduled.schedule.cron, scheduled.schedule.timezone) == ("*/7 3 * * 1", "Europe/Berlin")
    assert scheduled.active
    assert deployed.entrypoint == "flows.run.audit_flow"
    assert deployed.global_concurrency_limit is not None
    assert deployed.global_concurrency_limit.limit == 1
    assert deployed.job_variables == {"working_dir": str(tmp_path)}
    assert deployed.parameters == written["parameters"]
    assert parse_config(deployed.parameters["config"]) == load_config("audit.toml")
    assert deployed.parameters["night"] == {"out": "runs/{date}", "policy": "", "keep": 3}


def test_a_second_deployment_leaves_the_first_in_the_file(line: list[str], prefect_api, monkeypatch):
    told: list[Any] = []
    monkeypatch.setattr(deploying, "deploy_file", lambda place, name: told.append((place.pool, name)))
    for name, pool in (("a", "one"), ("b", "two"), ("a", "three")):
        assert cli.run([*line, "--name", name, "--pool", pool]) == cli.DONE
    entries = yaml.safe_load(Path("prefect.yaml").read_text())["deployments"]
    assert [(e["name"], e["work_pool"]["name"]) for e in entries] == [("b", "two"), ("a", "three")]
    assert told == [("one", "a"), ("two", "b"), ("three", "a")]


def test_a_file_of_somebody_else_stays(line: list[str], prefect_api, monkeypatch, capsys):
    monkeypatch.setattr(deploying, "deploy_file", lambda *_: pytest.fail("deployed all the same"))
    Path("prefect.yaml").write_text("deployments: []  # mine\n")
    assert cli.run(line) == cli.WRONG_INPUT
    assert "was not written by `hansaudit deploy`" in capsys.readouterr().err
    assert Path("prefect.yaml").read_text() == "deployments: []  # mine\n"


def test_without_a_server_that_stays_nothing_is_deployed(line: list[str], monkeypatch, capsys):
    monkeypatch.setattr("flows.server._is_configured", lambda: False)
    assert cli.run(line) == cli.WRONG_INPUT
    assert "`hansaudit serve`, which needs none" in capsys.readouterr().err
    assert not Path("prefect.yaml").exists()


def test_a_pool_of_another_type_is_refused(line: list[str], prefect_api: str, capsys):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="boxes", type="docker"))
    assert cli.run([*line, "--pool", "boxes"]) == cli.WRONG_INPUT
    assert "'boxes' is of type 'docker'; valid: one of type 'process'" in capsys.readouterr().err


def test_decisions_that_cannot_be_read_are_said_before_anything_is_deployed(
    line: list[str], prefect_api: str, monkeypatch, capsys
):
    monkeypatch.setattr(deploying, "deploy_file", lambda *_: pytest.fail("deployed all the same"))
    with open("audit.toml", "a") as file:
        file.write('[report]\ndecisions = "none.toml"\n')
    assert cli.run(line) == cli.WRONG_INPUT
    assert "none.toml" in capsys.readouterr().err
    assert not Path("prefect.yaml").exists()
