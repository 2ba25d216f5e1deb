"""A run as a gate sees it: manifest and documents, Parquet tables only where they are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.run.documents import RankingDocument
from pipeline.run.folder import RunFolder
from pipeline.run.inventory import Contents
from pipeline.verdicts import Change
from reports.decisions.fields import one_of
from reports.gate.classes import Row
from reports.gate.operators import Estimate
from reports.gate.outcome import ClassNote
from reports.gate.policy import Check

if TYPE_CHECKING:
    from pipeline.statistics.comparison import Comparison

_READ = ("examples", "scores")  # tables that verdicts and metrics rest on


@dataclass
class GatedRun:
    """What a gate needs to know of a run, each part read when first asked for."""

    path: str
    baseline: GatedRun | None = None
    _metrics: dict[tuple[str, str], Any] = field(default_factory=dict)

    @cached_property
    def folder(self) -> RunFolder:
        return RunFolder(self.path)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return self.folder.manifest

    @cached_property
    def done(self) -> frozenset[str]:
        return self.folder.done

    def refuse_faulty(self) -> None:
        """Refuse parts that are not as written: of all presence and size, of :data:`_READ` every byte.

        The rest (maps, curves, pictures) is compared whole when it is read, and by `hansaudit verify`: it is
        hundreds of megabytes, and no check of a policy looks at it.

        Raises :class:`InputError` for the first one.
        """
        contents = Contents(self.folder)
        faults = [*contents.faults(), *contents.altered_parts(_READ)]
        if faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            raise InputError(
                f"{self.path}/{faults[0]}{more}; `hansaudit verify {self.path}` says what is at fault and "
                "what to do"
            )

    @cached_property
    def ranking(self) -> RankingDocument:
        """The run's own ranking: the stored one, or a new one where none, or an earlier version's, is stored.

        Raises :class:`InputError` where the stored one does not fit the run as it is.
        """
        stored = RankingDocument.read(self.folder)
        if stored is None or stored.is_outdated:
            from pipeline.statistics.ranking import rank

            return rank(self.path).document()
        if misfit := stored.misfit(self.folder):
            raise InputError(
                f"{self.path}/{RankingDocument.FILE}: does not fit the run as it is: it {misfit}; "
                f"make it again with `hansaudit rank {self.path}`"
            )
        return stored

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        return dict(self.ranking.summary)

    @cached_property
    def classes(self) -> Sequence[Row]:
        """The ranked classes: those that have images."""
        return [dict(row) for row in self.ranking.classes]

    @cached_property
    def absent(self) -> Sequence[Row]:
        """The classes of the dataset that have no image in the run: nothing is known of them."""
        present = {row["label"] for row in self.classes}
        names, ids = self.class_names, self.class_ids
        return [
            {"label": k, "class_name": names[k], "class_id": ids[k], "n": 0, "n_images": 0}
            for k in range(len(names))
            if k not in present
        ]

    @cached_property
    def changes(self) -> Sequence[Row] | None:
        """What became of every class since the baseline; None without one.

        Raises :class:`InputError` where the two runs cannot be compared.
        """
        if self.baseline is None:
            return None
        compared = {change.label: vars(change) for change in compare_runs(self, self.baseline).classes}
        n_images = {row["label"]: row["n_images"] for row in self.classes}
        nothing = {"change": Change.UNDECIDED, "before": "", "after": "", "lift": None, "effect": None}
        return [
            {"n": 0} | nothing | dict(row) | compared.get(row["label"], nothing) | {"n_images": n}
            for row in (*self.classes, *self.absent)
            for n in [n_images.get(row["label"], 0)]
        ]

    @cached_property
    def class_names(self) -> list[str]:
        return [str(n) for n in self.manifest["dataset"].get("class_names") or []]

    @cached_property
    def class_ids(self) -> list[str]:
        """The dataset's ids of the classes; their names where it has none."""
        ids = [str(i) for i in self.manifest["dataset"].get("class_ids") or []]
        return ids or self.class_names

    @cached_property
    def labels(self) -> Mapping[str, Sequence[int]]:
        """Name or id of a class -> the labels that it stands for; an id wins over a name."""
        labels: dict[str, list[int]] = {}
        for k, name in enumerate(self.class_names):
            labels.setdefault(name, []).append(k)
        return labels | {class_id: [k] for k, class_id in enumerate(self.class_ids) if self._has_ids}

    @property
    def _has_ids(self) -> bool:
        return self.class_ids is not self.class_names

    @cached_property
    def _ambiguous(self) -> frozenset[str]:
        return frozenset(name for name, labels in self.labels.items() if len(labels) > 1)

    def name(self, row: Row) -> str:
        """Class name, with its id where the name alone is not unique."""
        name = str(row["class_name"])
        return f"{name} ({self.class_ids[row['label']]})" if name in self._ambiguous else name

    def note(self, row: Row, role: str, numbers: str = "", waiver: str = "") -> ClassNote:
        """How a finding names the class of ``row``."""
        class_id = str(row.get("class_id") or row["class_name"])
        finding = str(row.get("finding") or "")
        return ClassNote(row["label"], self.name(row), class_id, role, numbers, waiver, finding)

    def labels_of(self, name: str, subject: str) -> Sequence[int]:
        """Labels of the classes with this name or id. Raises :class:`PolicyError` naming the nearest."""
        return self.labels[one_of(name, self.labels, subject)]

    def metric(self, check: Check, per_class: bool) -> Mapping[int, tuple[Estimate, int]]:
        """Aggregate of a stored metric, and of how many images: by label, or under -1 for the run."""
        from reports.gate.stored import aggregate, read_metric

        method = check.method or self.ranking.method
        key = (check.metric, method)
        if key not in self._metrics:
            self._metrics[key] = read_metric(self.path, check.metric, method)
        return aggregate(self._metrics[key], check.aggregate, check.images, per_class)


def compare_runs(run: GatedRun, baseline: GatedRun, methods: tuple[str, str] | None = None) -> Comparison:
    """Both runs on the same images, with the verdicts of their own rankings.

    Raises:
        InputError: they cannot be compared: what differs is said.
    """
    from pipeline.run.store import Store
    from pipeline.statistics.comparison import compare

    verdicts = [{row["label"]: row["verdict"] for row in of.classes} for of in (baseline, run)]
    return compare(Store(run.path), Store(baseline.path), (verdicts[0], verdicts[1]), methods)
