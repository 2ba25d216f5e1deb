"""What maps and pasted windows say of a class together: the mean of its ranks among the classes of the run.

The two know different things: maps see where the network looks, windows what carries the class elsewhere.
Ranks need no common unit, and none of the two outweighs the other.
"""

from __future__ import annotations

import pandas as pd


def combined_evidence(table: pd.DataFrame, maps_hold: bool) -> pd.Series:
    """Mean of the ranks of every row of ``table`` (a class each), in [0, 1], 1 where everything is worst.

    Of the lowest ``adjusted_lift``, unless the maps failed their check (not ``maps_hold``), and the highest
    ``transfer``: ``(rank - 1/2) / n`` among the n classes for which it is defined. Of a class for which one
    is defined it is that one; nan where none is.
    """
    accusing = {"transfer": table["transfer"]}
    if maps_hold:
        accusing["adjusted_lift"] = -table["adjusted_lift"]
    ranks = [(values.rank() - 0.5) / max(1, values.count()) for values in accusing.values()]
    return pd.concat(ranks, axis=1).mean(axis=1)
