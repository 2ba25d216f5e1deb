"""What the pasted windows of a class are: a group of like ones that carries it, how often, and from where.

Groups are made of what windows add to the network's features (:mod:`pipeline.measure.transfer.groups`), never
of what they add to the class, so a group's gain is not what it was made for. Of several groups the one is
named whose gain has the highest lower limit; its intervals allow for as many looks (Bonferroni).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats

from pipeline.measure.transfer.gain import RELEVANT, log_odds
from pipeline.statistics.arrays import Floats
from pipeline.statistics.pasted import Pasted
from pipeline.statistics.resampling import PRIOR_DF, class_variances
from pipeline.statistics.samples import LEVEL
from pipeline.verdicts import Holds

FEWEST = 3  # windows that a group must have to be named, and a place to be judged
AGREED = 0.6  # share of its windows that must agree on something for it to be said of the group
ALSO_RELEVANT = 0.05  # rise of another class's probability that is worth a word


@dataclass(frozen=True)
class Look:
    """What one window of a group looks like.

    Attributes:
        x, y, width, height: pixel of the model's input: of the part that repeats, else of the window.
        repeats: whether there is such a part in it.
        colours: (red, green, blue) and the share of the pixels, the largest share first.
    """

    x: int
    y: int
    width: int
    height: int
    repeats: bool
    colours: tuple[tuple[tuple[int, int, int], float], ...]


@dataclass(frozen=True)
class WindowGroup:
    """The group of like windows of a class that carries it most.

    Attributes:
        n: its windows, each of one image; of: windows of the class; share: n / of; share_low, share_high:
            95 % interval of the share among the class's images (Clopper and Pearson 1934).
        ids: of its images; pictures: pairs of a window and a recipient.
        gain: mean gain over windows of other classes, log odds; low, high: 95 % interval.
        added: probability of the class that its windows add to other images.
        looks: of each window.
        also: other class whose probability rises most, where most windows agree on it and it matters;
            also_added: by how much; also_n: for how many windows it is this class.
    """

    n: int
    of: int
    share: float
    share_low: float
    share_high: float
    ids: tuple[str, ...]
    pictures: int
    gain: float
    low: float
    high: float
    added: float
    looks: tuple[Look, ...]
    also: int | None
    also_added: float
    also_n: int


@dataclass(frozen=True)
class Moved:
    """What the best windows of a class add at other places of other pictures, mean over n windows, log odds.

    Attributes:
        own: at their own place, on the same pictures; elsewhere: at others; low, high: its 95 % interval.
    """

    n: int
    own: float
    elsewhere: float
    low: float
    high: float
    holds: Holds


def best_groups(rows: pd.DataFrame, pasted: Mapping[int, Pasted]) -> dict[int, WindowGroup]:
    """Label -> the group that carries it most, of the classes that have one of :data:`FEWEST` windows.

    ``rows``: of the table ``pasted_windows``; ``pasted``: what the network said to these windows.
    """
    known = rows.set_index("example_id")
    members: list[tuple[int, pd.DataFrame, np.ndarray]] = []
    for label, own in pasted.items():
        here = np.flatnonzero([i in known.index for i in own.example_id])
        of_class = known.loc[[own.example_id[i] for i in here]]
        for group in sorted(set(of_class["group"])):
            chosen = (of_class["group"] == group).to_numpy()
            if chosen.sum() >= FEWEST:
                members.append((label, of_class[chosen], here[chosen]))
    if not members:
        return {}
    gains = [pasted[label].gain[at] for label, _, at in members]
    spread = _errors(gains)
    tried = Counter(label for label, _, _ in members)
    best: dict[int, WindowGroup] = {}
    for (label, of_group, at), gain, error in zip(members, gains, spread, strict=True):
        half = stats.t.ppf(1 - LEVEL / 2 / tried[label], PRIOR_DF + len(gain) - 1) * error
        made = _group(pasted[label], of_group, at, (float(gain.mean()), float(half)), tried[label])
        if label not in best or made.low > best[label].low:
            best[label] = made
    return best


def _errors(gains: Sequence[Floats]) -> Floats:
    """Standard errors of the means, of moderated variances."""
    n = np.array([len(of_one) for of_one in gains])
    variance = class_variances(np.concatenate(gains), np.concatenate([[0], np.cumsum(n)]))
    return np.asarray(np.sqrt(variance / n))


def _group(
    own: Pasted, rows: pd.DataFrame, at: np.ndarray, gain: tuple[float, float], tried: int
) -> WindowGroup:
    n, (low, high) = len(at), share_limits(len(at), own.n, LEVEL / tried)
    also, also_added, also_n = _also(rows)
    mean, half = gain
    return WindowGroup(
        n=n,
        of=own.n,
        share=n / own.n,
        share_low=low,
        share_high=high,
        ids=tuple(rows.index),
        pictures=int(own.recipients[at].sum()),
        gain=mean,
        low=mean - half,
        high=mean + half,
        added=float(own.added[at].mean()),
        looks=tuple(_look(row, own, i) for row, i in zip(rows.to_dict("records"), at.tolist(), strict=True)),
        also=also,
        also_added=also_added,
        also_n=also_n,
    )


def share_limits(count: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a share by Clopper and Pearson (1934)."""
    low = float(stats.beta.ppf(level / 2, count, n - count + 1)) if count else 0.0
    high = float(stats.beta.ppf(1 - level / 2, count + 1, n - count)) if count < n else 1.0
    return low, high


