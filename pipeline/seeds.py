"""Random numbers that depend on (run seed, example, purpose) and on nothing else.

Shard size, order of the images and number of workers therefore change no result, and two purposes (the fill
of a region, the order of ties) never share their numbers.
"""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, example_id: str, purpose: str) -> np.random.Generator:
    """The generator of one example and purpose."""
    return np.random.default_rng([seed, stable_hash(f"{purpose}\0{example_id}")])


def stable_hash(text: str) -> int:
    """64 bits of BLAKE2b: the same in every process, unlike ``hash``."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
