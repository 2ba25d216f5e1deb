"""All images of a class: a small picture of each, and what a reader sorts and filters them by."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from pipeline.measure.interventions.kinds import all_contrasts
from pipeline.run.documents import records
from pipeline.schema import STATUS_OK
from pipeline.statistics.groups import image_effects
from pipeline.statistics.samples import DECIDING
from reports.inline import data_uri
from reports.page import words
from reports.page.cards import carded, rectangles
from reports.page.data import Heat, RunData
from reports.page.pictures import COLOURS, photo_uri, strengths

SIDE: Final = 112  # longest side of a photograph inside the one-file page, pixel
MOST: Final = 900  # images inside the one-file page: about 5 kB each
BLOCK: Final = 2500  # images whose pictures are read in one pass over the parts

RIGHT, WRONG, UNMEASURED = "right", "wrong", "not measured"


@dataclass(frozen=True)
class Shot:
    """One image.

    Attributes:
        photo, heat: photograph, and its map as a layer of light over it; None where not stored.
        rects: its boxes as (x, y, width, height) in the model's input, pixel.
        kind: :data:`RIGHT` or :data:`WRONG`; :data:`UNMEASURED` without a prediction.
        probability: of its class; seen_as: what the network took it for, with ``confidence``.
        lift: adjusted lift (of images that the ranking uses); mass: share of relevance inside the boxes.
        effect: what its own background alone adds to the probability of the class; None unless edited.
        note: why nothing is measured of its map.
    """

    photo: str | None
    heat: str | None
    rects: tuple[tuple[float, float, float, float], ...]
    file: str
    kind: str
    probability: float | None
    seen_as: str
    confidence: float | None
    lift: float | None
    mass: float | None
    effect: float | None
    note: str


@dataclass(frozen=True)
class ClassShots:
    """The images of one class, those with the least relevance on the object first; ``edited``: of some of
    them it is known what their background adds."""

    label: int
    name: str
    id: str
    verdict: str
    rank: int
    shots: tuple[Shot, ...]
    edited: bool

    @property
    def kinds(self) -> list[tuple[str, int]]:
        """How many images are of each kind that there are."""
        counts = [(kind, sum(s.kind == kind for s in self.shots)) for kind in (RIGHT, WRONG, UNMEASURED)]
        return [(kind, n) for kind, n in counts if n]


def effect_heading() -> tuple[str, str]:
    """What the effect of an image is called, and what it is."""
    contrast = all_contrasts()[DECIDING[0]]
    return contrast.heading, contrast.about


def embedded(run: RunData) -> tuple[int, ...]:
    """Labels of the classes whose images the one-file page holds: those with a card, then by rank, as long as
    there is room."""
    if not {"thumbnails", "maps"} & set(run.tables):
        return ()
    cards = [int(label) for part in carded(run.classes) for label in part["label"]]
    sizes = run.images["label"].value_counts()
    room, chosen = MOST, []
    for label in dict.fromkeys([*cards, *run.classes["label"].astype(int)]):
        if (n := int(sizes.get(label, 0))) and n <= room:
            chosen.append(label)
            room -= n
    return tuple(chosen)


def class_shots(run: RunData, labels: Sequence[int], side: int = SIDE) -> Iterator[ClassShots]:
    """The images of each of these classes; ``side``: of the photographs, 0: as they are stored."""
    effects = image_effects(run.store) if run.edited else None
    rows = {int(row["label"]): row for row in records(run.classes)}
    for block in _blocks(run.images["label"].value_counts(), labels):
        chosen = run.images[run.images["label"].isin(block)]
        chosen = chosen.sort_values(["excess", "lift", "index"], kind="stable")
        ids = list(chosen["example_id"])
        pictures = _Pictures(run.thumbnails(ids), run.maps(ids), side)
        for label in block:
            of_class = chosen[chosen["label"] == label]
            added = _effects(effects, of_class)
            shots = [_shot(run, row, pictures, added) for row in records(of_class)]
            edited = any(s.effect is not None for s in shots)
            yield _of_class(rows[label], tuple(shots), edited)


def _of_class(row: Mapping[str, Any], shots: tuple[Shot, ...], edited: bool) -> ClassShots:
    return ClassShots(
        label=int(row["label"]),
        name=str(row["class_name"]),
        id=str(row["class_id"]),
        verdict=str(row["verdict"]),
        rank=int(row["rank"]),
        shots=shots,
        edited=edited,
    )


def _blocks(sizes: pd.Series, labels: Sequence[int]) -> Iterator[list[int]]:
    """The labels in their order, in pieces whose images are read together."""
    block: list[int] = []
    held = 0
    for label in labels:
        n = int(sizes.get(label, 0))
        if block and held + n > BLOCK:
            yield block
            block, held = [], 0
        block.append(label)
        held += n
    if block:
        yield block


def _effects(effects: pd.DataFrame | None, images: pd.DataFrame) -> dict[str, float]:
    """Example id -> the first deciding effect, where it was measured."""
    if effects is None:
        return {}
    known = effects[DECIDING[0]].reindex(images["example_id"]).dropna()
    return {str(key): float(value) for key, value in known.items()}


@dataclass(frozen=True)
class _Pictures:
    """Stored photographs and maps by example id, and the longest side of the photographs shown."""

    jpegs: Mapping[str, bytes]
    maps: Mapping[str, Heat]
    side: int

    def photo(self, key: str) -> str | None:
        jpeg = self.jpegs.get(key)
        if not jpeg:
            return None
        return small_uri(jpeg, self.side) if self.side else photo_uri(jpeg)

    def heat(self, key: str) -> str | None:
        heat = self.maps.get(key)
        return None if heat is None or heat.is_zero else layer_uri(heat)


def _shot(run: RunData, row: Mapping[str, Any], pictures: _Pictures, effects: Mapping[str, float]) -> Shot:
    key = row["example_id"]
    known = row["prediction"] is not None
    return Shot(
        photo=pictures.photo(key),
        heat=pictures.heat(key),
        rects=rectangles(row["boxes_model"]),
        file=str(row["file_name"] or key),
        kind=(RIGHT if row["correct"] else WRONG) if known else UNMEASURED,
        probability=row["label_probability"],
        seen_as=run.short_name(int(row["prediction"])) if known and not row["correct"] else "",
        confidence=row["confidence"],
        lift=row["excess"] if words.given(row["excess"]) else None,
        mass=row["mass"],
        effect=effects.get(key),
        note="" if row["status"] == STATUS_OK else str(row["status"]).replace("_", " "),
    )


def small_uri(jpeg: bytes, side: int) -> str | None:
    """A photograph with a longest ``side`` as WebP; None where it cannot be read."""
    try:
        with Image.open(io.BytesIO(jpeg)) as image:
            image.draft("RGB", (side, side))
            picture = image.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError):
        return None
    picture.thumbnail((side, side), Image.Resampling.BILINEAR)
    return _webp(picture, 60)


def layer_uri(heat: Heat) -> str:
    """A map in its own resolution, coloured, black where there is no relevance: light over a dark picture."""
    strength = strengths(heat.values)
    colour = COLOURS[np.rint(255 * (0.25 + 0.75 * strength)).astype(int)]
    layer = np.rint(0.95 * (strength**0.65)[..., None] * colour).astype(np.uint8)
    return _webp(Image.fromarray(layer), 60)


def _webp(picture: Image.Image, quality: int) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=2)
    return data_uri(buffer.getvalue(), "image/webp")
