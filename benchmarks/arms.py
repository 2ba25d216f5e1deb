"""A mark that is absent, present but not used, or used: who says "used"? ``python -m benchmarks.arms``.

    python -m benchmarks.arms --archive tiny-imagenet-200.zip --model squeezenet_v1.1.keras \
        --cache FOLDER --out FOLDER [--seeds 0 1 2] [--epochs 6] [--method lrp.preset_a]

As in Clark et al. 2026 (arXiv:2602.09238). Per seed 20 classes of Tiny ImageNet and three networks,
fine-tuned on the same photographs at 112 x 112: *absent*, no marks; *unused*, a mark beside the object of
every class alike, its kind by chance, so that it tells nothing; *used*, on six of the classes, two of each
kind. Marks are on every photograph that has room for them. Each network is audited, as `hansaudit run` does
it, on validation photographs marked as in training. What a class's mark adds to its probability is measured
on pairs.

Who says of a class that the mark is used: its map, where the mark's place holds more relevance per pixel than
the rest of the picture (the paper's relative importance) in most of its photographs; the edges of the
pictures themselves (Sobel's operator), which know no network, by the same rule; the audit's verdicts by maps
alone, by all evidence, and by windows that transfer: any, or such as lie on the mark. Without a mark the
place is where it would have been.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.arms_maps import (
    edges,
    on_cells,
    rectangles,
    relative_importance,
    stored_maps,
    windows_on_marks,
)
from benchmarks.output import publish, versions
from benchmarks.real_marks import KINDS, PUT, USED, Photos, added_probability, put_beside, write_folder
from benchmarks.real_networks import SIDE, Inputs, arguments, cut_network, inputs_of, predict, save, train
from benchmarks.real_runs import auc, judged_again, markdown, share, whole_run

ARMS = ("absent", "unused", "used")
CLASSES, MARKED = 20, 6
HALF = (
    0.5  # of a class's windows with a strong gain: where as many lie on the mark, it is the mark that carries
)
DEAL, KIND = 2, 3  # what the random numbers of a seed are for, beside those of `real_marks`
SCORES = ("map", "edges", "lift", "lower", "effect", "transfer")
RULES = ("by maps", "confirmed", "confirmed or suspected", "transfers", "transfers by the mark")


# -- photographs with marks


def choose(photos: Photos, seed: int) -> Photos:
    """The photographs of the seed's classes, labels from 0."""
    of_seed = np.random.default_rng([seed, DEAL]).permutation(len(photos.class_ids))[:CLASSES]
    chosen = np.sort(of_seed)
    rows = np.flatnonzero(np.isin(photos.labels, chosen))
    return Photos(
        tuple(photos.names[i] for i in rows),
        np.searchsorted(chosen, photos.labels[rows]),
        photos.pictures[rows],
        tuple(photos.boxes[i] for i in rows),
        tuple(photos.class_ids[k] for k in chosen),
        tuple(photos.class_names[k] for k in chosen),
    )


def marked_classes(arm: str, seed: int) -> dict[int, str]:
    """Class -> kind of its mark in the arm ``used``, "" where the photograph's own chance decides."""
    if arm != "used":
        return dict.fromkeys(range(CLASSES), "")
    dealt = np.random.default_rng([seed, KIND]).permutation(CLASSES)[:MARKED].tolist()
    return {label: KINDS[i % len(KINDS)] for i, label in enumerate(dealt)}


def with_marks(photos: Photos, arm: str, seed: int) -> tuple[Photos, np.ndarray]:
    """The photographs with a mark wherever the arm's classes have one and there is room, and where it lies:
    (n, 64, 64) bool, nowhere True without a mark."""
    kinds = marked_classes(arm, seed)
    marked = replace(photos, pictures=photos.pictures.copy())
    for i in np.flatnonzero(np.isin(photos.labels, list(kinds))):
        rng = np.random.default_rng([seed, PUT, *photos.names[i].encode()])
        by_chance = KINDS[rng.integers(len(KINDS))]
        put_beside(marked.pictures[i], photos.boxes[i], kinds[int(photos.labels[i])] or by_chance, rng)
    return marked, rectangles((marked.pictures != photos.pictures).any(axis=-1))


# -- an arm


@dataclass(frozen=True)
class Network:
    """A trained network of an arm, its validation photographs as they are shown, and where marks lie."""

    path: Path
    folder: Path
    photos: Photos
    places: np.ndarray
    added: dict[int, tuple[float, int]]


