"""The images of a folder, and which of them an entry of the annotations is about."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.errors import InputError
from pipeline.inputs.datasets import NO_BOXES
from pipeline.inputs.datasets.annotations import Annotations, ImageBoxes
from pipeline.inputs.objects.places import Place
from pipeline.seeds import ImageChoice
from pipeline.urls import is_url

SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"))
SPLITS = frozenset(("train", "training", "val", "valid", "validation", "dev", "test", "testing"))
SYSTEM_FOLDERS = ("__MACOSX",)  # hidden ones, `.ipynb_checkpoints` among them, begin with a dot


@dataclass(frozen=True)
class ImageFile:
    """An image of the folder, or one that only the annotations name.

    Attributes:
        name: path below the folder as the file system has it, "/" between its parts.
        id: the same, printable and unique.
        label: name of the class, "" where neither folder nor annotations give one.
        size: width and height that the annotations state.
        remark: what the annotations say of it that is no box; error: why it cannot be read.
        group: where it comes from, "" where the annotations do not say.
    """

    name: str
    id: str
    label: str
    boxes: np.ndarray
    size: tuple[int, int] | None = None
    remark: str | None = None
    error: str | None = None
    group: str = ""


def sort_out(names: Iterable[str]) -> tuple[list[str], Counter[str]]:
    """Those that are images, sorted, and how many lie in which hidden or system folder."""
    images: list[str] = []
    ignored: Counter[str] = Counter()
    for name in names:
        path = PurePosixPath(name)
        if path.suffix.lower() not in SUFFIXES:
            continue
        hidden = next((part for part in path.parts if part.startswith(".") or part in SYSTEM_FOLDERS), None)
        if hidden is None:
            images.append(name)
        else:
            ignored[printable(hidden)] += 1
    return sorted(images), ignored


def choose_split(root: Place, names: Sequence[str], split: str) -> Place:
    """``root``, or the split's folder in it, where the images lie in ``<split>/<class>/<image>``.

    Raises :class:`InputError` where the folders are splits and ``split`` names none of them.
    """
    tops = sorted({name.partition("/")[0] for name in names})
    if any(name.count("/") < 2 for name in names) or not SPLITS.issuperset(top.lower() for top in tops):
        return root
    if split in tops:
        return root / split
    asked = f"there is no {split!r}" if split else "none was chosen"
    raise InputError(
        f"{root}: its folders are splits ({', '.join(tops)}), not classes, and {asked}; choose one: "
        f"--split {tops[0]}, or give {root / tops[0]} as the dataset"
    )


def below(annotations: Annotations, folders: Sequence[Place]) -> Annotations:
    """``annotations`` whose absolute paths or URLs below one of the ``folders`` are relative to it."""

    def shortened(name: str) -> str:
        if is_url(name):
            return next((name[len(f"{f}/") :] for f in folders if name.startswith(f"{f}/")), name)
        path = PurePosixPath(name)
        for folder in folders if path.is_absolute() else ():
            for root in (folder.absolute(), folder.resolve()) if isinstance(folder, Path) else ():
                if path.is_relative_to(root):
                    return path.relative_to(root).as_posix()
        return name

    entries = [replace(entry, names=tuple(map(shortened, entry.names))) for entry in annotations.entries]
    return replace(annotations, entries=tuple(entries))


def match(
    names: Sequence[str], entries: Iterable[ImageBoxes], where: str, split: str = ""
) -> list[ImageFile]:
    """Images with what the annotations say of them, sorted by name; missing ones that they name among them.

    An entry finds its image by path below the folder, with or without suffix, else by base name where that is
    unique; with or without the split before it.

    Raises :class:`InputError` where a name fits several files, or two entries are about one.
    """
    index = _Index(names, split)
    about: dict[str, ImageBoxes] = {}
    images: list[ImageFile] = []
    for entry in entries:
        name = index.find(entry, where)
        if name is None:
            missing = "the annotations name it, but there is no such file"
            images.append(ImageFile(entry.names[0], printable(entry.names[0]), "", NO_BOXES, error=missing))
        elif name in about:
            raise InputError(
                f"{where}: {about[name].names[0]!r} and {entry.names[0]!r} are both about image "
                f"{printable(name)!r}; valid is one entry per image"
            )
        else:
            about[name] = entry
    ids = _Ids(image.id for image in images)
    images += [_image(name, ids.of(name), about.get(name)) for name in names]
    return sorted(images, key=lambda image: image.id)


def sample(images: Sequence[ImageFile], limit: int) -> list[ImageFile]:
    """``limit`` of the images in order (0: all), a seeded choice, as evenly over the classes as it goes."""
    if not limit or limit >= len(images):
        return list(images)
    of_class: dict[str, list[int]] = defaultdict(list)
    for i in sorted(range(len(images)), key=lambda i: ImageChoice.LIMIT.rank(0, images[i].id)):
        of_class[images[i].label].append(i)
    turns = [(turn, members[turn]) for members in of_class.values() for turn in range(len(members))]
    chosen = sorted(turns, key=lambda item: (item[0], ImageChoice.LIMIT.rank(0, images[item[1]].id)))[:limit]
    return [images[i] for i in sorted(i for _, i in chosen)]


def printable(name: str) -> str:
    """A file's name as text that can be shown and stored: bytes that are not UTF-8 as ``\\\\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


