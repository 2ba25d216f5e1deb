"""What ``hansaudit repair`` does: the last layer trained again, the network saved, audited and compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
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


def write_result(out: Path, compared: Comparison, repaired: Repaired) -> None:
    """``repair.json``: what was trained on, and both lists."""
    content = {
        "pictures": repaired.pictures,
        "edits": repaired.edits,
        "strength": repaired.strength,
        "held_out": len(repaired.images),
        "classes": compared.classes,
        "groups": compared.groups,
    }
    (out / RESULT).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
