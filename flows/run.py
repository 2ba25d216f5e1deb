"""An audit from start to end, as a Prefect flow: a task per shard, then follow-ups, report and artifacts.

Resuming is the store's business: the flow asks what is missing and does that. It runs unchanged without a
server (Prefect starts a temporary one) and against one (``PREFECT_API_URL``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flows.settings import load_tensorflow, prepare_prefect

prepare_prefect()

from prefect import flow, get_run_logger, task  # noqa: E402 - its settings are read at import
from prefect.artifacts import create_markdown_artifact, create_table_artifact  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402

from flows import foresight, progress, runners  # noqa: E402
from flows.beside import read_beside  # noqa: E402
from flows.editing import edit_classes  # noqa: E402
from flows.followups import cluster_accused  # noqa: E402
from flows.lifeline import follow_master  # noqa: E402
from flows.nightly import Night, follow_up  # noqa: E402
from flows.pasting import paste_windows  # noqa: E402
from flows.reference import compare_with_reference  # noqa: E402
from flows.report import rank_run, ranking_rows, verdict_markdown, write_report_file  # noqa: E402
from flows.server import start_server  # noqa: E402
from pipeline.busy import Busy, Done  # noqa: E402
from pipeline.config import Config, parse_config  # noqa: E402
from pipeline.config_sections import ReportConfig  # noqa: E402
from pipeline.errors import InputError  # noqa: E402
from pipeline.inputs.objects.traffic import TRAFFIC  # noqa: E402
from pipeline.run import start_up  # noqa: E402
from pipeline.run.costs import clocked  # noqa: E402
from pipeline.run.edited_parts import EditedParts  # noqa: E402
from pipeline.run.reference import drop_reference  # noqa: E402
from pipeline.run.store import Session, Store  # noqa: E402
from pipeline.run.transfer_parts import TransferParts, WindowParts  # noqa: E402
from pipeline.schema import STATUS_FAILED  # noqa: E402
from pipeline.trust import NOTHING, Trust  # noqa: E402

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.measure.bench import Bench
    from pipeline.run.preflight import Preflight
    from pipeline.statistics.ranking import Ranking

TABLES, RANKING, REPORT = "tables", "ranking", "report"  # how far an audit goes
_EXAMPLES_TOLD = 3  # failed images that an error names


@dataclass
class AuditResult:
    """What an audit ends with. ``failed`` of ``images`` rows could not be read or explained.

    ``edited_passes``, ``pasted_passes``: forward passes that the edited images and the pasted windows of the
    run took. ``session``: what it took, stage by stage, and what was forecast.
    """

    out: str
    images: int
    failed: int
    new_images: int
    seconds: float
    ranking: Ranking | None = None
    report: str | None = None
    edited_passes: int = 0
    pasted_passes: int = 0
    session: Session = field(default_factory=Session)


class TooManyFailed(InputError):
    """More rows failed than ``max_failed_fraction`` allows; everything else was finished."""

    def __init__(self, result: AuditResult, allowed: float, examples: list[str]) -> None:
        self.result = result
        share = result.failed / max(result.images, 1)
        super().__init__(
            f"{result.out}: {result.failed} of {result.images} images failed "
            f"({share:.1%}, allowed {allowed:.1%}), e.g. {'; '.join(examples)}; everything else is finished: "
            "mend the images, or raise execution.max_failed_fraction"
        )


@task(name="audit-shard", task_run_name="{key}", cache_policy=NO_CACHE, persist_result=False)
def audit_task(key: str, config: dict[str, Any], out: str, trust: dict[str, Any]) -> Done:
    """Audit one shard and write its parts; returns its number of images, and where the time went."""
    load_tensorflow()
    from pipeline.measure.audit import audit_part
    from pipeline.measure.benches import bench_for, refuse_other_bench

    store, busy = Store(out), Busy()
    bench = bench_for(parse_config(config), Trust.from_dict(trust))
    refuse_other_bench(store, bench)
    images = audit_part(store, bench, key, lambda images: progress.report(key, images), busy)
    return Done(images, busy.rounded, bench.room.images)


@flow(name="hansaudit", flow_run_name="{out}", validate_parameters=False, persist_result=False)
def audit_flow(
    config: dict[str, Any],
    out: str,
    end: str = REPORT,
    trust: dict[str, Any] | None = None,
    night: dict[str, Any] | None = None,
) -> AuditResult:
    """Audit what ``config`` describes into ``out`` (``{date}`` stands for today), or finish what is missing.

    ``end``: how far to go: "tables", "ranking" or "report". ``trust``: what may be executed, as
    :meth:`pipeline.trust.Trust.to_dict` says it; nothing where it is not given. ``night``: what follows, as
    :meth:`flows.nightly.Night.to_dict` says it.

    Raises:
        InputError: something the user named cannot be used, or too many images failed.
    """
    # Prefect sends this function by value to the process of a served run: it must name nothing that holds a
    # lock, and names one function
    return _whole(config, out, end, trust, night)


def _whole(
    config: dict[str, Any], out: str, end: str, trust: dict[str, Any] | None, night: dict[str, Any] | None
) -> AuditResult:
    """The flow, in the process in which it runs."""
    follow_master()
    start_up.begin()
    dated = out.replace("{date}", f"{datetime.now(UTC):%Y-%m-%d}")
    follows = Night(**night) if night else None
    parsed = parse_config(config)
    if follows and not parsed.report.baseline:
        report = parsed.report.model_copy(update={"baseline": follows.before(dated)})
        parsed = parsed.model_copy(update={"report": report})
    try:
        result = _audit(parsed, dated, end, Trust.from_dict(trust) if trust else NOTHING)
    except Exception as error:
        if follows:
            follow_up(follows, dated, _say, str(error) or type(error).__name__)
        raise
    finally:
        if told := TRAFFIC.tell().line:  # the look before the flow included
            _say(told)
    if follows:
        follow_up(follows, dated, _say)
    return result


def run_audit(
    config: Config, out: str, end: str, console: Console | None, trust: Trust = NOTHING
) -> AuditResult:
    """The flow from a terminal, with progress on ``console``; its server ends with this process."""
    if (server := start_server()) is not None:
        server.wait()
    with progress.shown_on(console):
        return audit_flow(config.model_dump(mode="json"), out, end, trust.to_dict())


def _audit(config: Config, out: str, end: str, trust: Trust) -> AuditResult:
    load_tensorflow()
    start_up.reached(start_up.FRAMEWORK)
    from pipeline.measure.audit import audit_run
    from pipeline.measure.benches import bench_for

    store, named = Store(out), config.report
    bench = bench_for(store.settled(config), trust)
    config = bench.config  # with the method that was chosen: workers choose none
    given = {"config": config.model_dump(mode="json"), "out": out, "trust": trust.to_dict()}
    with store.lock(), runners.kept_workers(config.execution, out):
        busy: dict[str, float] = {}
        held: list[int] = []

        def finish(keys: Sequence[str]) -> int:
            done = runners.run_shards(audit_task, keys, given, config.execution)
            busy.update(done.seconds)
            held.append(done.at_once)
            bench.room.images = done.at_once or bench.room.images  # of workers, too: later stages are here
            return done.amount

        session = audit_run(store, bench, finish, _tell, _foresee(store, bench))
        session.busy, session.at_once = busy, max(held, default=0)
        images, failed, examples = _count(store)
        result = AuditResult(out, images, failed, session.images, session.seconds, session=session)
        if images > failed:
            with clocked(session.spent, "interventions"):
                edit_classes(store, bench.config, given)
            store.record(session)
            result.edited_passes = EditedParts(store).passes
            with clocked(session.spent, "transfer"):
                paste_windows(store, bench.config, given)
            store.record(session)
            result.pasted_passes = TransferParts(store).passes + WindowParts(store).passes
            _compare(store, bench, session, trust)
        if images > failed and end != TABLES:
            _conclude(store, bench, result)
            if end == REPORT:
                _report(store, result, named)
        session.traffic = TRAFFIC.untold.to_dict()
        store.record(session)
    if failed > config.execution.max_failed_fraction * images:
        raise TooManyFailed(result, config.execution.max_failed_fraction, examples)
    return result


def _compare(store: Store, bench: Bench, session: Session, trust: Trust) -> None:
    """Compare with the reference network, where the configuration names one."""

    def shards(keys: Sequence[str], given: dict[str, Any]) -> int:
        return runners.run_shards(audit_task, keys, given, bench.config.execution).amount

    if not bench.config.reference.source:
        drop_reference(store)
        return
    with clocked(session.spent, "reference"):
        compare_with_reference(store, bench.config, trust, shards)


def _foresee(store: Store, bench: Bench) -> list[dict[str, Any]]:
    """Say what the run will cost: on the terminal that waits, if one does, and in Prefect's log."""
    expected = foresight.foresee(store, bench)
    start_up.reached(start_up.FORECAST)
    if expected is None:
        return []
    progress.say(expected.line)
    get_run_logger().info(expected.line)
    return list(expected.to_dict()["stages"])


