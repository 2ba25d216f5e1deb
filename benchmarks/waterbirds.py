"""A known Clever Hans and one that is not, on photographs: ``python -m benchmarks.waterbirds``.

    python -m benchmarks.waterbirds --archive waterbirds-subset.zip --model squeezenet_v1.1.keras \
        --cache FOLDER [--biased waterbirds_squeezenet.keras] [--seeds 0 1 2]

Birds cut out and pasted on land or water; two classes, the bird's. The place agrees with it in 95 % of
the training images and in half of the others. Per seed two heads on SqueezeNet's frozen features (mean
over fire9_concat, logistic regression, C = 0.01): *biased*, on the training images, and *balanced*, on
the validation images, in which the place tells nothing. Seed 0 takes all images, every other one a
bootstrap sample of them. ``--biased``: a network that was fine-tuned on the training images. All are
audited on the test images with their boxes by `hansaudit run` as it is by default; wanted: both classes
confirmed for biased networks, none for balanced ones.

Per image, whether *the background decides*, is measured apart from the audit: the box of the test image
is pasted onto three land and three water backgrounds of training images, whose birds are painted over; it
does where the answers on land and on water differ in more than half of the nine pairs. Second truth: on
test images whose place contradicts the bird, the answer is the place. Reported: AUC of the image's lift
(low), and of its interventions in the run (necessity and sufficiency, of the images that `hansaudit
confirm` has edited).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.output import publish, versions
from benchmarks.real_runs import auc, hansaudit, markdown, ranking_table, whole_run
from benchmarks.waterbirds_data import CLASSES, PLACES, SIDE, Data, networks, pictures, predict, unpack
from flows.settings import load_tensorflow

BACKGROUNDS = 3  # of either place, per image
MOST_BOX = 0.35  # share of the picture that a background's own bird may cover
EDITED = 100  # images per class whose interventions are looked at one by one


# -- what is true of an image


def background_decides(network: Any, test: Data, backgrounds: Data, seed: int = 0) -> np.ndarray:
    """(n,) share of the pairs of a land and a water background on which the answers differ.

    The box of the test image lies on each background at its own place; the background's own bird, and what
    the box covers, are painted over.
    """
    own, boxes = pictures(test)
    behind, behind_boxes = pictures(backgrounds)
    pool = [_usable(backgrounds, behind_boxes, place) for place in range(len(PLACES))]
    shares = np.zeros(len(own))
    for i, picture in enumerate(own):
        rng = np.random.default_rng([seed, i])
        edited = [
            _on_background(picture, boxes[i], behind[j], behind_boxes[j])
            for place in range(len(PLACES))
            for j in rng.choice(pool[place], BACKGROUNDS, replace=False)
        ]
        answers = predict(network, np.stack(edited)).argmax(axis=1).reshape(len(PLACES), BACKGROUNDS)
        shares[i] = (answers[0][:, None] != answers[1][None]).mean()
    return shares


def kept_decides(path: Path, network: Any, test: Data, backgrounds: Data) -> np.ndarray:
    """:func:`background_decides` of the network in the file ``path``, kept beside it."""
    kept = path.with_suffix(".decides.npy")
    if not kept.is_file():
        np.save(kept, background_decides(network, test, backgrounds))
    return np.load(kept)


def _usable(data: Data, boxes: Sequence[np.ndarray], place: int) -> np.ndarray:
    small = [len(b) > 0 and _area(b) <= MOST_BOX for b in boxes]
    return np.flatnonzero(np.array(small) & np.array([b.place == place for b in data.birds]))


def _area(boxes: np.ndarray) -> float:
    left, top, right, bottom = boxes[0]
    return float((right - left + 1) * (bottom - top + 1)) / SIDE**2


def _on_background(
    picture: np.ndarray, boxes: np.ndarray, behind: np.ndarray, behind_boxes: np.ndarray
) -> np.ndarray:
    from pipeline.inputs.geometry import union_mask
    from pipeline.measure.interventions.pictures import inpaint, replace

    mask, hole = (union_mask(b, SIDE, SIDE) for b in (boxes, behind_boxes))
    return replace(replace(behind, hole | mask, inpaint(behind, hole | mask)), mask, picture)


def group_accuracies(test: Data, answers: np.ndarray) -> np.ndarray:
    """Accuracy of landbirds on land, on water, waterbirds on land, on water."""
    hit = np.array([b.label for b in test.birds]) == answers
    group = np.array([2 * b.label + b.place for b in test.birds])
    return np.array([hit[group == g].mean() for g in range(4)])


# -- what the audit says of an image


def image_scores(run: Path, test: Data) -> pd.DataFrame:
    """Per test image: label, place, prediction, minus lift, sufficiency and necessity (nan: none)."""
    from pipeline.run.edited_parts import read_edited
    from pipeline.run.store import Store

    store = Store(str(run))
    examples = store.read("examples").to_pandas().set_index("example_id")
    scores = store.read("scores").to_pandas()
    lift = scores[scores["metric"] == "lift"].drop_duplicates("example_id").set_index("example_id")["value"]
    place = pd.Series({b.name: b.place for b in test.birds})
    frame = pd.DataFrame(
        {
            "label": examples["label"],
            "prediction": examples["prediction"],
            "place": examples["file_name"].map(lambda name: place[Path(name).name]),
            "looks_beside": -lift.reindex(examples.index),
        }
    )
    edited = read_edited(store)
    return frame if edited is None else frame.join(edited_scores(edited.to_pandas()))


def edited_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Per edited image its sufficiency and necessity: means over its donors of either kind."""
    kind = rows["edit"].astype(str).str.partition(":")[0]
    mean = rows.assign(kind=kind).groupby(["example_id", "kind"])["probability"].mean().unstack()
    nothing = pd.Series(np.nan, mean.index)
    same, other = mean.get("same", nothing), mean.get("other", nothing)
    with_object = mean.get("same_object", nothing) - mean.get("other_object", nothing)
    return pd.DataFrame({"sufficiency": same - other, "necessity": with_object})


