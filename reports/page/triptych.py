"""What editing did to one image of a class, as pictures: as it is, on another background, background alone.

A run stores what the network said to its edited pictures, not the pictures. They are drawn again here, by the
stage's own code, from the stored photographs and boxes and the donors that the table names. Only the first
pair of backgrounds: its hole is filled with a mean colour, so nothing about it is random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from pipeline.inputs.geometry import union_mask
from pipeline.measure.interventions.kinds import FULL
from pipeline.measure.interventions.kinds.exchange import exchange
from pipeline.measure.interventions.pictures import FILLS, Scene
from pipeline.run.documents import records
from pipeline.seeds import ImagePurpose, generator
from reports.page.data import RunData
from reports.page.pictures import decode, picture_uri

SAME, OTHER, SAME_OBJECT, OTHER_OBJECT = (f"{n}:0" for n in ("same", "other", "same_object", "other_object"))
SIDE: Final = 192  # longest side of a picture on a card, pixel


@dataclass(frozen=True)
class Panel:
    """One picture, what it is, the probability of its class, and what the network took it for."""

    uri: str
    what: str
    probability: float
    seen_as: str


@dataclass(frozen=True)
class Triptych:
    """One image of a class, edited. ``heading``: why this one; ``n``: images of the class it is one of."""

    heading: str
    file: str
    panels: tuple[Panel, ...]
    n: int


@dataclass(frozen=True)
class _Chosen:
    """An edited image: its answers, ``edit -> row of the table``, and why it is shown."""

    heading: str
    example_id: str
    answers: Mapping[str, Mapping[str, Any]]
    n: int

    @property
    def ids(self) -> tuple[str, str, str]:
        """Itself, who gave it a background of its own class, and who one of another."""
        return self.example_id, str(self.answers[SAME]["donor"]), str(self.answers[OTHER_OBJECT]["donor"])


def triptychs(run: RunData, labels: Sequence[int], side: int = SIDE) -> dict[int, tuple[Triptych, ...]]:
    """Label -> the image on which the edits show most and the one in the middle.

    Classes without edited images, or whose photographs are not stored, are absent.
    """
    chosen = {label: picked for label in labels if (picked := _chosen(run, label))}
    ids = [i for picked in chosen.values() for c in picked for i in c.ids]
    stored = run.thumbnails(ids)
    rows = records(run.images.loc[run.images["example_id"].isin(ids), ["example_id", "boxes_model"]])
    boxes = {row["example_id"]: row["boxes_model"] for row in rows}
    scenes = {i: scene for i in stored if (scene := _scene(stored[i], boxes.get(i), run.size)) is not None}
    drawn = {
        k: tuple(t for c in picked if (t := _draw(run, c, scenes, side))) for k, picked in chosen.items()
    }
    return {label: made for label, made in drawn.items() if made}


def _chosen(run: RunData, label: int) -> list[_Chosen]:
    """By the sum of the two deciding contrasts on the first pair of backgrounds."""
    rows = run.edited_rows.get(label)
    if rows is None:
        return []
    wide = rows.pivot_table(index="example_id", columns="edit", values="probability", aggfunc="first")
    if not {FULL, SAME, OTHER, SAME_OBJECT, OTHER_OBJECT} <= set(wide.columns):
        return []
    shows = (wide[SAME] - wide[OTHER] + wide[SAME_OBJECT] - wide[OTHER_OBJECT]).dropna()
    if shows.empty:
        return []
    picks = [("the one that shows it most", str(shows.idxmax()))]
    middle = str((shows - shows.median()).abs().idxmin())
    if middle != picks[0][1]:
        picks.append(("a typical one", middle))
    return [
        _Chosen(why, i, {r["edit"]: r for r in records(rows[rows["example_id"] == i])}, len(shows))
        for why, i in picks
    ]


def _scene(jpeg: bytes, boxes: Sequence[Mapping[str, float]] | None, size: tuple[int, int]) -> Scene | None:
    """A stored photograph and where its object is; None where one of them is missing."""
    picture = decode(jpeg, size)
    if picture is None or boxes is None or not len(boxes):
        return None
    corners = np.array([[b[side] for side in ("xmin", "ymin", "xmax", "ymax")] for b in boxes])
    return Scene(picture.astype(np.uint8), union_mask(corners, size[1], size[0]))


def _draw(run: RunData, chosen: _Chosen, scenes: Mapping[str, Scene], side: int) -> Triptych | None:
    if not all(i in scenes for i in chosen.ids):
        return None
    subject, own, other = (scenes[i] for i in chosen.ids)
    seed = int(run.setting("interventions", "seed", 0))
    rng = generator(seed, chosen.example_id, ImagePurpose.EDITS)
    made = exchange(subject, own, other, FILLS[0], rng)
    if made is None:
        return None
    donor = run.images.loc[run.images["example_id"] == chosen.ids[2], "label"]
    where = run.short_name(int(donor.iloc[0])) if len(donor) else "another class"
    shown = (
        (FULL, subject.picture, "the picture as it is"),
        (OTHER_OBJECT, made.other_object, f"the object on a background of {where}"),
        (SAME, made.same, "a background of its own class, without the object"),
    )
    file = run.images.loc[run.images["example_id"] == chosen.example_id, "file_name"].dropna()
    return Triptych(
        chosen.heading,
        next(iter(file), "") or chosen.example_id,
        tuple(_panel(run, chosen.answers[edit], _smaller(p, side), what) for edit, p, what in shown),
        chosen.n,
    )


def _panel(run: RunData, answer: Mapping[str, Any], picture: np.ndarray, what: str) -> Panel:
    seen = int(answer["predicted"])
    as_other = "" if seen == int(answer["label"]) else run.short_name(seen)
    return Panel(picture_uri(picture, 76), what, float(answer["probability"]), as_other)


def _smaller(picture: np.ndarray, side: int) -> np.ndarray:
    """(h, w, 3) uint8 with neither side over ``side``."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(image)
