"""Which images of which classes are edited, block by block, and what it costs. Tables only, no network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config_sections import InterventionsConfig
from pipeline.measure.interventions.kinds import FULL, all_interventions
from pipeline.run.block_parts import block_key
from pipeline.run.inventory import ShardsSeen
from pipeline.run.store import Store
from pipeline.schema import STATUS_OK
from pipeline.seeds import ImageChoice, Purpose

CLASSES_A_BLOCK = 20  # some 20 x 50 pictures are held at once, and 19 classes give backgrounds
PASSES_PER_IMAGE, FEWEST_PASSES = 2.5, 10_000  # of a run, where its settings say none
_FULL = ("example_id", "label_probability", "target_logit", "prediction", "confidence")


@dataclass(frozen=True)
class Unedited:
    """A picture as it is: its id and its row of the table, as the audit stored it."""

    example_id: str
    row: Mapping[str, object]


@dataclass(frozen=True)
class Block:
    """Classes that are edited together: one task, one part of the table.

    Attributes:
        key: of its part: says all that it is made of.
        images: label -> positions in the split of its images, in the order in which they are taken.
        edited: the classes that are edited; the others only give backgrounds.
        allowance: images that may be edited in all; the first look always is. None: all that there are.
        full: position -> the picture as it is.
        drawn_as: label -> the number that its random choices are drawn with, where it is not the label: the
            class is called so in the run whose edits are made again with another network.
    """

    key: str
    images: Mapping[int, tuple[int, ...]]
    edited: frozenset[int]
    full: Mapping[int, Unedited]
    allowance: int | None = None
    drawn_as: Mapping[int, int] = field(default_factory=dict)


def passes_per_image(pairs: int) -> int:
    """Forward passes of one image, at most; the unedited picture was shown to the network before."""
    return sum(intervention.count(pairs) for intervention in all_interventions())


def looks(first: int, most: int) -> tuple[tuple[int, int], ...]:
    """Which of its ``most`` images, start and end, a class gives in each look: each doubles what was seen.

    >>> looks(10, 50)
    ((0, 10), (10, 20), (20, 40), (40, 50))
    """
    ends = [0, first]
    while ends[-1] < most:
        ends.append(min(2 * ends[-1], most))
    return tuple(pairwise(ends))


def images_allowed(settings: InterventionsConfig, audited: int) -> int:
    """Images that a run of ``audited`` images may edit in all, unless its first look takes more."""
    passes = settings.passes or max(FEWEST_PASSES, int(PASSES_PER_IMAGE * audited))
    return passes // passes_per_image(settings.pairs)


def passes_needed(images: Iterable[int], settings: InterventionsConfig, audited: int) -> tuple[int, int]:
    """Forward passes of a run, in the first look and at most, for classes that have so many ``images``.

    ``images``: per class those that are classified correctly and have a box with something beside it.
    ``audited``: images of the run.
    """
    counts = list(images)
    each = passes_per_image(settings.pairs)
    first = sum(min(n, settings.images) for n in counts)
    most = sum(min(n, max(settings.most, settings.images)) for n in counts)
    most = max(first, min(most, images_allowed(settings, audited)))
    return (first * each, most * each) if settings.images else (0, 0)


def editable(store: Store, seed: int, most: int) -> dict[int, tuple[int, ...]]:
    """Label -> positions of up to ``most`` of its images in a seeded order: correct, with a usable box."""
    labels: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    usable = (pc.field("status") == STATUS_OK) & pc.field("correct") & (pc.field("label") >= 0)
    for batch in store.scan("examples", ["label", "index"], usable):
        labels.append(batch["label"].to_numpy())
        positions.append(batch["index"].to_numpy())
    if not labels:
        return {}
    of_class: dict[int, list[int]] = {}
    for label, position in zip(np.concatenate(labels), np.concatenate(positions), strict=True):
        of_class.setdefault(int(label), []).append(int(position))
    for of_one in of_class.values():
        of_one.sort(key=lambda position: ImageChoice.EDITED.rank(seed, position))
    return {label: tuple(of_class[label][:most]) for label in sorted(of_class)}


def plan_blocks(store: Store, settings: InterventionsConfig) -> tuple[Block, ...]:
    """All classes in blocks of some 20, in a seeded order; a last one is never left alone.

    No blocks where no images are asked for, or no class has any.
    """
    if settings.images == 0:
        return ()
    images = editable(store, settings.seed, max(settings.most, settings.images))
    labels = Purpose.EDITED_BLOCKS.rng(settings.seed).permutation(np.array(sorted(images), dtype=np.int64))
    parts = np.array_split(labels, -(-len(labels) // CLASSES_A_BLOCK)) if len(labels) else []
    full = stored_answers(store, [p for of_class in images.values() for p in of_class])
    run_id, audited = store.manifest["run_id"], store.manifest["dataset"]["n_examples"]
    allowed = images_allowed(settings, audited)
    blocks = []
    for number, part in enumerate(parts):
        of_block = {int(label): images[int(label)] for label in part}
        of = {
            "run": run_id,
            "settings": settings.model_dump(),
            "images": sorted(of_block.items()),
        }
        share = allowed * len(part) // len(labels)
        key = block_key(f"block-{number:04d}", of)
        blocks.append(Block(key, of_block, frozenset(of_block), full, share))
    return tuple(blocks)


@lru_cache(maxsize=1)
def _blocks_by_key(path: str, settings: str, shards: str) -> dict[str, Block]:
    """The plan of a run as it is now; a worker that edits several blocks reads the tables once."""
    blocks = plan_blocks(Store(path), InterventionsConfig.model_validate_json(settings))
    return {block.key: block for block in blocks}


def block_of(store: Store, settings: InterventionsConfig, key: str) -> Block:
    """The block whose part has this key."""
    return _blocks_by_key(store.path, settings.model_dump_json(), ShardsSeen.of(store).sha256)[key]


def stored_answers(store: Store, positions: Sequence[int]) -> Mapping[int, Unedited]:
    """Position -> the picture as it is; the network's answer is known from the audit."""
    chosen = pc.field("index").isin(pa.array(positions, pa.int64()))
    return _Answers(store.read("examples", ["index", "label", *_FULL], chosen))


class _Answers(Mapping[int, Unedited]):
    """Columns, of which a row is made when it is asked for: a plan holds every class's images at once."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table.combine_chunks()
        self._rows = {position: i for i, position in enumerate(table["index"].to_pylist())}

    def __getitem__(self, position: int) -> Unedited:
        (row,) = self._table.slice(self._rows[position], 1).to_pylist()
        return Unedited(
            row["example_id"],
            {
                "example_id": row["example_id"],
                "label": row["label"],
                "edit": FULL,
                "donor": None,
                "probability": row["label_probability"],
                "logit": row["target_logit"],
                "predicted": row["prediction"],
                "confidence": row["confidence"],
            },
        )

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
