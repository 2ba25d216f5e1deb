"""The audit as a Prefect flow: one task per shard, then ranking, report and artifacts.

Resuming is the store's business: the flow asks what is missing and does that. It runs unchanged without a
server (Prefect starts a temporary one) and against one (``PREFECT_API_URL``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flows.settings import prepare_prefect

prepare_prefect()

from prefect import flow, task  # noqa: E402 - its settings are read at import
from prefect.artifacts import create_markdown_artifact, create_table_artifact  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.futures import as_completed  # noqa: E402

from flows import progress  # noqa: E402
from flows.evidence import deepen  # noqa: E402
from flows.report import rank_run, ranking_rows, verdict_markdown, write_report_file  # noqa: E402
from flows.work import Clock, bench_for, plan, provenance_of  # noqa: E402
from pipeline.config import Config, parse_config  # noqa: E402
from pipeline.errors import InputError  # noqa: E402
from pipeline.run.store import Session, Store  # noqa: E402
from pipeline.schema import STATUS_FAILED  # noqa: E402

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.statistics.ranking import Ranking


TABLES, RANKING, REPORT = "tables", "ranking", "report"  # how far an audit goes


@dataclass
class AuditResult:
    """What an audit ends with. ``failed`` of ``images`` rows could not be read or explained.

    ``interventions``: names of the classes by verdict, where the configuration asked for them.
    """

    out: str
    images: int
    failed: int
    new_images: int
    seconds: float
    ranking: Ranking | None = None
    report: str | None = None
    interventions: dict[str, list[str]] = field(default_factory=dict)


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
def audit_task(key: str, config: dict[str, Any], out: str) -> int:
    """Audit one shard and write its parts; returns its number of images."""
    bench, store = bench_for(parse_config(config)), Store(out)
    from pipeline.measure.audit import audit_shard  # TensorFlow: only after the bench has loaded it, quietly

    shard = next(s for s in plan(bench, _shard_size(store)) if s.key == key)
    tables = audit_shard(shard, bench, lambda images: progress.report(key, images))
    store.write_shard(key, tables)
    return tables["examples"].num_rows


@flow(name="hansaudit", flow_run_name="{out}", validate_parameters=False, persist_result=False)
def audit_flow(config: dict[str, Any], out: str, end: str = REPORT) -> AuditResult:
    """Audit what ``config`` describes into ``out`` (``{date}`` stands for today), or finish what is missing.

    ``end``: how far to go: "tables", "ranking" or "report".

    Raises:
        InputError: something the user named cannot be used, or too many images failed.
    """
    return _audit(parse_config(config), out.replace("{date}", f"{datetime.now(UTC):%Y-%m-%d}"), end)


def run_audit(config: Config, out: str, end: str, console: Console | None) -> AuditResult:
    """The flow from a terminal, with progress on ``console``."""
    with progress.shown_on(console):
        return audit_flow(config.model_dump(mode="json"), out, end)


def _audit(config: Config, out: str, end: str) -> AuditResult:
    clock, session, store = Clock(), Session(), Store(out)
    bench = bench_for(config)
    from pipeline.measure.sanity import check_run  # TensorFlow: only after the bench has loaded it, quietly

    with store.lock():
        manifest = store.open_or_create(config, provenance_of(bench, _shard_size(store, config)))
        session.setup_seconds = round(clock.seconds, 3)
        store.record(session)
        clock = Clock()
        try:
            session.images = _run_missing(store, config)
        finally:
            session.seconds = round(clock.seconds, 3)
            store.end(session)
        check_run(store, bench)
    images, failed, examples = _count(store)
    result = AuditResult(out, images, failed, session.images, session.seconds)
    if images > failed and end != TABLES:
        result.ranking = rank_run(out, config.ranking)
        result.interventions = deepen(store, config, result.ranking, fresh=session.images > 0)
        if end == REPORT:
            result.report = write_report_file(out, result.ranking)
        _artifacts(manifest, result)
    if failed > config.execution.max_failed_fraction * images:
        raise TooManyFailed(result, config.execution.max_failed_fraction, examples)
    return result


def _run_missing(store: Store, config: Config) -> int:
    """One task per missing shard; returns the number of images done."""
    missing = store.missing()
    sizes = {key: _images_in(key) for key in missing}
    arguments = config.model_dump(mode="json"), store.path
    with progress.metering(sum(sizes.values())) as meter:
        if config.execution.workers == 1:
            for key in missing:
                meter.set(key, audit_task(key, *arguments))
        elif missing:
            with _runner(config) as runner:
                futures = {
                    runner.submit(audit_task, {"key": k, "config": arguments[0], "out": arguments[1]}): k
                    for k in missing
                }
                for future in as_completed(list(futures)):
                    meter.set(futures[future], future.result())
        return meter.done


def _runner(config: Config) -> Any:
    """The task runner for several workers; each of its processes loads the model once."""
    workers, kind = config.execution.workers, config.execution.runner
    if kind == "processes":
        from prefect.task_runners import ProcessPoolTaskRunner

        return ProcessPoolTaskRunner(max_workers=workers)
    try:
        if kind == "dask":
            from prefect_dask import DaskTaskRunner

            return DaskTaskRunner(cluster_kwargs={"n_workers": workers, "threads_per_worker": 1})
        from prefect_ray import RayTaskRunner

        return RayTaskRunner(init_kwargs={"num_cpus": workers})
    except ImportError:
        raise InputError(
            f"execution.runner = {kind!r}: its package is not installed; pip install 'hansaudit[{kind}]'"
        ) from None


def _shard_size(store: Store, config: Config | None = None) -> int:
    """The size that the run was begun with: a resumed run keeps its plan, whatever is asked for now."""
    if store.exists:
        return store.manifest["config"]["execution"]["shard_size"]
    assert config is not None
    return config.execution.shard_size


def _images_in(key: str) -> int:
    start, stop = key.rsplit("-", 2)[1:]
    return int(stop) - int(start)


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
                if len(examples) < 3:
                    examples.append(f"{name}: {reason}")
    return images, failed, examples


def _artifacts(manifest: dict[str, Any], result: AuditResult) -> None:
    """Ranking and verdict for Prefect's UI."""
    assert result.ranking is not None
    about = f"{manifest['model']['name']} on {manifest['dataset']['name']} ({manifest['dataset']['split']})"
    create_table_artifact(table=ranking_rows(result.ranking), key="ranking", description=about)
    create_markdown_artifact(
        markdown=verdict_markdown(about, result.ranking), key="verdict", description=about
    )
