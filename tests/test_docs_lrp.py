"""What docs/lrp.md shows is true: its Python runs, its commands exist, its tables are complete."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import typer
from typer.main import get_command

from explainers import create_analyzer, list_methods, rules
from explainers.methods.lrp import PROFILES
from explainers.rules import Rule
from flows.cli import app
from tests.explainers import zoo

PAGE = (Path(__file__).parents[1] / "docs/lrp.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


# what the blocks of applications make is looked at by a test of its own: they are built once
@pytest.mark.parametrize("source", [block for block in BLOCKS if "def up_to" not in block])
def test_python_block_runs_and_makes_what_it_names(source: str) -> None:
    keras.utils.set_random_seed(0)
    names: dict[str, object] = {"__name__": "docs"}
    exec(compile(source, "docs/lrp.md", "exec"), names)
    made = {name: value for name, value in names.items() if not name.startswith("__")}
    assert made
    assert [name for name, value in made.items() if value is None] == []


def test_blocks_of_applications_as_one_node_give_what_they_give_node_by_node() -> None:
    (source,) = [block for block in BLOCKS if "def up_to" in block]
    keras.utils.set_random_seed(0)
    names: dict[str, Any] = {"__name__": "docs"}
    exec(compile(source, "docs/lrp.md", "exec"), names)
    for name, (one, apart) in names["pairs"].items():
        logit = one.output[0, 0]
        assert abs(logit) > 1e-6, name
        for made in (one, apart):
            assert made.relevance.sum() == pytest.approx(logit, rel=1e-3), name
        difference = np.linalg.norm(one.relevance - apart.relevance)
        assert difference < 1e-3 * np.linalg.norm(apart.relevance), name
    model, (condition, rule), _ = names["cases"]["cell"]
    (node,) = [
        n
        for n in create_analyzer("lrp.zero", rules=((condition, rule),)).fit(model).network.graph
        if n.kind == "subgraph"
    ]
    assert len(node.inputs) == 2
    assert {part.kind for part in node.parts} >= {"concat", "separable_conv", "max_pool", "avg_pool", "add"}


def test_blocks_are_one_node_each_and_lose_nothing() -> None:
    (source,) = [block for block in BLOCKS if "def squeeze_excite" in block]
    names: dict[str, Any] = {}
    exec(compile(source, "docs/lrp.md", "exec"), names)
    ledger = names["explained"].ledger
    of_blocks = [i for i, node in enumerate(ledger.nodes) if "/" in node and not node.startswith("dense")]
    assert [ledger.nodes[i].split("/")[0] for i in of_blocks] == ["cell", "excite", "inception"]
    assert abs(ledger.received[of_blocks] - ledger.passed[of_blocks]).max() < 1e-5


def test_the_preset_has_five_lines() -> None:
    lines = [line for line in BLOCKS[1].splitlines() if line.strip()]
    assert len(lines) == 5
    assert "compose(" in lines[3]


def test_commands_and_their_options_exist() -> None:
    commands = [shlex.split(words)[1:] for words in re.findall(r"`(hansaudit [^`]+)`", PAGE)]
    assert commands
    for name, *words in commands:
        command = get_command(app).commands[name]  # type: ignore[attr-defined]
        assert not isinstance(command, typer.core.TyperGroup)
        valid = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= valid


def test_tables_name_every_preset_rule_profile_and_network() -> None:
    presets = section("Presets")
    for info in list_methods():
        for name in (info.name, *info.aliases) if info.family == "lrp" and info.name != "lrp" else ():
            assert f"`{name}`" in presets, name
    for name, value in vars(rules).items():
        if isinstance(value, type) and issubclass(value, Rule) and value is not Rule:
            preset = name in ("Deconvolve", "Guided")  # they are the presets deconvnet and guided_backprop
            assert preset or f"`{name}`" in section("Rules"), name
    for name in PROFILES:
        assert f"| `{name}` |" in section("Profiles")
    for name in zoo.NETWORKS:
        assert f"\n| {name} |" in section("Networks"), name
