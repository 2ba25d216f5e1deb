"""From suspicion to evidence: edit images of the top classes and of control classes, and ask the network.

Re-reads only the images it needs. Writes ``confirm.json`` (verdicts, effects with intervals) and
``confirm.parquet`` (one row per class and effect) into the run. The decision rule is
:func:`pipeline.followup.effects.judge`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import schema
from pipeline.config import Config, parse_config
from pipeline.errors import InputError
from pipeline.followup.effects import RELEVANT, ClassEffects, Effect, Judgement, effects_of, judge
from pipeline.followup.interventions import (
    FILLS,
    Scene,
    closest_mask,
    control_box,
    exchange,
    fill,
    replace,
    without_background,
    without_object,
)
from pipeline.inputs.batches import iter_batches
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets import Dataset, open_dataset
from pipeline.inputs.models import LoadedModel, load_model
from pipeline.inputs.picked import Picked
from pipeline.measure.evaluate import Evaluator
from pipeline.measure.rows import probabilities
from pipeline.run.documents import ConfirmationDocument, EditedClass, EditEffect, Role
from pipeline.run.folder import CONFIRMATION_TABLE, MANIFEST
from pipeline.run.store import Store
from pipeline.seeds import ImageChoice, ImagePurpose, Purpose, generator
from pipeline.statistics.ranking import Ranking, rank
from pipeline.verdicts import DEPENDENT, SUSPECT, InterventionVerdict

CANDIDATES = 12  # donors looked at for one whose object hides little more of the background
OWN_CANDIDATES = 4  # the same within the class: fewer, so that the pairs of an image differ


@dataclass(frozen=True)
class Plan:
    """How much is done.

    ``top`` classes of the ranking and ``controls`` random others, ``images`` of each (seeded), and ``pairs``
    of backgrounds per image (fills take turns).
    """

    top: int = 10
    controls: int = 10
    images: int = 25
    pairs: int = 3
    seed: int = 0


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
        found = [j.verdict for j in self.judgements.values()]
        return {v.value: found.count(v) for v in InterventionVerdict}


def confirm(
    run: Store, plan: Plan | None = None, on_images: Callable[[int, int], None] | None = None
) -> Confirmed:
    """Intervene on a finished run and write what came out into it.

    ``on_images`` is called with (images done, images in all).

    Raises:
        InputError: dataset or model are not those of the run any more, or there are fewer than two classes.
    """
    plan = plan or Plan()
    manifest = run.manifest
    config = parse_config(manifest["config"], f"{run.path}/{MANIFEST}")
    ranking = rank(run, config.ranking)
    roles = choose_classes(ranking, plan)
    dataset, model = _open(config, manifest)
    scenes = _read(dataset, model.card, config, _choose_images(ranking, roles, plan))
    effects, passes = intervene(scenes, model, plan, config.execution.batch_size, on_images)
    suspect = set(ranking.table.loc[ranking.table["verdict"].isin(SUSPECT), "label"])
    classes = [ClassEffects(label, label in suspect, values) for label, values in effects.items()]
    judgements = dict(zip(effects, judge(classes, config.ranking.n_min, plan.seed), strict=True))
    order = sorted(judgements, key=lambda k: _place(judgements[k]))
    names = tuple(manifest["dataset"]["class_names"])
    result = Confirmed({k: judgements[k] for k in order}, roles, names, passes, ranking.method)
    _write(run, result, ranking, plan)
    return result


def confirmed_order(labels: Sequence[int], result: Confirmed) -> list[int]:
    """``labels`` (a ranking, most suspicious first) reordered by what the interventions say.

    Confirmed and hidden classes come first, by strength; then what was not looked at or could not be decided,
    in the old order; then the cleared ones, by strength.
    """

    def place(item: tuple[int, int]) -> tuple[int, float]:
        position, label = item
        found = result.judgements.get(label)
        if found is None or found.verdict == InterventionVerdict.UNDECIDED:
            return 1, float(position)
        return (0 if found.verdict in DEPENDENT else 2), -found.strength

    return [label for _, label in sorted(enumerate(labels), key=place)]


def choose_classes(ranking: Ranking, plan: Plan) -> dict[int, Role]:
    """Label -> role: the first ``top`` classes that have images, and random others as controls."""
    labels = [int(k) for k in ranking.table.loc[ranking.table["n"] > 0, "label"]]
    if len(labels) < 2:
        raise InputError(f"confirm: needs images of two classes or more, the ranking has {len(labels)}")
    rest = labels[plan.top :]
    picked = Purpose.CONTROL_CLASSES.rng(plan.seed).permutation(len(rest))[: plan.controls]
    roles: dict[int, Role] = dict.fromkeys(labels[: plan.top], "top")
    return roles | {rest[i]: "control" for i in sorted(picked)}


def intervene(
    scenes: Mapping[int, Mapping[str, Scene]],
    model: LoadedModel,
    plan: Plan,
    batch_size: int,
    on_images: Callable[[int, int], None] | None = None,
) -> tuple[dict[int, dict[str, np.ndarray]], int]:
    """Edit every scene, evaluate in full batches: label -> effect -> one value per image; passes needed.

    The effects on the probability keep their names, those on the accuracy get the prefix ``hit ``.
    """
    evaluator = Evaluator(model.model, batch_size)
    total, done = sum(len(s) for s in scenes.values()), 0
    keys: list[tuple[int, int, str]] = []
    waiting: list[np.ndarray] = []
    probability: dict[tuple[int, int, str], tuple[float, float]] = {}

    def flush() -> None:
        logits = evaluator.logits(model.card.prepare(np.stack(waiting)))
        p, best = probabilities(logits, model.card.output), logits.argmax(axis=1)
        for (label, i, name), row, top in zip(keys, p, best, strict=True):
            probability[label, i, name] = float(row[label]), float(top == label)
        keys.clear()
        waiting.clear()

    for label, mine in scenes.items():
        for i, (example_id, scene) in enumerate(mine.items()):
            for name, picture in edits(example_id, scene, label, scenes, plan):
                keys.append((label, i, name))
                waiting.append(picture)
                if len(waiting) == batch_size:
                    flush()
            done += 1
            if on_images:
                on_images(done, total)
    if waiting:
        flush()
    return {k: _class_effects(k, len(s), probability) for k, s in scenes.items()}, evaluator.passes


def edits(
    example_id: str, scene: Scene, label: int, scenes: Mapping[int, Mapping[str, Scene]], plan: Plan
) -> Iterator[tuple[str, np.ndarray]]:
    """Name and picture of every edit of one image; what is not possible is left out."""
    rng = generator(plan.seed, example_id, ImagePurpose.EDITS)
    yield "full", scene.picture
    box = control_box(scene.mask, rng)
    for kind in FILLS:
        yield f"removed:{kind}", without_object(scene, kind, rng)
        if box is not None:
            yield f"control:{kind}", replace(scene.picture, box, fill(kind, scene.picture, box, rng))
    for kind in ("blur", "noise"):
        yield f"replaced:{kind}", without_background(scene, kind, rng)
    own = [s for k, s in scenes[label].items() if k != example_id]
    others = [s for k, mine in scenes.items() if k != label for s in mine.values()]
    if not own or not others:
        return
    for pair in range(plan.pairs):
        # donors are chosen among a few random ones, by their boxes alone: what hides least background
        same = _closest(own, OWN_CANDIDATES, scene.mask, rng)
        other = _closest(others, CANDIDATES, scene.mask | same.mask, rng)
        made = exchange(scene, (same, other), FILLS[pair % len(FILLS)], rng)
        if made is not None:
            for name in ("same", "other", "same_object", "other_object"):
                yield f"{name}:{pair}", getattr(made, name)


def _closest(scenes: Sequence[Scene], several: int, hole: np.ndarray, rng: np.random.Generator) -> Scene:
    """Of ``several`` random scenes the one whose object adds least to the hole."""
    drawn = [scenes[i] for i in rng.integers(0, len(scenes), several)]
    return drawn[closest_mask(hole, [s.mask for s in drawn])]


def _class_effects(
    label: int, n: int, probability: Mapping[tuple[int, int, str], tuple[float, float]]
) -> dict[str, np.ndarray]:
    names = {name for k, _, name in probability if k == label}
    names |= {"full", "removed:mean", "control:mean", "same:0", "other:0", "same_object:0", "other_object:0"}
    undefined = (np.nan, np.nan)
    found: dict[str, np.ndarray] = {}
    for which, prefix in ((0, ""), (1, "hit ")):
        responses = {
            name: np.array([probability.get((label, i, name), undefined)[which] for i in range(n)])
            for name in sorted(names)
        }
        found |= {prefix + k: v for k, v in effects_of(responses).items()}
    return found


def _open(config: Config, manifest: Mapping[str, Any]) -> tuple[Dataset, LoadedModel]:
    dataset = open_dataset(config.dataset)
    model = load_model(config.model, dataset)
    for what, now, then in (
        ("dataset", dataset.info.fingerprint, manifest["dataset"]["fingerprint"]),
        ("model", model.sha256, manifest["model"]["sha256"]),
    ):
        if now != then:
            raise InputError(
                f"confirm: the {what} is not the run's any more ({now[:12]} instead of {then[:12]}); put "
                "the old one back, or audit the new one first"
            )
    return dataset, model


def _choose_images(ranking: Ranking, roles: Mapping[int, str], plan: Plan) -> list[int]:
    """Indices in the split of up to ``plan.images`` ranked images per class: a seeded choice, ascending."""
    chosen: list[int] = []
    for label in roles:
        index = ranking.images.loc[ranking.images["label"] == label, "index"].tolist()
        index.sort(key=lambda i: ImageChoice.EDITED.rank(plan.seed, i))
        chosen += index[: plan.images]
    return sorted(chosen)


def _read(
    dataset: Dataset, card: ModelCard, config: Config, indices: Sequence[int]
) -> dict[int, dict[str, Scene]]:
    """Label -> example id -> scene, of the images that still have a visible box."""
    picked = Picked(dataset, tuple(indices))
    found: dict[int, dict[str, Scene]] = {}
    for batch in iter_batches(picked, picked.shard, card, config.execution.batch_size):
        for i, record in enumerate(batch.records):
            if record is not None and batch.status[i] == schema.STATUS_OK:
                scene = Scene(batch.pictures[i].copy(), batch.masks[i].copy())
                found.setdefault(int(batch.labels[i]), {})[record.example_id] = scene
    return found


def _place(judgement: Judgement) -> tuple[int, float]:
    return list(InterventionVerdict).index(judgement.verdict), -np.nan_to_num(judgement.strength, nan=-9.0)


def _write(run: Store, result: Confirmed, ranking: Ranking, plan: Plan) -> None:
    attribution = dict(zip(ranking.table["label"], ranking.table["verdict"], strict=True))
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
        plan=asdict(plan),
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
