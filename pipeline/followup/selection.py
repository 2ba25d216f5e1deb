"""Which classes and images the interventions look at."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.config import ConfirmConfig
from pipeline.errors import InputError
from pipeline.run.documents import Role
from pipeline.seeds import ImageChoice, Purpose
from pipeline.statistics.ranking import Ranking


def choose_classes(ranking: Ranking, plan: ConfirmConfig) -> dict[int, Role]:
    """Label -> role: the first ``top`` classes that have images, and random others as controls.

    Raises:
        InputError: there are images of fewer than two classes.
    """
    labels = [int(k) for k in ranking.table.loc[ranking.table["n"] > 0, "label"]]
    if len(labels) < 2:
        raise InputError(f"confirm: needs images of two classes or more, the ranking has {len(labels)}")
    rest = labels[plan.top :]
    drawn = Purpose.CONTROL_CLASSES.rng(plan.seed).permutation(len(rest))[: plan.controls]
    roles: dict[int, Role] = dict.fromkeys(labels[: plan.top], "top")
    return roles | {rest[i]: "control" for i in sorted(drawn)}


def choose_images(ranking: Ranking, roles: Mapping[int, Role], plan: ConfirmConfig) -> tuple[int, ...]:
    """Indices in the split of up to ``plan.images`` ranked images per class: a seeded choice, ascending."""
    chosen: list[int] = []
    for label in roles:
        index = ranking.images.loc[ranking.images["label"] == label, "index"].tolist()
        index.sort(key=lambda i: ImageChoice.EDITED.rank(plan.seed, i))
        chosen += index[: plan.images]
    return tuple(sorted(chosen))
