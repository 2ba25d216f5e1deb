"""Drawn objects with known artefacts; :mod:`pipeline.inputs.datasets.planted` draws and reads them."""

from __future__ import annotations

from pipeline.config_sections import DatasetConfig
from pipeline.inputs.datasets import Dataset, Source, register


def _open(config: DatasetConfig) -> Dataset:
    from pipeline.inputs.datasets.planted import open_planted

    return open_planted(config)


def _reopen(config: DatasetConfig) -> Dataset:
    from pipeline.inputs.datasets.planted import reopen_planted

    return reopen_planted(config)


def _section(text: str) -> dict[str, str] | None:
    return {"source": SOURCE.name} if text == SOURCE.name else None


SOURCE = register(
    Source(
        name="planted",
        about="drawn objects with known artefacts, made on the spot: the ground truth for demo and tests",
        open=_open,
        reopen=_reopen,
        section=_section,
        order=-1,  # its name wins over a folder of that name
    )
)
