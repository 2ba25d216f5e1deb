"""What the network said to the pasted windows of every class, one value per window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.measure.transfer.gain import log_odds
from pipeline.statistics.arrays import Flags, Floats, Ints
from pipeline.terms import Window


@dataclass(frozen=True)
class Pasted:
    """The windows of one class, n of them, sorted by their image's id; means over the recipients.

    Attributes:
        gain: log odds of the class with the window minus those with one of another class, on the same
            recipient at the same place.
        added, control_added: probability of the class with the window, and with the other one, minus that of
            the recipient as it is; odds, control_odds: the same of the log odds.
        recipients: onto how many pictures; beside: it lies beside a box.
        x, y, width, height: where it lies, pixel of the model's input.
    """

    example_id: tuple[str, ...]
    gain: Floats
    added: Floats
    control_added: Floats
    odds: Floats
    control_odds: Floats
    recipients: Ints
    beside: Flags
    x: Ints
    y: Ints
    width: Ints
    height: Ints

    @property
    def n(self) -> int:
        """Windows."""
        return len(self.example_id)


def read_pasted(table: pa.Table, method: str, window: Window = Window.RELEVANT) -> dict[int, Pasted]:
    """Label -> its windows of one kind, from rows of the table ``transfer`` of ``method``, in any order."""
    rows = table.drop_columns(["picture", "relevance"]).to_pandas()
    rows = rows[(rows["method"].astype(str) == method) & (rows["window"].astype(str) == window)]
    before, own, control = (log_odds(rows[name].to_numpy()) for name in ("before", "probability", "control"))
    rows = rows.assign(
        gain=own - control,
        odds=own - before,
        control_odds=control - before,
        added=rows["probability"].astype(float) - rows["before"].astype(float),
        control_added=rows["control"].astype(float) - rows["before"].astype(float),
        recipients=1,
    )
    means = ("gain", "odds", "control_odds", "added", "control_added")
    firsts = ("beside", "x", "y", "width", "height")
    how = dict.fromkeys(means, "mean") | dict.fromkeys(firsts, "first") | {"recipients": "sum"}
    # at another place a picture lends several windows: they are one value of it
    of_each = rows.groupby(["label", "example_id"], sort=True).agg(how).reset_index()
    return {int(label): _pasted(of_class) for label, of_class in of_each.groupby("label", sort=True)}


def _pasted(rows: pd.DataFrame) -> Pasted:
    numbers = {name: rows[name].to_numpy(float) for name in ("gain", "odds", "control_odds")}
    numbers |= {name: rows[name].to_numpy(float) for name in ("added", "control_added")}
    counts = {name: rows[name].to_numpy(np.int64) for name in ("recipients", "x", "y", "width", "height")}
    return Pasted(
        example_id=tuple(rows["example_id"]), beside=rows["beside"].to_numpy(bool), **numbers, **counts
    )
