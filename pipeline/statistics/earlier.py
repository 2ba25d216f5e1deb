"""What edited images showed in runs of schema version 1, whose document held verdicts, not answers."""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.run.documents import ConfirmationDocument, EditedClass, EditEffect
from pipeline.run.inventory import ShardsSeen
from pipeline.run.store import Store
from pipeline.statistics.effects import Evidence, Judgement
from pipeline.statistics.samples import Effect
from pipeline.verdicts import SHOWED

_RENAMED: Final = {"background_gap": "hit necessity"}  # what the accuracy lost


def earlier_evidence(run: Store) -> Evidence | None:
    """What the edits showed, from the run's ``confirm.json``; None where there is none that fits the run.

    There was no false discovery rate, nothing was shrunk, and no null was computed.
    """
    stored = ConfirmationDocument.current(run)
    if stored is None or stored.n_shards != ShardsSeen.of(run).n:
        return None
    nothing = Effect(0, np.nan, np.nan, np.nan)
    return Evidence({edited.label: _judgement(edited) for edited in stored.classes}, 0, nothing)


def _judgement(edited: EditedClass) -> Judgement:
    effects = {name: _effect(effect) for name, effect in edited.effects.items()}
    effects |= {name: effects[before] for name, before in _RENAMED.items() if before in effects}
    strength = _number(edited.strength)
    return Judgement(
        n=max((effect.n for effect in effects.values()), default=0),
        tested=SHOWED[edited.verdict],
        strength=strength,
        low=_number(edited.low),
        high=np.nan,
        shrunk=strength,  # the order that the classes were listed in
        q=np.nan,
        n_needed=edited.n_needed,
        effects=effects,
    )


def _effect(stored: EditEffect) -> Effect:
    return Effect(stored.n, *(_number(v) for v in (stored.mean, stored.low, stored.high)))


def _number(value: float | None) -> float:
    return np.nan if value is None else value
