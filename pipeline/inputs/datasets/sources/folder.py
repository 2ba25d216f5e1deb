"""A folder of images, with boxes from CSV, COCO JSON or VOC XML where there are any.

The class of an image is its sub-folder (``<class>/<image>``); images that lie in the folder itself take their
class from the annotations: the label column, the category or the object's name (of the largest box where an
image has several, and then the boxes of that class only). Without annotations every image is without a box.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import (
    INFO_FILE,
    DatasetInfo,
    Record,
    Source,
    failed,
    register,
)
from pipeline.inputs.datasets.annotations import FORMATS, Annotations, read_boxes
from pipeline.inputs.datasets.box_facts import told_boxes
from pipeline.inputs.datasets.image_files import ImageFile, below, choose_split, match, sample
from pipeline.inputs.datasets.image_places import find_images
from pipeline.inputs.objects.faults import Unreadable
from pipeline.inputs.objects.places import Place, place
from pipeline.inputs.shards import Shard


class FolderDataset:
    """Images in a folder; the order is that of their names."""

    def __init__(self, config: DatasetConfig) -> None:
        self.config = config
        top = place(config.path)
        if not config.path or not top.is_dir():
            raise InputError(
                f"dataset source 'folder': {config.path!r} is no folder; give the images' folder as path"
            )
        self._files = find_images(top)
        self.root = choose_split(top, self._files.names, config.split)
        if self.root != top:
            self._files = find_images(self.root)
        where = self._boxes_from = _annotations(config, self.root, top)
        annotations = _read(where, config, (self.root, top))
        split = config.split if self.root != top else ""
        images = match(self._files.names, annotations.entries, str(where or self.root), split)
        self._images = sample(images, config.limit)
        self._classes = _class_order(images, annotations.class_order)
        said = _decisions(self, images, self._files.ignored, annotations.class_order)
        self._decisions = (*said, *_groups(images, annotations.group))
        if not self._classes:
            raise InputError(
                f"{self.root}: no image has a class; put images in one sub-folder per class, or name a CSV "
                "with the columns file and label as annotations"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return FolderDataset, (self.config,)

    @functools.cached_property
    def info(self) -> DatasetInfo:
        """See :class:`DatasetInfo`; the fingerprint covers names, sizes, labels, boxes, groups, no pixels."""
        digest = hashlib.sha256()
        for image in self._images:
            size = 0 if image.error else self._files.size(image.name)
            own = [image.group] if image.group else []  # without one, as before there were groups
            digest.update(json.dumps([image.id, image.label, size, image.boxes.tolist(), *own]).encode())
        return DatasetInfo(
            name=self.root.resolve().name if isinstance(self.root, Path) else self.root.name,
            split=self.config.split or "all",
            n_examples=len(self._images),
            class_names=self._classes,
            class_ids=self._classes,
            fingerprint=digest.hexdigest(),
            decisions=self._decisions,
            versions=self._files.versions(image.name for image in self._images if not image.error),
        )

    def read(self, shard: Shard) -> Iterator[Record]:
        """See :class:`Dataset`."""
        images = self._images[shard.start : shard.stop]
        for index, record in enumerate(self._files.each(self._record, images), shard.start):
            yield replace(record, index=index)

    def _record(self, image: ImageFile) -> Record:
        """What is stored of the image, its position left open."""
        if image.error:
            return failed(image.id, -1, f"{image.id}: {image.error}")
        try:
            data = self._files.read(image.name)
        except OSError as error:
            return failed(image.id, -1, f"{image.id}: cannot read the file: {error.strerror}")
        except Unreadable as error:
            return failed(image.id, -1, f"{image.id}: cannot read the file: {error.why}")
        label = self._classes.index(image.label) if image.label else -1
        return Record(
            image.id,
            -1,
            image.id,
            data,
            label,
            image.boxes,
            viewed=True,
            size=image.size,
            remark=image.remark,
            group=image.group or None,
        )


def _class_order(images: Sequence[ImageFile], numbered: tuple[str, ...]) -> tuple[str, ...]:
    """The classes by the annotations' own numbers where these know them all, else by their names."""
    labels = {image.label for image in images if image.label}
    return numbered if labels.issubset(numbered) and labels else tuple(sorted(labels))


def _decisions(
    dataset: FolderDataset, images: Sequence[ImageFile], ignored: Counter[str], numbered: tuple[str, ...]
) -> Iterator[str]:
    """What was decided without being asked for."""
    where = dataset._boxes_from
    if where is not None and not dataset.config.annotations:
        yield f"boxes: {where.name}, found in the images' folder"
    yield from told_boxes([(image.label, image.boxes) for image in images if not image.error], where)
    if ignored:
        folders = ", ".join(f"{folder} ({count})" for folder, count in sorted(ignored.items()))
        yield f"images in hidden or system folders are ignored: {folders}"
    if numbered and dataset._classes == numbered:
        yield f"classes are in the order of the annotations' category ids: {', '.join(numbered[:5])}" + (
            ", ..." if len(numbered) > 5 else ""
        )
    if len(dataset._images) < len(images):
        yield f"{len(dataset._images)} of {len(images)} images, a seeded choice spread over the classes"
    if nameless := sum(not image.label and not image.error for image in images):
        yield f"{nameless} images have no class, neither by folder nor by annotation; they count for none"


def _groups(images: Sequence[ImageFile], column: str) -> Iterator[str]:
    """What the annotations' column says of the groups, if there is one."""
    if column:
        named = [image.group for image in images if image.group]
        unknown = f"; {len(images) - len(named)} images have none" if len(named) < len(images) else ""
        yield f"groups: column {column!r}, {len(set(named))} different ones{unknown}"


def _read(where: Place | None, config: DatasetConfig, folders: tuple[Place, ...]) -> Annotations:
    """The annotations, names of images below one of the ``folders``; none where there are none.

    Raises :class:`InputError` as :func:`read_boxes` does, and for a group that nothing says.
    """
    if where is not None:
        return below(read_boxes(where, config.annotations_format, config.group), folders)
    if config.group:
        raise InputError(
            f"{folders[0]}: no annotations, so no column {config.group!r} for the groups; give a CSV that "
            "has it"
        )
    return Annotations(())


def _annotations(config: DatasetConfig, root: Place, top: Place) -> Place | None:
    """What the configuration names, else what lies in the images' folder, or in the one of all splits.

    None where there is nothing. Raises :class:`InputError` for a file that is named and not there.
    """
    if config.annotations:
        path = place(config.annotations)
        if not path.exists():
            raise InputError(
                f"annotations {path}: no such file or folder; valid formats: {', '.join(FORMATS)}"
            )
        return path
    for folder in dict.fromkeys((root, top)):
        for name in ("annotations.csv", "annotations.json", "annotations", "Annotations"):
            if (folder / name).exists():
                return folder / name
    return None


def _section(text: str) -> dict[str, str] | None:
    where = place(text)
    where = where.expanduser() if isinstance(where, Path) else where
    prepared = (where / INFO_FILE).is_file()
    return {"source": SOURCE.name, "path": str(where)} if where.is_dir() and not prepared else None


SOURCE = register(
    Source(
        name="folder",
        about="a folder of images, with or without boxes from CSV, COCO JSON or VOC XML",
        open=FolderDataset,
        section=_section,
        glance=FolderDataset,
    )
)
