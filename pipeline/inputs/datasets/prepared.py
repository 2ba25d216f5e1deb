"""Writing a dataset in the TFDS format, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from pipeline.errors import InputError
from pipeline.inputs.datasets.record_objects import write_index
from pipeline.inputs.objects.places import refuse_store
from pipeline.temporary import sweep, temporary_name

METADATA_KEY = "hansaudit"  # in the builder's metadata: class_names, planted, spec ...

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO)


@dataclass
class Prepared:
    """What was written to ``path``. ``without_boxes``: images that no list of boxes mentions;
    ``without_image``: annotations whose image is not in the archive (a subset is fine)."""

    path: Path
    images: int = 0
    boxes: int = 0
    classes: set[str] = field(default_factory=set)
    without_boxes: list[str] = field(default_factory=list)
    without_image: int = 0


def audit_features(class_ids: tuple[str, ...], encoding: str) -> tfds.features.FeaturesDict:
    """The features of every dataset that this package writes; the image's bytes are stored untouched."""
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(encoding_format=encoding, doc="the original file, byte for byte"),
            "label": tfds.features.ClassLabel(names=list(class_ids)),
            "class_id": tfds.features.Text(doc="the class's own id (synset)"),
            "file_name": tfds.features.Text(doc="name of the original file; unique in the split"),
            "boxes": tfds.features.Tensor(
                shape=(None, 4),
                dtype=np.int32,
                doc="xmin, ymin, xmax, ymax in the original image, 0-based, inclusive, in pixels",
            ),
        }
    )


def builder_info(
    builder: Any, features: tfds.features.FeaturesDict, about: str, metadata: dict[str, Any]
) -> tfds.core.DatasetInfo:
    """DatasetInfo with this package's metadata (JSON-able) attached."""
    return tfds.core.DatasetInfo(
        builder=builder,
        description=about,
        features=features,
        metadata=tfds.core.MetadataDict({METADATA_KEY: metadata}),
    )


def prepare(make_builder: Callable[[str], tfds.core.GeneratorBasedBuilder], out: str | Path) -> Path:
    """Write the dataset of ``make_builder(data_dir)`` so that ``out`` itself is the dataset's folder.

    It is built beside ``out`` under a temporary name and renamed at the end: a killed or failed preparation
    never leaves something that looks like a dataset. Raises :class:`InputError` when ``out`` is taken, cannot
    be written, or the source is unusable.
    """
    refuse_store(str(out), "a prepared dataset")
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: is there already and not empty; remove it or choose another folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sweep(out.parent, f"*~{out.name}-*")
        temporary = tempfile.mkdtemp(prefix=f"{temporary_name(out.name)}-", dir=out.parent)
    except OSError as error:
        raise InputError(f"{out}: cannot write there: {error.strerror}") from None
    try:
        tfds.disable_progress_bar()
        builder = make_builder(temporary)
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces the temporary folder
            builder.download_and_prepare()
        write_index(Path(builder.data_dir))
        if out.exists():
            out.rmdir()
        os.replace(builder.data_dir, out)
    except Exception as error:
        raise _as_input_error(error, out) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def _as_input_error(error: BaseException, out: Path) -> BaseException:
    """TFDS wraps what the generator raises; find the cause that the user can act on."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return InputError(str(cause).splitlines()[0])
        if isinstance(cause, OSError) and cause.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return InputError(f"{out}: another process made it meanwhile")
        if isinstance(cause, OSError) and cause.errno in _UNWRITABLE:
            return InputError(f"{out}: cannot write there: {cause.strerror}")
        cause = cause.__cause__ or cause.__context__
    return error
