"""What HDF5 files may hold that reads other files: looked for before Keras opens one."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py

from explainers.errors import UntraceableModel


def check_links(path: Path) -> None:
    """Refuse weights (in a `.h5` file, or inside a `.keras` archive) that lie in other files.

    Raises UntraceableModel: an external link, an array with external storage, or a virtual one. What is no
    HDF5 at all is left to Keras.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".h5"):
                    _check(io.BytesIO(archive.read(name)), f"{path}: {name}")
    else:
        _check(path, str(path))


def _check(file: Path | io.BytesIO, where: str) -> None:
    try:
        opened = h5py.File(file, "r")
    except OSError:
        return
    with opened:
        for name in _outside(opened):
            raise UntraceableModel(
                f"{where}: the array {name!r} lies in another file, which is not read; valid: weights inside "
                "the model's own file"
            )


def _outside(group: h5py.Group) -> Iterator[str]:
    """Names of what lies in another file, without following any link to it."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield f"{group.name}/{name}"
        elif isinstance(link, h5py.HardLink):
            item = group[name]
            if isinstance(item, h5py.Group):
                yield from _outside(item)
            elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                yield str(item.name)