def predicted_by(frame: pd.DataFrame, decides: pd.Series) -> dict[str, float]:
    """AUC of each score for both truths; ``decides``: share of pairs that differ, by example."""
    conflict = (frame["label"] != frame["place"]).to_numpy()
    flips = (decides.reindex(frame.index) > 0.5).to_numpy()
    says_place = (frame["prediction"] == frame["place"]).to_numpy()
    edited = frame[["sufficiency", "necessity"]].mean(axis=1)
    scores = {**{name: frame[name] for name in ("looks_beside", "sufficiency", "necessity")}, "both": edited}
    result = {"decides": float(flips.mean()), "says place on conflict": float(says_place[conflict].mean())}
    for name, values in scores.items():
        result[f"{name}: decides"] = auc(values.to_numpy(float), flips)
        result[f"{name}: says place"] = auc(values.to_numpy(float)[conflict], says_place[conflict])
    return result


def audit(name: str, network: Path, options: argparse.Namespace, test: Data, train: Data) -> dict[str, Any]:
    """All figures of one network."""
    import keras

    model = keras.saving.load_model(network, compile=False)
    answers = predict(model, pictures(test)[0]).argmax(axis=1)
    run = options.cache / "runs" / network.stem
    whole_run(run, {"source": "folder", "path": str(test.folder)}, network, methods=options.method)
    verdicts = ranking_table(run).set_index("class_name")
    result: dict[str, Any] = {"groups": group_accuracies(test, answers).tolist()}
    shown = ("verdict", "map_verdict", "tested", "effect", "effect_low", "effect_high", "adjusted_lift_raw")
    for kind in CLASSES:
        result[kind] = {column: _plain(verdicts.loc[kind, column]) for column in shown if column in verdicts}
    more = [word for kind in CLASSES for word in ("--class", kind)]
    hansaudit("confirm", str(run), *more, "--images", str(EDITED))
    decides = kept_decides(network, model, test, train)
    frame = image_scores(run, test)
    by_name = dict(zip((b.name for b in test.birds), decides, strict=True))
    told = pd.Series({i: by_name[Path(i).name] for i in frame.index})
    later = pd.read_csv(run / "ranking.csv").set_index("class_name")
    for kind in CLASSES:
        result[kind]["after confirm"] = {
            name: _plain(later.loc[kind, name]) for name in later.columns if name in shown
        }
    result["n_edited"] = int(frame["necessity"].notna().sum())
    return result | {"images": predicted_by(frame, told)}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def table(results: dict[str, dict[str, Any]]) -> str:
    """Three tables: accuracy per group, verdicts, what predicts an image."""
    groups = [
        [name, *(f"{a:.3f}" for a in r["groups"]), f"{min(r['groups']):.3f}"] for name, r in results.items()
    ]
    parts = [markdown(["network", *(f"{k} on {p}" for k in CLASSES for p in PLACES), "worst"], groups)]
    verdicts = [
        [name, *(f"{r[k]['verdict']} ({_effect(r[k])}; maps: {r[k].get('map_verdict')})" for k in CLASSES)]
        for name, r in results.items()
    ]
    parts.append(markdown(["network", *CLASSES], verdicts))
    measured = [[name, *(f"{v:.2f}" for v in r["images"].values())] for name, r in results.items()]
    parts.append(markdown(["network", *next(iter(results.values()))["images"]], measured))
    return "\n\n".join(parts) + "\n"


def _effect(row: dict[str, Any]) -> str:
    values = [row.get(name) for name in ("effect", "effect_low", "effect_high")]
    if any(value is None for value in values):
        return "no effect"
    return f"{values[0]:+.2f} [{values[1]:+.2f}, {values[2]:+.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="squeezenet_v1.1.keras of ImageNet")
    parser.add_argument("--cache", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--biased", type=Path, help="a network fine-tuned on the training images")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--method", action="append", default=[], help="instead of the default one")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    load_tensorflow()
    train, val, test = (unpack(options.archive, options.cache, s) for s in ("train", "val", "test"))
    results = {}
    for name, network in networks(
        options.model, options.cache, options.seeds, train, val, options.biased
    ).items():
        results[name] = audit(name, network, options, test, train)
        print(f"{name}: {results[name]}", flush=True)
    publish(options.cache, "waterbirds", {"versions": versions(), "results": results}, table(results))


if __name__ == "__main__":
    main()
