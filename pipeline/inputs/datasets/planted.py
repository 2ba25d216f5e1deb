"""The planted dataset: drawn objects with boxes, some classes with a known artefact beside the object.

The shape of a planted class is hard to tell from that of another class (rhombus and square, hexagram and
star, sickle and crescent) while its mark is easy to see: the short cut that a network takes by itself.
Colour, size, place and background are drawn from the same distribution for every class, so neither the box
nor the colour gives a class away. The object and background of an image do not depend on the artefacts: the
same seed with and without artefacts gives paired images.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import INFO_FILE, drawing
from pipeline.inputs.datasets.drawing import Box
from pipeline.inputs.datasets.prepared import METADATA_KEY, audit_features, builder_info, prepare
from pipeline.inputs.datasets.tfds import TfdsDataset
from pipeline.inputs.objects.places import refuse_store
from pipeline.seeds import Purpose

ARTEFACT_KINDS = ("patch", "text", "border", "stripe", "scene", "blur")
ROOT = "data"
SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Artefact:
    """A mark of ``kind`` on a share ``probability`` of a class's images.

    ``size`` is its height or thickness over the picture's side (for scene: how strongly the background is
    replaced, 1 at 0.18; for blur: 8 times the blur's radius). ``inside``: on the object instead of beside it
    (patch and text). Scene replaces the background and blur touches everything; blur is the *invisible* one.
    """

    kind: str
    probability: float = 1.0
    size: float = 0.17
    inside: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ARTEFACT_KINDS:
            raise InputError(f"artefact kind {self.kind!r} is unknown; valid: {', '.join(ARTEFACT_KINDS)}")
        if not 0 <= self.probability <= 1 or not 0 < self.size <= drawing.MAX_MARK:
            raise InputError(
                f"artefact {self.kind}: received probability {self.probability}, size {self.size}; valid: "
                f"probability in [0, 1], size in (0, {drawing.MAX_MARK:.2f}]"
            )
        if self.inside and self.kind not in ("patch", "text"):
            raise InputError(f"artefact {self.kind!r} cannot lie inside the box; valid: patch, text")

    @property
    def visible(self) -> bool:
        """Whether a person would see it and a heat map could show it beside the object."""
        return self.kind != "blur"

    def describe(self) -> str:
        """For reports: ``patch outside the box on 100 % of the images``."""
        place = "on the object" if self.inside else "outside the box"
        where = {"blur": "over the whole image (invisible)", "scene": "as background"}.get(self.kind, place)
        return f"{self.kind} {where} on {self.probability:.0%} of the images"


DEFAULT_ARTEFACTS = (
    ("rhombus", Artefact("patch")),
    ("hexagram", Artefact("text")),
    ("sickle", Artefact("stripe")),
)


@dataclass(frozen=True)
class PlantedSpec:
    """All that determines a planted dataset. ``artefacts``: (class, artefact) pairs; () is clean data."""

    classes: tuple[str, ...] = tuple(drawing.SHAPES)
    artefacts: tuple[tuple[str, Artefact], ...] = DEFAULT_ARTEFACTS
    train_per_class: int = 300
    validation_per_class: int = 40
    side: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.classes) - set(drawing.SHAPES))
        stray = sorted({name for name, _ in self.artefacts} - set(self.classes))
        if unknown or stray or len(self.classes) < 2:
            raise InputError(
                f"planted dataset: unknown classes {unknown}, artefacts for {stray} which are not in it; "
                f"valid are two or more of {', '.join(drawing.SHAPES)}"
            )
        if self.side < 32 or min(self.train_per_class, self.validation_per_class) < 1:
            raise InputError("planted dataset: side must be >= 32 and both numbers of images >= 1")

    @property
    def key(self) -> str:
        """First 12 hex digits of the sha256 of the specification: names the folder."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def artefact(self, name: str) -> Artefact | None:
        """The artefact of a class."""
        return dict(self.artefacts).get(name)


def draw_example(spec: PlantedSpec, split: str, label: int, number: int) -> tuple[np.ndarray, Box, list[Box]]:
    """Picture (side side 3 uint8), box of the object, boxes of the mark (empty: this image carries none)."""
    name = spec.classes[label]
    shape_index = tuple(drawing.SHAPES).index(name)
    place = spec.seed, SPLITS.index(split), shape_index, number
    rng, mark_rng = Purpose.DRAWN_OBJECTS.rng_at(*place), Purpose.DRAWN_MARKS.rng_at(*place)
    ground, placed = drawing.background(rng, spec.side), drawing.place(rng, spec.side)
    artefact = spec.artefact(name)
    if artefact is not None and mark_rng.uniform() >= artefact.probability:
        artefact = None
    whole = [(0, 0, spec.side - 1, spec.side - 1)]
    if artefact is not None and artefact.kind == "scene":
        ground = drawing.scene(mark_rng, ground, artefact.size / drawing.MAX_MARK)
        return (*drawing.draw_object(ground, name, placed), whole)
    picture, box = drawing.draw_object(ground, name, placed)
    if artefact is None:
        return picture, box, []
    if artefact.kind == "blur":
        return drawing.blur(picture, artefact.size * spec.side / 8), box, whole
    return picture, box, _mark(mark_rng, picture, artefact, box)


