"""What ``hansaudit repair`` does: a network trained again, saved, audited and compared."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.errors import InputError
from pipeline.run.store import Store
from pipeline.statistics.ranking import Ranking
from pipeline.trust import Trust
from pipeline.verdicts import Verdict

if TYPE_CHECKING:
    from pipeline.followup.repair import Comparison, Repaired
    from pipeline.measure.bench import Bench

MODEL, CARD, RUN, RESULT = "model.keras", "model.toml", "run", "repair.json"
LAST, ALL = "last", "all"  # layers


@dataclass(frozen=True)
class Plan:
    """How a network is trained again.

    Attributes:
        layers: :data:`LAST`, on half of the run's images, or :data:`ALL`, on those of ``split``.
        images: of each class that teach, at most.
        epochs, rate: of :data:`ALL`; see :class:`~pipeline.followup.all_layers.Course`.
    """

    layers: str
    split: str
    images: int
    epochs: int
    rate: float
    seed: int

    def __post_init__(self) -> None:
        """Raises :class:`InputError` for other layers, and for a split that is missing or of no use."""
        if self.layers not in (LAST, ALL):
            raise InputError(f"--layers {self.layers}: valid are {LAST}, {ALL}")
        if not 0 < self.rate < math.inf:
            raise InputError(f"--rate {self.rate:g}: valid is a number above 0, such as 0.001")
        if self.layers == ALL and not self.split:
            raise InputError(
                "--layers all trains on images that the audit does not judge: name a split of the dataset "
                "that the run did not audit, such as --split train"
            )
        if self.layers == LAST and self.split:
            raise InputError(
                f"--split {self.split}: goes with --layers all; the last layer is trained on half of the "
                "run's images"
            )

    @property
    def about(self) -> str:
        """What is done, in words."""
        return "training the last layer" if self.layers == LAST else "training all layers"


def accused_classes(ranking: Ranking, named: Sequence[int]) -> list[int]:
    """The classes to repair: those that are named, else the confirmed ones.

    Raises :class:`InputError` where there is none.
    """
    table = ranking.table
    accused = list(named) or table.loc[table["verdict"] == Verdict.CONFIRMED, "label"].tolist()
    if not accused:
        raise InputError(
            "no class of the run is confirmed, so nothing is to be repaired; or name one: --class"
        )
    return [int(k) for k in accused]


def train(
    plan: Plan, store: Store, bench: Bench, accused: Sequence[int], on_epoch: Callable[[str], None]
) -> Repaired:
    """Train the network of ``bench`` in place. ``on_epoch`` is called with words for each epoch.

    Raises :class:`InputError`: there are no images to learn from, or its end is not one that can be trained.
    """
    from pipeline.followup.all_layers import Course
    from pipeline.followup.lessons import open_lessons, read_teachers
    from pipeline.followup.repair import repair, repair_all

    if plan.layers == LAST:
        return repair(store, bench, accused, plan.images, plan.seed)
    teachers = read_teachers(bench, open_lessons(bench, plan.split), plan.images, plan.seed)
    course = Course(plan.epochs, plan.rate, plan.seed)

    def on_begun(epoch: int) -> None:
        on_epoch(f"{plan.about}: epoch {epoch} of {plan.epochs}")

    return repair_all(bench, teachers, course, on_begun)


def save(bench: Bench, out: Path) -> None:
    """Write the network and its card into ``out``. Raises :class:`InputError` where it cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        bench.model.model.save(out / MODEL)
        bench.model.card.save(out / CARD)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror or error}") from None


def audit_again(config: Config, out: Path, trust: Trust) -> Ranking:
    """Audit the repaired network as the run's was, into ``out``: images, maps, edited images, windows."""
    from flows.report import rank_run, write_report_file
    from pipeline.measure.audit import audit_run
    from pipeline.measure.benches import bench_for
    from pipeline.measure.interventions.stage import edit_run
    from pipeline.measure.transfer.stage import paste_run
    from pipeline.statistics.effects import undecided_classes

    source = config.model.model_copy(update={"source": str(out / MODEL), "card": str(out / CARD)})
    bench = bench_for(config.model_copy(update={"model": source}), trust)
    run = Store(out / RUN)
    audit_run(run, bench)
    with run.lock():
        if bench.config.interventions.images:
            edit_run(run, bench, undecided_classes)
        if bench.config.transfer.images and "maps" in run.tables:
            paste_run(run, bench)
        ranking = rank_run(run.path)
    write_report_file(run.path, ranking)
    return ranking


def write_result(out: Path, plan: Plan, compared: Comparison, repaired: Repaired) -> None:
    """``repair.json``: what was trained on, and both lists."""
    content = {
        "layers": plan.layers,
        **({"split": plan.split} if plan.layers == ALL else {}),
        **repaired.how,
        "pictures": repaired.pictures,
        "edits": repaired.edits,
        "held_out": compared.images,
        "classes": compared.classes,
        "groups": compared.groups,
    }
    (out / RESULT).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def told(compared: Comparison, repaired: Repaired) -> str:
    """What the network was trained on, and of which images accuracies and verdicts are."""
    trained = f"trained on {repaired.pictures} pictures and {repaired.edits} edited ones"
    if repaired.held is None:
        return (
            f"{trained} of another split; accuracies and verdicts are of the run's {compared.images} images"
        )
    return f"{trained}; accuracies are of the {compared.images} others, verdicts of all"
