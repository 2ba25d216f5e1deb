"""One owner of the verdicts: no other module spells one, and what is stored stays what it was."""

import ast
import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.verdicts import InterventionVerdict, MapVerdict, Tested, Verdict

ROOT = Path(__file__).parents[2]
OWNER = ROOT / "pipeline" / "verdicts.py"
SOURCES = [
    path
    for package in ("pipeline", "reports", "flows")  # explainers knows no verdict
    for path in sorted((ROOT / package).rglob("*.py"))
    if path != OWNER
]


def spelled(tree: ast.AST, names: set[str]) -> list[str]:
    """The string constants of a module that are in ``names``, with their lines."""
    return [
        f"line {node.lineno}: {node.value!r}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names
    ]


def test_no_module_but_the_owner_spells_a_verdict():
    names = {*Verdict, *MapVerdict, *Tested, *InterventionVerdict}
    assert spelled(ast.parse('if v == "clean": w = {"hidden": 1}'), names) != []
    left = {
        str(p.relative_to(ROOT)): spelled(ast.parse(p.read_text(encoding="utf-8")), names) for p in SOURCES
    }
    assert len(left) > 80
    assert {path: lines for path, lines in left.items() if lines} == {}


def test_stored_names_and_their_order():
    # ranking.csv, confirm.json and every policy in use hold these words
    assert list(Verdict) == ["confirmed", "suspected", "undecided", "cleared", "unremarkable"]
    assert list(Tested) == ["depends", "rim", "undecided", "independent"]
    assert list(MapVerdict) == ["suspicious", "unfocused", "undecided", "unremarkable"]
    assert list(InterventionVerdict) == ["confirmed", "hidden", "attribution_only", "undecided", "clean"]


def test_a_verdict_is_stored_as_its_name():
    verdict = InterventionVerdict.ATTRIBUTION_ONLY
    assert json.loads(json.dumps({verdict: verdict})) == {"attribution_only": "attribution_only"}
    assert pd.DataFrame({"v": [verdict]}).to_csv(index=False, lineterminator="\n") == "v\nattribution_only\n"
    assert f"{verdict} {verdict.words}" == "attribution_only attribution only"


@pytest.mark.parametrize("verdict", [*Verdict, *MapVerdict, *Tested, *InterventionVerdict])
def test_meanings_are_clauses(verdict):
    assert verdict.meaning[0].islower()
    assert not verdict.meaning.endswith(".")
