"""On which images boxes would decide most: the classes with the strongest hints that are not tested yet.

An intervention needs to know where the object is. Of a class without boxes nothing else can be more than a
hint; a dozen boxes turn the hint into a test. Tables only, no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.followup.hints import Hint, hints_of
from pipeline.followup.next_run import own_config
from pipeline.inputs.datasets.annotations import GROUP
from pipeline.run.folder import CLUSTERS_TABLE
from pipeline.run.store import Store
from pipeline.schema import STATUS_NO_BOX
from pipeline.seeds import ImageChoice
from pipeline.statistics.ranking import Ranking
from pipeline.unboxed import DOZEN
from pipeline.verdicts import Tested

DECIDED = (Tested.DEPENDS, Tested.INDEPENDENT)
_COLUMNS = ["example_id", "index", "label", "correct"]


@dataclass(frozen=True)
class ClassToDraw:
    """A class, why boxes would decide much of it, and the ids of its images, the most telling first."""

    label: int
    name: str
    hints: tuple[Hint, ...]
    images: tuple[str, ...]

    @property
    def weight(self) -> float:
        """How strongly it is hinted at."""
        return sum(hint.weight for hint in self.hints)

    @property
    def why(self) -> str:
        """The hints in words, strongest first."""
        return "; ".join(hint.words for hint in self.hints) or "nothing points at it: it is next in line"


def classes_to_draw(
    store: Store, ranking: Ranking, top: int, images: int = DOZEN, labels: Sequence[int] = ()
) -> tuple[ClassToDraw, ...]:
    """The ``top`` undecided classes with the strongest hints, and up to ``images`` images of each.

    ``labels``: these classes instead. Images: classified correctly (only those are edited) and without a box,
    in the order in which the interventions take them, a turn for each cluster of the class's maps.

    Raises:
        InputError: no class is both undecided and has such images.
    """
    table = ranking.table
    untested = ~table["tested"].isin(DECIDED)
    asked = table[table["label"].isin(labels) if labels else untested]
    candidates = _candidates(store, asked["label"].tolist())
    told = hints_of(store, ranking)
    rows = [
        ClassToDraw(
            label=int(row["label"]),
            name=str(row["class_name"]),
            hints=tuple(sorted(told.get(int(row["label"]), ()), key=lambda hint: -hint.weight)),
            images=tuple(candidates.get(int(row["label"]), ())[:images]),
        )
        for row in asked.to_dict("records")
    ]
    accuracy = dict(zip(asked["label"], asked["accuracy"].fillna(1.0), strict=True))
    rows = [row for row in rows if row.images]
    if not rows:
        raise InputError(
            f"{store.path}: nothing to draw: every class is decided, or has no correctly classified image "
            "without a box"
        )
    few = ranking.settings.n_min  # with fewer images nothing is said of a class, whatever points at it
    rows.sort(key=lambda row: (len(row.images) < few, -row.weight, accuracy[row.label], row.label))
    return tuple(rows if labels else rows[:top])


def _candidates(store: Store, labels: Sequence[int]) -> dict[int, list[str]]:
    """Label -> ids of its correctly classified images without a box, in the order they are given out."""
    without = pc.field("status").cast(pa.string()) == STATUS_NO_BOX
    chosen = pc.field("label").isin(labels) & without & pc.field("correct")
    rows = store.read("examples", _COLUMNS, chosen).to_pandas()
    seed = own_config(store).interventions.seed
    rows["order"] = [ImageChoice.EDITED.rank(seed, int(index)) for index in rows["index"]]
    clusters = _clusters(store)
    rows["cluster"] = [clusters.get(example_id, 0) for example_id in rows["example_id"]]
    rows = rows.sort_values("order", kind="stable")
    rows["turn"] = rows.groupby(["label", "cluster"]).cumcount()
    rows = rows.sort_values(["label", "turn", "cluster"], kind="stable")
    return {int(k): of_class["example_id"].tolist() for k, of_class in rows.groupby("label")}


def _clusters(store: Store) -> dict[str, int]:
    """Cluster of every image whose class was clustered."""
    table = store.read_side_table(CLUSTERS_TABLE)
    if table is None:
        return {}
    return dict(zip(table["example_id"].to_pylist(), table["cluster"].to_pylist(), strict=True))


def annotation_rows(store: Store, chosen: Sequence[ClassToDraw]) -> Iterator[dict[str, Any]]:
    """The rows of an annotations CSV: first those to fill, then all that the run's dataset says already.

    Keys as :mod:`pipeline.inputs.datasets.annotations` reads them. What is known is repeated, since one file
    holds all annotations of a dataset: boxes, groups, and classes that no folder gives.

    Raises:
        InputError: the run is not finished, so that what it does not hold yet would be lost.
    """
    if missing := store.missing():
        raise InputError(
            f"{store.path}: {len(missing)} shards are not finished, and their boxes would be lost; "
            "the same `hansaudit run` finishes them"
        )
    rows = _known(store)
    ids = [example_id for of_class in chosen for example_id in of_class.images]
    dataset = own_config(store).dataset
    of_folder = dataset.source == "folder"  # others have classes and groups themselves
    group = dataset.group if of_folder and dataset.group else GROUP
    yield from (_row(row, group) for _, row in rows.loc[ids].iterrows())
    for _, row in rows.drop(index=ids).iterrows():
        boxes = [] if row["boxes"] is None else list(row["boxes"])
        yield from (_row(row, group, box) for box in boxes)
        if (
            of_folder
            and not boxes
            and (_text(row["group"]) or ("/" not in row["file_name"] and _text(row["class_id"])))
        ):
            yield _row(row, group)


def _known(store: Store) -> pd.DataFrame:
    """What the run's table says of every image's annotations, by example id."""
    columns = ["example_id", "file_name", "class_id", "group", "width", "height", "boxes"]
    rows = store.read("examples", columns).to_pandas()
    return rows.astype({"class_id": object, "group": object}).set_index("example_id")


def _row(image: pd.Series, group: str, box: dict[str, float] | None = None) -> dict[str, Any]:
    sides = {side: f"{value:.8g}" for side, value in (box or {}).items()}
    return {
        "file": image["file_name"] or str(image.name),
        "label": _text(image["class_id"]),
        **{side: sides.get(side) for side in ("xmin", "ymin", "xmax", "ymax")},
        "width": None if pd.isna(image["width"]) else int(image["width"]),
        "height": None if pd.isna(image["height"]) else int(image["height"]),
        group: _text(image["group"]),
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
