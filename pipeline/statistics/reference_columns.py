"""What a reference network says of the classes of a ranking: columns :data:`pipeline.columns.OF_REFERENCE`.

Only of images that count in the ranking: what the reference shows of others is not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.columns import OF_REFERENCE
from pipeline.config_sections import RankingConfig
from pipeline.run.edited_parts import read_edited
from pipeline.run.images import Images
from pipeline.run.reference import read_reference
from pipeline.run.store import Store
from pipeline.statistics.answers import effects_of, read_answers
from pipeline.statistics.arrays import Floats, Ints
from pipeline.statistics.differences import (
    LEVEL,
    RELEVANT_EFFECT,
    RELEVANT_LIFT,
    MeasuredChange,
    Pairs,
    measure_change,
)
from pipeline.statistics.reference import is_outlier, outliers
from pipeline.statistics.samples import DECIDING


def with_reference(
    table: pd.DataFrame, store: Store, images: Images, rows: Ints, config: RankingConfig
) -> tuple[pd.DataFrame, frozenset[int]]:
    """``table`` (a class per row, by ``label``) with the columns of the reference, and which are outliers.

    ``rows``: of ``images``, those that count, by class. Without a reference the columns are undefined.

    Raises:
        InputError: what is stored of the reference cannot be used.
    """
    stored = read_reference(store)
    columns: dict[str, pd.Series] = {}
    if stored is not None:
        document, reference = stored
        if document.run_method == images.method:  # the lift of another method's maps is another figure
            columns = _lifts(reference, images, _of_own_class(store, images, rows), config)
        columns |= _effects(reference, store, config.n_min)
    of_classes = {
        name: columns[name].reindex(table["label"]).to_numpy() if name in columns else np.nan
        for name in OF_REFERENCE
    }
    table = table.assign(**of_classes)
    table["n_reference"] = table["n_reference"].astype("Int64")
    beyond = is_outlier(
        table["q_reference"].to_numpy(float), table["reference_high"].to_numpy(float), config.level
    )
    return table, frozenset(int(k) for k in table.loc[beyond, "label"])


def _of_own_class(store: Store, images: Images, rows: Ints) -> Ints:
    """Those of the rows whose own class was explained."""
    target = store.manifest["config"].get("audit", {}).get("target")
    return rows if target == "label" else rows[images.correct[rows]]


def _lifts(reference: pa.Table, images: Images, rows: Ints, config: RankingConfig) -> dict[str, pd.Series]:
    """Column -> values by label, of the classes that have images with both lifts."""
    there = pd.Series(reference["lift"].to_numpy(), index=reference["index"].to_numpy())
    difference = images.scores["lift"][rows] - there.reindex(images.index[rows]).to_numpy()
    rows, difference = rows[np.isfinite(difference)], difference[np.isfinite(difference)]
    label, first, n = np.unique(images.label[rows], return_index=True, return_counts=True)
    images_of = {"n_reference": pd.Series(n, index=label)}
    if len(label) < 2:
        alone = measure_change(Pairs(images.label[rows], difference, RELEVANT_LIFT, -1), config.n_min)
        return images_of | _by_label(
            label, {"reference_lift": alone.mean, "reference_low": alone.low, "reference_high": alone.high}
        )
    bounds = np.concatenate([first, [len(rows)]]).astype(np.int64)
    area, distance = images.area[rows].astype(float), images.distance[rows].astype(float)
    beside = outliers(difference, area, distance, bounds, config)
    values = {
        "reference_lift": beside.mean,
        "reference_low": beside.low,
        "reference_high": beside.high,
        "reference_lift_lower": beside.lower,
        "q_reference": beside.q,
    }
    return images_of | _by_label(label, values)


def _effects(reference: pa.Table, store: Store, n_min: int) -> dict[str, pd.Series]:
    """The same of the edits: of each class the deciding contrast that differs more.

    The two share the level of their intervals.
    """
    edited = read_edited(store)
    if edited is None:
        return {}
    there = reference.select(["example_id", *DECIDING]).to_pandas().set_index("example_id")
    own = pd.concat([_own_effects(edited), pd.DataFrame({k: [] for k in ("label", *DECIDING)})])
    measured = list(_changes(own, there, n_min))
    labels = np.unique(np.concatenate([m.label for m in measured]))
    rows = {int(k): _larger(measured, int(k)) for k in labels}
    values = np.array(list(rows.values())).reshape(-1, 3)
    names = ("reference_effect", "reference_effect_low", "reference_effect_high")
    return _by_label(labels, {name: values[:, k] for k, name in enumerate(names)})


def _own_effects(edited: pa.Table) -> pd.DataFrame:
    parts = []
    for label, of in read_answers(edited).items():
        effects = effects_of(of)
        values = {name: effects[name] for name in DECIDING}
        parts.append(pd.DataFrame({"label": label} | values, index=list(of.example_id)))
    return pd.concat(parts)


def _changes(own: pd.DataFrame, there: pd.DataFrame, n_min: int) -> Iterator[MeasuredChange]:
    for name in DECIDING:
        change = (own[name] - there[name].reindex(own.index)).dropna()
        label = own.loc[change.index, "label"].astype(np.int64)
        order = np.argsort(label.to_numpy(), kind="stable")
        pairs = Pairs(label.to_numpy()[order], change.to_numpy()[order], RELEVANT_EFFECT, 1)
        yield measure_change(pairs, n_min, LEVEL / len(DECIDING))


def _larger(measured: list[MeasuredChange], label: int) -> tuple[float, float, float]:
    """Mean and interval of the measure whose mean is the larger one."""
    rows = [
        (m.mean[i], m.low[i], m.high[i]) for m in measured for i in np.flatnonzero(m.label == label).tolist()
    ]
    return max(rows, key=lambda row: np.nan_to_num(row[0], nan=-np.inf))


def _by_label(label: Ints, values: Mapping[str, Floats]) -> dict[str, pd.Series]:
    return {name: pd.Series(column, index=label) for name, column in values.items()}
