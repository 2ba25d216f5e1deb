"""SpRAy on a finished run: which strategies the network follows inside a class, from the stored tables.

Writes ``clusters.parquet`` (one row per image) and ``clusters.json`` (one entry per class) into the run. A
cluster that stands apart and whose relevance lies beside the object is a *candidate*: a Clever-Hans strategy
to look at. Images without a box are clustered as well; only those with one say where a cluster looks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.errors import InputError
from pipeline.followup.clusters import FEWEST_MAPS, MOST_MAPS, Strategies, find_strategies
from pipeline.run.documents import ClassStrategies, Cluster, ClustersDocument
from pipeline.run.folder import CLUSTERS_TABLE
from pipeline.run.store import Store
from pipeline.schema import STATUS_FAILED, STATUS_OK
from pipeline.statistics.ranking import Ranking
from pipeline.statistics.resampling import bca_intervals

FEWEST_IN_CANDIDATE = 3


def cluster_run(run: Store, labels: Sequence[int], ranking: Ranking, seed: int = 0) -> list[ClassStrategies]:
    """Cluster the ranked images of some classes and write the results into the run; others' results stay.

    The maps are those of the method that ``ranking`` ranks by, and what an image's lift is beyond comparable
    ones is the ranking's.

    Raises :class:`InputError` when the run stores no maps.
    """
    if "maps" not in run.tables:
        raise InputError(f"{run.path}: stores no maps; run the audit with `maps = 56` in its [audit] section")
    images = _identified(run, ranking, labels)
    results = [
        _cluster_class(run, label, images[images["label"] == label], ranking, seed) for label in labels
    ]
    _write(run, [summary for summary, _ in results], pd.concat([rows for _, rows in results]))
    return [summary for summary, _ in results]


def _identified(run: Store, ranking: Ranking, labels: Sequence[int]) -> pd.DataFrame:
    """The images of some classes that the ranking counts, by label and index, with ``example_id``.

    Beside them those that it would count if they had a usable box: their ``adjusted_lift`` is nan.
    """
    chosen = pc.field("label").isin(labels) & (pc.field("status").cast(pa.string()) != STATUS_FAILED)
    rows = run.read("examples", ["example_id", "index", "label", "status", "correct"], chosen).to_pandas()
    ranked = ranking.images.set_index("index")["adjusted_lift"]
    counted = rows["index"].isin(ranked.index)
    unboxed = (rows["status"].astype(str) != STATUS_OK) & (
        rows["correct"].eq(True) | (ranking.settings.images == "all")
    )
    rows = rows[counted | unboxed].assign(adjusted_lift=rows["index"].map(ranked))
    columns = ["index", "label", "adjusted_lift", "example_id"]
    return rows.sort_values(["label", "index"], kind="stable")[columns].reset_index(drop=True)


def _cluster_class(
    run: Store, label: int, images: pd.DataFrame, ranking: Ranking, seed: int
) -> tuple[ClassStrategies, pd.DataFrame]:
    """Cluster the maps of one class: its summary and its rows of ``clusters.parquet``."""
    method, name = ranking.method, run.manifest["dataset"]["class_names"][label]
    if len(images) > MOST_MAPS:
        images = images.sample(MOST_MAPS, random_state=seed).sort_index()
    maps, mapped = _read_maps(run, images["example_id"].tolist(), method)
    rows = images.set_index("example_id").loc[mapped].reset_index()
    if len(rows) < FEWEST_MAPS:
        reason = f"{len(rows)} {'map' if len(rows) == 1 else 'maps'}; clusters need at least {FEWEST_MAPS}"
        return _nothing(label, name, method, len(rows), reason), _rows(rows.iloc[:0], None, method)
    strategies = find_strategies(maps, seed)
    summary = ClassStrategies(
        label=label,
        class_name=name,
        method=method,
        n=len(rows),
        tau=strategies.tau,
        tau_null=strategies.tau_null,
        eigenvalues=tuple(np.round(strategies.eigenvalues, 6).tolist()),
        clusters=_clusters(strategies, rows, ranking.settings.relevant_effect, seed),
    )
    return summary, _rows(rows, strategies, method)


def _read_maps(store: Store, ids: list[str], method: str) -> tuple[np.ndarray, list[str]]:
    """Stored maps (n, h, w) float32 of those ``ids`` that have one that is not zero, and these ids."""
    named = pa.array(ids, pa.string())  # a class may have no image to show: a list without a type is refused
    chosen = pc.field("example_id").isin(named) & (pc.field("method").cast(pa.string()) == method)
    table = store.read("maps", ["example_id", "height", "width", "values", "scale"], chosen)
    table = table.filter(pc.greater(table["scale"], 0))
    if table.num_rows == 0:
        return np.zeros((0, 1, 1), np.float32), []
    shape = (table.num_rows, table["height"][0].as_py(), table["width"][0].as_py())
    values = table["values"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return values.reshape(shape).astype(np.float32), table["example_id"].to_pylist()


def _clusters(strategies: Strategies, rows: pd.DataFrame, relevant: float, seed: int) -> tuple[Cluster, ...]:
    ids = rows["example_id"].to_numpy()
    out = []
    for c in range(strategies.k):
        member = strategies.cluster == c
        lift = rows["adjusted_lift"].to_numpy(float)[member]
        lift = lift[np.isfinite(lift)]  # where it looks, only images with a box say
        low, high = (
            bca_intervals(lift, np.array([0, len(lift)]), 1000, seed)
            if len(lift)
            else (np.full(1, np.nan), np.full(1, np.nan))
        )
        apart = strategies.k > 1 and strategies.separability[c] > strategies.tau_null
        out.append(
            Cluster(
                cluster=c,
                n=int(member.sum()),
                share=float(member.mean()),
                separability=float(strategies.separability[c]),
                adjusted_lift=_number(lift.mean()) if len(lift) else None,
                low=_number(low[0]),
                high=_number(high[0]),
                candidate=bool(apart and len(lift) >= FEWEST_IN_CANDIDATE and high[0] < relevant),
                prototypes=tuple(str(ids[i]) for i in strategies.prototypes[c]),
            )
        )
    return tuple(out)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _nothing(label: int, name: str, method: str, n: int, reason: str) -> ClassStrategies:
    return ClassStrategies(label, name, method, n, None, None, (), (), reason)


def _rows(rows: pd.DataFrame, strategies: Strategies | None, method: str) -> pd.DataFrame:
    frame = rows[["example_id", "label", "adjusted_lift"]].assign(method=method)
    if strategies is None:
        return frame.assign(cluster=0, x=0.0, y=0.0, prototype=-1)
    place = {i: order for members in strategies.prototypes for order, i in enumerate(members)}
    return frame.assign(
        cluster=strategies.cluster,
        x=strategies.coordinates[:, 0],
        y=strategies.coordinates[:, 1],
        prototype=pd.array([place.get(i) for i in range(len(frame))], dtype="Int32"),
    )


def _write(run: Store, summaries: list[ClassStrategies], rows: pd.DataFrame) -> None:
    new = {(s.label, s.method) for s in summaries}
    stored = ClustersDocument.current(run)  # of other parts: their strategies are not added to
    before = run.read_side_table(CLUSTERS_TABLE)
    if before is not None and stored is not None:
        old = before.to_pandas()
        stays = [(k, str(m)) not in new for k, m in zip(old["label"], old["method"], strict=True)]
        rows = pd.concat([frame for frame in (old[stays], rows) if len(frame)] or [rows])
    rows = rows.astype({"method": str}).sort_values(["method", "label", "cluster"], kind="stable")
    rows["prototype"] = rows["prototype"].astype("Int32")
    table = pa.Table.from_pandas(rows, preserve_index=False).select(schema.CLUSTERS.names)
    others = [c for c in (stored.classes if stored else ()) if (c.label, c.method) not in new]
    entries = sorted([*others, *summaries], key=lambda c: (c.method, -len(c.candidates), c.label))
    run.write_side_table(CLUSTERS_TABLE, table.cast(schema.CLUSTERS))
    ClustersDocument(tuple(entries)).write(run)
