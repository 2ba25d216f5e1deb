"""Which class a word means: names first, places only where no class is called by a number."""

from __future__ import annotations

import pytest

from pipeline.errors import InputError
from pipeline.inputs.card import ModelCard
from pipeline.inputs.classes import find_class
from pipeline.measure.explain import find_output

NUMBERED = tuple(sorted(str(i) for i in range(12)))  # as folders sort: 0, 1, 10, 11, 2 ...


def test_a_class_that_is_called_by_a_number_is_found_by_it() -> None:
    for position, name in enumerate(NUMBERED):
        assert find_class(name, NUMBERED) == position
    with pytest.raises(InputError, match="class '12': there is no such class"):
        find_class("12", NUMBERED)


def test_a_target_is_a_name_before_it_is_a_place() -> None:
    card = ModelCard(height=8, width=8, resize="stretch", classes=12, class_names=NUMBERED)
    assert find_output(card, "10", 12) == 2
    assert find_output(ModelCard(height=8, width=8, resize="stretch", classes=12), "10", 12) == 10


def test_a_place_counts_where_no_class_is_a_number() -> None:
    assert find_class("1", ("cat", "dog")) == 1
    with pytest.raises(InputError, match=r"or give an index 0\.\.1"):
        find_class("2", ("cat", "dog"))
