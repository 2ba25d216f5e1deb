"""Class cards: what one class looks like, with its most and least suspicious images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pipeline.columns import RANKING
from pipeline.run.documents import records
from pipeline.unboxed import is_unboxed
from pipeline.verdicts import ACCUSED, MapVerdict, Verdict
from reports.page import edits, windows, words
from reports.page.data import Heat, RunData
from reports.page.edits import Shown
from reports.page.framed import Seen, framed_uri
from reports.page.pictures import heat_uri, mean_uri, photo_uri
from reports.page.triptych import Triptych, triptychs
from reports.page.wanted import Wanted, wanted_of
from reports.page.windows import BestWindow, ClassWindows, windows_of

SUSPECTS, CLOSEST, CONTRAST = 10, 3, 2  # cards: a page of pictures that a person looks through, and a few MB
MOST, LEAST = 4, 2  # images shown of each kind
MEAN_OVER = 48  # images in the average picture of a class


@dataclass(frozen=True)
class Picture:
    """One image on a card; ``rects``: its boxes as (x, y, width, height) in the model's input, pixel."""

    photo: str | None
    heat: str | None
    rects: tuple[tuple[float, float, float, float], ...]
    alt: str
    file: str
    mass: float
    area: float
    lift: float
    excess: float
    correct: bool
    confidence: float


@dataclass(frozen=True)
class Card:
    """One class; ``finding`` is what was measured of it in short, ``sentence`` in full; ``groups`` are
    (heading, pictures), ``effects`` what its edited images showed, of which ``triptychs`` are some."""

    label: int
    rank: int
    name: str
    id: str
    verdict: str
    maps: str
    finding: str
    sentence: str
    triptychs: tuple[Triptych, ...]
    windows: tuple[BestWindow, ...]
    effects: tuple[Shown, ...]
    facts: tuple[tuple[str, str, str], ...]
    groups: tuple[tuple[str, tuple[Picture, ...]], ...]
    mean: str | None
    framed: str | None
    n_mean: int
    missing: str
    images: str  # where all of its images are; empty: nowhere
    wanted: Wanted | None = None  # what the network wants to see of it, where that was drawn


