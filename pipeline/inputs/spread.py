"""A few positions from all over a dataset."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from pipeline.seeds import Purpose


def spread(
    n: int, images: int, purpose: Purpose = Purpose.PREFLIGHT_SAMPLE, seed: int = 0
) -> tuple[int, ...]:
    """Ascending positions: one at random of each of ``images`` equal stretches of ``n``; all if fewer.

    Examples are often sorted by class: the first ones would be of one class, a plain draw would miss some.
    """
    if n <= images:
        return tuple(range(n))
    edges = np.linspace(0, n, images + 1).astype(int)
    rng = purpose.rng(seed)
    return tuple(int(rng.integers(a, b)) for a, b in pairwise(edges))
