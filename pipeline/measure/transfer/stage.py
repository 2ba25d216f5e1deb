"""The stage of a run that pastes windows of every class onto images of others and asks the network again.

Block by block (:mod:`.plan`); a block is one task and one part of the table ``transfer``. A window and its
control, a window of another class from the same place, are pasted at that place onto the same recipients: for
either class the other's window is the control, so every pass is used twice.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.config import TransferConfig
from pipeline.inputs.batches import iter_batches
from pipeline.inputs.picked import Picked
from pipeline.measure.asking import answers
from pipeline.measure.bench import Bench
from pipeline.measure.evaluate import Evaluator
from pipeline.measure.interventions.pictures import Scene
from pipeline.measure.rows import probabilities
from pipeline.measure.transfer.gain import log_odds
from pipeline.measure.transfer.pairs import Paste, pair
from pipeline.measure.transfer.places import Place
from pipeline.measure.transfer.plan import NO_MAP, NO_ROOM, Block, Spot, Spots, block_of, plan_blocks
from pipeline.run.ranking_settings import ranking_method
from pipeline.run.store import Store
from pipeline.run.transfer_parts import TransferParts
from pipeline.schema import STATUS_NO_BOX, STATUS_OK, TRANSFER
from pipeline.seeds import Purpose
from pipeline.terms import Window

SHOWN = 4  # windows of a class whose pictures are stored
LARGEST = 64  # side of such a picture, pixel: larger windows are made smaller

_Key = tuple[int, str, bool]  # number of the paste (-1: none), recipient, whether it has the control


def blocks_to_paste(store: Store, settings: TransferConfig) -> list[Block]:
    """The blocks whose parts are missing; parts that are of something else are removed."""
    blocks = plan_blocks(store, settings)
    parts = TransferParts(store)
    parts.drop_others({block.key for block in blocks}, settings.model_dump_json())
    present = parts.usable()
    return [block for block in blocks if block.key not in present]


def paste_run(store: Store, bench: Bench) -> None:
    """Paste what is missing in this process, block by block. Nobody else may write the run meanwhile.

    Raises:
        InputError: no space or no right to write.
    """
    for block in blocks_to_paste(store, bench.config.transfer):
        paste_part(store, bench, block.key)


def paste_part(store: Store, bench: Bench, key: str) -> int:
    """Paste the windows of the block ``key`` and write its part; returns the number of its classes."""
    settings = bench.config.transfer
    block, spots = block_of(store, settings, key)
    rows, passes = paste_block(bench, block, spots, ranking_method(store.manifest))
    left_out: Counter[str] = Counter()
    for label in block.labels:
        left_out.update(spots.left_out[label])
    about = {
        "passes": str(passes),
        "settings": settings.model_dump_json(),
        NO_ROOM: str(left_out[NO_ROOM]),
        NO_MAP: str(left_out[NO_MAP]),
    }
    TransferParts(store).write(key, rows, about)
    return len(block.labels)


def paste_block(bench: Bench, block: Block, spots: Spots, method: str) -> tuple[pa.Table, int]:
    """Rows of the table ``transfer``, and the number of forward passes."""
    settings = bench.config.transfer
    of_class = {label: spots.of_class[label] for label in block.labels}
    scenes = read_pictures(bench, sorted(spot.position for of_one in of_class.values() for spot in of_one))
    of_class = {k: tuple(s for s in of_one if s.example_id in scenes) for k, of_one in of_class.items()}
    rng = Purpose.RECIPIENTS.rng(settings.seed, *block.labels)
    pastes = pair(of_class, scenes, settings.recipients, rng)
    said: dict[_Key, np.ndarray] = {}
    evaluator = Evaluator(bench.model.model, bench.config.execution.batch_size)
    labels = {label: i for i, label in enumerate(block.labels)}
    for keys, logits in answers(bench, evaluator, _pictures(pastes, scenes)):
        p = probabilities(logits, bench.model.card.output)[:, list(labels)]
        said.update(zip(keys, p, strict=True))
    rows = [row for number, paste in enumerate(pastes) for row in _rows(number, paste, said, labels)]
    for row in rows:
        row["method"] = method
    _show_best(rows, scenes)
    return pa.Table.from_pylist(rows, TRANSFER), len(said)


def read_pictures(bench: Bench, positions: Sequence[int]) -> dict[str, Scene]:
    """The pictures at ``positions`` of the split by example id, with their boxes where they have some."""
    if not positions:
        return {}
    picked = Picked(bench.dataset, tuple(positions))
    scenes: dict[str, Scene] = {}
    for batch in iter_batches(picked, picked.shard, bench.model.card, bench.config.execution.batch_size):
        for i, record in enumerate(batch.records):
            if record is not None and batch.status[i] in (STATUS_OK, STATUS_NO_BOX):
                scenes[record.example_id] = Scene(batch.pictures[i].copy(), batch.masks[i].copy())
    return scenes


def paste(onto: np.ndarray, window: np.ndarray, place: Place) -> np.ndarray:
    """A copy of the picture ``onto`` with what lies at ``place`` in the picture ``window``, at that place."""
    made = onto.copy()
    made[place.slices] = window[place.slices]
    return made


def _pictures(pastes: Sequence[Paste], scenes: Mapping[str, Scene]) -> Iterator[tuple[_Key, np.ndarray]]:
    """All recipients as they are, then each with every window that it gets, and with that one's control."""
    for recipient in sorted({r for of_one in pastes for r in of_one.recipients}):
        yield (-1, recipient, False), scenes[recipient].picture
    for number, of_one in enumerate(pastes):
        place = of_one.spot.place
        for recipient in of_one.recipients:
            onto = scenes[recipient].picture
            for control, giver in ((False, of_one.spot), (True, of_one.other)):
                window = scenes[giver.example_id].picture
                yield (number, recipient, control), paste(onto, window, place)