def carded(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The classes with a card: confirmed and suspected ones (else those that come closest), and the best."""
    accused = table[table["verdict"].isin(ACCUSED)]
    # without any: those whose interval reaches furthest to the bad side, not those of a few wild images
    closest = table[table["n"] > 0].sort_values("high", kind="stable")
    if closest["effect_low"].notna().any():
        closest = closest.sort_values("effect_low", ascending=False, kind="stable")
    suspects = accused.head(SUSPECTS) if len(accused) else closest.head(CLOSEST)
    fit = table[(table["verdict"] == Verdict.UNREMARKABLE) & ~table["label"].isin(suspects["label"])]
    return suspects, fit.sort_values("adjusted_lift", ascending=False, kind="stable").head(CONTRAST)


@dataclass(frozen=True)
class _Choice:
    """The images of a class that its card needs."""

    most: pd.DataFrame
    least: pd.DataFrame
    averaged: pd.DataFrame

    @classmethod
    def of(cls, images: pd.DataFrame) -> _Choice:
        n_most = min(MOST, len(images))  # of few images all are shown, most suspicious first
        every = max(1, -(-len(images) // MEAN_OVER))
        return cls(images.head(n_most), images.iloc[n_most:].tail(LEAST).iloc[::-1], images.iloc[::every])

    @property
    def ids(self) -> list[str]:
        return [*self.most["example_id"], *self.least["example_id"], *self.averaged["example_id"]]


def make_cards(run: RunData, classes: pd.DataFrame) -> tuple[Card, ...]:
    """A card per row of ``classes`` (rows of the ranking table)."""
    rows = records(classes)
    choices = [_Choice.of(run.of_class(int(row["label"]))) for row in rows]
    # one pass over the parts for all cards together
    ids = [i for choice in choices for i in choice.ids]
    labels = [int(row["label"]) for row in rows]
    edited, pasted = triptychs(run, labels), windows_of(run, labels)
    stored = _Stored(run.size, run.thumbnails(ids), run.maps(ids), edited, pasted, wanted_of(run))
    return tuple(_card(run, row, choice, stored) for row, choice in zip(rows, choices, strict=True))


@dataclass(frozen=True)
class _Stored:
    """Pictures and maps by example id; images as they were edited, by class."""

    size: tuple[int, int]
    thumbnails: dict[str, bytes]
    maps: dict[str, Heat]
    edited: Mapping[int, tuple[Triptych, ...]] = field(default_factory=dict)
    windows: Mapping[int, ClassWindows] = field(default_factory=dict)
    wanted: Mapping[int, Wanted] = field(default_factory=dict)


def _card(run: RunData, row: dict[str, Any], choice: _Choice, stored: _Stored) -> Card:
    in_mean = [i for i in choice.averaged["example_id"] if i in stored.maps]
    # an average of one or two images is no average
    mean = framed = None
    if len(in_mean) >= 3:
        jpegs = [stored.thumbnails[i] for i in in_mean if i in stored.thumbnails]
        mean = mean_uri(jpegs, [stored.maps[i] for i in in_mean], stored.size)
        framed = framed_uri(_seen(choice.averaged, stored), stored.size)
    most, least = (_pictures(part, stored) for part in (choice.most, choice.least))
    pasted = stored.windows.get(int(row["label"]))
    return Card(
        label=int(row["label"]),
        rank=int(row["rank"]),
        name=str(row["class_name"]),
        id=str(row["class_id"]),
        verdict=str(row["verdict"]),
        maps=str(row["map_verdict"]),
        finding=str(row["finding"] or ""),
        sentence=" ".join(filter(None, (edits.sentence(row), windows.sentence(run, row), sentence(row)))),
        windows=pasted.best if pasted else (),
        triptychs=stored.edited.get(int(row["label"]), ()),
        effects=_effects(run, row),
        facts=_facts(run, row),
        groups=(("Most suspicious images", most), ("Least suspicious images", least))
        if least
        else (("Its images" if len(most) > 1 else "Its only image", most),),
        mean=mean,
        framed=framed,
        n_mean=len(in_mean),
        missing=_missing(run, choice, stored),
        images=run.pages.get(int(row["label"]), ""),
        wanted=stored.wanted.get(int(row["label"])),
    )


def _seen(images: pd.DataFrame, stored: _Stored) -> list[Seen]:
    """The images with a map and one box: with several it is not known which one the mark goes with."""
    rows = records(images[["example_id", "boxes_model"]])
    rects = [(row["example_id"], rectangles(row["boxes_model"])) for row in rows]
    return [
        Seen(stored.thumbnails.get(i), stored.maps[i], boxes[0])
        for i, boxes in rects
        if i in stored.maps and len(boxes) == 1
    ]


def _effects(run: RunData, row: dict[str, Any]) -> tuple[Shown, ...]:
    judgement = run.edited.get(int(row["label"]))
    if judgement is None:
        return ()
    heads = edits.headings([judgement])
    return tuple(e for e in edits.shown_effects(judgement, str(row["verdict"]), heads) if e is not None)


def _facts(run: RunData, row: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """Label, value, and what it is."""
    interval = f"{words.signed(row['low'], 1)} … {words.signed(row['high'], 1)}"
    enough = int(row["n"]) >= int(run.rule("n_min")) and words.given(row["low"])
    facts = (
        ("map_verdict", "maps say", str(row["map_verdict"])),
        ("adjusted_lift", "adjusted lift", words.signed(row["adjusted_lift"])),
        ("low", "95 % interval", interval if enough else words.DASH),
        ("n", "images used", f"{words.integer(row['n'])} of {words.integer(row['n_images'])}"),
        ("accuracy", "accuracy", words.percent(row["accuracy"])),
        ("box_area", "mean box", words.percent(row["box_area"])),
        ("q_relative", "q relative", words.probability(row["q_relative"])),
    )
    return tuple((label, value, RANKING[column].about) for column, label, value in facts)


def sentence(row: dict[str, Any]) -> str:
    """What the heat maps of a class say, in one sentence, and how many images a statement would take."""
    n = int(row["n"])
    if is_unboxed(row):
        return "No image of it has a box, so it was not tested and nothing is said of its maps."
    if not n:
        return "No image of it could be used, so nothing can be said about it."
    images = words.count(n, "image")
    if not words.given(row["adjusted_lift"]):
        return f"On its {images} the localisation is not defined."
    odds = words.times_less(float(row["adjusted_lift"]))
    open_yet = row["verdict"] in (Verdict.UNDECIDED, Verdict.SUSPECTED)
    unsure = " so far" if row["map_verdict"] == MapVerdict.UNDECIDED else ""
    between = words.times_between(row["low"], row["high"])
    text = (
        f"On {images}, the odds that relevance falls on the object are{unsure} {odds} on comparable images"
        f"{f' (95 % interval: {between})' if between else ''}."
    )
    if words.given(row["mass"]) and words.given(row["box_area"]):
        text += (
            f" {words.percent(row['mass'])} of the relevance lies inside boxes "
            f"that cover {words.percent(row['box_area'])} of the picture."
        )
    needed, what = row["n_needed"], "image" if row["tested"] is None else "edited image"
    if open_yet and words.given(needed):
        text += f" A statement would take about {words.count(round(needed), what)}."
    return text


def show_images(run: RunData, ids: Sequence[str]) -> list[Picture | None]:
    """The images ``ids`` with their maps, in that order; None where nothing is stored of one."""
    stored = _Stored(run.size, run.thumbnails(ids), run.maps(ids))
    rows = {r["example_id"]: r for r in records(run.images[run.images["example_id"].isin(ids)])}
    return [_picture(rows[i], stored) if i in rows else None for i in ids]


def _pictures(rows: pd.DataFrame, stored: _Stored) -> tuple[Picture, ...]:
    pictures = (_picture(row, stored) for row in records(rows))
    return tuple(picture for picture in pictures if picture is not None)


def _picture(row: dict[str, Any], stored: _Stored) -> Picture | None:
    key = row["example_id"]
    jpeg, heat = stored.thumbnails.get(key), stored.maps.get(key)
    if jpeg is None and heat is None:
        return None
    return Picture(
        photo=photo_uri(jpeg) if jpeg else None,
        heat=heat_uri(jpeg, heat, stored.size) if heat is not None and not heat.is_zero else None,
        rects=rectangles(row["boxes_model"]),
        alt=f"{row['class_name']}, {row['file_name'] or key}",
        file=str(row["file_name"] or key),
        mass=row["mass"],
        area=row["box_area"],
        lift=row["lift"],
        excess=row["excess"],
        correct=bool(row["correct"]),
        confidence=row["confidence"],
    )


def rectangles(boxes: Sequence[dict[str, float]] | None) -> tuple[tuple[float, float, float, float], ...]:
    """Inclusive pixel boxes as (x, y, width, height)."""
    return tuple(
        (
            round(b["xmin"], 1),
            round(b["ymin"], 1),
            round(b["xmax"] - b["xmin"] + 1, 1),
            round(b["ymax"] - b["ymin"] + 1, 1),
        )
        for b in ([] if boxes is None else boxes)
    )


def _missing(run: RunData, choice: _Choice, stored: _Stored) -> str:
    """Why a card lacks pictures; empty where it does not."""
    if choice.most.empty:
        correct = run.rule("images") == "correct"
        which = "correctly classified image" if correct else "image"
        return f"This class has no {which} with a usable box, so there is nothing to show."
    lacks = [
        (what, setting)
        for what, have, setting in (
            ("photographs", stored.thumbnails, "audit.thumbnails = true"),
            ("heat maps", stored.maps, "audit.maps = 56"),
        )
        if not any(i in have for i in choice.ids)
    ]
    if not lacks:
        return ""
    whats, settings = zip(*lacks, strict=True)
    return f"No {' and no '.join(whats)} stored for it; an audit with {' and '.join(settings)} keeps them."
