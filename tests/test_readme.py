"""What the README shows is true: its Python runs, its TOML is valid, its commands and options exist."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from flows.cli import app
from pipeline.config import parse_config
from pipeline.inputs.card import card_from_dict
from reports.gate.policy import parse_policy
from tests.tables import write_run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    text = "\n".join(blocks("console")).replace("\\\n", " ")
    lines = [line[2:] for line in text.splitlines() if line.startswith("$ hansaudit")]
    inline = re.findall(r"`(hansaudit [a-z][^`]* [^`]*)`", README)
    return [shlex.split(line, comments=True)[1:] for line in [*lines, *inline]]


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs/demo/run", n_classes=4, per_class=6, seed=0)
    found = blocks("python")
    assert len(found) == 2
    for source in found:
        exec(compile(source, "README.md", "exec"), {})


def test_toml_blocks_are_valid() -> None:
    card, audit, gate = blocks("toml")
    card_from_dict(tomllib.loads(card), "README.md")
    assert parse_config(tomllib.loads(audit)).methods[1].key == "lrp.epsilon(eps=0.1)"
    assert len(parse_policy(tomllib.loads(gate)).checks) == 4


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_and_options_exist(words: list[str]) -> None:
    command = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    assert not isinstance(command, typer.core.TyperGroup), f"no such command: {words}"
    valid = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    assert {word for word in words if word.startswith("--")} <= valid


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
