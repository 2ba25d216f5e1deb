"""The reference network's own run: the same images, its maps of their own class, the same pictures edited.

It is a whole run folder inside the audited run's, resumed and verified like any other.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Config
from pipeline.config_sections import MethodConfig, ReferenceConfig
from pipeline.measure.bench import Bench
from pipeline.measure.interventions.kinds import FULL
from pipeline.measure.interventions.plan import Block, block_of, stored_answers
from pipeline.measure.interventions.stage import edit_block
from pipeline.run.edited_parts import EditedParts
from pipeline.run.folder import REFERENCE_RUN, RunFolder
from pipeline.run.reference import match_classes
from pipeline.run.store import Store


def own_run(run: RunFolder) -> Store:
    """The folder of the reference's run where the audited run makes it."""
    return Store(f"{run.path.rstrip('/')}/{REFERENCE_RUN}")


def reference_config(config: Config, method: str) -> Config:
    """The configuration of the reference's run: every image explained for its own class by ``method``.

    ``config``: of the audited run, its method chosen; ``method``: key of the one that it ranks by. What only
    the audited network needs is left out: pictures, stored maps, curves, checks of the method.
    """
    methods = tuple(m for m in config.methods if m.key == method) or (MethodConfig(name=method),)
    changes = {"target": "label", "maps": 0, "thumbnails": False}
    return config.model_copy(
        update={
            "model": config.reference.model,
            "methods": methods,
            "audit": config.audit.model_copy(update=changes),
            "perturbation": None,
            "sanity": config.sanity.model_copy(update={"images": 0}),
            "strategies": config.strategies.model_copy(update={"classes": 0}),
            "ranking": config.ranking.model_copy(update={"method": ""}),
            "reference": ReferenceConfig(),
        }
    )


def keys_to_edit(run: Store, reference: Store) -> dict[str, int]:
    """Key -> classes, of the blocks of ``run`` whose edits ``reference`` was not shown yet.

    Parts of it that belong to other blocks are removed.
    """
    keys = {key: len(_edited(rows)) for key, rows in EditedParts(run).usable().items() if _is_block(key)}
    parts = EditedParts(reference)
    settings = _settings(reference)
    parts.drop_others(keys, settings)
    present = parts.usable()
    return {key: classes for key, classes in keys.items() if key not in present}


def edit_again(run: Store, reference: Store, bench: Bench, key: str) -> int:
    """Show the reference what the audited network was shown in the block ``key``; returns its classes.

    The same images with the same donors, cut at the resolution of the reference's input. Rows and labels are
    the reference's. A class that it has not is left out.
    """
    rows = EditedParts(run).usable()[key]
    settings = bench.config.interventions
    block = _of_reference(block_of(run, settings, key), _edited(rows), run, reference, settings.images)
    table, passes = edit_block(bench, block, settings, lambda _: sorted(block.edited))
    about = {"passes": str(passes), "settings": _settings(reference)}
    EditedParts(reference).write(key, table, about)
    return len(block.edited)


def _settings(reference: Store) -> str:
    return f"as {reference.manifest['run_id']} was asked for"


def _is_block(key: str) -> bool:
    return not key.startswith(EditedParts.FURTHER)


def _edited(rows: pa.Table) -> dict[int, int]:
    """Label -> images that were edited."""
    unedited = rows.filter(pc.equal(rows["edit"].cast(pa.string()), FULL))
    counts = unedited["label"].value_counts().to_pylist()
    return {int(row["values"]): int(row["counts"]) for row in counts}


def _of_reference(block: Block, edited: Mapping[int, int], run: Store, reference: Store, size: int) -> Block:
    """``block`` with the reference's labels, and as many images as were ``edited`` (by label).

    ``size``: images of a look, of which every class had one.
    """
    labels = match_classes(run.manifest["dataset"], reference.manifest["dataset"], block.images)
    asked = {k: size * max(1, -(-edited.get(k, 0) // size)) for k in labels}
    images = {there: block.images[k][: asked[k]] for k, there in labels.items()}
    return Block(
        key=block.key,
        images=images,
        edited=frozenset(labels[k] for k in edited if k in labels),
        full=stored_answers(reference, [p for of_class in images.values() for p in of_class]),
        drawn_as={there: k for k, there in labels.items()},
    )
