"""The verdicts in the table of a ranking (`pipeline.verdicts.verdict`), and the order of its classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from pipeline.columns import OF_EDITS, OF_REFERENCE_WINDOWS, OF_TRANSFER, RANKING
from pipeline.run.documents import EditedSummary, MeanEffect, TransferSummary
from pipeline.statistics.combined import combined_evidence
from pipeline.statistics.effects import Evidence, Judgement
from pipeline.statistics.samples import Effect
from pipeline.statistics.transfer import Carried
from pipeline.verdicts import MapVerdict, Transferred, Verdict, verdict


def with_verdicts(
    table: pd.DataFrame,
    judgements: Mapping[int, Judgement],
    maps_hold: bool,
    outliers: Collection[int] = (),
    carried: Mapping[int, Carried] | None = None,
) -> pd.DataFrame:
    """The classes of ``table`` (``label``, ``map_verdict``, ``adjusted_lift``, ``n_needed`` of the maps ...)
    with what the edits show, their verdict and their place, in order.

    ``judgements``: by label, of the classes whose images were edited; ``maps_hold``: the method of the maps
    did not fail its sanity check; ``outliers``: labels of those that are, against a reference network;
    ``carried``: by label, of the classes whose windows were pasted.
    Order: by verdict; inside it, where the edits decided, by the shrunk effect, else by maps and windows
    together (``evidence``).
    """
    judged = [judgements.get(label) for label in table["label"].tolist()]
    pasted = [(carried or {}).get(label) for label in table["label"].tolist()]
    columns = [
        _of_edits(j) | _of_transfer(c) | _of_same_windows(c) for j, c in zip(judged, pasted, strict=True)
    ]
    table = table.assign(
        **{name: pd.Series([c[name] for c in columns], table.index, dtype) for name, dtype in _ADDED.items()}
    )
    table["verdict"] = [
        verdict(
            MapVerdict(maps),
            judgement.tested if judgement else None,
            maps_hold,
            outlier=label in outliers,
            transfers=accuses(windows),
        )
        for label, maps, judgement, windows in zip(
            table["label"], table["map_verdict"], judged, pasted, strict=True
        )
    ]
    table["n_needed"] = pd.Series(
        [
            needed if judgement is None else judgement.n_needed
            for needed, judgement in zip(table["n_needed"].tolist(), judged, strict=True)
        ],
        table.index,
        "Int64",
    )
    table["evidence"] = combined_evidence(table, maps_hold)
    table = _ordered(table)
    table["rank"] = np.arange(1, len(table) + 1)
    return table


def edited_summary(evidence: Evidence | None) -> EditedSummary:
    """What a ranking's summary says of the edited images."""
    judgements = evidence.judgements if evidence else {}
    return {
        "n_classes_edited": len(judgements),
        "n_images_edited": sum(judgement.n for judgement in judgements.values()),
        "n_null_confirmed": evidence.null_depends if evidence else None,
        "background_gap": _stored(evidence.background_gap) if evidence else None,
    }


def accuses(carried: Carried | None) -> bool:
    """Whether windows of a class transfer that lie beside boxes: without boxes it may be the object."""
    return carried is not None and carried.beside and carried.transferred == Transferred.TRANSFERS


def transfer_summary(carried: Mapping[int, Carried]) -> TransferSummary:
    """What a ranking's summary says of the pasted windows."""
    return {
        "n_classes_pasted": len(carried),
        "n_windows": sum(of_one.n for of_one in carried.values()),
        "n_transfer": sum(of_one.transferred == Transferred.TRANSFERS for of_one in carried.values()),
    }


def _stored(effect: Effect) -> MeanEffect | None:
    """As a document stores it; None where it is not defined."""
    if not np.isfinite([effect.mean, effect.low, effect.high]).all():
        return None
    return {"n": effect.n, "mean": effect.mean, "low": effect.low, "high": effect.high}


_DTYPES: Final = {"text": "object", "integer": "Int64", "number": "float64"}
# columns of the ranking that edited images and pasted windows fill, and their types
_ADDED: Final = {
    name: _DTYPES[RANKING[name].kind] for name in (*OF_EDITS, *OF_TRANSFER, *OF_REFERENCE_WINDOWS)
}


def _of_edits(judgement: Judgement | None) -> dict[str, Any]:
    """Column -> value of one class; all None where its images were not edited."""
    if judgement is None:
        return dict.fromkeys(OF_EDITS)
    means = {name: effect.mean for name, effect in judgement.effects.items()}
    return {
        "tested": judgement.tested,
        "n_edited": judgement.n,
        "effect": judgement.strength,
        "effect_shrunk": judgement.shrunk,
        "effect_low": judgement.low,
        "effect_high": judgement.high,
        "q_effect": judgement.q,
        "sufficiency": means.get("sufficiency"),
        "necessity": means.get("necessity"),
        "background_gap": means.get("background_gap"),
    }


def _of_transfer(carried: Carried | None) -> dict[str, Any]:
    """Column -> value of one class; all None where none of its windows were pasted."""
    if carried is None:
        return dict.fromkeys(OF_TRANSFER)
    group, moved = carried.group, carried.moved
    return {
        "transferred": carried.transferred,
        "n_windows": carried.n,
        "transfer": carried.mean,
        "transfer_low": carried.low,
        "transfer_high": carried.high,
        "transfer_upper": carried.upper,
        "transfer_share": carried.strong,
        "transfer_added": carried.added,
        "transfer_control": carried.control_added,
        "transfer_elsewhere": carried.elsewhere,
        "q_transfer": carried.q,
        "group_share": group.share if group else None,
        "group_share_low": group.share_low if group else None,
        "group_share_high": group.share_high if group else None,
        "group_transfer": group.gain if group else None,
        "moved_transfer": moved.elsewhere if moved else None,
        "holds": moved.holds if moved else None,
    }


def _of_same_windows(carried: Carried | None) -> dict[str, Any]:
    """Column -> value of one class; all None where the reference was not shown its windows."""
    same = carried.same if carried else None
    if same is None:
        return dict.fromkeys(OF_REFERENCE_WINDOWS)
    return {
        "reference_transfer": same.mean,
        "reference_transfer_low": same.low,
        "reference_transfer_high": same.high,
        "reference_transfer_added": same.added,
    }


# of these the edits have decided: what they show is their order
_DECIDED: Final = (Verdict.CONFIRMED, Verdict.CLEARED)


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Rows by verdict, worst first; inside it by what the edits show, or by maps and windows together."""
    place = table["verdict"].map(list(Verdict).index)
    effect = (-table["effect_shrunk"]).where(table["verdict"].isin(_DECIDED))
    by = ["_place", "_effect", "_evidence", "adjusted_lift", "adjusted_lift_raw", "label"]
    rows = table.assign(_place=place, _effect=effect, _evidence=-table["evidence"])
    rows = rows.sort_values(by, kind="stable")
    return rows.drop(columns=["_place", "_effect", "_evidence"]).reset_index(drop=True)
