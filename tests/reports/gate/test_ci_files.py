"""The files in docs/ci: the commands in them exist, and their policy gives the three states."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from typer.main import get_command

from flows.cli import app
from pipeline.config import load_config
from pipeline.run.folder import RunFolder
from pipeline.statistics.ranking import rank
from reports.gate.evaluate import evaluate
from reports.gate.policy import load_policy, parse_policy
from tests.reports.gate.edited import edit_run
from tests.tables import write_run

ROOT = Path(__file__).parents[3]
CI = ROOT / "docs" / "ci"
STATES = {"clean": "pass", "clever-hans": "fail", "untested": "inconclusive"}


@pytest.fixture(scope="module")
def planted() -> ModuleType:
    spec = importlib.util.spec_from_file_location("planted_jobs", CI / "planted.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def github() -> tuple[list[str], list[str]]:
    """The networks of the jobs, and their commands."""
    job: dict[str, Any] = yaml.safe_load((CI / "github.yml").read_text())["jobs"]["gate"]
    lines = [line for step in job["steps"] for line in step.get("run", "").splitlines()]
    return job["strategy"]["matrix"]["network"], lines


def gitlab() -> tuple[list[str], list[str]]:
    job: dict[str, Any] = yaml.safe_load((CI / "gitlab.yml").read_text())["gate"]
    assert job["allow_failure"] == {"exit_codes": [4]}
    return job["parallel"]["matrix"][0]["NETWORK"], job["script"]


@pytest.mark.parametrize("jobs", [github, gitlab])
def test_the_commands_of_the_jobs_exist(jobs, planted):
    networks, lines = jobs()
    assert tuple(networks) == planted.NETWORKS
    ours = [shlex.split(line) for line in lines if line.startswith("hansaudit ")]
    assert [words[1] for words in ours] == ["run", "gate"]
    for _, name, *words in ours:
        command = get_command(app).commands[name]
        command.make_context(name, list(words))  # raises for an option that there is not
    files = [word for line in lines for word in re.findall(r"\bdocs/ci/[\w.]+|\bconstraints\.txt", line)]
    assert {"docs/ci/planted.py", "docs/ci/gate.toml"} <= set(files)
    assert all((ROOT / name).is_file() for name in files)


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("github.yml", ["vendor.github-workflows"]),
        ("gitlab.yml", ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"]),
    ],
)
def test_the_files_are_what_the_hosts_take(file, options):
    """By the schemas of GitHub's workflows and GitLab's pipelines, as check-jsonschema brings them."""
    check = pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    from click.testing import CliRunner

    done = CliRunner().invoke(check.main, ["--builtin-schema", *options, str(CI / file)])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("job", STATES)
def test_each_job_has_data_and_a_configuration(job, planted, tmp_path):
    from pipeline.inputs.datasets.planted import open_planted

    config = load_config(planted.prepare(job, tmp_path, 1, 1))
    spec = open_planted(config.dataset).spec
    assert bool(spec.artefacts) is (job == "clever-hans")
    assert bool(config.interventions.images) is (job != "untested")
    assert config.perturbation is None


@pytest.mark.parametrize(("job", "state"), STATES.items())
def test_the_policy_of_the_jobs(job, state, tmp_path):
    """On runs as the jobs make them, but drawn: what editing showed is given, no network is trained."""
    write_run(tmp_path, 12, 20, 3, {}, maps=False, thumbnails=False, ranking={"draws": 100})
    rank(tmp_path).document().write(RunFolder(tmp_path))
    marked = dict.fromkeys((2, 5, 7), "depends") if job == "clever-hans" else {}
    edit_run(tmp_path, marked, None if job == "untested" else "independent")
    assert len(load_policy(CI / "gate.toml").checks) == 2
    data = tomllib.loads((CI / "gate.toml").read_text())
    data["check"] = [check for check in data["check"] if check.get("metric") != "accuracy"]
    outcome = evaluate(tmp_path, parse_policy(data))
    assert outcome.state == state
    assert len(outcome.checks[1].findings[0].classes) == {"clean": 0, "clever-hans": 3, "untested": 12}[job]
