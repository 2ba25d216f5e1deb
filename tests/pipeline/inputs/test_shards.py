"""A split is cut into shards without gap or overlap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.inputs.shards import parse_key, plan_shards


@given(n=st.integers(0, 5000), size=st.integers(1, 700))
def test_shards_cover_the_split_once_and_in_order(n: int, size: int) -> None:
    shards = plan_shards("d", "validation", n, size)
    assert [i for s in shards for i in range(s.start, s.stop)] == list(range(n))
    assert all(0 < len(s) <= size for s in shards)
    assert sorted(s.key for s in shards) == [s.key for s in shards]
    assert len({s.key for s in shards}) == len(shards)


def test_the_key_names_the_range() -> None:
    assert plan_shards("d", "test", 300, 128)[1].key == "test-000000128-000000256"


@given(
    split=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    n=st.integers(1, 3000) | st.integers(10**9, 10**11),
    share=st.floats(0.01, 1),
)
def test_a_key_is_read_back_as_the_shard_that_it_was_made_for(split: str, n: int, share: float) -> None:
    shards = plan_shards("d", split, n, max(1, int(share * n)))
    assert tuple(parse_key("d", shard.key) for shard in shards) == shards


def test_a_split_with_numbers_is_no_range() -> None:
    shard = parse_key("d", "fold-000000001-000000002-000000003-000000007")
    assert (shard.split, shard.start, shard.stop) == ("fold-000000001-000000002", 3, 7)


@pytest.mark.parametrize("key", ["", "validation", "validation-3-7", "validation-000000007-000000007"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(InputError, match="names no range of images"):
        parse_key("d", key)


@pytest.mark.parametrize(("n", "size"), [(-1, 10), (10, 0)])
def test_impossible_plans_are_refused(n: int, size: int) -> None:
    with pytest.raises(InputError, match=f"n={n}, size={size}"):
        plan_shards("d", "s", n, size)
