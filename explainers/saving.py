"""Analyzers as JSON, fitted analyzers as one `.npz` file (arrays and JSON text, no pickle)."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from explainers.analyzer import Analyzer, Fitted
from explainers.errors import InvalidInput, InvalidParameter
from explainers.network import Network
from explainers.registry import create_analyzer

FORMAT = 1
_STATE = "state/"


def to_config(analyzer: Analyzer) -> dict[str, Any]:
    """`{"method": name, "params": {...}}`, plain JSON values; `from_config` makes an equal analyzer.

    Raises InvalidParameter for an analyzer that was not made by `create_analyzer` and for parameters that
    are no JSON values (rules and presets of one's own).
    """
    if analyzer.origin is None:
        raise InvalidParameter(
            f"{analyzer!r} was not made by create_analyzer; valid: an analyzer with a method name"
        )
    method, params = analyzer.origin
    try:
        return json.loads(json.dumps({"method": method, "params": params}))
    except TypeError as error:
        raise InvalidParameter(f"method {method!r}: a parameter is no JSON value: {error}") from None


def from_config(config: dict[str, Any]) -> Analyzer:
    """The analyzer that `to_config` described."""
    return create_analyzer(config["method"], **config["params"])


def save_fitted(fitted: Fitted, path: str | Path) -> Path:
    """Write what `load_fitted` needs besides the model: configuration, estimates, a digest of the weights."""
    path = Path(path)
    net = fitted.network
    about = {
        "format": FORMAT,
        **to_config(fitted.analyzer),
        "weights": digest(net),
        "nodes": [node.name for node in net.graph],
    }
    arrays = {f"{_STATE}{name}": value for name, value in fitted.state.items()}
    partial = path.with_name(f".tmp-{path.name}")
    with open(partial, "wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]
    os.replace(partial, path)
    return path


def load_fitted(path: str | Path, model: Any) -> Fitted:
    """The fitted analyzer that `save_fitted` wrote, bound to its model.

    Raises InvalidInput when the file cannot be read, or when the model's weights are not those that it was
    fitted on.
    """
    about, state = _read(Path(path))
    analyzer = from_config(about)
    net = analyzer.network_of(model)
    if digest(net) != about["weights"]:
        raise InvalidInput(
            f"{path}: was fitted on other weights than those of model {net.graph.model.name!r}; fit it anew"
        )
    # Keras numbers its layers anew whenever a model is built; their order stays
    named = dict(zip(about["nodes"], (node.name for node in net.graph), strict=True))
    return analyzer.bind(net, {named.get(name, name): value for name, value in state.items()})


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            state = {n.removeprefix(_STATE): file[n] for n in file.files if n.startswith(_STATE)}
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, EOFError, RecursionError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"{path}: is no saved analyzer: {error}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        received = about.get("format") if isinstance(about, dict) else about
        raise InvalidInput(f"{path}: has format {received!r}; valid: {FORMAT}")
    return about, state


def digest(net: Network) -> str:
    """sha256 of the canonised weights in the order of the graph."""
    sha = hashlib.sha256()
    for node in net.graph:
        for array in node.arrays:
            sha.update(np.ascontiguousarray(array, np.dtype(net.dtype)).tobytes())
    return sha.hexdigest()
