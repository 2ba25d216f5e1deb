"""What a report needs from a run folder: one row per image, and the pictures and maps of a chosen few.

Tables only: nothing here needs the images, the model or TensorFlow again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.inputs.classes import short_names
from pipeline.run.documents import (
    CanaryDocument,
    ClustersDocument,
    ConceptsDocument,
    ConfirmationDocument,
    GroupsDocument,
    MethodsDocument,
    PropertiesDocument,
    ReferenceDocument,
    SanityDocument,
    TriageDocument,
    VisualizedDocument,
)
from pipeline.run.edited_parts import read_edited
from pipeline.run.folder import MANIFEST
from pipeline.run.parts import Parts
from pipeline.run.preflight import Preflight, read_preflight
from pipeline.run.store import Store
from reports.decisions.file import Waiver
from reports.page.image_rows import OF_SHOWN, read_image_rows

if TYPE_CHECKING:
    from pipeline.statistics.comparison import Comparison
    from pipeline.statistics.effects import Judgement
    from pipeline.statistics.ranking import Ranking

BIN = 30  # images that a quartile takes


@dataclass(frozen=True)
class Heat:
    """The stored map of one image: ``values`` (rows, columns) >= 0 with maximum 1, as the metrics saw it."""

    values: np.ndarray
    scale: float

    @property
    def is_zero(self) -> bool:
        return not (self.scale > 0 and float(self.values.max(initial=0)) > 0)


@dataclass(frozen=True)
class Expected:
    """What images of this run reach, by the area of their box.

    Attributes:
        area: shares of the picture, ascending; empty where the ranking fitted no curve.
        middle: the ranking's curve of the lift (:mod:`pipeline.statistics.adjust`).
        low, high: the same plus the lower and upper quartile of what the images are off it.
    """

    area: np.ndarray
    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Beside:
    """What is shown of other files than the run's.

    Attributes:
        decisions: what people decided about classes.
        comparison: the run against its baseline; None without one.
        lacking: why something that was asked for is not shown, a sentence each.
    """

    decisions: tuple[Waiver, ...] = ()
    comparison: Comparison | None = None
    lacking: tuple[str, ...] = ()


NOTHING_BESIDE: Final = Beside()


@dataclass(frozen=True)
class RunData:
    """A run as the sections of the report see it."""

    store: Store
    manifest: dict[str, Any]
    ranking: Ranking
    images: pd.DataFrame
    # ^ a row per image: the columns above, the metrics, `used` (by the ranking), `excess` (its adjusted lift)
    expected: Expected
    beside: Beside = NOTHING_BESIDE
    pages: Mapping[int, str] = field(default_factory=dict)  # label -> where all images of the class are

    @property
    def classes(self) -> pd.DataFrame:
        """The ranking table, most suspicious first."""
        return self.ranking.table

    @property
    def method(self) -> str:
        return str(self.ranking.method)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the model's input, pixel."""
        card = self.manifest.get("model", {}).get("card") or {}
        return int(card.get("width") or 224), int(card.get("height") or 224)

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that have parts."""
        return self.store.tables

    @cached_property
    def _parts(self) -> Parts:
        return Parts.whole(self.store)

    @property
    def used(self) -> pd.DataFrame:
        """The images that the ranking rests on, without what is only read of those that are shown."""
        figures = [name for name in self.images if name not in OF_SHOWN]
        return self.images.loc[self.images["used"], figures]

    def of_class(self, label: int) -> pd.DataFrame:
        """The used images of a class, least relevance on the object (for its box) first."""
        rows = self.images[self.images["used"] & (self.images["label"] == label)]
        return rows.sort_values(["excess", "lift", "index"], kind="stable")

    @cached_property
    def outdated(self) -> list[str]:
        """Documents of the folder that are not of the run as it is, and so are left out, with the reason."""
        kinds = (
            ConfirmationDocument,
            ClustersDocument,
            ConceptsDocument,
            GroupsDocument,
            MethodsDocument,
            PropertiesDocument,
            ReferenceDocument,
            SanityDocument,
            CanaryDocument,
            TriageDocument,
            VisualizedDocument,
        )
        stored = [kind.read(self.store) for kind in kinds]
        return [f"{d.FILE} {why}" for d in stored if d is not None and (why := d.misfit(self.store))]

    @property
    def edited(self) -> Mapping[int, Judgement]:
        """What edited images showed of the classes that have some, by label."""
        return self.ranking.judgements

    @cached_property
    def edited_rows(self) -> Mapping[int, pd.DataFrame]:
        """Label -> what the network said to its edited images, a row per edit: those of the first pair of
        backgrounds and the pictures as they are."""
        table = read_edited(self.store) if self.edited else None
        if table is None:
            return {}
        names = table["edit"].cast(pa.string())
        first = pc.or_(pc.ends_with(names, ":0"), pc.invert(pc.match_substring(names, ":")))
        rows = table.set_column(table.column_names.index("edit"), "edit", names).filter(first).to_pandas()
        return {int(label): of_class for label, of_class in rows.groupby("label")}

    @cached_property
    def _class_names(self) -> list[str]:
        return [str(name) for name in self.manifest.get("dataset", {}).get("class_names") or []]

    @cached_property
    def _short_names(self) -> dict[str, str]:
        ids = self.manifest.get("dataset", {}).get("class_ids") or []
        return short_names(self._class_names, [str(i) for i in ids])

    def short(self, name: object) -> str:
        """What prose and tables call the class of this full name: its first synonym."""
        return self._short_names.get(str(name), str(name))

    def short_name(self, label: int) -> str:
        """The same by label; any class of the dataset."""
        names = self._class_names
        return self.short(names[label]) if 0 <= label < len(names) else f"class {label}"

    @cached_property
    def sanity(self) -> SanityDocument | None:
        """The sanity checks of the methods; None where there were none."""
        return SanityDocument.current(self.store)

    @cached_property
    def preflight(self) -> Preflight | None:
        """What was seen before the first image; None in runs of before there was a look."""
        return read_preflight(self.manifest, f"{self.store.path}/{MANIFEST}")

    @cached_property
    def canary(self) -> CanaryDocument | None:
        """What a canary said that was attached to the run; None where there was none."""
        return CanaryDocument.current(self.store)

    def failures(self, method: str) -> tuple[str, ...]:
        """Sanity checks that ``method`` failed, in words; empty where it passed or was not checked."""
        return (self.sanity.failures(method) if self.sanity else None) or ()

    def rule(self, key: str) -> Any:
        """One value of the configuration of the ranking."""
        return self.ranking.summary["config"][key]

    def setting(self, section: str, key: str, default: Any = None) -> Any:
        """One value of the run's configuration."""
        return (self.manifest.get("config", {}).get(section) or {}).get(key, default)

    def thumbnails(self, ids: Iterable[str]) -> dict[str, bytes]:
        """JPEG bytes by example id; ids without a thumbnail are absent."""
        table = self._pick("thumbnails", ids, ("example_id", "jpeg"))
        return (
            {}
            if table is None
            else dict(zip(table["example_id"].to_pylist(), table["jpeg"].to_pylist(), strict=True))
        )

    def maps(self, ids: Iterable[str]) -> dict[str, Heat]:
        """The stored maps of the ranking's method by example id; ids without one are absent."""
        columns = ("example_id", "method", "height", "width", "values", "scale")
        table = self._pick("maps", ids, columns)
        if table is None:
            return {}
        table = table.filter(pc.equal(table["method"].cast(pa.string()), self.method))
        values = table["values"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return dict(_heats(table.drop_columns(["values"]), values.astype(np.float32)))

    def _pick(self, table: str, ids: Iterable[str], columns: Sequence[str]) -> pa.Table | None:
        wanted = list(dict.fromkeys(ids))
        if table not in self.tables or not wanted:
            return None
        # only the parts of the shards that hold them: a run has thousands of pictures, a report dozens
        shards = self.images.loc[self.images["example_id"].isin(wanted), "shard"].unique()
        parts = self._parts
        pieces = (parts.table(table, key, columns) for key in parts.keys if key in set(shards))
        picked = [piece.filter(pc.field("example_id").isin(wanted)) for piece in pieces if piece is not None]
        return pa.concat_tables(picked) if picked else None


def _heats(table: pa.Table, values: np.ndarray) -> Iterable[tuple[str, Heat]]:
    """Cut the flat ``values`` of all rows into maps; what is not finite or negative counts as none."""
    start = 0
    for row in table.to_pylist():
        shape = (row["height"], row["width"])
        stop = start + shape[0] * shape[1]
        cells = np.clip(np.nan_to_num(values[start:stop]), 0, None).reshape(shape)
        yield row["example_id"], Heat(cells, float(row["scale"] or 0))
        start = stop


def load_run(run_dir: str | Path, ranking: Ranking, beside: Beside = NOTHING_BESIDE) -> RunData:
    """Read what the report needs. Raises :class:`InputError` where the folder holds no finished shard."""
    store = Store(run_dir)
    manifest = store.manifest
    if not store.done:
        raise InputError(f"{run_dir}: no finished shard yet, so nothing to report; run `hansaudit run` first")
    images = read_image_rows(store, ranking.method)
    index = images["index"].to_numpy()
    images["used"] = ranking.places(index) >= 0
    images["excess"] = ranking.adjusted_lift(index)
    expected = _expected(ranking, images.loc[images["used"], ["box_area", "excess"]])
    return RunData(store, manifest, ranking, images, expected, beside)


def _expected(ranking: Ranking, used: pd.DataFrame) -> Expected:
    """The ranking's curve, and about it the quartiles of what is left, bin by bin of equal count."""
    curve = ranking.summary.get("expected") or {"box_area": [], "lift": []}
    grid, middle = np.array(curve["box_area"], dtype=float), np.array(curve["lift"], dtype=float)
    rows = used[used["excess"].notna()].sort_values("box_area", kind="stable")
    if not len(grid) or rows.empty:
        return Expected(*(np.zeros(0) for _ in range(4)))
    area, excess = rows["box_area"].to_numpy(float), rows["excess"].to_numpy(float)
    bins = np.array_split(np.arange(len(rows)), max(1, min(12, len(rows) // BIN)))
    centres = [float(np.median(area[b])) for b in bins]
    low, high = (np.interp(grid, centres, [np.quantile(excess[b], q) for b in bins]) for q in (0.25, 0.75))
    return Expected(grid, middle + low, middle, middle + high)
