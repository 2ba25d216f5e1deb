"""A run folder as a gate sees it: manifest and ranking as JSON, Parquet tables only where they are needed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pipeline.errors import InputError
from pipeline.run.files import open_files
from reports.gate.policy import Check, one_of


@dataclass
class RunFolder:
    """What a gate needs to know of a run, each part read when first asked for."""

    path: str
    _metrics: dict[tuple[str, str], Any] = field(default_factory=dict)

    @cached_property
    def files(self) -> Any:
        return open_files(self.path)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        raw = self.files.get("manifest.json")
        if raw is None:
            raise InputError(
                f"{self.path}: no manifest.json, so this is not a run folder; "
                "give one that `hansaudit run` wrote"
            )
        return _json(raw, f"{self.path}/manifest.json")

    @cached_property
    def done(self) -> frozenset[str]:
        names = self.files.names("examples")
        return frozenset(n[5:-8] for n in names if n.startswith("part-") and n.endswith(".parquet"))

    @cached_property
    def ranking(self) -> dict[str, Any]:
        """The stored ranking if it is of all finished shards, else a new one."""
        raw = self.files.get("ranking.json")
        if raw is not None:
            stored = _json(raw, f"{self.path}/ranking.json")
            if stored.get("summary", {}).get("n_shards") == len(self.done):
                return stored
        from pipeline.config import RankingConfig
        from pipeline.run.documents import records
        from pipeline.statistics.ranking import rank

        config = RankingConfig.model_validate(self.manifest["config"].get("ranking", {}))
        fresh = rank(self.path, config)
        return {"method": fresh.method, "summary": fresh.summary, "classes": records(fresh.table)}

    @property
    def summary(self) -> dict[str, Any]:
        return self.ranking["summary"]

    @property
    def classes(self) -> list[dict[str, Any]]:
        return self.ranking["classes"]

    @cached_property
    def interventions(self) -> list[dict[str, Any]]:
        """The classes that `hansaudit confirm` looked at; empty where it has not seen the run as it is."""
        raw = self.files.get("confirm.json")
        found = {} if raw is None else _json(raw, f"{self.path}/confirm.json")
        return found["classes"] if found.get("n_shards") == len(self.done) else []

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

        method = check.method or self.ranking["method"]
        key = (check.metric, method)
        if key not in self._metrics:
            self._metrics[key] = read_metric(self.path, check.metric, method)
        found = aggregate(self._metrics[key], check.aggregate, check.images, per_class)
        return {k: v for k, v in found.items() if math.isfinite(v)}


def _json(raw: bytes, where: str) -> dict[str, Any]:
    try:
        return json.loads(raw)
    except ValueError as error:
        raise InputError(f"{where}: not valid JSON ({error}); was it edited?") from None
