"""Does the triage find labels and boxes that were made wrong on purpose?

    python -m benchmarks.triage RUN [--share 0.05] [--seed 0]

RUN: a finished run that stores maps, on data that is held to be right. In its tables a share of the labels is
exchanged for a random other class, and a share of the boxes is moved to another place in the picture, as far
as it can be moved; what the network says to the pictures stays as it is. Says how many of the candidates are
such images (precision; the rest may be wrong in the data, too) and how many of such images are candidates
(recall), beside those that could be found at all: the network was right on them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config_sections import RankingConfig
from pipeline.run.store import Store
from pipeline.statistics.ranking import rank
from pipeline.statistics.triage import box_candidates, box_spread, label_candidates, read_images
from reports.page.data import load_run


@dataclass(frozen=True)
class Found:
    """Images made wrong, candidates, those of both, and the images made wrong that the network got right."""

    wrong: int
    candidates: int
    hits: int
    findable: int

    def line(self, what: str) -> str:
        """As it is printed."""
        precision = self.hits / max(self.candidates, 1)
        recall, of_right = (self.hits / max(n, 1) for n in (self.wrong, self.findable))
        return (
            f"{what}: {self.wrong} made wrong, {self.candidates} candidates, precision {precision:.2f}, "
            f"recall {recall:.2f} ({of_right:.2f} of those that the network got right)"
        )


def flipped_labels(images: pd.DataFrame, share: float, n_min: int, rng: np.random.Generator) -> Found:
    """Exchange labels. The probability of a new label that is not the prediction is not stored: it is taken
    to be an even part of what is left."""
    images = images[images["prediction"].notna() & (images["label"] >= 0)].reset_index(drop=True)
    classes = np.unique(images["label"])
    chosen = rng.random(len(images)) < share
    label, right = images["label"].to_numpy(copy=True), images["correct"].to_numpy(bool)
    step = rng.integers(1, len(classes), chosen.sum())
    label[chosen] = classes[(np.searchsorted(classes, label[chosen]) + step) % len(classes)]
    left = (1 - images["confidence"]) / (len(classes) - 1)
    answer = np.where(images["prediction"] == label, images["confidence"], left)
    probability = np.where(chosen, answer, images["label_probability"])
    made = images.assign(label=label, label_probability=probability)
    hits = label_candidates(made, n_min).index
    return Found(int(chosen.sum()), len(hits), int(chosen[hits].sum()), int((chosen & right).sum()))


def moved_boxes(images: pd.DataFrame, run: Any, share: float, n_min: int, rng: np.random.Generator) -> Found:
    """Move boxes; the adjusted lift changes by what the stored map says of the two places."""
    chosen = images.index[images["adjusted_lift"].notna() & (rng.random(len(images)) < share)]
    maps = run.maps(images.loc[chosen, "example_id"])
    boxes = run.images.set_index("example_id")["boxes_model"]
    made = images.copy()
    moved = []
    for at in chosen:
        key = images.at[at, "example_id"]
        if key not in maps or len(boxes[key]) != 1:
            continue
        values = maps[key].values
        before, after = _masks(boxes[key][0], run.size, values.shape)
        change = _lift(values, after) - _lift(values, before)
        made.loc[at, ["lift", "adjusted_lift"]] += change
        made.loc[at, "pointing"] = float(after.flat[values.argmax()] > 0)
        made.loc[at, ["object_keeps", "background_keeps"]] = np.nan  # edits were made by the old box
        moved.append(at)
    hits = box_candidates(made.join(box_spread(made, n_min))).index
    return Found(len(moved), len(hits), len(set(hits) & set(moved)), len(moved))


def _masks(
    box: dict[str, float], size: tuple[int, int], shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The box, and the same box in the corner of the picture that is farthest from it, as shares of cells."""
    width, height = box["xmax"] - box["xmin"] + 1, box["ymax"] - box["ymin"] + 1
    x = 0.0 if box["xmin"] + width / 2 > size[0] / 2 else size[0] - width
    y = 0.0 if box["ymin"] + height / 2 > size[1] / 2 else size[1] - height
    return tuple(  # type: ignore[return-value]
        np.outer(_cover(top, top + height, size[1], shape[0]), _cover(left, left + width, size[0], shape[1]))
        for left, top in ((box["xmin"], box["ymin"]), (x, y))
    )


def _cover(start: float, stop: float, length: int, cells: int) -> np.ndarray:
    """Share of every cell of an axis that lies between two pixels."""
    edges = np.linspace(0, length, cells + 1)
    return np.clip(np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start), 0, None) / (length / cells)


def _lift(values: np.ndarray, mask: np.ndarray) -> float:
    """Log odds of the relevance inside less those of the area, as the metric ``lift``."""
    mass, area = float((values * mask).sum() / values.sum()), float(mask.mean())
    mass, area = (min(max(v, 1e-4), 1 - 1e-4) for v in (mass, area))
    return float(np.log(mass / (1 - mass)) - np.log(area / (1 - area)))


def main() -> None:
    """Print a line for labels and one for boxes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    store, rng = Store(arguments.run), np.random.default_rng(arguments.seed)
    ranking = rank(store, RankingConfig(draws=200))
    images = read_images(store, ranking)
    n_min = ranking.settings.n_min
    accuracy = images["correct"].eq(True).mean()
    print(f"{len(images)} images, accuracy {accuracy:.3f}, {arguments.share:.0%} made wrong")
    print(flipped_labels(images, arguments.share, n_min, rng).line("labels"))
    print(moved_boxes(images, load_run(arguments.run, ranking), arguments.share, n_min, rng).line("boxes"))


if __name__ == "__main__":
    main()
