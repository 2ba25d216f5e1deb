"""The windows of a run beside what a reference network makes of the same ones, image by image and by class.

Both networks saw the same pictures (:mod:`pipeline.measure.transfer.again`): same windows, places, recipients
and controls. A window that shows the object, or a colour that belongs to the class, adds to it in both; what
a mark that this network alone has learned adds is left in the difference. It is said and decides nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.measure.transfer.gain import RELEVANT
from pipeline.run.reference import match_classes, read_reference
from pipeline.run.store import Store
from pipeline.run.transfer_parts import AgainParts, TransferParts
from pipeline.statistics.differences import Pairs, measure_change
from pipeline.statistics.pasted import Pasted, read_pasted

_PLACE = ("x", "y", "width", "height", "recipients")  # of a window, in both runs


@dataclass(frozen=True)
class SameWindows:
    """The windows of one class, shown to a reference network as well.

    Attributes:
        n: windows that both were shown, each of one image.
        mean: what they add here beyond what they add there, over windows of other classes, log odds; low,
            high: its 95 % interval; nan with fewer than ``n_min`` windows.
        added: probability of the class that they add there; of_group: those of the group that is named here,
            None where none is.
    """

    n: int
    mean: float
    low: float
    high: float
    added: float
    of_group: float | None


def windows_there(run: Store, reference: Store, method: str) -> pd.DataFrame:
    """A row per image whose window both were shown: ``example_id``, ``window_gain`` and ``window_added`` of
    the reference, mean over the recipients.

    ``method``: key of the one whose maps say where the windows lie. Without rows where ``reference`` was not
    shown those of ``run``.
    """
    own, again = TransferParts(run), AgainParts(reference)
    shared = own.usable().keys() & again.usable().keys()  # a key says of which windows a part is
    here, there = (read_pasted(parts.rows_of(shared), method) for parts in (own, again))
    labels = match_classes(run.manifest["dataset"], reference.manifest["dataset"], here)
    rows = [
        (windows.example_id[i], there[labels[label]].gain[j], there[labels[label]].added[j])
        for label, windows in here.items()
        if labels.get(label) in there
        for i, j in _alike(windows, there[labels[label]])
    ]
    return pd.DataFrame(rows, columns=["example_id", "window_gain", "window_added"])


def _alike(here: Pasted, there: Pasted) -> Iterator[tuple[int, int]]:
    """Places of the windows that are in both: of the same image, at the same place, on as many recipients."""
    places = {example_id: j for j, example_id in enumerate(there.example_id)}
    for i, example_id in enumerate(here.example_id):
        j = places.get(example_id)
        if j is not None and all(getattr(here, name)[i] == getattr(there, name)[j] for name in _PLACE):
            yield i, j


def same_windows(
    store: Store, windows: Mapping[int, Pasted], groups: Mapping[int, Collection[str]], n_min: int
) -> dict[int, SameWindows]:
    """By label what the reference of the run makes of its ``windows``, of the classes of which it was shown
    some; ``groups``: by label the images of the group that is named.

    Raises:
        InputError: what is stored of the reference cannot be used.
    """
    stored = read_reference(store)
    if stored is None:
        return {}
    frame = stored[1].select(["example_id", "window_gain", "window_added"]).to_pandas()
    there = frame.dropna(subset=["window_gain"]).set_index("example_id")
    both = {label: _beside(own, there) for label, own in windows.items()}
    both = {label: rows for label, rows in sorted(both.items()) if len(rows)}
    if not both:
        return {}
    changes = np.concatenate([rows["change"].to_numpy(float) for rows in both.values()])
    label = np.repeat(list(both), [len(rows) for rows in both.values()])
    measured = measure_change(Pairs(label, changes, RELEVANT, 1), n_min)
    return {
        k: SameWindows(
            n=len(rows),
            mean=float(measured.mean[i]),
            low=float(measured.low[i]),
            high=float(measured.high[i]),
            added=float(rows["window_added"].mean()),
            of_group=_mean_of(rows, groups.get(k, ())),
        )
        for i, (k, rows) in enumerate(both.items())
    }


def _beside(own: Pasted, there: pd.DataFrame) -> pd.DataFrame:
    """Per image whose window both were shown: ``change`` of the gain, ``window_added`` of the reference."""
    here = pd.DataFrame({"gain": own.gain}, index=list(own.example_id)).join(there, how="inner")
    return here.assign(change=here["gain"] - here["window_gain"])


def _mean_of(rows: pd.DataFrame, ids: Collection[str]) -> float | None:
    chosen = rows.loc[rows.index.isin(list(ids)), "window_added"]
    return float(chosen.mean()) if len(chosen) else None
