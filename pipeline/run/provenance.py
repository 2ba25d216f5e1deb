"""What a run is made of: its data, its model, versions of packages, never a machine's name; its manifest."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

from pipeline.config import AFTERWARDS, AUTO, EARLIER, Config
from pipeline.config_sections import FOUND, MethodConfig
from pipeline.run.folder import INVENTORY, SCHEMA_VERSION
from pipeline.run.hashes import HASH

_PACKAGES = (
    "hansaudit",
    "tensorflow",
    "keras",
    "tensorflow-datasets",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "pillow",
    "scikit-image",
    "scikit-learn",
    "prefect",
)
ENGINE: Final = "engine"  # among the versions: the framework that Keras runs on
_USUAL = "tensorflow"  # of runs whose versions do not tell
# settings that say where something is: what it is shows in the fingerprint and in the hash
_PLACES = ("dataset.path", "dataset.annotations", "model.source", "model.weights", "model.card")
# hashes say nothing to a person
_OPAQUE = {
    "dataset.fingerprint": "the data are others (dataset.fingerprint)",
    "model.sha256": "the weights are others (model.sha256)",
}


METHODS_BY: Final = "methods_by"  # in the manifest


@dataclass(frozen=True)
class Provenance:
    """What a run is made of, besides its configuration.

    Attributes:
        dataset: name, split, n_examples, class_names, class_ids, fingerprint, planted.
        model: name, sha256, card.
        versions: package versions.
        shards: keys of all planned shards, in order.
        methods_by: :data:`pipeline.config.AUTO` where the method was chosen by it; empty where it was named.
    """

    dataset: Mapping[str, Any]
    model: Mapping[str, Any]
    versions: Mapping[str, str]
    shards: tuple[str, ...]
    methods_by: str = ""


def versions(engine: str) -> dict[str, str]:
    """Versions of Python, the platform and the packages that decide about numbers, without importing them.

    ``engine``: the framework that Keras runs on, a package's name.
    """
    versions_of = {
        ENGINE: engine,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    for name in dict.fromkeys((*_PACKAGES, engine)):
        try:
            versions_of[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions_of[name] = "not installed"
    return versions_of


def engine_of(manifest: Mapping[str, Any]) -> str:
    """The framework by which the run of ``manifest`` was begun."""
    return str((manifest.get("versions") or {}).get(ENGINE, _USUAL))


def continued(config: Config, manifest: Mapping[str, Any]) -> Config:
    """``config`` for the run of ``manifest``: the method that it chose is not chosen again, nor is the batch
    size that it found looked for.

    A run whose methods were named is none that ``auto`` goes on with.
    """
    if config.execution.batch_size == FOUND:
        as_begun = {"batch_size": manifest["config"]["execution"]["batch_size"]}
        config = config.model_copy(update={"execution": config.execution.model_copy(update=as_begun)})
    if not config.automatic or manifest.get(METHODS_BY) != AUTO:
        return config
    methods = tuple(MethodConfig.model_validate(stored) for stored in manifest["config"]["methods"])
    return config.model_copy(update={"methods": methods})


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line per setting in which two manifests are not the same audit."""
    lines = []
    before, after = _identity(old), _identity(new)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            what = _OPAQUE.get(name, name)
            lines.append(
                f"  {what}: this folder has {_short(before.get(name))}, asked for {_short(after.get(name))}"
            )
    data, path = new["dataset"], new["config"]["dataset"].get("path", "")
    if replaced(old, path, data.get("versions", "")):
        lines.append(f"  objects at {path} were replaced since the run was begun (dataset.versions)")
    return lines


def replaced(manifest: Mapping[str, Any], path: str, versions: str) -> bool:
    """Whether the objects at ``path`` are others than those that the run of ``manifest`` read there.

    ``versions``: see :class:`pipeline.inputs.datasets.DatasetInfo`; a copy at another place has its own.
    """
    then, where = manifest["dataset"].get("versions"), manifest["config"]["dataset"].get("path") or ""
    return bool(then and versions) and where.rstrip("/") == path.rstrip("/") and then != versions


def _identity(manifest: Mapping[str, Any]) -> dict[str, Any]:
    config = {k: v for k, v in manifest["config"].items() if k not in (*AFTERWARDS, EARLIER)}
    # an empty setting is one that is not given: an earlier version may not have known it
    flat = {k: v for k, v in _flatten(config).items() if k not in _PLACES and v != ""}
    flat |= _flatten({"model": {"card": manifest["model"].get("card")}})
    flat["dataset.fingerprint"] = manifest["dataset"].get("fingerprint")
    flat["model.sha256"] = manifest["model"].get("sha256")
    flat[ENGINE] = engine_of(manifest)
    return flat


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings to dotted names; lists stay values."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."


def manifest_of(config: Config, provenance: Provenance) -> dict[str, Any]:
    """The manifest of a run that begins."""
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "run_id": config.run_id,
        "hansaudit": provenance.versions.get("hansaudit", ""),
        "config": config.model_dump(mode="json"),
        "canonical": config.canonical_json(),
        "dataset": dict(provenance.dataset),
        "model": dict(provenance.model),
        "versions": dict(provenance.versions),
        "shards": list(provenance.shards),
        METHODS_BY: provenance.methods_by,
        INVENTORY: HASH,
        "sessions": [],
    }
    # as it will be read back: tuples become lists, so that a later comparison compares like with like
    return json.loads(json.dumps(manifest))
