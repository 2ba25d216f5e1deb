"""A model from a file or, untrained, from `keras.applications`; or the reason why not, and the way out."""

from __future__ import annotations

import inspect
import re
import tempfile
import zipfile
from pathlib import Path

import keras

from explainers.errors import UntraceableModel
from explainers.model.hdf5 import check_links

SUFFIXES = (".keras", ".h5", ".hdf5")

_COPY = "rebuild the network in Keras, copy the weights layer by layer with set_weights"
_TORCH = (
    f"a PyTorch file: {_COPY} (a convolution's kernel transposed from (out, in, h, w) to (h, w, in, out))"
)
_SAVE = 'and save it with model.save("model.keras")'
# What files of other programs are, and how to get a Keras model instead.
_FOREIGN = {
    **dict.fromkeys((".pt", ".pth", ".safetensors"), f"{_TORCH} {_SAVE}"),
    ".onnx": f"an ONNX file, which holds operations instead of layers: {_COPY} {_SAVE}",
    ".tflite": "a TensorFlow Lite file, which holds no layers: take the Keras model that it was made from, "
    f"{_SAVE}",
    ".pb": "a graph of TensorFlow operations, which holds no layers: take the Keras model that it was made "
    f"from, {_SAVE}",
    ".json": f"the architecture without weights: keras.models.model_from_json, model.load_weights, {_SAVE}",
}
_SAVED_MODEL = (
    "a SavedModel folder, which Keras 3 reads no layers from: load it where it was made (or with "
    f"pip install tf-keras: tf_keras.models.load_model(FOLDER)), {_SAVE[4:].replace('.keras', '.h5')}"
)
_WEIGHTS = f"weights without an architecture: rebuild the network, model.load_weights(FILE), {_SAVE}"
_GROUPS = (
    "Keras 2 wrote it; convert it once: keras.models.load_model(FILE, compile=False, custom_objects="
    '{"DepthwiseConv2D": lambda groups=1, **config: keras.layers.DepthwiseConv2D(**config)})'
    '.save("model.keras")'
)
# What Keras says, and what to do about it.
_WAYS_OUT = (
    (r"DepthwiseConv2D.*groups", _GROUPS),
    (
        r"[Ll]ambda",
        "a Lambda layer is code: replace it by a layer, or allow this file to run code (--unsafe)",
    ),
    (
        r"Could not locate (class|function)|Unknown (layer|object)",
        "give the model by a function of your own instead, package.module:function, which imports the class",
    ),
    (r"No model config found", _WEIGHTS),
)


def load(source: str | Path, unsafe: bool = False) -> keras.Model:
    """A model from a file (see :func:`load_file`), or an untrained `keras.applications` network by name.

    Raises UntraceableModel: there is neither.
    """
    path = Path(source)
    if names_file(source):
        return load_file(path, unsafe)
    if str(source) not in application_names():
        raise UntraceableModel(
            f"model {str(source)!r} is neither a .keras or .h5 file nor a keras.applications name: "
            f"{', '.join(application_names())}"
        )
    return vars(keras.applications)[str(source)](weights=None)


def names_file(source: str | Path) -> bool:
    """Whether a model's source is a file, of whatever format, or a folder."""
    path = Path(source)
    if path.suffix.lower() in (*SUFFIXES, *_FOREIGN):
        return True
    return path.exists() and str(source) not in application_names()


def check_format(path: Path) -> None:
    """Refuse what is no file of Keras. Raises UntraceableModel: what it is instead, and what to do."""
    suffix = path.suffix.lower()
    if path.is_dir() and ((path / "saved_model.pb").is_file() or suffix not in SUFFIXES):
        what = _SAVED_MODEL if (path / "saved_model.pb").is_file() else "a folder"
        raise UntraceableModel(f"{path}: {what}; valid: a .keras or .h5 file")
    if path.name.lower().endswith(".weights.h5"):
        raise UntraceableModel(f"{path}: {_WEIGHTS}; valid: a .keras or .h5 file of a whole model")
    if suffix not in SUFFIXES:
        what = _FOREIGN.get(suffix, "no format that is known by its suffix")
        raise UntraceableModel(f"{path}: {what}; valid: a .keras or .h5 file")


def load_file(path: Path, unsafe: bool = False) -> keras.Model:
    """A model from a `.keras` or `.h5` file, not compiled.

    Files are read in Keras' safe mode: Lambda layers are refused unless `unsafe`, which runs code
    from the file.

    Raises UntraceableModel: there is no such file, it is of another program, or Keras cannot load it.
    """
    check_format(path)
    if not path.is_file():
        raise UntraceableModel(f"{path}: no such model file")
    try:
        with tempfile.TemporaryDirectory() as folder:
            named = _rightly_named(path, Path(folder))
            check_links(path)
            return keras.saving.load_model(named, compile=False, safe_mode=not unsafe)
    except UntraceableModel:
        raise
    except Exception as error:  # Keras raises many types; each means that this file is no usable model
        raise UntraceableModel(f"{path}: Keras cannot load the model: {_reason(error)}") from error


def _suffix(path: Path) -> str:
    """The suffix for the content of a file. Raises UntraceableModel where it is no file of Keras."""
    with open(path, "rb") as file:
        if file.read(4) == b"\x89HDF":
            return ".h5"
    if zipfile.is_zipfile(path):
        return ".keras"
    raise UntraceableModel(
        f"{path}: Keras cannot load the model: its content is neither a zip archive (.keras) nor HDF5 (.h5): "
        "it is damaged, cut short or a pointer to a file stored elsewhere (Git LFS); fetch it again"
    )


def _rightly_named(path: Path, folder: Path) -> Path:
    """The path, or a link in `folder` with the suffix of its content: Keras goes by the suffix."""
    suffix = _suffix(path)
    if path.suffix == suffix:
        return path
    link = folder / f"model{suffix}"
    link.symlink_to(path.resolve())
    return link


def _reason(error: Exception) -> str:
    """The line of Keras' message that says why, without the dump of a configuration; and the way out."""
    text = str(error).strip()
    why = text.rpartition("Exception encountered:")[2].strip() or type(error).__name__
    why = re.split(r"\.\s|\s*config=\{", why.splitlines()[0])[0][:300].rstrip(". ")
    way_out = next((f"; {words}" for pattern, words in _WAYS_OUT if re.search(pattern, text)), "")
    return why + way_out


def application_names() -> tuple[str, ...]:
    """The networks that `keras.applications` offers by name."""
    return tuple(sorted(name for name, f in vars(keras.applications).items() if inspect.isfunction(f)))
