"""Runs whose process ended without a word, or never began: nobody in it could tell what follows a night."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flows.nightly import Night, follow_up
from flows.settings import prepare_prefect

Say = Callable[[str], None]  # a line for whoever watches


class Crashes:
    """Runs of a work ``pool``, or of a ``deployment``, that crash from now on. Each is said, and told to the
    command that follows a night, once."""

    def __init__(self, say: Say, pool: str = "", deployment: str = "") -> None:
        self._say, self._of = say, (pool, deployment)
        self._since, self._told = datetime.now(UTC), set[Any]()

    def look(self) -> None:
        """Tell of those that are new; a server that is away is asked again the next time."""
        import httpx

        prepare_prefect()
        from prefect.client.orchestration import get_client

        try:
            with get_client(sync_client=True) as client:
                runs = client.read_flow_runs(**chosen("CRASHED", *self._of, since=self._since))
        except httpx.HTTPError:
            return
        for run in runs:
            if run.id not in self._told and _is_of_here(run):
                self._told.add(run.id)
                self._tell(run)

    def _tell(self, run: Any) -> None:
        message = f"its process ended before the run did: {run.state.message or run.state.name}"
        self._say(f"run {run.name!r} crashed: {message}")
        night, out = run.parameters.get("night"), str(run.parameters.get("out", ""))
        if night:
            dated = out.replace("{date}", f"{run.state.timestamp:%Y-%m-%d}")
            follow_up(Night(**night), dated, self._say, message)


def _is_of_here(run: Any) -> bool:
    """Whether no other machine had it: each of a pool looks, and one is to tell."""
    host = (run.infrastructure_pid or "").rpartition(":")[0]
    return host in ("", socket.gethostname())


def chosen(state: str, pool: str, deployment: str, since: datetime | None = None) -> dict[str, Any]:
    """Filters of Prefect's client: runs in this type of state, of a work pool or a deployment, that ended
    ``since`` then."""
    from prefect.client.schemas import filters, objects

    kind = filters.FlowRunFilterStateType(any_=[objects.StateType(state)])
    ended = filters.FlowRunFilterEndTime.model_validate({"after_": since}) if since else None
    wanted: dict[str, Any] = {
        "flow_run_filter": filters.FlowRunFilter(state=filters.FlowRunFilterState(type=kind), end_time=ended)
    }
    if pool:
        wanted["work_pool_filter"] = filters.WorkPoolFilter(name=filters.WorkPoolFilterName(any_=[pool]))
    if deployment:
        named = filters.DeploymentFilterName(any_=[deployment])
        wanted["deployment_filter"] = filters.DeploymentFilter(name=named)
    return wanted
