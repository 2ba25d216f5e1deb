"""A closer look at the windows that were pasted: rows of the table ``pasted_windows``.

Which of a class are of a kind, by what they add to the network's features; what repeats in those of a kind;
which other class they raise; and what the best of them add at other places. Only the last asks the network
anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.measure.asking import answers
from pipeline.measure.bench import Bench
from pipeline.measure.evaluate import Evaluator
from pipeline.measure.interventions.pictures import Scene
from pipeline.measure.rows import probabilities
from pipeline.measure.transfer.gain import RELEVANT, log_odds
from pipeline.measure.transfer.groups import central, distances, group_windows
from pipeline.measure.transfer.moved import Move, moves, paste_at
from pipeline.measure.transfer.pairs import Paste
from pipeline.measure.transfer.repeats import FEWEST, colour_of, repeated_part

_Key = tuple[int, int, bool]  # number of the move, of its corner (-1: as it is), whether it has the control


@dataclass(frozen=True)
class Heard:
    """What the network made of the pastes of one window, a row per recipient, r of them.

    Attributes:
        before, own, control: probabilities (r, k) for the recipient as it is, with the window, with its
            control.
        added: (d,) what the window adds to the features, mean over the recipients.
    """

    before: np.ndarray
    own: np.ndarray
    control: np.ndarray
    added: np.ndarray

    def gain(self, label: int) -> float:
        """Log odds of ``label`` over the control's, mean over the recipients."""
        return float((log_odds(self.own[:, label]) - log_odds(self.control[:, label])).mean())

    def also(self, label: int) -> tuple[int, float]:
        """The other class whose probability rises most, and by how much."""
        rise = (self.own - self.before).mean(axis=0)
        rise[label] = -np.inf
        return int(rise.argmax()), float(rise.max())


def look_closer(
    bench: Bench,
    pastes: Sequence[Paste],
    heard: Sequence[Heard],
    scenes: Mapping[str, Scene],
    rng: np.random.Generator,
) -> tuple[list[dict[str, Any]], int]:
    """A row per paste, without ``method``, and the number of forward passes that were needed for them."""
    gains = [of_one.gain(paste.spot.label) for paste, of_one in zip(pastes, heard, strict=True)]
    rows = [_row(paste, of_one, scenes) for paste, of_one in zip(pastes, heard, strict=True)]
    if pastes:
        _describe(rows, pastes, heard, gains, scenes)
    asked = moves(pastes, gains, scenes, rng)
    said = _said(bench, asked, pastes, scenes)
    for number, move in enumerate(asked):
        label = pastes[move.number].spot.label
        rows[move.number]["places"] = list(_places(number, move, said, label))
    return rows, len(said)


def _row(paste: Paste, heard: Heard, scenes: Mapping[str, Scene]) -> dict[str, Any]:
    also, also_added = heard.also(paste.spot.label)
    mean = scenes[paste.spot.example_id].picture[paste.spot.place.slices].mean(axis=(0, 1))
    return {
        "example_id": paste.spot.example_id,
        "label": paste.spot.label,
        "also": also,
        "also_added": also_added,
        "colours": [asdict(colour_of(mean, 1.0))],
    }


def _describe(
    rows: Sequence[dict[str, Any]],
    pastes: Sequence[Paste],
    heard: Sequence[Heard],
    gains: Sequence[float],
    scenes: Mapping[str, Scene],
) -> None:
    """Say in ``rows`` which group a window is of, and what repeats in the groups that carry their class."""
    labels = np.array([paste.spot.label for paste in pastes])
    seen = np.stack([of_one.added for of_one in heard])
    groups, apart = group_windows(seen, labels), distances(seen)
    for row, group in zip(rows, groups.tolist(), strict=True):
        row["group"] = group
    for label, group in sorted(set(zip(labels.tolist(), groups.tolist(), strict=True))):
        members = np.flatnonzero((labels == label) & (groups == group)).tolist()
        if len(members) < FEWEST or np.mean([gains[i] for i in members]) <= RELEVANT:
            continue
        pictures = [scenes[pastes[i].spot.example_id].picture for i in members]
        places = [pastes[i].spot.place for i in members]
        repeat = repeated_part(pictures, places, central(apart[np.ix_(members, members)]))
        for i, corner in zip(members, repeat.at if repeat else (), strict=bool(repeat)):
            if corner is not None and repeat is not None:
                rows[i] |= {"mark_x": corner[0], "mark_y": corner[1]}
                rows[i] |= {"mark_width": repeat.width, "mark_height": repeat.height}
                rows[i]["colours"] = [asdict(colour) for colour in repeat.colours]


def _said(
    bench: Bench, asked: Sequence[Move], pastes: Sequence[Paste], scenes: Mapping[str, Scene]
) -> dict[_Key, np.ndarray]:
    """Probabilities (k,) of every picture that is asked."""
    evaluator = Evaluator(bench.model.model, bench.config.execution.batch_size)
    said: dict[_Key, np.ndarray] = {}
    for keys, logits in answers(bench, evaluator.logits, _pictures(asked, pastes, scenes)):
        said.update(zip(keys, probabilities(logits, bench.model.card.output), strict=True))
    return said


def _pictures(
    asked: Sequence[Move], pastes: Sequence[Paste], scenes: Mapping[str, Scene]
) -> Iterator[tuple[_Key, np.ndarray]]:
    for number, move in enumerate(asked):
        paste, onto = pastes[move.number], scenes[move.recipient].picture
        yield (number, -1, False), onto
        for k, corner in enumerate(move.corners):
            for control, giver in ((False, paste.spot), (True, paste.other)):
                window = scenes[giver.example_id].picture[paste.spot.place.slices]
                yield (number, k, control), paste_at(onto, window, corner)


def _places(number: int, move: Move, said: Mapping[_Key, np.ndarray], label: int) -> Iterator[dict[str, Any]]:
    for k, (x, y) in enumerate(move.corners):
        yield {
            "recipient": move.recipient,
            "x": x,
            "y": y,
            "before": float(said[number, -1, False][label]),
            "probability": float(said[number, k, False][label]),
            "control": float(said[number, k, True][label]),
        }
