"""A model from a file or, untrained, from `keras.applications`."""

from __future__ import annotations

import inspect
from pathlib import Path

import keras

from explainers.errors import UntraceableModel

SUFFIXES = (".keras", ".h5", ".hdf5")


def load(source: str | Path, unsafe: bool = False) -> keras.Model:
    """A model from a file (see :func:`load_file`), or an untrained `keras.applications` network by name.

    Raises UntraceableModel: there is neither.
    """
    path = Path(source)
    if path.suffix in SUFFIXES:
        return load_file(path, unsafe)
    if str(source) not in application_names():
        raise UntraceableModel(
            f"model {str(source)!r} is neither a .keras or .h5 file nor a keras.applications name: "
            f"{', '.join(application_names())}"
        )
    return vars(keras.applications)[str(source)](weights=None)


def load_file(path: Path, unsafe: bool = False) -> keras.Model:
    """A model from a `.keras` or `.h5` file, not compiled.

    Files are read in Keras' safe mode: Lambda layers are refused unless `unsafe`, which runs code
    from the file.

    Raises UntraceableModel: there is no such file, or Keras cannot load it.
    """
    if not path.is_file():
        raise UntraceableModel(f"{path}: no such model file")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=not unsafe)
    except Exception as error:  # Keras raises many types; each means that this file is no usable model
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UntraceableModel(f"{path}: Keras cannot load the model: {reason}") from error


def application_names() -> tuple[str, ...]:
    """The networks that `keras.applications` offers by name."""
    return tuple(sorted(name for name, f in vars(keras.applications).items() if inspect.isfunction(f)))
