"""Which images of which classes give a window, block by block, and what it costs. Tables only, no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config_sections import TransferConfig
from pipeline.measure.transfer.places import Place, best_place, object_mask
from pipeline.run.block_parts import block_key
from pipeline.run.inventory import ShardsSeen
from pipeline.run.parts import shard_tables
from pipeline.run.ranking_settings import ranking_method
from pipeline.run.store import Store
from pipeline.schema import STATUS_NO_BOX, STATUS_OK
from pipeline.seeds import ImageChoice, Purpose

CLASSES_A_BLOCK = 20
PASSES_PER_IMAGE, FEWEST_PASSES = 1.6, 10_000  # of a run, where its settings say none
LOOKED_AT = 2  # times as many images as give a window: some have no room beside the box
NO_ROOM, NO_MAP = "no_room", "no_map"


@dataclass(frozen=True)
class Block:
    """Classes that exchange windows: one task, one part of the table.

    Attributes:
        key: of its part: says all that it is made of.
        labels: its classes; images: of each that give a window, at most.
    """

    key: str
    labels: tuple[int, ...]
    images: int


@dataclass(frozen=True)
class Spot:
    """A picture and its window; ``beside``: it has boxes, and the window touches none."""

    example_id: str
    position: int
    label: int
    place: Place
    beside: bool


@dataclass(frozen=True)
class Spots:
    """The windows of a run: label -> those of its images, in the order in which they are taken; label ->
    reason -> images that have none."""

    of_class: Mapping[int, tuple[Spot, ...]]
    left_out: Mapping[int, Mapping[str, int]]


def pool_size(images: int, recipients: int, classes: int) -> int:
    """Pictures that each of the ``classes`` of a block lends, so that each window of a class gets its own."""
    return -(-images * recipients // max(1, classes - 1))


def passes_needed(counts: Iterable[int], settings: TransferConfig, audited: int) -> int:
    """Forward passes at most, for classes that have so many correctly classified images (``counts``) in a run
    of ``audited`` images: every window and its control on every recipient, and the recipients as they are."""
    classes = [count for count in counts if count]
    n = images_per_class(classes, settings, audited)
    return _passes(classes, n, settings) if len(classes) > 1 else 0


def images_per_class(counts: Sequence[int], settings: TransferConfig, audited: int) -> int:
    """Images of a class that give a window: as many as are asked for and the passes of the run allow."""
    allowed = settings.passes or max(FEWEST_PASSES, int(PASSES_PER_IMAGE * audited))
    n = settings.images
    while n > 1 and _passes(counts, n, settings) > allowed:
        n -= 1
    return n


def _passes(counts: Sequence[int], n: int, settings: TransferConfig) -> int:
    n = min(n, max(counts, default=0))
    pool = pool_size(n, settings.recipients, min(len(counts), CLASSES_A_BLOCK))
    return sum(2 * settings.recipients * min(n, count) + min(pool, count) for count in counts)


def plan_blocks(store: Store, settings: TransferConfig) -> tuple[Block, ...]:
    """All classes in blocks of some 20, in a seeded order; a last one is never left alone.

    None where none are asked for, or :func:`why_not` says why.
    """
    if settings.images == 0 or why_not(store, settings):
        return ()
    chosen = candidates(store, settings.seed)
    audited = store.manifest["dataset"]["n_examples"]
    images = images_per_class([len(of_one) for of_one in chosen.values()], settings, audited)
    labels = Purpose.TRANSFER_BLOCKS.rng(settings.seed).permutation(np.array(sorted(chosen), dtype=np.int64))
    blocks = []
    for number, part in enumerate(np.array_split(labels, -(-len(labels) // CLASSES_A_BLOCK))):
        of = {
            "run": store.manifest["run_id"],
            "settings": settings.model_dump(),
            "method": ranking_method(store.manifest),
            "labels": part.tolist(),
            "images": images,
        }
        blocks.append(Block(block_key(f"block-{number:04d}", of), tuple(part.tolist()), images))
    return tuple(blocks)


def why_not(store: Store, settings: TransferConfig) -> str:
    """Why a run pastes no windows, in words; empty where it does, or none are asked for."""
    if settings.images == 0:
        return ""
    if "maps" not in store.tables:
        return "the run stores no maps, which say where they lie; run the audit with `maps = 56` in [audit]"
    classes = len(candidates(store, settings.seed))
    if classes < 2:
        return (
            f"{classes} class{'' if classes == 1 else 'es'} with a correctly classified image; it takes two"
        )
    return ""


def candidates(store: Store, seed: int) -> dict[int, tuple[int, ...]]:
    """Label -> positions of its correctly classified images in a seeded order.

    Those with a box and something beside it; where a class has none, those without boxes.
    """
    usable = pc.field("status").isin([STATUS_OK, STATUS_NO_BOX]) & pc.field("correct")
    of_class: dict[int, dict[bool, list[int]]] = {}
    for batch in store.scan("examples", ["label", "index", "status"], usable & (pc.field("label") >= 0)):
        boxed = pc.equal(batch["status"].cast(pa.string()), STATUS_OK).to_pylist()
        for label, position, has_box in zip(
            batch["label"].to_pylist(), batch["index"].to_pylist(), boxed, strict=True
        ):
            of_class.setdefault(label, {True: [], False: []})[has_box].append(position)
    ordered = {label: of_one[True] or of_one[False] for label, of_one in sorted(of_class.items())}
    for positions in ordered.values():
        positions.sort(key=lambda position: ImageChoice.TRANSFER.rank(seed, position))
    return {label: tuple(positions) for label, positions in ordered.items()}


def block_of(store: Store, settings: TransferConfig, key: str) -> tuple[Block, Spots]:
    """The block whose part has this key, and the windows of the run."""
    return _planned(store.path, settings.model_dump_json(), ShardsSeen.of(store).sha256, key)


@lru_cache(maxsize=1)
def _plan(path: str, settings: str, shards: str) -> tuple[dict[str, Block], Spots]:
    """The plan of a run as it is now; a worker that has several blocks reads the tables once."""
    store, asked = Store(path), TransferConfig.model_validate_json(settings)
    blocks = {block.key: block for block in plan_blocks(store, asked)}
    images = next((block.images for block in blocks.values()), 0)
    return blocks, find_spots(store, candidates(store, asked.seed), images)


def _planned(path: str, settings: str, shards: str, key: str) -> tuple[Block, Spots]:
    blocks, spots = _plan(path, settings, shards)
    return blocks[key], spots


def find_spots(store: Store, chosen: Mapping[int, Sequence[int]], images: int) -> Spots:
    """The windows of up to ``images`` images of every class, of the first of the ``chosen`` that have one."""
    card = store.manifest["model"]["card"]
    looked = {p: label for label, of_one in chosen.items() for p in of_one[: LOOKED_AT * images]}
    method = ranking_method(store.manifest)
    found: dict[int, Spot | str] = dict.fromkeys(looked, NO_MAP)
    columns = ["example_id", "method", "height", "width", "values", "scale"]
    for _, examples, maps in shard_tables(store, ["example_id", "index", "boxes_model"], "maps", columns):
        rows = examples.filter(pc.is_in(examples["index"], pa.array(list(looked), pa.int64()))).to_pylist()
        if maps is None or not rows:
            continue
        cells = _cells(maps, method, [row["example_id"] for row in rows])
        for row in rows:
            of_image = cells.get(row["example_id"])
            if of_image is None:
                continue
            mask = object_mask(row["boxes_model"] or [], card["height"], card["width"])
            place = best_place(of_image, mask)
            position, boxed = row["index"], bool(row["boxes_model"])
            found[position] = (
                Spot(row["example_id"], position, looked[position], place, boxed) if place else NO_ROOM
            )
    return _taken(chosen, found, images)


def _taken(chosen: Mapping[int, Sequence[int]], found: Mapping[int, Spot | str], images: int) -> Spots:
    of_class, left_out = {}, {}
    for label, positions in chosen.items():
        looked = [found[p] for p in positions if p in found]
        spots = [spot for spot in looked if isinstance(spot, Spot)]
        of_class[label] = tuple(spots[:images])
        left_out[label] = Counter(reason for reason in looked if isinstance(reason, str))
    return Spots(of_class, left_out)


def _cells(maps: pa.Table, method: str, ids: Sequence[str]) -> dict[str, np.ndarray]:
    """The stored maps (r, c) float64 of the images ``ids`` that are not zero."""
    chosen = pc.field("example_id").isin(ids) & (pc.field("method").cast(pa.string()) == method)
    table = maps.filter(chosen & (pc.field("scale") > 0)).combine_chunks()
    if table.num_rows == 0:
        return {}
    shape = (table.num_rows, table["height"][0].as_py(), table["width"][0].as_py())
    values = table["values"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return dict(zip(table["example_id"].to_pylist(), values.reshape(shape).astype(np.float64), strict=True))