class _Ids:
    """Printable names that are not taken yet."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def of(self, name: str) -> str:
        text, count = printable(name), 1
        while text in self._taken:
            count += 1
            text = f"{printable(name)} ({count})"
        self._taken.add(text)
        return text


class _Index:
    """Files by the names that annotations may call them by."""

    def __init__(self, names: Sequence[str], split: str) -> None:
        self._prefix = f"{split}/" if split else ""
        self._by_path: dict[str, list[str]] = defaultdict(list)
        self._by_base: dict[str, list[str]] = defaultdict(list)
        for name in names:
            path = PurePosixPath(_folded(name))
            for key in {str(path), str(path.with_suffix(""))}:
                self._by_path[key].append(name)
            for key in {path.name, path.stem}:
                self._by_base[key].append(name)

    def find(self, entry: ImageBoxes, where: str) -> str | None:
        """The file that the entry is about; None where there is none."""
        for key in entry.names:
            if fitting := self._fitting(key, where):
                if len(fitting) > 1:
                    first, second = (printable(name) for name in fitting[:2])
                    raise InputError(
                        f"{where}: image name {key!r} fits {len(fitting)} files, such as {first} and {second}"
                    )
                return fitting[0]
        return None

    def _fitting(self, key: str, where: str) -> list[str]:
        slashed = key.replace("\\", "/")
        if slashed.startswith("/") or ".." in slashed.split("/"):
            raise InputError(
                f"{where}: image name {key!r} points outside the folder; it is refused; valid: a path below "
                "the images' folder"
            )
        for text in dict.fromkeys((_folded(key), _folded(slashed).removeprefix("./"))):
            for path in dict.fromkeys((text, text.removeprefix(self._prefix))):
                if fitting := self._by_path.get(path) or self._by_base.get(path):
                    return fitting
        return []


def _folded(name: str) -> str:
    """One form for names that look alike: macOS stores letters and their accents apart (NFD)."""
    return unicodedata.normalize("NFC", name)


def _image(name: str, id: str, entry: ImageBoxes | None) -> ImageFile:
    folder = printable(name.partition("/")[0]) if "/" in name else ""
    entry = entry or ImageBoxes((name,))
    label, boxes = entry.choose(folder)
    remarks = dict.fromkeys(entry.left_out)
    if not label:
        remarks["neither folder nor annotations give the image a class"] = None
    error = None if id == name else "the file's name is not UTF-8 text; rename it"
    remark = "; ".join(remarks) or None
    return ImageFile(name, id, label, boxes, entry.size, remark, error, entry.group)
