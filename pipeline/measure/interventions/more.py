"""Further images of some classes, edited after the run's own stage: extra parts of the same table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.config_sections import InterventionsConfig
from pipeline.measure.interventions.plan import CLASSES_A_BLOCK, Block, editable, stored_answers
from pipeline.run.block_parts import block_key
from pipeline.run.edited_parts import EditedParts, read_edited
from pipeline.run.store import Store
from pipeline.seeds import Purpose


def further_blocks(
    store: Store, settings: InterventionsConfig, labels: Sequence[int], images: int
) -> list[Block]:
    """Blocks of the images of ``labels`` that are not edited yet, up to ``images`` of each class in all.

    Classes of other labels are added where a block has few, to give backgrounds; they are not edited.
    """
    usable = editable(store, settings.seed, max(images, settings.images))
    left = _not_edited(store, {k: usable[k] for k in labels if k in usable})
    chosen = [label for label in labels if left.get(label)]
    blocks = []
    for start in range(0, len(chosen), CLASSES_A_BLOCK):
        edited = chosen[start : start + CLASSES_A_BLOCK]
        others = [k for k in usable if k not in edited]
        drawn = Purpose.CONTROL_CLASSES.rng(settings.seed).permutation(len(others))
        givers = [others[i] for i in drawn[: max(0, CLASSES_A_BLOCK - len(edited))]]
        of_block = {k: left[k] for k in edited} | {k: usable[k][: settings.images] for k in givers}
        blocks.append(_block(store, settings, of_block, frozenset(edited)))
    return blocks


def _not_edited(store: Store, usable: Mapping[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
    """Those of the positions whose pictures the table has no rows of."""
    table = read_edited(store)
    ids = set() if table is None else set(table["example_id"].to_pylist())
    of_position = stored_answers(store, [p for of_class in usable.values() for p in of_class])
    return {
        label: tuple(p for p in positions if of_position[p].example_id not in ids)
        for label, positions in usable.items()
    }


def _block(
    store: Store, settings: InterventionsConfig, images: Mapping[int, tuple[int, ...]], edited: frozenset[int]
) -> Block:
    of = {
        "run": store.manifest["run_id"],
        "settings": settings.model_dump(),
        "images": sorted(images.items()),
        "edited": sorted(edited),
    }
    full = stored_answers(store, [p for of_class in images.values() for p in of_class])
    return Block(block_key(EditedParts.FURTHER, of), images, edited, full)
