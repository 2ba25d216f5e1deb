"""Where images, labels and boxes come from: one file per source in ``sources``, all behind :class:`Dataset`.

A source registers itself; nothing else has to be touched to add one. Importing this package, and listing the
sources, loads no framework: :func:`open_dataset` imports what the one that is asked for takes.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Final, Protocol

import numpy as np

from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.shards import Shard

NO_BOXES = np.zeros((0, 4), np.float32)
INFO_FILE: Final = "dataset_info.json"  # marks the folder of a dataset in the TFDS format


@dataclass(frozen=True)
class Record:
    """One example as it is stored: nothing decoded, nothing corrected.

    ``boxes``: (n, 4) xmin, ymin, xmax, ymax, 0-based, inclusive, pixels of the original image.
    ``label``: index of the class, -1 where the data give none.
    ``error``: why the record cannot be used, for a row that could not be read; ``image`` is then None.
    ``viewed``: it was annotated as viewers show it, turned by its EXIF orientation; pictures of prepared
    datasets are taken as they are stored, as by everyone who trained on them. ``size``: width and height of
    what was annotated, where that is stated. ``remark``: what the annotations say of it that is no box.
    ``group``: where it comes from (a place, a camera, a hospital), None where the data do not say.
    """

    example_id: str
    index: int
    file_name: str
    image: bytes | None
    label: int
    boxes: np.ndarray
    error: str | None = None
    viewed: bool = False
    size: tuple[int, int] | None = None
    remark: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class DatasetInfo:
    """What a run must know about its data.

    ``class_ids`` are the dataset's own ids (synsets), equal to the names where it has none.
    ``fingerprint`` is the sha256 of what identifies the data. ``planted`` names the artefact of each planted
    class, from the dataset's own metadata; None where nothing is planted. ``decisions``: what was decided by
    position, by default or by rule while reading, a sentence each. ``versions``: a sha256 of the versions
    (ETags) that an object store gave the files; "" elsewhere. The same files at another place have the same
    fingerprint, and other versions.
    """

    name: str
    split: str
    n_examples: int
    class_names: tuple[str, ...]
    class_ids: tuple[str, ...]
    fingerprint: str
    planted: dict[str, str] | None = None
    decisions: tuple[str, ...] = ()
    versions: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For the run's manifest."""
        content = asdict(self) | {"class_names": list(self.class_names), "class_ids": list(self.class_ids)}
        if not self.versions:
            del content["versions"]
        return content


class Dataset(Protocol):
    """One split of a dataset, readable from any position; cheap to send to another process."""

    @property
    def info(self) -> DatasetInfo: ...

    def read(self, shard: Shard) -> Iterator[Record]:
        """The records of ``shard`` in order, ``len(shard)`` of them: unreadable ones carry an error."""
        ...


@dataclass(frozen=True)
class Source:
    """A kind of dataset, declared in a module of its own in :mod:`pipeline.inputs.datasets.sources`.

    Attributes:
        name: as in ``dataset.source``.
        about: one line for ``hansaudit datasets``.
        open: the dataset of a configuration; raises :class:`InputError` when it cannot be used. It, not its
            module, imports what reading takes: declaring a source loads no framework.
        section: the dataset section that ``--dataset TEXT`` stands for; None where TEXT means another source.
        order: sources are asked for their ``section`` in this order.
        reopen: as ``open``, for what is there already, where ``open`` would make it.
        glance: what can be told without a framework; the dataset, where opening it takes none.
    """

    name: str
    about: str
    open: Callable[[DatasetConfig], Dataset] = field(repr=False)
    section: Callable[[str], dict[str, str] | None] = field(default=lambda text: None, repr=False)
    order: int = 0
    reopen: Callable[[DatasetConfig], Dataset] | None = field(default=None, repr=False)
    glance: Callable[[DatasetConfig], Dataset | None] = field(default=lambda config: None, repr=False)


_REGISTRY: dict[str, Source] = {}


def register(source: Source) -> Source:
    """Make ``source`` known under its name. Raises ValueError where another one has that name."""
    if source.name in _REGISTRY:
        raise ValueError(f"dataset source {source.name!r} is registered twice")
    _REGISTRY[source.name] = source
    return source


@cache
def list_sources() -> tuple[Source, ...]:
    """Every source, in the order in which they are asked. Loads no framework."""
    package = importlib.import_module(f"{__name__}.sources")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return tuple(sorted(_REGISTRY.values(), key=lambda source: (source.order, source.name)))


def get_source(name: str) -> Source:
    """The source called ``name``. Raises :class:`InputError` with the valid names."""
    sources = {source.name: source for source in list_sources()}
    if name not in sources:
        raise InputError(f"dataset source {name!r} is unknown; valid: {', '.join(sorted(sources))}")
    return sources[name]


def open_dataset(config: DatasetConfig) -> Dataset:
    """The dataset that ``config`` describes. Raises :class:`InputError` when it cannot be used."""
    return _opened(get_source(config.source).open, config)


def reopen_dataset(config: DatasetConfig) -> Dataset:
    """As :func:`open_dataset`, and nothing is made or written anywhere: for what a run folder names."""
    source = get_source(config.source)
    return _opened(source.reopen or source.open, config)


def _opened(opener: Callable[[DatasetConfig], Dataset], config: DatasetConfig) -> Dataset:
    try:
        return opener(config)
    except ModuleNotFoundError as error:
        raise InputError(
            f"dataset source {config.source!r}: the package {error.name} is not installed; install it, or "
            "give a folder of images, which needs none"
        ) from None


def glance_dataset(config: DatasetConfig) -> Dataset | None:
    """The dataset, where no framework is needed to open it; else None, and what can be told is checked.

    Raises :class:`InputError` when it cannot be used.
    """
    return get_source(config.source).glance(config)


def section_of(text: str) -> dict[str, str]:
    """The dataset section that ``--dataset TEXT`` stands for. Raises :class:`InputError` if for none."""
    for source in list_sources():
        if (section := source.section(text)) is not None:
            return section
    raise InputError(
        f"--dataset {text}: no such folder; give a prepared dataset, an image folder, 'planted', "
        "or the name of a TFDS dataset"
    )


def failed(example_id: str, index: int, error: str) -> Record:
    """The row that stands for an example that could not be read."""
    return Record(example_id, index, "", None, -1, NO_BOXES, error)


def limited(n: int, limit: int) -> int:
    """Number of examples when ``limit`` (0 = all) is asked for."""
    return min(n, limit) if limit else n
