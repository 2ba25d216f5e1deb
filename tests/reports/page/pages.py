"""Runs and pages for the tests of the report: drawn data, hostile names."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from PIL import Image

from pipeline import schema
from pipeline.config_sections import RankingConfig
from pipeline.run.documents import (
    CanaryDocument,
    ChoiceDocument,
    ClustersDocument,
    ConceptsDocument,
    GroupsDocument,
    MethodsDocument,
    PropertiesDocument,
    SanityDocument,
    TriageDocument,
)
from pipeline.run.edited_parts import EditedParts
from pipeline.run.folder import CLUSTERS_TABLE, CONCEPTS_TABLE, MANIFEST, RunFolder
from pipeline.run.store import Store
from pipeline.run.transfer_parts import TransferParts, WindowParts
from pipeline.statistics.ranking import Ranking, rank
from tests.edited_runs import write_edits
from tests.tables import write_run

METHOD = "lrp.preset_a"
QUICK = RankingConfig(draws=200)
HOSTILE = (
    "<script>document.title='owned'</script>",
    "\"><img src=x onerror=document.title='owned'>",
    "{{ 7 * 7 }} </title></style>",
    "'; alert(1); // \u202egnp.exe",
    "a_class_name_without_any_space_that_is_longer_than_a_phone_is_wide_" * 2,
)


def rename_classes(folder: Path, names: tuple[str, ...]) -> None:
    """Give the first classes of a run other names, in its manifest."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    old = manifest["dataset"]["class_names"]
    manifest["dataset"]["class_names"] = [*names, *old[len(names) :]]
    if manifest["dataset"]["planted"]:
        new = dict(zip(old, manifest["dataset"]["class_names"], strict=True))
        manifest["dataset"]["planted"] = {new[k]: v for k, v in manifest["dataset"]["planted"].items()}
    path.write_text(json.dumps(manifest), encoding="utf-8")


def planted_run(
    folder: Path, *, hostile: bool = False, maps: bool = True, thumbnails: bool = True
) -> Ranking:
    """12 classes of 30 images, classes 0, 1 and 7 with a strong effect, a few failures; ranked."""
    effect = {0: -2.5, 1: -2.2, 7: -2.0}
    write_run(folder, 12, 30, 5, effect, maps, thumbnails, 150, 0.02, QUICK.model_dump())
    if hostile:
        rename_classes(folder, HOSTILE)
    return rank(folder)


