"""One verdict per class, from all that is known of it: its heat maps, and what editing its images showed.

========================  ======================================  ==========================================
edited images \\\\ maps     suspicious or unfocused, and the maps   anything else
                          passed their sanity check
========================  ======================================  ==========================================
depends                   confirmed                               confirmed, though the maps do not show it
rim, undecided            rim: undecided; undecided: suspected    undecided
independent               cleared                                 unremarkable
not edited                suspected                               unremarkable if the maps say so, else
                                                                  undecided
========================  ======================================  ==========================================

Only the edits can confirm or clear. Maps that failed their sanity check speak neither for nor against a
class: without edits it is undecided.
"""

from __future__ import annotations

from typing import Final

import pandas as pd

from pipeline.columns import RANKING
from pipeline.verdicts import SUSPECT, MapVerdict, Tested, Verdict

# columns of the ranking that the edited images fill
EFFECTS: Final = (
    "tested",
    "n_edited",
    "effect",
    "effect_shrunk",
    "effect_low",
    "effect_high",
    "q_effect",
    "sufficiency",
    "necessity",
    "background_gap",
)
_DTYPES: Final = {"text": "object", "integer": "Int64", "number": "float64"}


def verdict(maps: MapVerdict, tested: Tested | None, maps_hold: bool = True) -> Verdict:
    """What is said of a class.

    ``maps``: what its heat maps say; ``maps_hold``: their method did not fail its sanity check; ``tested``:
    what editing its images showed, None where none were edited.
    """
    suspect = maps_hold and maps in SUSPECT
    if tested is None:
        unremarkable = maps_hold and maps == MapVerdict.UNREMARKABLE
        return Verdict.SUSPECTED if suspect else Verdict.UNREMARKABLE if unremarkable else Verdict.UNDECIDED
    return {
        Tested.DEPENDS: Verdict.CONFIRMED,
        Tested.RIM: Verdict.UNDECIDED,
        Tested.UNDECIDED: Verdict.SUSPECTED if suspect else Verdict.UNDECIDED,
        Tested.INDEPENDENT: Verdict.CLEARED if suspect else Verdict.UNREMARKABLE,
    }[tested]


def add_verdicts(table: pd.DataFrame, maps_hold: bool) -> None:
    """Give ``table``, which has a ``map_verdict``, the columns of the edits and the verdict of all."""
    for name in EFFECTS:
        table[name] = pd.Series([None] * len(table), table.index, _DTYPES[RANKING[name].kind])
    table["verdict"] = [verdict(MapVerdict(maps), None, maps_hold) for maps in table["map_verdict"]]


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Rows by verdict, worst first; inside it by what the edits show, then by what the maps show."""
    order = table["verdict"].map(list(Verdict).index)
    by = ["order", "effect_order", "adjusted_lift", "adjusted_lift_raw", "label"]
    effect = -table["effect_shrunk"].astype(float)
    rows = table.assign(order=order, effect_order=effect).sort_values(by, kind="stable")
    return rows.drop(columns=["order", "effect_order"]).reset_index(drop=True)
