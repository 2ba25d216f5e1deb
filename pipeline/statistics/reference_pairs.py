"""The images of a run beside those of its reference network's run: which are compared, and by what.

A reference explains an image for *its own class*: its run was made with ``audit.target = "label"``, or it
classifies this image correctly. Whatever belongs to the picture and its box is then in both figures. Lift is
a ratio of odds inside one map, so the two networks may see the picture at different resolutions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.run.documents import ReferenceDocument
from pipeline.run.edited_parts import read_edited
from pipeline.run.provenance import Provenance
from pipeline.run.ranking_settings import ranking_method
from pipeline.run.reference import match_classes
from pipeline.run.scores import read_scores
from pipeline.run.store import Store
from pipeline.run.transfer_parts import TransferParts
from pipeline.schema import REFERENCE, STATUS_OK
from pipeline.statistics.answers import effects_of, read_answers
from pipeline.statistics.reference_windows import windows_there
from pipeline.statistics.samples import DECIDING

_COLUMNS = ("example_id", "index", "label", "correct", "status", "box_area")
_GEOMETRY = ("height", "width", "resize", "shorter_side")


def compare_with(
    run: Store, reference: Store, source: str, method: str = ""
) -> tuple[ReferenceDocument, pa.Table]:
    """What ``reference`` shows of the images of ``run``, of the same class, and what it is.

    ``source``: how the user named it; ``method``: key of the one whose maps are compared, empty: the one that
    the run ranks by.

    Raises:
        InputError: it is the same network, or shares no image or no class with the run.
    """
    refuse_same_network(run.manifest["model"], reference.manifest["model"], source)
    method, theirs = _methods(run, reference, method)
    own, other = _images(run, method), _images(reference, theirs)
    both = own.merge(other, on="example_id", suffixes=("", "_there"))
    if both.empty:
        raise InputError(
            f"reference {source}: a run on other images: it shares none of the {len(own)} images (by "
            "example_id) of this run; give a run on the same dataset and split, or a model"
        )
    labels = sorted(int(k) for k in own["label"].unique() if k >= 0)
    matched = match_classes(run.manifest["dataset"], reference.manifest["dataset"], labels)
    refuse_no_class(len(matched), len(labels), reference.manifest["dataset"], source)
    same = both[both["label_there"] == both["label"].map(matched)]
    explained = same if _of_labels(reference) else same[same["correct_there"].eq(True)]
    _refuse_equal_maps(explained, source)
    windows = windows_there(run, reference, method)
    table = _table(explained, (_effects(reference), windows))
    predicted = both[both["correct"].notna() & both["correct_there"].notna()]
    document = ReferenceDocument(
        source=source,
        name=str(reference.manifest["model"]["name"]),
        model_sha256=str(reference.manifest["model"]["sha256"]),
        card=dict(reference.manifest["model"].get("card") or {}),
        of_run=str(reference.manifest["run_id"]),
        method=theirs,
        run_method=method,
        classes=len(matched),
        n_classes=len(labels),
        images=int(table["lift"].drop_null().length()),
        n_images=len(own),
        edited=_count(table),
        accuracy=_share(predicted["correct"]),
        reference_accuracy=_share(predicted["correct_there"]),
        windows=table["window_gain"].drop_null().length(),
        notes=(
            *_notes(run, reference, (method, theirs), (len(explained), len(same))),
            *_not_asked(run, windows),
        ),
    )
    return document, table


def refuse_same_network(own: Mapping[str, Any], other: Mapping[str, Any], source: str) -> None:
    """Raises :class:`InputError` where both manifests are of one file, or of the same weights."""
    if str(own["sha256"]) == str(other["sha256"]):
        raise InputError(
            f"reference {source}: the same network as the audited one (sha256 {str(own['sha256'])[:12]}): "
            "nothing could differ; give the last release, a public network, or one trained on other data"
        )


def refuse_unrelated(run: Store, reference: Provenance, source: str) -> None:
    """Raises :class:`InputError` for the audited network itself, and for one that shares no class."""
    refuse_same_network(run.manifest["model"], reference.model, source)
    labels = sorted(int(k) for k in run.read("examples", ["label"])["label"].unique().to_pylist() if k >= 0)
    matched = match_classes(run.manifest["dataset"], reference.dataset, labels)
    refuse_no_class(len(matched), len(labels), reference.dataset, source)


def refuse_no_class(matched: int, of: int, theirs: Mapping[str, Any], source: str) -> None:
    """Raises :class:`InputError` where no class of the run is one of the reference."""
    if matched == 0:
        names = ", ".join(str(name).split(",")[0] for name in theirs["class_names"][:3])
        raise InputError(
            f"reference {source}: it knows 0 of the {of} classes of this run, by id or by name (its classes: "
            f"{names}, ...); give its model card the dataset's class_ids or class_names in the order of its "
            "outputs"
        )


def _refuse_equal_maps(both: pd.DataFrame, source: str) -> None:
    """Every single lift alike to the last bit: the same weights in another file."""
    defined = both[["lift", "lift_there"]].dropna()
    if len(defined) > 1 and (defined["lift"] == defined["lift_there"]).all():
        raise InputError(
            f"reference {source}: the same network as the audited one: all {len(defined)} maps lie on their "
            "objects alike to the last digit; give another network"
        )


def _methods(run: Store, reference: Store, method: str) -> tuple[str, str]:
    """``method``, or the one that the run ranks by; and that of the reference, the same where it has it."""
    method = method or ranking_method(run.manifest)
    there = {name for name, _ in read_scores(reference, (), ()).names}
    return method, method if method in there else ranking_method(reference.manifest)


def _images(run: Store, method: str) -> pd.DataFrame:
    """A row per image: ``lift`` nan where it is undefined."""
    scores = read_scores(run, _COLUMNS, [(method, "lift")])
    frame = scores.examples.to_pandas()
    usable = (frame["status"].astype(str) == STATUS_OK) & (frame["label"] >= 0)
    frame["lift"] = np.where(usable & np.isfinite(scores.values[:, 0]), scores.values[:, 0], np.nan)
    return frame


def _of_labels(run: Store) -> bool:
    return str((run.manifest["config"].get("audit") or {}).get("target")) == "label"


def _effects(reference: Store) -> pd.DataFrame:
    """example_id -> the deciding contrasts of the pictures that the reference was shown edited."""
    edited = read_edited(reference)
    answers = {} if edited is None else read_answers(edited)
    parts = [
        pd.DataFrame({"example_id": of.example_id, **{name: effects_of(of)[name] for name in DECIDING}})
        for of in answers.values()
    ]
    return pd.concat(parts) if parts else pd.DataFrame({k: [] for k in ("example_id", *DECIDING)})


def _table(explained: pd.DataFrame, measured: Sequence[pd.DataFrame]) -> pa.Table:
    """Rows of the table of the comparison; ``measured``: further columns by example_id."""
    frame = explained.drop(columns=["lift"]).rename(columns={"lift_there": "lift"})
    for columns in measured:
        frame = frame.merge(columns.astype({"example_id": object}), on="example_id", how="left")
    frame = frame.sort_values("index")
    return pa.table(
        {f.name: pa.array(frame[f.name], f.type, from_pandas=True) for f in REFERENCE}, schema=REFERENCE
    )


def _count(table: pa.Table) -> int:
    defined = [table[name].is_valid().to_numpy() for name in DECIDING]
    return int(np.any(defined, axis=0).sum())


def _share(correct: pd.Series) -> float | None:
    return float(correct.astype(bool).mean()) if len(correct) else None


def _notes(
    run: Store, reference: Store, methods: tuple[str, str], explained: tuple[int, int]
) -> Iterator[str]:
    """In what the two runs differ."""
    own, other = run.manifest, reference.manifest
    cards = [of["model"].get("card") or {} for of in (own, other)]
    if any(cards[0].get(name) != cards[1].get(name) for name in _GEOMETRY):
        sizes = [f"{card.get('height')} x {card.get('width')} ({card.get('resize')})" for card in cards]
        yield (
            f"its input is {sizes[1]}, the audited network's {sizes[0]}: lift does not depend on the "
            "resolution, but what a crop leaves of a box may differ"
        )
    if methods[0] != methods[1]:
        yield (
            f"the maps are of different methods, {methods[1]} there and {methods[0]} here: a part of every "
            "difference is that of the methods"
        )
    pooling = [str((of["config"].get("audit") or {}).get("pooling")) for of in (own, other)]
    if pooling[0] != pooling[1]:
        yield f"channels were pooled differently, {pooling[1]} there and {pooling[0]} here"
    if explained[0] < explained[1]:
        yield (
            f"it explained its own first answer: only the {explained[0]} of {explained[1]} images that it "
            "classifies correctly count, and those that it does not recognise tell most; a run with "
            "--target label, or --reference MODEL, compares all"
        )
    if own["dataset"].get("fingerprint") != other["dataset"].get("fingerprint"):
        yield "its run is on another selection or version of the dataset; images were matched by example_id"


def _not_asked(run: Store, windows: pd.DataFrame) -> Iterator[str]:
    """That the windows of ``run`` were not shown to the reference, where it has any."""
    if windows.empty and TransferParts(run).keys:
        yield (
            "its run was not shown the windows that were pasted here, so what they carry is not compared; "
            "--reference MODEL shows it the same ones"
        )
