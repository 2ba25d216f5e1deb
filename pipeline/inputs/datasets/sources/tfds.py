"""Datasets in the TFDS format; :mod:`pipeline.inputs.datasets.tfds` reads them."""

from __future__ import annotations

from pathlib import Path

from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import INFO_FILE, Dataset, Source, register
from pipeline.inputs.objects.places import place
from pipeline.urls import is_url, local_path


def _open(config: DatasetConfig) -> Dataset:
    _glance(config)
    from pipeline.inputs.datasets.tfds import TfdsDataset

    return TfdsDataset(config)


def _glance(config: DatasetConfig) -> None:
    """Refuse a place where no dataset is, and boxes that are not there."""
    if config.annotations and not place(config.annotations).is_file():
        raise InputError(f"annotations {config.annotations}: no such file; valid is a CSV")
    if config.name:
        if is_url(config.path):
            raise InputError(
                f"{config.path}: a dataset of the catalog is found on this machine only; give the folder "
                "<data_dir>/<name>/<version> in the store as path, without a name"
            )
        return
    if not config.path:
        raise InputError("dataset source 'tfds': received neither name nor path; give one of them")
    if not (place(config.path) / INFO_FILE).is_file():
        raise InputError(
            f"{config.path}: no dataset there (no {INFO_FILE}); give a folder made by "
            "`hansaudit prepare`, or the folder <data_dir>/<name>/<version> of a TFDS dataset"
        )


def _section(text: str) -> dict[str, str] | None:
    """A prepared folder, or a catalog name: any text that is no path."""
    if is_url(text):
        return {"source": SOURCE.name, "path": text} if (place(text) / INFO_FILE).is_file() else None
    path = Path(local_path(text)).expanduser()
    if (path / INFO_FILE).is_file():
        return {"source": SOURCE.name, "path": str(path)}
    is_path = text.startswith((".", "/", "~")) or path.exists() or text.count("/") > 1
    return None if is_path else {"source": SOURCE.name, "name": text}


SOURCE = register(
    Source(
        name="tfds",
        about="a folder made by `hansaudit prepare`, or any TFDS catalog dataset of labelled images",
        open=_open,
        section=_section,
        glance=_glance,
        order=1,  # after those that know the names they take
    )
)
