"""How a split is cut into shards: one shard is one task and one part per table. Pure, no framework."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.errors import InputError

_KEY = re.compile(r"(?P<split>.*)-(?P<start>\d{9,})-(?P<stop>\d{9,})", re.DOTALL)


@dataclass(frozen=True)
class Shard:
    """The examples ``start <= index < stop`` of one split."""

    dataset: str
    split: str
    start: int
    stop: int
    key: str

    def __len__(self) -> int:
        return self.stop - self.start


def plan_shards(dataset: str, split: str, n: int, size: int) -> tuple[Shard, ...]:
    """Cut ``n`` examples into consecutive shards of ``size`` (the last one may be smaller).

    The key, ``validation-000000000-000000128``, sorts like the range that it names.

    Raises :class:`InputError` when ``n`` is negative or ``size`` is less than 1.
    """
    if n < 0 or size < 1:
        raise InputError(f"shards of {dataset}: received n={n}, size={size}; valid are n >= 0 and size >= 1")
    return tuple(
        Shard(dataset, split, start, stop, f"{split}-{start:09d}-{stop:09d}")
        for start in range(0, n, size)
        for stop in (min(start + size, n),)
    )


def parse_key(dataset: str, key: str) -> Shard:
    """The shard of ``dataset`` that a key of :func:`plan_shards` names.

    Raises :class:`InputError` when the key names no range.

    >>> len(parse_key("voc", "validation-000000000-000000128"))
    128
    """
    parts = _KEY.fullmatch(key)
    if parts is None or int(parts["start"]) >= int(parts["stop"]):
        raise InputError(
            f"shard key {key!r}: names no range of images; valid: split, first and end, such as "
            "validation-000000000-000000128"
        )
    return Shard(dataset, parts["split"], int(parts["start"]), int(parts["stop"]), key)