class Page(HTMLParser):
    """What a page holds: tags with their attributes, and its text without scripts and styles."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._open = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag if tag in self.raw else ""

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        (self.raw[self._open] if self._open else self.words).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"[ \n\t]+", " ", " ".join(self.words))


def write_strategies(folder: Path, ranking: Ranking, label: int) -> list[str]:
    """Two clusters of one class, the second a candidate; a class with a single group. Returns image ids."""
    rows = ds.dataset(folder / "examples").to_table(columns=["index", "example_id"]).to_pandas()
    index = ranking.images.loc[ranking.images["label"] == label, "index"]
    ids = rows.set_index("index").loc[index, "example_id"].tolist()
    frame = pd.DataFrame({"example_id": ids, "method": METHOD, "label": label})
    frame["cluster"] = np.arange(len(ids)) % 2
    frame["x"], frame["y"] = np.arange(len(ids), dtype=float), frame["cluster"].astype(float)
    frame["adjusted_lift"], frame["prototype"] = -1.0, pd.array([pd.NA] * len(ids), dtype="Int32")
    table = pa.Table.from_pandas(frame, preserve_index=False).select(schema.CLUSTERS.names)
    pq.write_table(table.cast(schema.CLUSTERS), folder / CLUSTERS_TABLE)
    cluster = {"n": 9, "share": 0.5, "separability": 0.875, "low": -1.5, "high": -0.5}
    clusters = [
        cluster | {"cluster": c, "adjusted_lift": -1.25 - c, "candidate": c == 1, "prototypes": ids[c::2][:3]}
        for c in range(2)
    ]
    names = dict(zip(ranking.table["label"], ranking.table["class_name"], strict=True))
    head = {"method": METHOD, "tau": 0.875, "tau_null": 0.5, "n": 18, "reason": None, "eigenvalues": []}
    entries = [
        head | {"label": label, "class_name": names[label], "clusters": clusters},
        head | {"label": 5, "class_name": names[5], "clusters": clusters[:1]},
        head | {"label": 6, "class_name": names[6], "clusters": [], "tau": None, "reason": "3 maps"},
        head | {"label": 8, "class_name": names[8], "clusters": clusters, "method": "other"},
    ]
    ClustersDocument.parse(json.dumps({"classes": entries}), "a test").write(RunFolder(folder))
    return ids


def write_curves(folder: Path, ids: list[str], part: str) -> None:
    steps = np.linspace(0, 1, 5, dtype=np.float32)
    shapes = {"morf": 0.8 * (1 - steps), "random": 0.8 - 0.4 * steps, "lerf": np.full(5, 0.8, np.float32)}
    rows = [
        {"example_id": i, "method": m, "order": order, "values": (values * k).tolist(), "reason": None}
        for i in ids
        for m, k in ((METHOD, 1.0), ("gradient", 0.5))
        for order, values in shapes.items()
    ]
    rows.append({"example_id": "x", "method": METHOD, "order": "morf", "values": None, "reason": "zero_map"})
    (folder / "curves").mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema.CURVES), folder / "curves" / part)


def write_sanity(folder: Path, insensitive: bool, unchecked: str = "") -> None:
    pairs = {"output layer": [0.875, 0.5], "upper half": [0.75, 0.25], "all layers": [0.125, None]}
    method = {
        "method": METHOD,
        "randomised": pairs,
        "other_class": [0.625, 0.375],
        "insensitive": insensitive,
        "class_blind": False,
        "images": 16,
    }
    if unchecked:
        method |= {"randomised": {}, "other_class": [None, None], "images": 0, "unchecked": unchecked}
    other = method | {
        "randomised": pairs,
        "unchecked": "",
        "method": "guided_backprop",
        "insensitive": True,
        "class_blind": True,
    }
    limits = {"insensitive": 0.7, "class_blind": 0.95}
    content = {"images": 16, "seconds": 1.5, "limits": limits, "methods": [method, other]}
    if unchecked:
        content |= {"methods": [other], "unchecked": {METHOD: unchecked}}
    SanityDocument.parse(json.dumps(content), "a test").write(RunFolder(folder))


def write_methods(folder: Path) -> None:
    row = {"mean": 0.25, "low": 0.125, "high": 0.375, "behind": 0.0, "behind_low": 0.0, "behind_high": 0.0}
    best = row | {"rank": 1, "method": METHOD, "tied": True, "insensitive": False}
    second = row | {"rank": 2, "method": "gradient", "tied": True, "insensitive": True, "behind": 0.0625}
    content = {"metric": "aopc_gap", "n": 31, "left_out": 2, "methods": [best, second]}
    MethodsDocument.parse(json.dumps(content), "a test").write(RunFolder(folder))


def write_canary(folder: Path) -> None:
    mark = {"kind": "patch", "size": 0.09, "probability": 0.5, "inside": False, "visible": True, "used": True}
    mark |= {"class_name": "x", "rank": 1}
    found = mark | {"added": 0.75, "verdict": "suspicious", "test": None}
    missed = mark | {"size": 0.05, "added": 0.25, "verdict": "undecided", "test": "clean"}
    unused = mark | {"kind": "text", "added": 0.0, "used": False, "verdict": "unremarkable", "test": "clean"}
    content = {
        "line": "Canary (x): this audit would have missed marks smaller than 9% of the picture's side.",
        "about": "x",
        "networks": 3,
        "accuracy": 0.9,
        "cells": [found, missed, unused],
        "figures": {"adjusted": {"ap": 0.875, "auc": 0.9375, "recall": None}},
        "false_alarms": {"classes": 20, "suspicious": 2, "confirmed": 0, "hidden": 0},
    }
    CanaryDocument.parse(json.dumps(content), "a test").write(RunFolder(folder))


def write_concepts(folder: Path) -> None:
    """Two channels of a layer for class 0, one of which the class needs; no crops."""
    names = ("share", "outside", "fall", "beyond")
    figures = {f"{name}{end}": 0.25 for name in names for end in ("", "_low", "_high")}
    figures |= {"comparable": [5], "comparable_share": 0.2, "expected_fall": 0.25}
    head = {"label": 0, "class_name": HOSTILE[0], "method": METHOD, "layer": HOSTILE[2], "n_channels": 8}
    head |= {"n": 12, "n_boxed": 12, "outside_area": 0.5, "replaced_by": "mean", "n_other": 30}
    channels = [figures | {"channel": 3}, figures | {"channel": 4, "fall_low": -0.25}]
    empty = pa.Table.from_pylist([], schema=schema.CONCEPTS)
    pq.write_table(empty, folder / CONCEPTS_TABLE)
    content = {"classes": [head | {"channels": channels}]}
    ConceptsDocument.parse(json.dumps(content), "a test").write(RunFolder(folder))


def write_triage(folder: Path, ranking: Ranking, label_candidates: int | None = None) -> list[str]:
    """One image of class 0 with a doubtful label, one with a doubtful box, of hostile names. Their ids.

    ``label_candidates``: how many labels are said to be doubtful; those in the document if None.
    """
    rows = ds.dataset(folder / "examples").to_table(columns=["example_id", "label"]).to_pandas()
    ids = rows.loc[rows["label"] == 0, "example_id"].tolist()[:2]
    head = {"file_name": HOSTILE[1], "label": 0, "class_name": HOSTILE[0]}
    label = {"prediction": 1, "predicted_name": HOSTILE[1], "confidence": 0.98, "threshold": 0.9}
    label |= {"label_probability": 0.01, "accused": True}
    box = {"adjusted_lift": -6.0, "class_median": -2.5, "z": -4.25, "accused": True}
    box |= {"object_keeps": 0.05, "background_keeps": 0.85, "evidence": "map_and_edits"}
    content = {
        "method": METHOD,
        "n_labels": 360,
        "n_boxes": 250,
        "n_min": 5,
        "n_mirrored": 3,
        "limits": {"sure": 0.5, "times": 10.0, "outlying": 3.0, "kept": 0.5},
        "labels": [{"example_id": ids[0]} | head | label],
        "boxes": [{"example_id": ids[1]} | head | box],
        "label_candidates": label_candidates,
    }
    TriageDocument.parse(json.dumps(content), "a test").write(RunFolder(folder))
    return ids


def write_groups(folder: Path, ranking: Ranking, note: str | None = None) -> None:
    """Three rows of two groups: the worst one with hostile names, one of two images, one unknown."""
    names = ranking.table.set_index("label")["class_name"]

    def row(label: int | None, group: str | None, n: int, right: int, low: float | None) -> dict:
        accuracy = {"n": n, "mean": right / n, "low": low, "high": None if low is None else 1 - low}
        return {
            "label": label,
            "class_name": None if label is None else names[label],
            "group": group,
            "n_correct": right,
            "accuracy": accuracy,
            "lift": {"n": right, "mean": -0.75, "low": -1.25, "high": -0.5},
            "effects": {"sufficiency": {"n": 4, "mean": 0.375, "low": None, "high": None}},
            "p": 0.01,
            "q": None if label is None else 0.02,
        }

    rows = [row(0, HOSTILE[1], 40, 11, 0.125), row(1, "water", 60, 54, 0.25), row(4, "water", 2, 0, None)]
    content = {
        "source": "place",
        "n_groups": 2,
        "n_unknown": 17,
        "n_min": 5,
        "method": METHOD,
        "note": note,
        "rows": [] if note else [*rows, row(1, None, 17, 3, 0.0625)],
        "overall": [] if note else [row(None, HOSTILE[1], 40, 11, 0.125), row(None, "water", 62, 54, 0.25)],
        "mean_accuracy": None if note else 0.5875,
    }
    GroupsDocument.parse(json.dumps(content), "a test").write(RunFolder(folder))


def write_properties(folder: Path, ranking: Ranking, loud: bool = True) -> None:
    """JPEG quality tells the class with the first hostile name, brightness tells nothing."""
    names = ranking.table.set_index("label")["class_name"]
    row = {
        "label": 1,
        "class_name": names[1],
        "name": "jpeg_quality",
        "n": 20,
        "n_rest": 300,
        "auc": 0.0234375,
        "low": 0.0078125,
        "high": 0.125,
        "p": 0.0025,
        "stands_out": loud,
        "quantiles": [60, 70, 75, 80, 90],
        "quantiles_rest": [90, 91, 92, 93, 95],
    }
    next_one = {"name": "brightness", "auc": 0.625, "low": 0.5, "high": 0.75, "p": 0.5, "stands_out": False}
    content = {
        "images": 320,
        "classes_tested": 12,
        "n_min": 5,
        "limits": {"auc": 0.75, "information": 0.25},
        "properties": [
            {"name": "jpeg_quality", "n": 300, "information": 0.125, "p": 0.0025, "stands_out": False},
            {"name": "sharpness", "n": 320, "information": 0.0, "p": 1.0, "stands_out": False},
        ],
        "classes": [row, row | next_one | {"label": 4, "class_name": names[4]}],
        "n_standing_out": int(loud),
    }
    PropertiesDocument.parse(json.dumps(content), "a test").write(RunFolder(folder))


def write_choice(folder: Path) -> None:
    """Two candidates, the first of which is used."""
    used = {"method": METHOD, "passes": True, "verdict": "used", "sanity": None, "images": 8, "seconds": 1.5}
    used |= {"gap": 0.25, "low": 0.125, "high": 0.375}
    other = used | {"method": "gradient", "passes": False, "verdict": "its gap may be 0", "low": -0.125}
    content = {"method": METHOD, "passed": True, "candidates": [used, other], "images": 24, "looks": 3}
    content |= {"share": 0.5, "passes": 99, "seconds": 9.5}
    ChoiceDocument.parse(json.dumps(content), "a test").write(RunFolder(folder))


def edited(folder: Path, showed: dict[int, str]) -> Ranking:
    """Edit images of the classes ``showed``, with that outcome, and rank the run again."""
    write_edits(folder, showed)
    return rank(folder)


def write_everything(folder: Path, ranking: Ranking) -> Ranking:
    """All that a report can show of a run; its ranking then."""
    ids = write_strategies(folder, ranking, 1)
    write_curves(folder, ids, min((folder / "examples").iterdir()).name)
    write_sanity(folder, insensitive=False)
    write_methods(folder)
    write_canary(folder)
    write_groups(folder, ranking)
    write_properties(folder, ranking)
    write_choice(folder)
    write_windows(folder)
    write_triage(folder, ranking)
    write_concepts(folder)
    showed = {0: "depends", 1: "independent", 7: "depends", 4: "depends", 5: "rim", 6: "undecided"}
    return edited(folder, dict.fromkeys(range(12), "independent") | showed)


def write_edited_images(folder: Path, labels: Sequence[int], n: int = 8) -> None:
    """Edits of images that the run has, with donors: backgrounds say the class, objects do not.

    The image ``n - 1`` of each class shows it most, the first least.
    """
    rows = ds.dataset(folder / "examples").to_table().to_pandas()
    usable = rows[(rows["status"] == "ok") & rows["correct"]]
    ids = {label: usable.loc[usable["label"] == label, "example_id"].tolist() for label in labels}
    table = []
    for label in labels:
        others = ids[next(k for k in labels if k != label)]
        for i, image in enumerate(ids[label][:n]):
            strength = i / (8 * n)
            answers = {
                "full": (0.9375, None),
                "same:0": (0.75 + strength, ids[label][i + 1]),
                "other:0": (0.0625, others[i]),
                "same_object:0": (0.875, ids[label][i + 1]),
                "other_object:0": (0.125, others[i]),
            }
            for edit, (p, donor) in answers.items():
                row = {"example_id": image, "label": label, "edit": edit, "donor": donor, "probability": p}
                row |= {"logit": p, "predicted": label if p > 0.5 else 2, "confidence": max(p, 1 - p)}
                table.append(row)
    parts = EditedParts(Store(folder))
    parts.drop_others((), "")
    parts.write("all", pa.Table.from_pylist(table, schema=schema.INTERVENTIONS), {"passes": str(len(table))})


def png(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 6, 3), colour, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_windows(folder: Path) -> None:
    """Windows of class 0 carry it, those of class 1 carry nothing."""
    rows = [
        {
            "example_id": f"{label}-{image:02d}", "label": label, "method": METHOD, "window": "relevant",
            "beside": True, "x": 2, "y": 40 + image % 2, "width": 14, "height": 12, "relevance": 0.5,
            "recipient": f"other-{k}", "before": 0.125, "probability": p, "control": 0.125,
            "picture": png((250, 220, 10)) if label == 0 and image < 3 and k == 0 else None,
        }
        for label, p in ((0, 0.875), (1, 0.125))
        for image in range(12)
        for k in range(2)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema.TRANSFER)
    TransferParts(Store(folder)).write("all", table, {"passes": "1", "no_room": "4", "no_map": "0"})
    WindowParts(Store(folder)).write("all", _of_windows(), {"passes": "1"})


def _of_windows() -> pa.Table:
    """A yellow patch of 10 x 9 pixels on 9 of the 12 windows of class 0, which holds at other places, too."""
    colours = [
        {"red": 250, "green": 220, "blue": 10, "share": 0.75},
        {"red": 30, "green": 20, "blue": 60, "share": 0.25},
    ]
    place = {"recipient": "other-9", "before": 0.125, "probability": 0.875, "control": 0.125}
    mark = {"mark_x": 3, "mark_y": 42, "mark_width": 10, "mark_height": 9}
    rows = [
        {
            "example_id": f"{label}-{image:02d}", "label": label, "method": METHOD,
            "group": int(label == 0 and image >= 9), "also": 1, "also_added": 0.25 if label == 0 else 0.0,
            "colours": colours,
        }
        | (mark if label == 0 and image < 9 else {})
        | ({"places": [place | {"x": x, "y": 40} for x in (2, 20, 30)]} if label == 0 and image < 4 else {})
        for label in (0, 1)
        for image in range(12)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema.WINDOWS)
