"""The windows that a run pasted, shown to another network as well: the same pictures, window by window.

Every picture is made as the audited network saw it, with its windows, places, recipients and controls, and is
stretched to the other network's input where that has another size. So both are asked about the same pixels,
whatever part of a photograph either would have looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.inputs.card import ModelCard, card_from_dict
from pipeline.measure.asking import answers
from pipeline.measure.bench import Bench
from pipeline.measure.evaluate import Evaluator
from pipeline.measure.interventions.pictures import Scene
from pipeline.measure.rows import probabilities
from pipeline.measure.transfer.pairs import Paste
from pipeline.measure.transfer.plan import block_of
from pipeline.measure.transfer.stage import Key, pasted_pictures, planned_pastes, rows_of
from pipeline.run.folder import MANIFEST
from pipeline.run.ranking_settings import ranking_method
from pipeline.run.reference import match_classes
from pipeline.run.store import Store
from pipeline.run.transfer_parts import AgainParts, TransferParts
from pipeline.schema import TRANSFER


def keys_to_paste(run: Store, reference: Store) -> dict[str, int]:
    """Key -> classes, of the blocks of ``run`` whose windows ``reference`` was not shown yet.

    Parts of it that belong to other blocks are removed.
    """
    keys = {key: len(rows["label"].unique()) for key, rows in TransferParts(run).usable().items()}
    parts = AgainParts(reference)
    parts.drop_others(keys, "")
    present = parts.usable()
    return {key: classes for key, classes in keys.items() if key not in present}


def paste_again(run: Store, reference: Store, bench: Bench, key: str) -> int:
    """Show the reference (its ``bench``) what the network of ``run`` was shown in the block ``key``; returns
    its classes.

    Labels of the rows are the reference's. Windows of a class that it has not are controls only.

    Raises:
        InputError: no space or no right to write.
    """
    settings, method = bench.config.transfer, ranking_method(run.manifest)
    block, spots = block_of(run, settings, key)
    card = card_from_dict(dict(run.manifest["model"]["card"]), f"{run.path}/{MANIFEST}")
    pastes, scenes = planned_pastes(bench, card, block, spots)
    labels = match_classes(run.manifest["dataset"], reference.manifest["dataset"], block.labels)
    asked = [_of_reference(paste, labels) for paste in pastes if paste.spot.label in labels]
    said = _said(bench, asked, scenes)
    rows = [row | {"method": method} for n, paste in enumerate(asked) for row in rows_of(n, paste, said)]
    about = {"passes": str(len(said)), "settings": settings.model_dump_json()}
    AgainParts(reference).write(key, pa.Table.from_pylist(rows, TRANSFER), about)
    return len(labels)


def _of_reference(paste: Paste, labels: Mapping[int, int]) -> Paste:
    """The paste with the reference's label; its control is asked of no class of its own."""
    return replace(paste, spot=replace(paste.spot, label=labels[paste.spot.label]), free=False)


def _said(bench: Bench, pastes: Sequence[Paste], scenes: Mapping[str, Scene]) -> dict[Key, np.ndarray]:
    """Probabilities (k,) of every picture."""
    evaluator = Evaluator(bench.model.model, bench.config.execution.batch_size)
    said: dict[Key, np.ndarray] = {}
    for keys, logits in answers(bench, evaluator.logits, _stretched(pastes, scenes, bench.model.card)):
        said.update(zip(keys, probabilities(logits, bench.model.card.output), strict=True))
    return said


def _stretched(
    pastes: Sequence[Paste], scenes: Mapping[str, Scene], card: ModelCard
) -> Iterator[tuple[Key, np.ndarray]]:
    """The pasted pictures in the size of ``card``."""
    for key, picture in pasted_pictures(pastes, scenes):
        yield key, stretch(picture, card.height, card.width)


def stretch(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h, w, 3) uint8 -> (height, width, 3), antialiased bilinear; itself where it has that size."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