def _rows(
    number: int, of_one: Paste, said: Mapping[_Key, np.ndarray], labels: Mapping[int, int]
) -> Iterator[dict[str, Any]]:
    """Rows of a paste: of its window, and of the other class's, for which the window is the control."""
    place = of_one.spot.place
    where = {"x": place.x, "y": place.y, "width": place.width, "height": place.height}
    sides: list[tuple[Spot, Window, float | None, bool]] = [
        (of_one.spot, Window.RELEVANT, place.relevance, False)
    ]
    if of_one.free:
        sides.append((of_one.other, Window.OTHER_PLACE, None, True))
    for recipient in of_one.recipients:
        for spot, window, relevance, is_control in sides:
            at = labels[spot.label]
            yield where | {
                "example_id": spot.example_id,
                "label": spot.label,
                "window": window,
                "beside": spot.beside,
                "relevance": relevance,
                "recipient": recipient,
                "before": said[-1, recipient, False][at],
                "probability": said[number, recipient, is_control][at],
                "control": said[number, recipient, not is_control][at],
                "picture": None,
            }


def _show_best(rows: Sequence[dict[str, Any]], scenes: Mapping[str, Scene]) -> None:
    """Give the windows that add most to their class, a few of each, their picture, on their first row."""
    gains: dict[tuple[int, str], list[float]] = {}
    first: dict[tuple[int, str], dict[str, Any]] = {}
    for row in rows:
        if row["window"] == Window.RELEVANT:
            key = row["label"], row["example_id"]
            first.setdefault(key, row)
            gains.setdefault(key, []).append(float(log_odds(row["probability"]) - log_odds(row["control"])))
    shown: Counter[int] = Counter()
    for key in sorted(gains, key=lambda k: (-float(np.mean(gains[k])), k)):
        if shown[key[0]] < SHOWN and np.mean(gains[key]) > 0:
            shown[key[0]] += 1
            row = first[key]
            place = Place(row["x"], row["y"], row["width"], row["height"], 0.0)
            row["picture"] = window_png(scenes[key[1]].picture[place.slices])


def window_png(window: np.ndarray) -> bytes:
    """A window (h, w, 3) uint8 as PNG, made smaller where it is larger than :data:`LARGEST`."""
    image = Image.fromarray(window)
    image.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
