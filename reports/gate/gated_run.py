"""A run as a gate sees it: manifest and documents, Parquet tables only where they are needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pipeline.errors import InputError
from pipeline.run.documents import (
    ConfirmationDocument,
    RankingDocument,
)
from pipeline.run.folder import RunFolder
from pipeline.run.inventory import Contents
from reports.gate.policy import Check, one_of

_READ = ("examples", "scores")  # tables that verdicts and metrics rest on


@dataclass
class GatedRun:
    """What a gate needs to know of a run, each part read when first asked for."""

    path: str
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
    def classes(self) -> Sequence[Mapping[str, Any]]:
        return [dict(row) for row in self.ranking.classes]

    @cached_property
    def interventions(self) -> Sequence[Mapping[str, Any]]:
        """The classes that `hansaudit confirm` looked at; empty where it has not seen the run as it is."""
        stored = ConfirmationDocument.current(self.folder)
        if stored is None or stored.n_shards != len(self.done):
            return []
        return [vars(c) for c in stored.classes]

    @cached_property
    def class_names(self) -> list[str]:
        return [str(n) for n in self.manifest["dataset"].get("class_names") or []]

    def name(self, row: Mapping[str, Any]) -> str:
        """Class name, with its id where the name alone is not unique."""
        name = str(row["class_name"])
        if self.class_names.count(name) < 2:
            return name
        return f"{name} ({self.manifest['dataset']['class_ids'][row['label']]})"

    def labels_of(self, name: str, subject: str) -> list[int]:
        """Labels of the classes with this name or id. Raises :class:`PolicyError` naming the nearest."""
        ids = [str(i) for i in self.manifest["dataset"].get("class_ids") or []]
        one_of(name, {*self.class_names, *ids}, subject)
        return [k for names in (self.class_names, ids) for k, n in enumerate(names) if n == name]

    def metric(self, check: Check, per_class: bool) -> dict[int, float]:
        """Aggregate of a stored metric: by label, or under -1 for the run; only where defined."""
        from reports.gate.stored import aggregate, read_metric

        method = check.method or self.ranking.method
        key = (check.metric, method)
        if key not in self._metrics:
            self._metrics[key] = read_metric(self.path, check.metric, method)
        values = aggregate(self._metrics[key], check.aggregate, check.images, per_class)
        return {k: v for k, v in values.items() if math.isfinite(v)}