def _look(row: Mapping[Any, Any], own: Pasted, i: int) -> Look:
    repeats = bool(pd.notna(row["mark_x"]))
    sides = (row["mark_x"], row["mark_y"], row["mark_width"], row["mark_height"])
    window = (own.x[i], own.y[i], own.width[i], own.height[i])
    x, y, width, height = (int(side) for side in (sides if repeats else window))
    colours = tuple(((c["red"], c["green"], c["blue"]), float(c["share"])) for c in row["colours"])
    return Look(x, y, width, height, repeats, colours)


def _also(rows: pd.DataFrame) -> tuple[int | None, float, int]:
    """The other class that most windows raise most, by how much in the mean, and how many do."""
    label, count = Counter(rows["also"].tolist()).most_common(1)[0]
    added = float(rows.loc[rows["also"] == label, "also_added"].mean())
    if count < max(FEWEST, AGREED * len(rows)) or added < ALSO_RELEVANT:
        return None, float("nan"), 0
    return int(label), added, count


def moved_windows(rows: pd.DataFrame) -> dict[int, Moved]:
    """Label -> what its best windows add elsewhere, of the classes of which :data:`FEWEST` were asked.

    They carry it *anywhere* iff the lower limit of the mean gain elsewhere exceeds ``RELEVANT``; it is *their
    place* iff its upper limit lies below that, and the gain there exceeds the one elsewhere (lower limit of
    the difference above 0). Both intervals at half the level.
    """
    values: dict[int, list[tuple[float, float]]] = {}
    for label, places in zip(rows["label"], rows["places"], strict=True):
        gains = [_gain(place) for place in (places if places is not None else ())]
        if len(gains) > 1:  # its own place comes first
            values.setdefault(int(label), []).append((gains[0], float(np.mean(gains[1:]))))
    asked = {label: np.array(pairs) for label, pairs in sorted(values.items()) if len(pairs) >= FEWEST}
    if not asked:
        return {}
    elsewhere = [pairs[:, 1] for pairs in asked.values()]
    lost = [pairs[:, 0] - pairs[:, 1] for pairs in asked.values()]
    errors = zip(_errors(elsewhere).tolist(), _errors(lost).tolist(), strict=True)
    return {
        label: _moved(pairs, error, error_lost)
        for (label, pairs), (error, error_lost) in zip(asked.items(), errors, strict=True)
    }


def _gain(place: Mapping[str, float]) -> float:
    own, control = log_odds(np.array([place["probability"], place["control"]]))
    return float(own - control)


def _moved(pairs: Floats, error: float, error_lost: float) -> Moved:
    own, elsewhere = pairs.mean(axis=0).tolist()
    t = float(stats.t.ppf(1 - LEVEL / 4, PRIOR_DF + len(pairs) - 1))
    low, high = elsewhere - t * error, elsewhere + t * error
    holds = Holds.UNDECIDED
    if low > RELEVANT:
        holds = Holds.ANYWHERE
    elif high < RELEVANT and own - elsewhere > t * error_lost:
        holds = Holds.ITS_PLACE
    return Moved(len(pairs), own, elsewhere, low, high, holds)


def read_rows(table: pa.Table, method: str) -> pd.DataFrame:
    """Rows of the table ``pasted_windows`` of ``method``."""
    rows = table.to_pandas()
    return rows[rows["method"].astype(str) == method]
