"""What runs say of single Waterbirds images, and how well that predicts what the network goes by.

Part of ``python -m benchmarks.waterbirds``. An image that is labelled by the network's *own answer* is right
by construction: edits and windows can be asked of those that it gets wrong, too.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.real_runs import auc
from benchmarks.waterbirds_data import CLASSES, PLACES, Data, write_boxes

TOP = 20  # windows that carry their class most
FIGURES = ("looks beside", "sufficiency", "necessity", "both", "transfer")


def labelled_by(answers: np.ndarray, test: Data, folder: Path, boxes: bool) -> Path:
    """The test images labelled by ``answers`` (n,): with the birds' boxes, or plain class folders without."""
    if folder.is_dir():
        return folder
    unfinished = folder.with_name(f"{folder.name}.unfinished-{np.random.default_rng().integers(1 << 32)}")
    for bird, answer in zip(test.birds, answers.tolist(), strict=True):
        into = unfinished if boxes else unfinished / CLASSES[answer]
        into.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(test.folder / bird.name, into / bird.name)
    if boxes:
        write_boxes(unfinished / "annotations.csv", test.birds, answers.tolist())
    unfinished.rename(folder)
    return folder


def image_scores(run: Path, test: Data) -> pd.DataFrame:
    """Per test image, by name: label and place of the bird, prediction, and the figures (nan: none)."""
    from pipeline.run.edited_parts import read_edited
    from pipeline.run.store import Store
    from pipeline.run.transfer_parts import read_transfer

    store = Store(str(run))
    examples = store.read("examples").to_pandas().set_index("example_id")
    scores = store.read("scores").to_pandas()
    lift = scores[scores["metric"] == "lift"].drop_duplicates("example_id").set_index("example_id")["value"]
    birds = {bird.name: bird for bird in test.birds}
    names = examples["file_name"].map(lambda name: Path(name).name)
    frame = pd.DataFrame(
        {
            "name": names,
            "label": names.map(lambda name: birds[name].label),
            "place": names.map(lambda name: birds[name].place),
            "prediction": examples["prediction"],
            "looks beside": -lift.reindex(examples.index),
        }
    )
    edited, pasted = read_edited(store), read_transfer(store)
    frame = frame.join(edited_scores(None if edited is None else edited.to_pandas()))
    frame = frame.join(window_scores(None if pasted is None else pasted.to_pandas()))
    return frame.set_index("name")


def edited_scores(rows: pd.DataFrame | None) -> pd.DataFrame:
    """Per edited image its sufficiency and necessity, means over its donors of either kind, and ``both``,
    their mean."""
    if rows is None:
        return pd.DataFrame(columns=["sufficiency", "necessity", "both"], dtype=float)
    kind = rows["edit"].astype(str).str.partition(":")[0]
    mean = rows.assign(kind=kind).groupby(["example_id", "kind"])["probability"].mean().unstack()
    nothing = pd.Series(np.nan, mean.index)
    same, other = mean.get("same", nothing), mean.get("other", nothing)
    with_object = mean.get("same_object", nothing) - mean.get("other_object", nothing)
    frame = pd.DataFrame({"sufficiency": same - other, "necessity": with_object})
    return frame.assign(both=frame.mean(axis=1))


def window_scores(rows: pd.DataFrame | None) -> pd.DataFrame:
    """Per image whose most relevant window was pasted: ``transfer``, its mean gain in log odds over the
    control, and where the window lies, pixel of the input."""
    from pipeline.measure.transfer.gain import log_odds

    columns = ["x", "y", "width", "height"]
    if rows is None:
        return pd.DataFrame(columns=["transfer", *columns], dtype=float)
    own = rows[rows["window"].astype(str) == "relevant"]
    gain = log_odds(own["probability"].to_numpy()) - log_odds(own["control"].to_numpy())
    how = {"transfer": "mean", **dict.fromkeys(columns, "first")}
    return own.assign(transfer=gain).groupby("example_id").agg(how)


def predicted_by(frame: pd.DataFrame, decides: pd.Series) -> dict[str, float]:
    """AUC of each figure for both truths; ``decides``: share of pairs that differ, by name.

    For whether the background decides: of all images, and of those that the network gets wrong.
    """
    conflict = (frame["label"] != frame["place"]).to_numpy()
    flips = (decides.reindex(frame.index) > 0.5).to_numpy()
    says_place = (frame["prediction"] == frame["place"]).to_numpy()
    wrong = (frame["prediction"] != frame["label"]).to_numpy()
    result = {"decides": float(flips.mean()), "says place on conflict": float(says_place[conflict].mean())}
    for name in FIGURES:
        values = frame[name].to_numpy(float)
        result[f"{name}: n"] = float(np.isfinite(values).sum())
        result[f"{name}: decides"] = auc(values, flips)
        result[f"{name}: decides, of wrong ones"] = auc(values[wrong], flips[wrong])
        result[f"{name}: says place"] = auc(values[conflict], says_place[conflict])
    return result


def windows_shown(frame: pd.DataFrame, inside: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Class -> what its windows show: their number, mean gain, how many come from pictures of the class's own
    place, of all and of the :data:`TOP` that carry most, the AUC with which the gain tells the place, and how
    much of the best ones lies on the bird.

    ``inside``: name -> (h, w) bool, the bird's box in the input.
    """
    shown: dict[str, dict[str, Any]] = {}
    for label, name in enumerate(CLASSES):
        own = frame[(frame["prediction"] == label) & frame["transfer"].notna()]
        best = own.sort_values("transfer", ascending=False).head(TOP)
        at_home = (own["place"] == label).to_numpy()
        shown[name] = {
            "windows": len(own),
            "gain": float(own["transfer"].mean()),
            f"on {PLACES[label]}": int(at_home.sum()),
            "best": len(best),
            f"best on {PLACES[label]}": int((best["place"] == label).sum()),
            "AUC of the gain for the place": auc(own["transfer"].to_numpy(float), at_home),
            "on the bird": _on_birds(best, inside),
        }
    return shown


def _on_birds(windows: pd.DataFrame, inside: Mapping[str, np.ndarray]) -> float:
    """Mean share of the windows' pixels that lies in the box of their picture's bird."""
    shares = []
    for name, window in windows.iterrows():
        x, y, width, height = (int(window[column]) for column in ("x", "y", "width", "height"))
        shares.append(float(inside[str(name)][y : y + height, x : x + width].mean()))
    return float(np.mean(shares)) if shares else float("nan")
