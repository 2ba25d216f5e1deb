"""What a manifest must be to be used: its fields, and that they agree with one another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final

from pipeline.errors import InputError
from pipeline.inputs.shards import Shard, parse_key
from pipeline.run.hashes import HASH, INVENTORY, is_altered

# field: keys of shards whose parts do not count, because others hold, or will hold, the same rows
SUPERSEDED: Final = "superseded"
# names with dots between the levels -> what lies there
_FIELDS: Mapping[str, type] = {
    "run_id": str,
    "canonical": str,
    "config": dict,
    "config.methods": list,
    "dataset": dict,
    "dataset.name": str,
    "dataset.split": str,
    "dataset.n_examples": int,
    "model": dict,
    "shards": list,
    "sessions": list,
}
_WORDS = {str: "text", dict: "an object", list: "a list", int: "an integer"}


def check_manifest(manifest: Mapping[str, Any], where: str) -> None:
    """Raises :class:`InputError` for a manifest whose fields are missing, of a wrong type, or disagree."""
    fault = _faulty_field(manifest) or _altered(manifest) or _other_run(manifest) or _faulty_shards(manifest)
    if fault:
        raise InputError(f"{where}: {fault}; was it edited? Use a copy of the folder that is whole")


def _faulty_field(manifest: Mapping[str, Any]) -> str | None:
    for name, type_ in _FIELDS.items():
        value: Any = manifest
        for level in name.split("."):
            value = value.get(level) if isinstance(value, Mapping) else None
        if not isinstance(value, type_) or isinstance(value, bool):
            return f"{name} is {str(value)[:60]!r}, must be {_WORDS[type_]}"
    methods = manifest["config"]["methods"]
    if not methods or not all(isinstance(m, dict) and isinstance(m.get("name"), str) for m in methods):
        return "config.methods must be a list of objects with a name, and not empty"
    if not all(isinstance(s, dict) and isinstance(s.get("started"), str) for s in manifest["sessions"]):
        return "sessions must be a list of objects with their start"
    if not all(isinstance(key, str) for key in manifest.get(SUPERSEDED) or []):
        return f"{SUPERSEDED} must be a list of keys"
    return None


def _altered(manifest: Mapping[str, Any]) -> str | None:
    if manifest.get(INVENTORY) and manifest.get(HASH) is None:
        return f"{HASH} is missing"
    return f"its content is not what was written ({HASH})" if is_altered(manifest) else None


def _other_run(manifest: Mapping[str, Any]) -> str | None:
    """The id is that of the canonical configuration, and this is the configuration that is stored."""
    expected = sha256(manifest["canonical"].encode("utf-8", "surrogatepass")).hexdigest()[:16]
    if manifest["run_id"] != expected:
        return f"run_id is {manifest['run_id']!r}, its configuration gives {expected!r}"
    try:
        canonical = json.loads(manifest["canonical"])
    except (ValueError, RecursionError):
        return "canonical is no JSON"
    config = manifest["config"]
    differs = [k for k, v in canonical.items() if config.get(k) != v] if isinstance(canonical, dict) else [""]
    return f"config.{differs[0]} is not what run_id was made of" if differs else None


def _faulty_shards(manifest: Mapping[str, Any]) -> str | None:
    """The shards follow one another from the first to the last image of the split."""
    dataset, keys = manifest["dataset"], manifest["shards"]
    if not all(isinstance(key, str) for key in keys):
        return "shards must be a list of keys"
    try:
        shards = [parse_key(dataset["name"], key) for key in keys]
    except InputError as error:
        return str(error)
    ends = (shards[0].start, shards[-1].stop) if shards else (0, 0)
    split = {dataset["split"]}
    if ends != (0, dataset["n_examples"]) or not all(_follows(a, b) for a, b in pairwise(shards)):
        return f"the {len(keys)} shards do not cover the {dataset['n_examples']} images of the dataset"
    if shards and {shard.split for shard in shards} != split:
        return f"the shards are of another split than {dataset['split']!r}"
    return None


def _follows(first: Shard, second: Shard) -> bool:
    return second.start == first.stop
