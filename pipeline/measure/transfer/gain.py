"""What a window adds to a class, in log odds. Numbers in, numbers out."""

from __future__ import annotations

import numpy as np

RELEVANT = 1.0  # a gain that matters, log odds: a factor of 2.7
FLOOR = 1e-4  # a probability below one in ten thousand is as good as none: no factor of it says anything


def log_odds(p: np.ndarray) -> np.ndarray:
    """``log((p + FLOOR) / (1 - p + FLOOR))`` of probabilities, float64, the same shape."""
    p = np.asarray(p, np.float64)
    return np.log((p + FLOOR) / (1 - p + FLOOR))
