"""How a run folder is laid out is said in ``pipeline/run`` and nowhere else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.run import folder

ROOT = Path(__file__).parents[3]
NAMES = {value for name, value in vars(folder).items() if name.isupper() and isinstance(value, str)}
# tables and words that help texts use
DOCUMENTS = NAMES - {folder.COMMIT, folder.REPORT, folder.EDITED, folder.TRANSFER}
LAYOUT = re.compile("|".join(map(re.escape, sorted(DOCUMENTS))) + r"|\bpart-\{|\bpart-$|\.parquet")


def literals(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The strings of a module that are no docstrings, with their lines."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, documented)]
    docstrings = {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


@pytest.mark.parametrize("package", ["pipeline", "reports", "flows", "explainers"])
def test_no_other_module_names_a_file_of_a_run(package: str):
    sources = [p for p in (ROOT / package).rglob("*.py") if ROOT / "pipeline" / "run" not in p.parents]
    assert sources
    told = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for path in sources
        for line, text in literals(ast.parse(path.read_text(encoding="utf-8")))
        if LAYOUT.search(text)
    ]
    assert told == []


def test_the_search_finds_what_it_is_for():
    source = 'def f(key):\n    "reads ranking.json"\n    return f"part-{key}.parquet", "x/confirm.json"\n'
    told = sorted(text for _, text in literals(ast.parse(source)) if LAYOUT.search(text))
    assert told == [".parquet", "part-", "x/confirm.json"]