def prepare(arm: str, seed: int, inputs: Inputs) -> Network:
    """Train what is not in the cache, write the photographs, and measure what the marks add."""
    import keras

    seen, clean = choose(inputs.photos("train"), seed), choose(inputs.photos("val"), seed)
    marked, places = with_marks(clean, arm, seed)
    shown = clean if arm == "absent" else marked
    path = inputs.cache / f"arms-{arm}-{seed}-{inputs.epochs}epochs.keras"
    if not path.is_file():
        network = cut_network(inputs.model, seen.class_ids, SIDE)
        train(network, seen if arm == "absent" else with_marks(seen, arm, seed)[0], seed, inputs.epochs)
        save(network, path, seen.class_ids, seen.class_names, SIDE)
    folder = inputs.cache / f"arms-{arm}-{seed}-val"
    if not folder.is_dir():
        unfinished = folder.with_name(f"{folder.name}.unfinished-{np.random.default_rng().integers(1 << 32)}")
        write_folder(shown, unfinished)
        unfinished.rename(folder)
    model, rows = keras.saving.load_model(path, compile=False), places.any(axis=(1, 2))
    pair = [predict(model, p.pictures[rows]) for p in (marked, clean)]
    return Network(path, folder, shown, places, added_probability(*pair, clean.labels[rows]))


def measure(arm: str, seed: int, network: Network, run: Path, method: str) -> pd.DataFrame:
    """A row per class: what is said of it."""
    sections = {"perturbation": False, "sanity": {"images": 0}, "strategies": {"classes": 0}}
    whole_run(run, {"source": "folder", "path": str(network.folder)}, network.path, sections, (method,))
    shown = stored_maps(run, network.photos.names)
    ratios = {
        "map": relative_importance(shown, on_cells(network.places, shown.shape[-1])),
        "edges": relative_importance(edges(network.photos.pictures), network.places),
    }
    table = judged_again(run)
    of_class = pd.DataFrame({"label": network.photos.labels, **ratios}).groupby("label").median()
    transfers = table["transferred"] == "transfers"
    on_marks = windows_on_marks(run, network.photos.names, network.places, SIDE)
    added = pd.Series({label: mean for label, (mean, _) in network.added.items()}, dtype=float)
    return pd.DataFrame(
        {
            "seed": seed,
            "group": [_group(arm, label, seed, added.get(label, 0.0)) for label in table.index],
            "added": added.reindex(table.index),
            **{name: of_class[name].reindex(table.index) for name in ratios},
            "lift": -table["adjusted_lift_raw"],
            "lower": -table["adjusted_lift_lower"],
            "effect": table["effect_shrunk"],
            "transfer": table["transfer"],
            "by maps": table["map_verdict"].isin(["suspicious", "unfocused"]),
            "confirmed": table["verdict"] == "confirmed",
            "confirmed or suspected": table["verdict"].isin(["confirmed", "suspected"]),
            "transfers": transfers,
            "transfers by the mark": transfers & (on_marks.reindex(table.index) >= HALF),
        }
    )


def _group(arm: str, label: int, seed: int, added: float) -> str:
    """Which row of the table a class belongs to."""
    if arm == "absent":
        return "absent"
    if label not in marked_classes(arm, seed):
        return "beside the used: no mark"
    if arm == "unused":
        return "present, on all classes alike" + (", used" if added >= USED else "")
    return "present on this class, used" if added >= USED else "present on this class, not used"


# -- tables


def said_used(rows: pd.DataFrame) -> str:
    """Per group of classes: how many of them each says "used" of, with Wilson's interval."""
    rules = {
        "map at the mark > 1": rows["map"] > 1,
        "edges at the mark > 1": rows["edges"] > 1,
        **{name: rows[name] for name in RULES},
    }
    lines = []
    for group, own in rows.groupby("group", sort=False):
        with_place = own["map"].notna()
        cells = [
            share(int(rule[of].sum()), len(of))
            for name, rule in rules.items()
            for of in [own.index if name in RULES else own.index[with_place]]
        ]
        lines.append([group, len(own), f"{own['added'].mean():+.2f}", *cells])
    return markdown(["mark", "classes", "adds", *rules], lines)


def told_apart(rows: pd.DataFrame) -> str:
    """AUC with which each figure of a class tells a used mark from one that is present on all classes, and
    from none; mean figures beside it."""
    used = (rows["group"] == "present on this class, used").to_numpy()
    against = {
        "present, on all classes alike": (rows["group"] == "present, on all classes alike").to_numpy(),
        "absent": (rows["group"] == "absent").to_numpy(),
    }
    lines = [
        [
            name,
            *(
                f"{auc(rows[name].to_numpy(float)[used | other], used[used | other]):.2f}"
                for other in against.values()
            ),
        ]
        for name in SCORES
    ]
    return markdown(["AUC, a used mark against", *against], lines)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--method", default="lrp.preset_a")
    parser.set_defaults(epochs=6)
    options = parser.parse_args()
    inputs = inputs_of(options)
    frames = []
    for seed in options.seeds:
        for arm in ARMS:
            network = prepare(arm, seed, inputs)
            run = options.out / f"arms-{arm}-{seed}-{options.method}"
            frames.append(measure(arm, seed, network, run, options.method))
            print(f"{arm}, seed {seed}:\n{frames[-1].to_string()}", flush=True)
    rows = pd.concat(frames, ignore_index=True)
    shown = f"{said_used(rows)}\n\n{told_apart(rows)}\n"
    result: dict[str, Any] = {"versions": versions(), "classes": rows.to_dict("records")}
    publish(options.out, f"arms-{options.method}", result, shown)


if __name__ == "__main__":
    main()
