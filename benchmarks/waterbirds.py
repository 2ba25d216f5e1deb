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
(low), of its interventions (necessity and sufficiency), and of what its most relevant window adds to its
class on other images (transfer). Three runs: the audit, whose edits and windows are those of right images;
the same images labelled by the network's own answers, so that they can be asked of wrong ones, too; and
those without boxes, in plain class folders. Of the windows that carry a class most: do they show its place?
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.output import publish, versions
from benchmarks.real_runs import hansaudit, judged_again, markdown, ranking_table, whole_run
from benchmarks.waterbirds_data import CLASSES, PLACES, SIDE, Data, networks, pictures, predict, unpack
from benchmarks.waterbirds_images import FIGURES, image_scores, labelled_by, predicted_by, windows_shown
from flows.settings import load_tensorflow

BACKGROUNDS = 3  # of either place, per image
MOST_BOX = 0.35  # share of the picture that a background's own bird may cover
EDITED = 100  # images per class that `hansaudit confirm` edits after the run
VERDICT_COLUMNS = ("verdict", "map_verdict", "tested", "effect", "effect_low", "effect_high", "transferred")
KINDS_OF_RUN = ("audit", "own answers", "without boxes")
ASKED = ("n", "decides", "decides, of wrong ones", "says place")
WINDOW_COLUMNS = (
    "windows", "gain", "on its place", "best", "of them on it", "AUC of the gain for the place",
    "best ones on the bird", "said",
)  # fmt: skip
MORE = {
    "perturbation": False,
    "sanity": {"images": 0},
    "strategies": {"classes": 0},
    "interventions": {"images": 200, "most": 200},
    "transfer": {"images": 200, "recipients": 4, "passes": 100_000},
}


# -- what is true of an image


def background_decides(network: Any, test: Data, backgrounds: Data) -> np.ndarray:
    """(n,) share of the pairs of a land and a water background on which the answers differ.

    The box of the test image lies on each background at its own place; the background's own bird, and what
    the box covers, are painted over.
    """
    own, boxes = pictures(test)
    behind, behind_boxes = pictures(backgrounds)
    pool = [_usable(backgrounds, behind_boxes, place) for place in range(len(PLACES))]
    shares = np.zeros(len(own))
    for i, picture in enumerate(own):
        rng = np.random.default_rng([0, i])
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


# -- runs


@dataclass(frozen=True)
class Subject:
    """A network and what is true of it: its answers (n,) to the test images, and on what share of the pairs
    of backgrounds they differ, by the image's name."""

    path: Path
    answers: np.ndarray
    decides: pd.Series


def subject(path: Path, test: Data, train: Data) -> Subject:
    """What a network answers, measured."""
    import keras

    model = keras.saving.load_model(path, compile=False)
    decides = kept_decides(path, model, test, train)
    by_name = pd.Series(decides, [bird.name for bird in test.birds])
    return Subject(path, predict(model, pictures(test)[0]).argmax(axis=1), by_name)


def audit(of: Subject, test: Data, options: argparse.Namespace) -> dict[str, Any]:
    """Verdicts of a default run, and after more edits; what it says of the images."""
    run = options.cache / "runs" / of.path.stem
    whole_run(run, {"source": "folder", "path": str(test.folder)}, of.path, methods=options.method)
    verdicts = ranking_table(run).set_index("class_name")
    more = [word for kind in CLASSES for word in ("--class", kind)]
    hansaudit("confirm", str(run), *more, "--images", str(EDITED))
    later = pd.read_csv(run / "ranking.csv").set_index("class_name")
    shown = [c for c in VERDICT_COLUMNS if c in verdicts and c in later]
    told = {
        kind: {name: _plain(verdicts.loc[kind, name]) for name in shown}
        | {"after confirm": {name: _plain(later.loc[kind, name]) for name in shown}}
        for kind in CLASSES
    }
    return told | {"images": predicted_by(image_scores(run, test), of.decides)}


def own_answers(of: Subject, test: Data, boxes: bool, options: argparse.Namespace) -> dict[str, Any]:
    """The same images labelled by the network's own answers, with or without boxes: what is said of the
    images, and what the windows show."""
    from pipeline.inputs.geometry import union_mask
    from pipeline.run.ranking_settings import ranking_method
    from pipeline.run.store import Store

    name = f"{of.path.stem}-answers{'' if boxes else '-without-boxes'}"
    folder = labelled_by(of.answers, test, options.cache / name, boxes)
    method = ranking_method(Store(str(options.cache / "runs" / of.path.stem)).manifest)
    run = options.cache / "runs" / name
    whole_run(run, {"source": "folder", "path": str(folder)}, of.path, MORE, (method,))
    frame = image_scores(run, test)
    masks = [union_mask(b, SIDE, SIDE) for b in pictures(test)[1]]
    inside = {bird.name: mask for bird, mask in zip(test.birds, masks, strict=True)}
    transferred = judged_again(run).set_index("class_name")["transferred"]
    shown = windows_shown(frame, inside)
    for kind in CLASSES:
        shown[kind]["said"] = _plain(transferred[kind])
    return {"images": predicted_by(frame, of.decides), "windows": shown}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Accuracy per group, verdicts, what predicts an image in each kind of run, and what windows show."""
    groups = [
        [name, *(f"{a:.3f}" for a in r["groups"]), f"{min(r['groups']):.3f}"] for name, r in results.items()
    ]
    verdicts = [
        [name, *(f"{r['audit'][k]['verdict']} ({_effect(r['audit'][k])})" for k in CLASSES)]
        for name, r in results.items()
    ]
    images = [
        [name, kind, *(f"{r[kind]['images'][c]:.2f}" for c in ("decides", "says place on conflict")), figure]
        + [_number(r[kind]["images"][f"{figure}: {what}"]) for what in ASKED]
        for name, r in results.items()
        for kind in KINDS_OF_RUN
        for figure in FIGURES
        if r[kind]["images"][f"{figure}: n"]
    ]
    windows = [
        [name, kind, of_class, *(_number(v) for v in r[kind]["windows"][of_class].values())]
        for name, r in results.items()
        for kind in KINDS_OF_RUN[1:]
        for of_class in CLASSES
    ]
    parts = [
        markdown(["network", *(f"{k} on {p}" for k in CLASSES for p in PLACES), "worst"], groups),
        markdown(["network", *CLASSES], verdicts),
        markdown(["network", "run", "decides", "says place on conflict", "figure", *ASKED], images),
        markdown(["network", "run", "class", *WINDOW_COLUMNS], windows),
    ]
    return "\n\n".join(parts) + "\n"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and value > 1 else f"{value:.2f}"
    return str(value)


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
    results: dict[str, dict[str, Any]] = {}
    of_seeds = networks(options.model, options.cache, options.seeds, train, val, options.biased)
    for name, network in of_seeds.items():
        of = subject(network, test, train)
        results[name] = {
            "groups": group_accuracies(test, of.answers).tolist(),
            "audit": audit(of, test, options),
            "own answers": own_answers(of, test, True, options),
            "without boxes": own_answers(of, test, False, options),
        }
        print(f"{name}: {results[name]}", flush=True)
    publish(options.cache, "waterbirds", {"versions": versions(), "results": results}, table(results))


if __name__ == "__main__":
    main()
