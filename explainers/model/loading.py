"""A model from a file or, untrained, from `keras.applications`."""

from __future__ import annotations

from pathlib import Path

import keras

from explainers.errors import UntraceableModel


def load(source: str | Path, unsafe: bool = False) -> keras.Model:
    """A model from a `.keras` or `.h5` file, or an untrained `keras.applications` network by name.

    Files are read in Keras' safe mode: Lambda layers are refused unless `unsafe`, which runs code
    from the file.
    """
    path = Path(source)
    if path.suffix in (".keras", ".h5", ".hdf5"):
        if not path.is_file():
            raise UntraceableModel(f"model file {str(path)!r} does not exist")
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=not unsafe)
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UntraceableModel(f"model file {path.name!r} cannot be loaded: {reason}") from error
    factory = getattr(keras.applications, str(source), None)
    if not callable(factory):
        known = sorted(n for n in dir(keras.applications) if n[:1].isupper())
        raise UntraceableModel(
            f"model {str(source)!r} is neither a .keras or .h5 file nor a keras.applications name: "
            f"{', '.join(known)}"
        )
    return factory(weights=None)
