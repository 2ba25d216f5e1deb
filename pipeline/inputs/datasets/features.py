"""Which features of a TFDS dataset are the image, the class, the boxes and the file's name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError

_FILE_NAMES = ("file_name", "filename", "image/filename", "image_name")


@dataclass(frozen=True)
class FeaturePaths:
    """Paths with "/" between levels. ``relative``: boxes are TFDS's ymin, xmin, ymax, xmax in [0, 1].

    ``boxes``: "" where the dataset has none; ``group``: "" where no feature says where an image comes from.
    """

    image: str
    label: str
    boxes: str
    file_name: str
    relative: bool
    ids_from_names: bool
    group: str = ""

    def to_list(self) -> list[str]:
        """For a fingerprint."""
        own = [self.group] if self.group else []  # without one, as before there were groups
        return [self.image, self.label, self.boxes, self.file_name, *own]


def pick(tree: Any, path: str) -> Any:
    """The value at ``path`` ("objects/bbox") in nested mappings or features."""
    for key in path.split("/") if not _has(tree, path) else [path]:
        tree = _inner(tree)[key]
    return tree


def _has(tree: Any, key: str) -> bool:
    return key in _inner(tree)  # VOC and others have names with a "/" in them


def _inner(tree: Any) -> Any:
    return tree.feature if isinstance(tree, tfds.features.Sequence) else tree


def find_features(features: Any, config: DatasetConfig) -> FeaturePaths:
    """Take the configured paths, find the others by feature type; a dataset may have no boxes.

    Raises :class:`InputError` when a path does not exist or the choice is not clear.
    """
    known = dict(_walk(features))
    image = _choose("image", config.image, known, tfds.features.Image, ("image",))
    ours = "boxes" in known and "class_id" in known and not config.boxes
    boxes = "boxes" if ours else _boxes(config.boxes, known)
    sibling = f"{boxes.rpartition('/')[0]}/label"  # detection data: the label of each box
    label = _choose("label", config.label, known, tfds.features.ClassLabel, ("label", sibling))
    file_name = next((name for name in _FILE_NAMES if name in known), "")
    if not boxes and _in_sequence(features, label):
        raise InputError(
            f"label feature {label!r} is a list per example, and no feature holds boxes; valid: one class "
            "per example, or a box with each label"
        )
    relative = bool(boxes) and _is_relative(boxes, known[boxes])
    return FeaturePaths(image, label, boxes, file_name, relative, ours, _group(features, config.group, known))


def _boxes(path: str, known: dict[str, Any]) -> str:
    """``path``, else the feature that holds boxes; "" where there is none."""
    kind = tfds.features.BBoxFeature
    if not path and not any(isinstance(feature, kind) for feature in known.values()):
        return ""
    return _choose("boxes", path, known, kind, ("objects/bbox", "bbox"))


def _group(features: Any, path: str, known: dict[str, Any]) -> str:
    """``path``, if it is a class, a text or an integer, one per example."""
    if not path:
        return ""
    if path not in known:
        raise InputError(f"group feature {path!r} is not in the dataset; valid: {', '.join(known)}")
    feature = known[path]
    form = getattr(feature, "np_dtype", None)
    single = feature.shape == () and not _in_sequence(features, path)
    if not single or form is None or np.dtype(form).kind not in "iubO":
        what = f"{'' if single else 'several of '}{type(feature).__name__}"
        raise InputError(f"group feature {path!r} is {what}; valid: one class, text or integer per example")
    return path


def _in_sequence(features: Any, path: str) -> bool:
    """Whether an example has a list of the leaf at ``path``."""
    for name, feature in features.items():
        if path == name or path.startswith(f"{name}/"):
            inside = isinstance(feature, tfds.features.FeaturesDict)
            rest = path.removeprefix(f"{name}/")
            return _in_sequence(feature, rest) if inside else isinstance(feature, tfds.features.Sequence)
    return False


def read_group(example: Any, features: Any, path: str) -> str | None:
    """The group of an example; None where it says none."""
    feature, value = pick(features, path), pick(example, path)
    if isinstance(feature, tfds.features.ClassLabel):
        return str(feature.int2str(int(value))) if int(value) >= 0 else None
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    return text.strip() or None


def _walk(features: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(path, leaf feature); sequences are looked through."""
    for name, feature in features.items():
        path = f"{prefix}{name}"
        while isinstance(feature, tfds.features.Sequence):
            feature = feature.feature
        if isinstance(feature, tfds.features.FeaturesDict):
            yield from _walk(feature, f"{path}/")
        else:
            yield path, feature


def _choose(what: str, path: str, known: dict[str, Any], kind: Any, usual: tuple[str, ...]) -> str:
    if path:
        if path not in known:
            raise InputError(f"{what} feature {path!r} is not in the dataset; valid: {', '.join(known)}")
        if what == "label" and not isinstance(known[path], kind):
            raise InputError(f"label feature {path!r} is no ClassLabel but {type(known[path]).__name__}")
        return path
    found = [name for name, feature in known.items() if isinstance(feature, kind)]
    for name in usual:
        if name in found:
            return name
    if len(found) == 1:
        return found[0]
    state = f"several candidates ({', '.join(found)})" if found else f"none among {', '.join(known)}"
    raise InputError(f"{what} feature: {state}; name it with dataset.{what} in the configuration")


def _is_relative(path: str, feature: Any) -> bool:
    if not isinstance(feature, tfds.features.BBoxFeature):
        return False  # a plain tensor: absolute, as this package writes it
    form = getattr(feature, "bbox_format", None)
    value = getattr(form, "value", form)
    if value not in (None, "REL_YXYX"):
        raise InputError(f"boxes feature {path!r} has format {value}; valid: TFDS's default, REL_YXYX")
    return True
