"""``hansaudit plan``: can this method explain this model, and how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands import examples

if TYPE_CHECKING:
    from explainers.preflight import Plan


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "plan squeezenet.keras",
            "plan ResNet50 --method lrp.preset_b",
            "plan my.h5 --method 'lrp.epsilon(eps=0.1)' --json",
        ),
    )(plan)


def plan(
    model: Annotated[
        str, typer.Argument(help=".keras or .h5 file, or a keras.applications name.", show_default=False)
    ],
    method: Annotated[str, typer.Option(help="Explanation method.")] = "lrp.preset_a",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show which rule explains which node of a model, before anything is explained.

    Exit code 2 when the method cannot explain the model.
    """
    from flows import settings, terminal
    from flows.exit_codes import ExitCode
    from pipeline.config import parse_method
    from pipeline.measure.beforehand import refuse_missing

    configured = parse_method(method)
    if Path(model).suffix:
        refuse_missing(model, "model file")
    settings.load_tensorflow()
    from explainers.preflight import plan as make_plan

    made = make_plan(model, configured.name, configured.params)
    if as_json:
        terminal.console.print_json(json.dumps(made.to_dict(), default=str), ensure_ascii=True)
    else:
        _print(made)
    if not made.ok:
        raise typer.Exit(ExitCode.WRONG_INPUT)


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
