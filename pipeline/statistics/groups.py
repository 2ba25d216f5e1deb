"""How the network fares in each group of the images: accuracy, lift and effects per class and group.

The lowest accuracy of all classes and groups is the *worst-group accuracy* (Sagawa et al. 2020,
arXiv:1911.08731). It is the least of many noisy shares, so it is low even where no group differs; whether the
groups of a class differ is therefore tested beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.config_sections import RankingConfig
from pipeline.measure.agreement import wilson
from pipeline.run.documents import Estimate, GroupRow, GroupsDocument
from pipeline.run.edited_parts import read_edited
from pipeline.run.store import Store
from pipeline.seeds import Purpose
from pipeline.statistics.answers import effects_of, read_answers
from pipeline.statistics.arrays import Floats, Ints
from pipeline.statistics.frames import of_images
from pipeline.statistics.ranking import Ranking
from pipeline.statistics.resampling import bca_intervals, discovery_rates
from pipeline.statistics.samples import DECIDING

MOST_GROUPS: Final = 1000
_EACH: Final = 3  # images per group below which more than `_FEW` groups say nothing
_FEW: Final = 20
_COLUMNS = ("index", "label", "group", "correct")


def group_statistics(
    store: Store, ranking: Ranking, effects: pd.DataFrame | None = None
) -> GroupsDocument | None:
    """The figures of the run's groups; None where the dataset says none.

    ``effects``: of the interventions, a row per edited image (index: ``example_id``), a column per effect.
    """
    images = _read(store, ranking, effects)
    if images is None:
        return None
    known = images["group"].dropna()
    n_groups, settings, manifest = known.nunique(), ranking.settings, store.manifest
    rows: tuple[GroupRow, ...] = ()
    overall: tuple[GroupRow, ...] = ()
    if not looks_like_id(n_groups, len(known)):
        counted = images[(images["label"] >= 0) & images["correct"].notna()]
        rows = class_rows(counted, settings, manifest["dataset"].get("class_names") or [])
        overall = _rows(counted.assign(label=-1), settings)
    document = GroupsDocument(
        run_id=ranking.run_id,
        shards=ranking.shards,
        source=manifest["config"]["dataset"].get("group") or "group",
        n_groups=n_groups,
        n_unknown=len(images) - len(known),
        n_min=settings.n_min,
        method=ranking.method,
        note=_note(n_groups, len(known)),
        rows=rows,
        overall=overall,
        mean_accuracy=None,
    )
    shares = [r.accuracy.mean for r in document.counted if r.accuracy.mean is not None]
    return replace(document, mean_accuracy=float(np.mean(shares)) if shares else None)


def image_effects(store: Store) -> pd.DataFrame | None:
    """The deciding effects of every edited image (index: ``example_id``); None where none were edited.

    Raises :class:`InputError` for a part of the table that cannot be used.
    """
    table = read_edited(store)
    if table is None:
        return None
    pieces = []
    for answers in read_answers(table, len(store.manifest["dataset"]["class_names"])).values():
        effects = effects_of(answers)
        chosen = {name: effects[name] for name in DECIDING}
        pieces.append(pd.DataFrame(chosen, index=list(answers.example_id)))
    return pd.concat(pieces)


def looks_like_id(groups: int, images: int) -> bool:
    """Whether so many different names over so many images are no groups, but say which image it is."""
    return groups > MOST_GROUPS or (groups > _FEW and images < _EACH * groups)


def _note(groups: int, images: int) -> str | None:
    if looks_like_id(groups, images):
        return (
            f"{groups:,} different groups over {images:,} images: that looks like an id, not like a place or "
            f"a camera, so there are no figures per group; name a column with at most {MOST_GROUPS:,} "
            f"different values and {_EACH} images or more of each"
        )
    return "all images are of one group: there is nothing to compare" if groups == 1 else None


def _read(store: Store, ranking: Ranking, effects: pd.DataFrame | None) -> pd.DataFrame | None:
    """A row per image: label, group, correct (0, 1, nan), lift (nan where the ranking has none), effects.

    None where no image has a group.
    """
    images = store.read("examples", _COLUMNS if effects is None else ("example_id", *_COLUMNS))
    if images["group"].null_count == len(images):
        return None
    group = images["group"].to_pandas()
    table = pd.DataFrame(
        {
            "label": images["label"].to_numpy(),
            "group": group.astype(object).where(group.notna(), None),
            "correct": images["correct"].cast(pa.float64()).fill_null(np.nan).to_numpy(),
            "lift": ranking.adjusted_lift(images["index"].to_numpy()),
        }
    )
    if effects is None:
        return table
    ids = images["example_id"]
    return table.assign(**{str(name): of_images(ids, effects[name]) for name in effects.columns})


def class_rows(
    images: pd.DataFrame, settings: RankingConfig, class_names: Sequence[str]
) -> tuple[GroupRow, ...]:
    """Rows per class and group, lowest accuracy first, with the test of each class.

    ``images``: label, group, correct, lift, and a column per effect.
    """
    rows = _rows(images, settings)
    labels = sorted({row.label for row in rows if row.label is not None})
    p = np.array([_class_p(rows, label, settings) for label in labels])
    q = discovery_rates(p, np.isfinite(p), settings.fdr)
    at = {label: i for i, label in enumerate(labels)}
    return tuple(
        replace(
            row,
            class_name=class_names[row.label] if row.label < len(class_names) else f"class {row.label}",
            p=_given(p[at[row.label]]),
            q=_given(q[at[row.label]]),
        )
        for row in rows
        if row.label is not None
    )


def _rows(images: pd.DataFrame, settings: RankingConfig) -> tuple[GroupRow, ...]:
    """Rows per label and group, in order; label -1 stands for all classes."""
    if images.empty:
        return ()
    code, known = pd.factorize(images["group"], sort=True)  # -1 where unknown
    keys = np.stack([images["label"].to_numpy(np.int64), code.astype(np.int64)], axis=1)
    pairs, cell = np.unique(keys, axis=0, return_inverse=True)
    cell = cell.reshape(-1).astype(np.int64)
    n = np.bincount(cell)
    right = np.bincount(cell, images["correct"].to_numpy(float)).astype(np.int64)
    names = [str(name) for name in images.columns[3:]]
    means = {name: cell_means(images[name].to_numpy(float), cell, len(n), settings) for name in names}
    rows = [
        GroupRow(
            label=None if label < 0 else label,
            class_name=None,
            group=None if group < 0 else str(known[group]),
            n_correct=int(right[i]),
            accuracy=_accuracy(int(right[i]), int(n[i]), settings.n_min),
            lift=means["lift"][i],
            effects={name: means[name][i] for name in names if name != "lift"},
            p=None,
            q=None,
        )
        for i, (label, group) in enumerate(pairs.tolist())
    ]
    return tuple(sorted(rows, key=lambda row: _place(row, settings.n_min)))


def _place(row: GroupRow, n_min: int) -> tuple[bool, bool, float, int]:
    accuracy = row.accuracy.mean
    assert accuracy is not None
    return row.group is None, row.accuracy.n < n_min, accuracy, -row.accuracy.n


def _accuracy(right: int, n: int, n_min: int) -> Estimate:
    low, high = wilson(right, n) if n >= n_min else (None, None)
    return Estimate(n, right / n, low, high)


def cell_means(values: Floats, cell: Ints, cells: int, settings: RankingConfig) -> list[Estimate]:
    """Mean of the finite ``values`` (n,) in each of the ``cells``, BCa interval from ``n_min`` values on."""
    order = np.flatnonzero(np.isfinite(values))
    order = order[np.argsort(cell[order], kind="stable")]
    values, cell = values[order], cell[order]
    n = np.bincount(cell, minlength=cells)
    low, high = np.full(cells, np.nan), np.full(cells, np.nan)
    enough = n >= max(settings.n_min, 2)
    if enough.any():
        bounds = np.concatenate([[0], np.cumsum(n[enough])])
        rows = values[enough[cell]]
        low[enough], high[enough] = bca_intervals(rows, bounds, settings.draws, settings.seed, settings.level)
    total = np.bincount(cell, values, minlength=cells)
    return [
        Estimate(int(n[i]), float(total[i] / n[i]) if n[i] else None, _given(low[i]), _given(high[i]))
        for i in range(cells)
    ]


def _class_p(rows: Sequence[GroupRow], label: int, settings: RankingConfig) -> float:
    known = [row for row in rows if row.label == label and row.group is not None]
    right = np.array([row.n_correct for row in known], dtype=np.int64)
    n = np.array([row.accuracy.n for row in known], dtype=np.int64)
    return equal_shares_p(right, n, settings.draws, Purpose.SHUFFLED_GROUPS.rng(settings.seed, label))


def equal_shares_p(right: Ints, n: Ints, draws: int, rng: np.random.Generator) -> float:
    """p that shares ``right / n`` of groups differ by chance: which image is in which group is shuffled.

    The statistic is chi-square, ``sum (right - n s)^2 / n`` with the common share ``s`` (its other factors
    are the same in every draw). nan for fewer than two groups.
    """
    if len(n) < 2:
        return np.nan
    share = right.sum() / n.sum()

    def statistic(counts: Ints) -> Floats:
        return np.asarray(((counts - n * share) ** 2 / n).sum(axis=-1))

    drawn = rng.multivariate_hypergeometric(n, int(right.sum()), size=draws)
    as_far = statistic(drawn) >= statistic(right) - 1e-9
    return float((1 + as_far.sum()) / (1 + draws))


def _given(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
