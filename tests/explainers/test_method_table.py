"""docs/methods.md and the README hold the registry as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from explainers import list_methods
from flows.method_table import markdown, rewritten, short

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["docs/methods.md", "README.md"])
def test_the_pages_are_up_to_date(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert rewritten(text) == text, f"python -m flows.method_table {page}"


def test_every_method_says_where_it_is_from_and_what_it_costs() -> None:
    for one in list_methods():
        assert one.paper, one.name
        assert "forward" in one.cost, one.name
        assert f"`{one.name}`" in markdown()
        assert f"`{one.name}`" in short()


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        rewritten("# Methods\n")
