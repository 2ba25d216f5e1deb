"""Where a dataset in the TFDS format lies: TFDS opens what describes it, we what holds its records."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import tensorflow_datasets as tfds

from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError, reason
from pipeline.inputs.datasets.record_objects import INDEX, ObjectRecords
from pipeline.inputs.datasets.recordfiles import READERS, LocalRecords, Records
from pipeline.inputs.objects.clients import State
from pipeline.inputs.objects.places import ObjectPath, place
from pipeline.json_text import parse_json

FEATURES_FILE: Final = "features.json"
# bytes of a file that describes a dataset; labels of Open Images have 0.3 MB
MAX_DESCRIPTION: Final = 1 << 26
_DESCRIPTION: Final = (".json", ".txt")  # suffixes of such files
_CLASS_KEYS: Final = ("pythonClassName", "python_class_name", "type")
_NAME = re.compile(r"\w+(/[\w.-]+)*(:\d+\.\d+\.\d+)?")  # of the catalog: name, configuration, version


def open_builder(config: DatasetConfig) -> tuple[Any, Records]:
    """TFDS's builder of the dataset, and its record files. Raises :class:`InputError`."""
    where = place(config.path)
    if isinstance(where, ObjectPath):
        states = dict(where.below())
        with tempfile.TemporaryDirectory(prefix="hansaudit-") as folder:
            _fetch_description(where, states, Path(folder))
            builder = _from_folder(Path(folder), str(where))
            _ = builder.info.metadata  # TFDS would read it later, from a folder that is gone by then
        _check_format(builder, str(where), ("tfrecord",))
        return builder, ObjectRecords(where, states)
    builder = _from_catalog(config) if config.name else _from_folder(where, config.path)
    _check_format(builder, str(builder.data_dir), tuple(READERS))
    return builder, LocalRecords(builder.info.file_format.value)


def _fetch_description(where: ObjectPath, states: Mapping[str, State], folder: Path) -> None:
    """Copy the small files that describe a dataset. Raises :class:`InputError` for one that is not small."""
    for name, state in states.items():
        if "/" in name or not name.endswith(_DESCRIPTION) or name == INDEX:
            continue
        if state.size > MAX_DESCRIPTION:
            raise InputError(f"{where}/{name}: {state.size} bytes, more than {MAX_DESCRIPTION}, are refused")
        (folder / name).write_bytes(ObjectPath(f"{where}/{name}", state).read_bytes())


def _check_format(builder: Any, where: str, valid: tuple[str, ...]) -> None:
    form = builder.info.file_format.value
    if form not in valid:
        raise InputError(f"{where}: stored as {form}; valid formats: {', '.join(valid)}")


def _from_catalog(config: DatasetConfig) -> Any:
    """Names with a namespace (``kaggle:x``) load their builder from elsewhere: they are refused."""
    if not _NAME.fullmatch(config.name):
        raise InputError(
            f"dataset {config.name!r}: no name of the TFDS catalog; valid: name, name/config or "
            "name/config:1.0.0, without a namespace"
        )
    if config.path:
        below = Path(config.path, config.name.partition("/")[0].partition(":")[0])
        _refuse_code(below, str(below))
    try:
        builder = tfds.builder(config.name, data_dir=config.path or None)
    except Exception as error:
        raise InputError(f"dataset {config.name!r} cannot be opened by TFDS: {reason(error)}") from None
    if not builder.info.splits:
        raise InputError(
            f"dataset {config.name!r} is not prepared in {builder.data_dir}; "
            f"run `tfds build {config.name}` first, or give its data_dir as path"
        )
    return builder


def _from_folder(folder: Path, shown: str) -> Any:
    """``shown``: where the folder's files are from, for messages."""
    _refuse_code(folder, shown)
    try:
        return tfds.builder_from_directory(str(folder))
    except Exception as error:
        told = reason(error).replace(str(folder), shown)
        raise InputError(f"{shown}: not a TFDS dataset: {told}") from None


def _refuse_code(folder: Path, shown: str) -> None:
    """Refuse what would make TFDS import code that a stranger names. Raises :class:`InputError`.

    ``features.json`` names the class of every feature, whose module TFDS imports.
    """
    for file in sorted(folder.rglob(FEATURES_FILE)):
        where = f"{shown}/{file.relative_to(folder).as_posix()}"
        for name in _classes(parse_json(file.read_bytes(), where)):
            if "." in name and not name.startswith("tensorflow_datasets."):
                raise InputError(
                    f"{where}: names the class {name!r}, whose code would run; valid: features of "
                    "tensorflow_datasets"
                )


def _classes(content: Any) -> Iterator[str]:
    """Names of classes in the content of ``features.json``, in its present and its older layout."""
    if isinstance(content, list):
        for inner in content:
            yield from _classes(inner)
    elif isinstance(content, dict):
        for key, value in content.items():
            if key in _CLASS_KEYS and isinstance(value, str):
                yield value
            elif key == "json" and isinstance(value, str):  # a layout inside a text
                yield from _classes(parse_json(value, FEATURES_FILE))
            else:
                yield from _classes(value)
