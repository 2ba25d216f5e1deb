"""What maps and pasted windows say of a class together: the mean of its ranks among the classes of the run.

The two know different things: maps see where the network looks, windows what carries the class elsewhere.
Ranks need no common unit, and none of the two outweighs the other. A reference network is a third that knows
what belongs to the pictures: it weighs as much as both. Of maps the lowest quarter of a class's images is
asked: what is on a part of them is hidden in the mean of all.
"""

from __future__ import annotations

import pandas as pd


def combined_evidence(table: pd.DataFrame, maps_hold: bool) -> pd.Series:
    """Mean of the ranks of every row of ``table`` (a class each), in [0, 1], 1 where everything is worst.

    Of the lowest ``adjusted_lift_lower``, unless the maps failed their check (not ``maps_hold``), and the
    highest ``transfer``: ``(rank - 1/2) / n`` among the n classes for which it is defined. Of a class for
    which one is defined it is that one; nan where none is. Then the mean of that and the rank of the lowest
    ``reference_lift_lower``, in the same way.
    """
    if not maps_hold:
        return _place(table["transfer"])
    own = _mean(_place(-table["adjusted_lift_lower"]), _place(table["transfer"]))
    return _mean(own, _place(-table["reference_lift_lower"]))


def _place(values: pd.Series) -> pd.Series:
    return (values.rank() - 0.5) / max(1, values.count())


def _mean(one: pd.Series, other: pd.Series) -> pd.Series:
    """Of those that are defined."""
    return pd.concat([one, other], axis=1).mean(axis=1)
