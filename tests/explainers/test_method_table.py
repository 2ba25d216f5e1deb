"""docs/methods.md holds the registry as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from explainers import list_methods
from flows.method_table import markdown, rewritten

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def test_the_page_is_up_to_date() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert rewritten(text) == text, "python -m flows.method_table docs/methods.md"


def test_every_method_says_where_it_is_from_and_what_it_costs() -> None:
    for one in list_methods():
        assert one.paper, one.name
        assert "forward" in one.cost, one.name
        assert f"`{one.name}`" in markdown()


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        rewritten("# Methods\n")
