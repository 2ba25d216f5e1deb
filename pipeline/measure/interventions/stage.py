"""The stage of a run that puts every class to the test: images edited and shown to the network again.

Block by block (:mod:`.plan`); a block is one task and one part of the table ``interventions``, and holds no
more than its own images. Where the first look at a class leaves open whether it depends on its background it
is given more images, up to a limit; that is decided inside the block, so parts depend on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config_sections import InterventionsConfig
from pipeline.measure.asking import answers
from pipeline.measure.bench import Bench
from pipeline.measure.evaluate import Evaluator
from pipeline.measure.interventions.donors import Donors
from pipeline.measure.interventions.kinds import FULL, Edit, Subject, all_interventions
from pipeline.measure.interventions.pictures import Scene
from pipeline.measure.interventions.plan import Block, looks, plan_blocks
from pipeline.measure.interventions.scenes import read_scenes
from pipeline.measure.rows import probabilities
from pipeline.run.edited_parts import EditedParts
from pipeline.run.store import Store
from pipeline.schema import INTERVENTIONS
from pipeline.seeds import ImagePurpose, Purpose, generator

# rows of a block -> the classes that are still open, those first that look most like depending
Undecided = Callable[[pa.Table], Sequence[int]]


def blocks_to_edit(store: Store, settings: InterventionsConfig) -> list[Block]:
    """The blocks whose parts are missing; parts that are of something else are removed."""
    blocks = plan_blocks(store, settings)
    parts = EditedParts(store)
    parts.drop_others({block.key for block in blocks}, settings.model_dump_json())
    present = parts.usable()
    return [block for block in blocks if block.key not in present]


def edit_run(store: Store, bench: Bench, undecided: Undecided) -> None:
    """Edit what is missing in this process, block by block. Nobody else may write the run meanwhile.

    Raises:
        InputError: no space or no right to write.
    """
    for block in blocks_to_edit(store, bench.config.interventions):
        edit_part(store, bench, block, undecided)


def edit_part(store: Store, bench: Bench, block: Block, undecided: Undecided) -> int:
    """Edit the images of a block and write its part; returns the number of its classes."""
    settings = bench.config.interventions
    rows, passes = edit_block(bench, block, settings, undecided)
    about = {"passes": str(passes), "settings": settings.model_dump_json()}
    EditedParts(store).write(block.key, rows, about)
    return len(block.images)


def edit_block(
    bench: Bench, block: Block, settings: InterventionsConfig, undecided: Undecided
) -> tuple[pa.Table, int]:
    """Rows of the table ``interventions``, and the number of forward passes.

    Every class gets ``settings.images`` images, and those that ``undecided`` names as many again as they had,
    in its order, until their images or the block's allowance are used up. A class that goes without stops
    because others show more: nothing stops because it shows enough.
    """
    evaluator = Evaluator(bench.model.model, bench.config.execution.batch_size)
    herd = _Herd(bench, block, settings)
    tables = [INTERVENTIONS.empty_table()]
    editing, look, spent = set(block.images), 0, 0
    while editing:
        asked = herd.look(sorted(editing), look)
        spent += len(asked)
        tables += [herd.unedited(asked), *_answers(bench, evaluator, herd.edits(asked))]
        look += 1
        if look == len(herd.looks):
            break
        first, end = herd.looks[look]
        more = {label for label in editing & block.edited if len(block.images[label]) > first}
        ordered = [k for k in undecided(pa.concat_tables(tables)) if k in more] if more else []
        if block.allowance is not None:
            ordered = ordered[: max(0, block.allowance - spent) // (end - first)]
        editing = set(ordered)
    rows = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    return rows, rows.num_rows - pc.sum(pc.equal(rows["edit"].cast(pa.string()), FULL)).as_py()


@dataclass(frozen=True)
class Asked:
    """A picture of class ``label`` that is to be edited, with its donors."""

    example_id: str
    position: int
    label: int
    subject: Subject


class _Herd:
    """The pictures of a block, read look by look, and their donors."""

    def __init__(self, bench: Bench, block: Block, settings: InterventionsConfig) -> None:
        self.bench, self.block, self.settings = bench, block, settings
        self.looks = looks(settings.images, max(map(len, block.images.values())))
        self.scenes: dict[int, dict[str, Scene]] = {label: {} for label in block.images}
        self.first: dict[int, Mapping[str, Scene]] = {}
        self.taken: dict[int, set[str]] = {label: set() for label in block.images}

    def look(self, labels: Sequence[int], look: int) -> list[Asked]:
        """Read the pictures of ``labels`` that are next, and choose the donors of those that are edited."""
        first, end = self.looks[look]
        chosen = {k: self.block.images[k][first:end] for k in labels}
        read = read_scenes(self.bench, tuple(sorted(p for of_class in chosen.values() for p in of_class)))
        for label, of_class in read.items():
            # those of the first look and of this one are kept: memory is flat however many looks there are
            self.scenes[label] = {**self.first.setdefault(label, of_class), **of_class}
        asked = []
        for label in labels:
            if label in self.block.edited:
                ids = {self.block.full[p].example_id: p for p in chosen[label]}
                asked += self._asked(label, {k: p for k, p in ids.items() if k in self.scenes[label]}, look)
        return asked

    def _asked(self, label: int, ids: Mapping[str, int], look: int) -> list[Asked]:
        foreign = {k: s for other, of_one in self.scenes.items() if other != label for k, s in of_one.items()}
        donors = Donors(self.scenes[label], foreign, self.settings.pairs, self.taken[label])
        rng = Purpose.DONORS.rng(self.settings.seed, self.block.drawn_as.get(label, label), look)
        subjects = donors.subjects(list(ids), rng)
        return [Asked(k, p, label, subject) for (k, p), subject in zip(ids.items(), subjects, strict=True)]

    def unedited(self, asked: Sequence[Asked]) -> pa.Table:
        """Rows of the pictures as they are, which the audit has already shown to the network."""
        return pa.Table.from_pylist([self.block.full[a.position].row for a in asked], INTERVENTIONS)

    def edits(self, asked: Sequence[Asked]) -> Iterator[tuple[Asked, Edit]]:
        """Every edit of every picture."""
        for of_one in asked:
            rng = generator(self.settings.seed, of_one.example_id, ImagePurpose.EDITS)
            for intervention in all_interventions():
                for edit in intervention.edits(of_one.subject, rng):
                    yield of_one, edit


def _answers(bench: Bench, evaluator: Evaluator, edits: Iterator[tuple[Asked, Edit]]) -> Iterator[pa.Table]:
    """Rows of every batch of edited pictures."""
    pictures = (((asked, edit), edit.picture) for asked, edit in edits)
    for batch, logits in answers(bench, evaluator.logits, pictures):
        yield _rows(batch, logits, bench.model.card.output)


def _rows(batch: Sequence[tuple[Asked, Edit]], logits: np.ndarray, output: str) -> pa.Table:
    """One row per edited picture, from the outputs (n, k)."""
    p, best = probabilities(logits, output), logits.argmax(axis=1)
    labels = np.array([asked.label for asked, _ in batch])
    each = np.arange(len(batch))
    columns = {
        "example_id": [asked.example_id for asked, _ in batch],
        "label": labels,
        "edit": [edit.name for _, edit in batch],
        "donor": [edit.donor for _, edit in batch],
        "probability": p[each, labels],
        "logit": logits[each, labels],
        "predicted": best,
        "confidence": p[each, best],
    }
    return pa.Table.from_pydict(
        {field.name: pa.array(columns[field.name]).cast(field.type) for field in INTERVENTIONS},
        schema=INTERVENTIONS,
    )