def _mark(rng: np.random.Generator, picture: np.ndarray, artefact: Artefact, box: Box) -> list[Box]:
    """Draw the mark onto ``picture`` in place; the boxes it covers."""
    side = len(picture)
    pixels = max(1, round(artefact.size * side))
    if artefact.kind == "border":
        return drawing.border_mark(picture, max(1, min(pixels // 2, int(drawing.MARGIN * side) - 1)))
    if artefact.kind == "stripe":
        return drawing.stripe_mark(rng, picture, pixels, box)
    mark = drawing.patch_mark(pixels) if artefact.kind == "patch" else drawing.text_mark(pixels)
    size = (mark.shape[1], mark.shape[0])
    where = (
        drawing.inside_place(rng, size, box) if artefact.inside else drawing.free_place(rng, size, box, side)
    )
    if where is None:
        raise InputError(
            f"planted dataset: no room for a {artefact.kind} of size {artefact.size} beside the object"
        )
    return [drawing.paste(picture, mark, *where)]


class Planted(tfds.core.GeneratorBasedBuilder):
    """TFDS builder with the splits train and validation; writes lossless PNG."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, spec: PlantedSpec, data_dir: str) -> None:
        self._spec = spec
        super().__init__(data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        spec = self._spec
        metadata = {
            "class_names": list(spec.classes),
            "planted": {
                name: artefact.describe() for name, artefact in spec.artefacts if artefact.probability
            },
            "spec": asdict(spec),
        }
        features = dict(audit_features(spec.classes, "png").items())
        features["mark"] = tfds.features.Tensor(shape=(None, 4), dtype=np.int32, doc="boxes of the artefact")
        about = "Drawn objects with boxes; some classes carry a known artefact."
        return builder_info(self, tfds.features.FeaturesDict(features), about, metadata)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        spec = self._spec
        count = spec.train_per_class if split == "train" else spec.validation_per_class
        for label, name in enumerate(spec.classes):
            for number in range(count):
                picture, box, mark = draw_example(spec, split, label, number)
                file = io.BytesIO()
                Image.fromarray(picture).save(file, "PNG", compress_level=1)
                file_name = f"{split}_{name}_{number:05d}.png"
                yield (
                    file_name,
                    {
                        "image": file.getvalue(),
                        "label": name,
                        "class_id": name,
                        "file_name": file_name,
                        "boxes": np.array([box], np.int32),
                        "mark": np.array(mark, np.int32).reshape(-1, 4),
                    },
                )


def planted_folder(spec: PlantedSpec, root: str | Path) -> Path:
    """Where below ``root`` the dataset of ``spec`` is kept."""
    return Path(root) / f"planted-{spec.key}"


def prepare_planted(spec: PlantedSpec, root: str | Path = ROOT) -> Path:
    """The folder ``root/planted-<key>`` with the dataset of ``spec``, made if it is not there."""
    out = planted_folder(spec, root)
    if (out / INFO_FILE).is_file():
        return out
    try:
        return prepare(lambda data_dir: Planted(spec, data_dir), out)
    except InputError:
        if (out / INFO_FILE).is_file():  # another process was faster
            return out
        raise


class PlantedDataset(TfdsDataset):
    """A planted dataset, which also knows its folder and specification."""

    def __init__(self, config: DatasetConfig, folder: Path) -> None:
        super().__init__(config.model_copy(update={"source": "tfds", "path": str(folder), "name": ""}))
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return PlantedDataset, (self.config, self.folder)

    @functools.cached_property
    def spec(self) -> PlantedSpec:
        """The specification, from the dataset's own metadata."""
        data = dict(self.metadata["spec"])
        artefacts = tuple((name, Artefact(**values)) for name, values in data.pop("artefacts"))
        classes = tuple(data.pop("classes"))
        return PlantedSpec(classes=classes, artefacts=artefacts, **data)


def open_planted(config: DatasetConfig) -> PlantedDataset:
    """The dataset at ``path``: a planted dataset, or the folder that shall hold it (default ``data``)."""
    refuse_store(config.path, "the planted dataset")
    folder = Path(config.path or ROOT)
    if not (folder / INFO_FILE).is_file():
        folder = prepare_planted(PlantedSpec(), folder)
    return _planted_in(folder, config)


def reopen_planted(config: DatasetConfig) -> PlantedDataset:
    """As :func:`open_planted`, but nothing is drawn. Raises :class:`InputError` where there is none."""
    root = Path(config.path or ROOT)
    folder = next((f for f in (root, planted_folder(PlantedSpec(), root)) if (f / INFO_FILE).is_file()), None)
    if folder is None:
        raise InputError(f"{root}: the planted dataset is not there any more; put it back there")
    return _planted_in(folder, config)


def _planted_in(folder: Path, config: DatasetConfig) -> PlantedDataset:
    dataset = PlantedDataset(config, folder)
    if "spec" not in dataset.metadata:
        raise InputError(f"{folder}: not a planted dataset (its metadata has no {METADATA_KEY}.spec)")
    return dataset
