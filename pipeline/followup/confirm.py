"""From suspicion to evidence: edit images of the top classes and of control classes, and ask the network.

Re-reads only the images it needs. Writes ``confirm.json`` (verdicts, effects with intervals) and
``confirm.parquet`` (one row per class and effect) into the run. The decision rule is
:func:`pipeline.followup.judgement.judge`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from pipeline import schema
from pipeline.config import ConfirmConfig
from pipeline.followup.judgement import RELEVANT, ClassEffects, Effect, Judgement, both_effects, judge
from pipeline.followup.selection import choose_classes, choose_images
from pipeline.measure.bench import Bench
from pipeline.measure.interventions.edits import Measured, intervene
from pipeline.measure.interventions.scenes import read_scenes
from pipeline.run.documents import ConfirmationDocument, EditedClass, EditEffect, Role
from pipeline.run.folder import CONFIRMATION_TABLE
from pipeline.run.store import Store
from pipeline.statistics.ranking import Ranking
from pipeline.verdicts import DEPENDENT, SUSPECT, InterventionVerdict


@dataclass(frozen=True)
class Confirmed:
    """Judgements by label, best confirmed first, and the role of each class: ``top`` or ``control``.

    ``method``: whose maps ranked the classes; ``passes``: forward passes needed.
    """

    judgements: dict[int, Judgement]
    roles: dict[int, Role]
    class_names: tuple[str, ...]
    passes: int
    method: str

    @property
    def counts(self) -> dict[str, int]:
        """Classes per verdict."""
        verdicts = [j.verdict for j in self.judgements.values()]
        return {v.value: verdicts.count(v) for v in InterventionVerdict}


def confirm(
    run: Store,
    plan: ConfirmConfig,
    ranking: Ranking,
    bench: Bench,
    on_images: Callable[[int, int], None] | None = None,
) -> Confirmed:
    """Intervene on the classes of a ranked run and write what came out into it.

    ``bench``: dataset and model of the run (:func:`pipeline.measure.bench.reopen`); methods are not needed.
    ``on_images`` is called with (images done, images in all).

    Raises:
        InputError: there are images of fewer than two classes.
    """
    roles = choose_classes(ranking, plan)
    scenes = read_scenes(bench, choose_images(ranking, roles, plan))
    measured = intervene(scenes, bench.model, plan, bench.config.execution.batch_size, on_images)
    result = Confirmed(
        judgements=_judge(measured, ranking, plan),
        roles=roles,
        class_names=tuple(run.manifest["dataset"]["class_names"]),
        passes=measured.passes,
        method=ranking.method,
    )
    _write(run, result, ranking, plan)
    return result


def _judge(measured: Measured, ranking: Ranking, plan: ConfirmConfig) -> dict[int, Judgement]:
    """Label -> judgement, best confirmed first."""
    suspect = set(ranking.table.loc[ranking.table["map_verdict"].isin(SUSPECT), "label"])
    effects = {label: both_effects(responses) for label, responses in measured.responses.items()}
    classes = [ClassEffects(label, label in suspect, values) for label, values in effects.items()]
    judged = zip(effects, judge(classes, ranking.settings.n_min, plan.seed), strict=True)
    return dict(sorted(judged, key=lambda item: _place(item[1])))


def _place(judgement: Judgement) -> tuple[int, float]:
    return list(InterventionVerdict).index(judgement.verdict), -np.nan_to_num(judgement.strength, nan=-9.0)


def confirmed_order(labels: Sequence[int], result: Confirmed) -> list[int]:
    """``labels`` (a ranking, most suspicious first) reordered by what the interventions say.

    Confirmed and hidden classes come first, by strength; then what was not looked at or could not be decided,
    in the old order; then the cleared ones, by strength.
    """

    def place(item: tuple[int, int]) -> tuple[int, float]:
        position, label = item
        judgement = result.judgements.get(label)
        if judgement is None or judgement.verdict == InterventionVerdict.UNDECIDED:
            return 1, float(position)
        return (0 if judgement.verdict in DEPENDENT else 2), -judgement.strength

    return [label for _, label in sorted(enumerate(labels), key=place)]


def _write(run: Store, result: Confirmed, ranking: Ranking, plan: ConfirmConfig) -> None:
    attribution = dict(zip(ranking.table["label"], ranking.table["map_verdict"], strict=True))
    classes = tuple(
        EditedClass(
            label=label,
            class_name=result.class_names[label],
            role=result.roles[label],
            verdict=judgement.verdict,
            attribution=attribution[label],
            strength=_number(judgement.strength),
            low=_number(judgement.low),
            n_needed=judgement.needed,
            effects={name: _effect(effect) for name, effect in judgement.effects.items()},
        )
        for label, judgement in result.judgements.items()
    )
    rows = [
        {"label": c.label, "class_name": c.class_name, "role": c.role, "effect": name} | asdict(effect)
        for c in classes
        for name, effect in c.effects.items()
    ]
    run.write_side_table(CONFIRMATION_TABLE, pa.Table.from_pylist(rows, schema=schema.CONFIRM))
    ConfirmationDocument(
        method=ranking.method,
        plan=plan.model_dump(),
        relevant=RELEVANT,
        passes=result.passes,
        n_shards=len(run.done),  # of how much of the run this speaks
        counts=result.counts,
        classes=classes,
    ).write(run)


def _effect(effect: Effect) -> EditEffect:
    return EditEffect(effect.n, _number(effect.mean), _number(effect.low), _number(effect.high))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