def _say(text: str) -> None:
    """A line on the terminal that waits, if one does, and in Prefect's log."""
    progress.say(text)
    get_run_logger().info(text)


def _tell(seen: Preflight) -> None:
    """What was seen before the first image: on the terminal that waits, if one does, and in Prefect's log."""
    progress.looked(seen)
    log = get_run_logger()
    for decision in seen.decisions:
        log.info(decision)
    for warning in seen.warnings:
        log.warning(warning)


def _conclude(store: Store, bench: Bench, result: AuditResult) -> None:
    """Ranking, follow-ups and artifacts of a finished audit, into the run and ``result``."""
    spent = result.session.spent
    with clocked(spent, "ranking"):
        result.ranking = rank_run(result.out, bench.config.ranking)
    with clocked(spent, "follow-ups"):
        cluster_accused(store, result.ranking, bench.config.strategies)
    store.record(result.session)
    _artifacts(store.manifest, result.ranking)


def _report(store: Store, result: AuditResult, named: ReportConfig) -> None:
    """The report of a ranked audit; what it cannot show of other files is said."""
    if result.ranking is None:
        return
    with clocked(result.session.spent, "report"):
        beside = read_beside(result.out, result.ranking, named=named)
        result.report = write_report_file(result.out, result.ranking, beside=beside)
    for why in beside.lacking:
        _say(why)


def _count(store: Store) -> tuple[int, int, list[str]]:
    """Images of the run, failed ones, and the first few reasons."""
    images, failed = 0, 0
    examples: list[str] = []
    for batch in store.scan("examples", ["example_id", "status", "reason"]):
        rows = batch.to_pydict()
        images += batch.num_rows
        for name, status, reason in zip(rows["example_id"], rows["status"], rows["reason"], strict=True):
            if status == STATUS_FAILED:
                failed += 1
                if len(examples) < _EXAMPLES_TOLD:
                    examples.append(f"{name}: {reason}")
    return images, failed, examples


def _artifacts(manifest: dict[str, Any], ranking: Ranking) -> None:
    """Ranking and verdict for Prefect's UI."""
    about = f"{manifest['model']['name']} on {manifest['dataset']['name']} ({manifest['dataset']['split']})"
    create_table_artifact(table=ranking_rows(ranking), key="ranking", description=about)
    create_markdown_artifact(markdown=verdict_markdown(about, ranking), key="verdict", description=about)
