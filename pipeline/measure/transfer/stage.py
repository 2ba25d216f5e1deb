"""The stage of a run that pastes windows of every class onto images of others and asks the network again.

Block by block (:mod:`.plan`); a block is one task and a part each of ``transfer`` and ``pasted_windows``
(:mod:`.closer`). A window and its control, a window of another class from the same place, are pasted at that
place onto the same recipients: for either class the other's window is the control, so every pass is used
twice.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.config_sections import TransferConfig
from pipeline.inputs.batches import iter_batches
from pipeline.inputs.card import ModelCard
from pipeline.inputs.picked import Picked
from pipeline.measure.asking import answers
from pipeline.measure.bench import Bench
from pipeline.measure.evaluate import Evaluator
from pipeline.measure.interventions.pictures import Scene
from pipeline.measure.rows import probabilities
from pipeline.measure.transfer.closer import Heard, look_closer
from pipeline.measure.transfer.gain import log_odds
from pipeline.measure.transfer.pairs import Paste, pair
from pipeline.measure.transfer.places import Place
from pipeline.measure.transfer.plan import NO_MAP, NO_ROOM, Block, Spot, Spots, block_of, plan_blocks
from pipeline.run.ranking_settings import ranking_method
from pipeline.run.store import Store
from pipeline.run.transfer_parts import TransferParts, WindowParts
from pipeline.schema import STATUS_NO_BOX, STATUS_OK, TRANSFER, WINDOWS
from pipeline.seeds import Purpose
from pipeline.terms import Window

SHOWN = 4  # windows of a class whose pictures are stored
LARGEST = 64  # side of such a picture, pixel: larger windows are made smaller

Key = tuple[int, str, bool]  # number of the paste (-1: none), recipient, whether it has the control


def blocks_to_paste(store: Store, settings: TransferConfig) -> list[Block]:
    """The blocks of which a part is missing; parts that are of something else are removed."""
    blocks = plan_blocks(store, settings)
    planned, present = {block.key for block in blocks}, []
    for parts in (TransferParts(store), WindowParts(store)):
        parts.drop_others(planned, settings.model_dump_json())
        present.append(parts.usable())
    return [block for block in blocks if not all(block.key in keys for keys in present)]


def paste_run(store: Store, bench: Bench) -> None:
    """Paste what is missing in this process, block by block. Nobody else may write the run meanwhile.

    Raises:
        InputError: no space or no right to write.
    """
    for block in blocks_to_paste(store, bench.config.transfer):
        paste_part(store, bench, block.key)


def paste_part(store: Store, bench: Bench, key: str) -> int:
    """Paste the windows of the block ``key`` and write its parts; returns the number of its classes."""
    settings = bench.config.transfer
    block, spots = block_of(store, settings, key)
    made = paste_block(bench, block, spots, ranking_method(store.manifest))
    left_out: Counter[str] = Counter()
    for label in block.labels:
        left_out.update(spots.left_out[label])
    about = {
        "passes": str(made.passes),
        "settings": settings.model_dump_json(),
        NO_ROOM: str(left_out[NO_ROOM]),
        NO_MAP: str(left_out[NO_MAP]),
    }
    closer = {"passes": str(made.further_passes), "settings": settings.model_dump_json()}
    WindowParts(store).write(key, made.windows, closer)
    TransferParts(store).write(key, made.rows, about)
    return len(block.labels)


@dataclass(frozen=True)
class PastedBlock:
    """What a block gives: rows of the tables ``transfer`` and ``pasted_windows``, and the passes for each."""

    rows: pa.Table
    windows: pa.Table
    passes: int
    further_passes: int


def paste_block(bench: Bench, block: Block, spots: Spots, method: str) -> PastedBlock:
    """Paste the windows of a block, and look closer at them."""
    settings = bench.config.transfer
    pastes, scenes = planned_pastes(bench, bench.model.card, block, spots)
    said, seen = _asked(bench, pastes, scenes)
    rows = [row for number, paste in enumerate(pastes) for row in rows_of(number, paste, said)]
    _show_best(rows, scenes)
    heard = [_heard(number, paste, said, seen) for number, paste in enumerate(pastes)]
    further = Purpose.MOVED_WINDOWS.rng(settings.seed, *block.labels)
    windows, further_passes = look_closer(bench, pastes, heard, scenes, further)
    for row in (*rows, *windows):
        row["method"] = method
    return PastedBlock(
        pa.Table.from_pylist(rows, TRANSFER),
        pa.Table.from_pylist(windows, WINDOWS),
        len(said),
        further_passes,
    )


def planned_pastes(
    bench: Bench, card: ModelCard, block: Block, spots: Spots
) -> tuple[list[Paste], dict[str, Scene]]:
    """What is pasted in a block, and its pictures by example id, as the network of ``card`` sees them."""
    settings = bench.config.transfer
    of_class = {label: spots.of_class[label] for label in block.labels}
    positions = sorted(spot.position for of_one in of_class.values() for spot in of_one)
    scenes = read_pictures(bench, card, positions)
    of_class = {k: tuple(s for s in of_one if s.example_id in scenes) for k, of_one in of_class.items()}
    rng = Purpose.RECIPIENTS.rng(settings.seed, *block.labels)
    return pair(of_class, scenes, settings.recipients, rng), scenes


def _asked(
    bench: Bench, pastes: Sequence[Paste], scenes: Mapping[str, Scene]
) -> tuple[dict[Key, np.ndarray], dict[Key, np.ndarray]]:
    """Probabilities (k,) and features (d,) of every picture."""
    evaluator = Evaluator(bench.model.model, bench.config.execution.batch_size)
    said: dict[Key, np.ndarray] = {}
    seen: dict[Key, np.ndarray] = {}
    for keys, (logits, features) in answers(bench, evaluator.seen, pasted_pictures(pastes, scenes)):
        said.update(zip(keys, probabilities(logits, bench.model.card.output), strict=True))
        seen.update(zip(keys, features, strict=True))
    return said, seen


def _heard(
    number: int, paste: Paste, said: Mapping[Key, np.ndarray], seen: Mapping[Key, np.ndarray]
) -> Heard:
    """What the network made of one window, recipient by recipient."""
    onto = paste.recipients
    before, own, control = (
        [(-1, r, False) for r in onto], [(number, r, False) for r in onto], [(number, r, True) for r in onto],
    )  # fmt: skip
    return Heard(
        before=np.stack([said[key] for key in before]),
        own=np.stack([said[key] for key in own]),
        control=np.stack([said[key] for key in control]),
        added=np.mean([seen[a] - seen[b] for a, b in zip(own, before, strict=True)], axis=0),
    )


def read_pictures(bench: Bench, card: ModelCard, positions: Sequence[int]) -> dict[str, Scene]:
    """The pictures at ``positions`` of the split by example id, as the network of ``card`` sees them,
    with their boxes where they have some."""
    if not positions:
        return {}
    picked = Picked(bench.dataset, tuple(positions))
    scenes: dict[str, Scene] = {}
    for batch in iter_batches(picked, picked.shard, card, bench.config.execution.batch_size):
        for i, record in enumerate(batch.records):
            if record is not None and batch.status[i] in (STATUS_OK, STATUS_NO_BOX):
                scenes[record.example_id] = Scene(batch.pictures[i].copy(), batch.masks[i].copy())
    return scenes


def paste(onto: np.ndarray, window: np.ndarray, place: Place) -> np.ndarray:
    """A copy of the picture ``onto`` with what lies at ``place`` in the picture ``window``, at that place."""
    made = onto.copy()
    made[place.slices] = window[place.slices]
    return made


def pasted_pictures(pastes: Sequence[Paste], scenes: Mapping[str, Scene]) -> Iterator[tuple[Key, np.ndarray]]:
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


def rows_of(number: int, of_one: Paste, said: Mapping[Key, np.ndarray]) -> Iterator[dict[str, Any]]:
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
            yield where | {
                "example_id": spot.example_id,
                "label": spot.label,
                "window": window,
                "beside": spot.beside,
                "relevance": relevance,
                "recipient": recipient,
                "before": said[-1, recipient, False][spot.label],
                "probability": said[number, recipient, is_control][spot.label],
                "control": said[number, recipient, not is_control][spot.label],
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
