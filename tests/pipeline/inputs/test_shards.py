"""A split is cut into shards without gap or overlap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.inputs.shards import plan_shards


@given(n=st.integers(0, 5000), size=st.integers(1, 700))
def test_shards_cover_the_split_once_and_in_order(n: int, size: int) -> None:
    shards = plan_shards("d", "validation", n, size)
    assert [i for s in shards for i in range(s.start, s.stop)] == list(range(n))
    assert all(0 < len(s) <= size for s in shards)
    assert sorted(s.key for s in shards) == [s.key for s in shards]
    assert len({s.key for s in shards}) == len(shards)


def test_the_key_names_the_range() -> None:
    assert plan_shards("d", "test", 300, 128)[1].key == "test-000000128-000000256"


@pytest.mark.parametrize(("n", "size"), [(-1, 10), (10, 0)])
def test_impossible_plans_are_refused(n: int, size: int) -> None:
    with pytest.raises(InputError, match=f"n={n}, size={size}"):
        plan_shards("d", "s", n, size)
