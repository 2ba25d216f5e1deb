"""Where the images of a folder lie, on this machine or in an object store: found, measured, read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from pipeline.errors import InputError
from pipeline.inputs.datasets import Record
from pipeline.inputs.datasets.archives import MAX_IMAGE
from pipeline.inputs.datasets.image_files import SUFFIXES, ImageFile, printable, sort_out
from pipeline.inputs.objects.ahead import in_order
from pipeline.inputs.objects.faults import Unreadable
from pipeline.inputs.objects.places import ObjectPath, Place


class Images(Protocol):
    """The images below a folder, by their paths below it, "/" between the parts.

    ``names``: of all of them, sorted; ``ignored``: how many lie in which hidden or system folder.
    """

    names: list[str]
    ignored: Counter[str]

    def size(self, name: str) -> int:
        """Bytes of an image."""

    def read(self, name: str) -> bytes:
        """Its content. Raises OSError or ``Unreadable`` for this image, ``StoreFault`` for all."""

    def each(self, call: Callable[[ImageFile], Record], images: Iterable[ImageFile]) -> Iterator[Record]:
        """``call``, which reads, of each image, in their order."""

    def versions(self, names: Iterable[str]) -> str:
        """A sha256 of the versions that a store gave them; "" where there are none."""


def find_images(root: Place) -> Images:
    """Those below ``root``.

    Raises :class:`InputError` where there is none, for a link that leaves the folder, an object whose name
    climbs out of it, and a store that cannot be read.
    """
    images: Images = LocalImages(root) if isinstance(root, Path) else ObjectImages(root)
    if not images.names:
        raise InputError(f"{root}: holds no image ({', '.join(sorted(SUFFIXES))})")
    return images


class LocalImages:
    """Images in a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root
        files = (path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        self.names, self.ignored = sort_out(path.relative_to(root).as_posix() for path in files)
        inside = root.resolve()
        for name in self.names:
            if not (root / name).resolve().is_relative_to(inside):
                shown = printable(str(root / name))
                raise InputError(f"{shown}: is a link to a file outside the folder; it is refused")

    def size(self, name: str) -> int:
        return (self._root / name).stat().st_size

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def each(self, call: Callable[[ImageFile], Record], images: Iterable[ImageFile]) -> Iterator[Record]:
        return map(call, images)

    def versions(self, names: Iterable[str]) -> str:
        return ""


class ObjectImages:
    """Images in an object store: listed once, read by several requests at the same time."""

    def __init__(self, root: ObjectPath) -> None:
        self._root = root
        listed = dict(root.below())
        self.names, self.ignored = sort_out(listed)
        self._states = {name: listed[name] for name in self.names}

    def size(self, name: str) -> int:
        return self._states[name].size

    def read(self, name: str) -> bytes:
        if self.size(name) > MAX_IMAGE:
            raise Unreadable(f"{self._root}/{name}", f"it has {self.size(name)} bytes, more than {MAX_IMAGE}")
        return self._root.store.read(f"{self._root}/{name}", self._states[name])

    def each(self, call: Callable[[ImageFile], Record], images: Iterable[ImageFile]) -> Iterator[Record]:
        return in_order(
            call, images, lambda image: 0 if image.error else min(self.size(image.name), MAX_IMAGE)
        )

    def versions(self, names: Iterable[str]) -> str:
        tags = [self._states[name].tag for name in names]
        return hashlib.sha256(json.dumps(tags).encode()).hexdigest() if any(tags) else ""
