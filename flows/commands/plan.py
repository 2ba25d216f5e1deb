"""``hansaudit plan``: can this method explain this model, and how."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.arguments import Unsafe
from flows.commands import examples
from flows.options import TIME
from pipeline.errors import InputError

if TYPE_CHECKING:
    from explainers.preflight import Plan
    from pipeline.config import Config
    from pipeline.config_sections import MethodConfig
    from pipeline.run.costs import Forecast
    from pipeline.trust import Trust


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "plan squeezenet.keras",
            "plan ResNet50 --method lrp.preset_b",
            "plan my.h5 --method 'lrp.epsilon(eps=0.1)' --json",
            "plan squeezenet.keras --dataset data/ilsvrc --config audit.toml --time 30m",
        ),
    )(plan)


def plan(
    model: Annotated[
        str, typer.Argument(help=".keras or .h5 file, or a keras.applications name.", show_default=False)
    ],
    method: Annotated[
        str | None,
        typer.Option(
            help="Explanation method; default: that of --config, else the first candidate that fits."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="What an audit of this dataset would cost, as `run --dataset` names it."),
    ] = None,
    config: Annotated[str | None, typer.Option(help="TOML configuration of that audit.")] = None,
    time: Annotated[str | None, typer.Option(help=TIME)] = None,
    unsafe: Unsafe = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show which rule explains which node of a model, before anything is explained.

    With a dataset also what an audit would cost: a few batches are read, explained and measured. Exit code 2
    when the method cannot explain the model.
    """
    from flows import options, settings, terminal
    from flows.exit_codes import ExitCode
    from pipeline.config import AUTO, parse_method
    from pipeline.measure.beforehand import glance, refuse_missing

    seconds = options.seconds(time)
    trust = options.trust(unsafe, model)
    audit = _audit(model, method, dataset, config, unsafe)
    if seconds is not None and audit is None:
        raise InputError("--time: how long an audit takes depends on its images; name them with --dataset")
    if Path(model).suffix:
        refuse_missing(model, "model file")
    if audit:
        glance(audit, trust)
    settings.load_tensorflow()
    configured = _settled(audit, trust) if audit else parse_method(method or AUTO)
    made = _plan_of(model, configured)
    cost = _cost(audit, trust, seconds) if audit and made.ok else None
    if as_json:
        told = made.to_dict() | ({} if cost is None else {"forecast": cost.to_dict()})
        terminal.console.print_json(json.dumps(told, default=str), ensure_ascii=True)
    else:
        _print(made)
        if cost is not None:
            _print_cost(cost)
    if not made.ok:
        raise typer.Exit(ExitCode.WRONG_INPUT)


@dataclass(frozen=True)
class _Cost:
    """What an audit will cost; ``chosen``: the budgets that fit a given time, in words."""

    forecast: Forecast
    chosen: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return self.forecast.to_dict() | ({} if self.chosen is None else {"chosen": self.chosen})


def _audit(
    model: str, method: str | None, dataset: str | None, config: str | None, unsafe: bool
) -> Config | None:
    """The audit whose cost is asked for; None where no dataset is named."""
    from flows import options

    if dataset is None and config is None:
        return None
    settings = options.Settings(config)
    settings.dataset(dataset, None)
    settings.set("model", source=model, unsafe=unsafe or None)
    settings.methods([method] if method else None)
    return settings.config()


def _cost(config: Config, trust: Trust, seconds: float | None) -> _Cost:
    from flows import foresight, terminal
    from pipeline.measure.benches import bench_for

    with terminal.errors.status("measuring what it costs here"):
        bench = bench_for(config, trust)
        if seconds is not None:
            budget = foresight.fitted_to(seconds, bench)
            return _Cost(budget.forecast, budget.words)
        forecast = foresight.foresee(None, bench)
    if forecast is None:
        raise InputError(f"dataset {bench.dataset.info.name!r}: it is empty")
    return _Cost(forecast)


def _print_cost(cost: _Cost) -> None:
    from flows import terminal
    from pipeline.run.costs import size

    stages = [*cost.forecast.stages, cost.forecast.total]
    rows = [
        (s.stage, f"{s.images:,}", f"{s.passes:,}", s.time, size(s.bytes) if s.bytes else "") for s in stages
    ]
    terminal.print_list("stage", rows, ("images", "passes", "time of one worker", "disk"))
    if cost.chosen:
        terminal.print_line(f"fits: {cost.chosen}")


def _settled(audit: Config, trust: Trust) -> MethodConfig:
    """The first method of an audit; where it is left open, the one that the run would choose."""
    from flows import terminal
    from pipeline.measure.benches import bench_for

    if not audit.automatic:
        return audit.methods[0]
    with terminal.errors.status("choosing the method on a few images"):
        return bench_for(audit, trust).config.methods[0]


def _plan_of(model: str, method: MethodConfig) -> Plan:
    """The plan of the method; where that is left open, of the first candidate that can explain the model."""
    from explainers.preflight import plan as make_plan
    from pipeline.config import AUTO, parse_method

    if method.name != AUTO:
        return make_plan(model, method.name, method.params)
    from pipeline.measure.choice import CANDIDATES

    tried = []
    for candidate in (parse_method(name) for names in CANDIDATES for name in names):
        tried.append(make_plan(model, candidate.name, candidate.params))
        if tried[-1].ok:
            return tried[-1]
    return tried[0]


def _print(plan: Plan) -> None:
    from rich.text import Text

    from flows import terminal
    from pipeline.errors import shown

    if plan.rows:
        _print_rows(plan)
    for line in _lines(plan):
        terminal.console.print(Text(shown(line)))
    for problem in plan.problems:
        terminal.console.print(Text(shown(problem), style="bold red"))
    verdict = "can explain" if plan.ok else "cannot explain"
    terminal.console.print(Text(shown(f"{plan.method} {verdict} {plan.model}"), style="bold"))


def _print_rows(plan: Plan) -> None:
    from flows import terminal

    wide = terminal.console.width >= 110
    rows = [
        (r.node, r.layer, "x".join("?" if n is None else str(n) for n in r.shape[1:]), r.rule, r.why)
        for r in plan.rows
    ]
    columns = ("layer", "shape", "rule", "because")
    terminal.print_list("node", rows if wide else [r[:4] for r in rows], columns if wide else columns[:3])


def _lines(plan: Plan) -> list[str]:
    lines = [f"{old}: {new}" for old, new in plan.changes]
    if plan.rows:
        lines.append(f"input-layer rule: {', '.join(plan.input_layer) or 'none'}")
    else:
        lines.append(f"{plan.method} has no rules: it only evaluates the network")
    if plan.equality is not None:
        lines.append(f"canonised logits differ from the original's by {plan.equality:.2g} (relative L2)")
    if plan.cost is None:
        lines.append(f"cost: {plan.cost_note}")
    else:
        lines.append(f"cost: about {plan.cost:.1f} forward passes; in general: {plan.cost_note}")
    return lines
