"""``hansaudit canary``: measure what this set-up would find."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands import examples

if TYPE_CHECKING:
    from pipeline.canary.photo_trials import PhotoSource
    from pipeline.run.documents import CanaryDocument, TrialDocument


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        epilog=examples(
            "canary",
            "canary --networks 3 --sizes 0.05,0.17 --probabilities 1.0 --out runs/canary",
            "canary --photos data/ilsvrc --model models/net.keras --attach runs/net",
        )
    )(canary)


def canary(
    out: Annotated[
        str, typer.Option(help="Folder for data, networks, runs and what came out.")
    ] = "runs/canary",
    networks: Annotated[
        int, typer.Option(help="Networks to train: a clean one, then four marks each.", min=2)
    ] = 6,
    photos: Annotated[
        str | None,
        typer.Option(
            help="Mark real photographs instead: a dataset that `hansaudit prepare ilsvrc2012` made."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="With --photos: the network whose frozen features get a linear head.")
    ] = None,
    card: Annotated[str | None, typer.Option(help="With --photos: the network's model card.")] = None,
    images: Annotated[
        int, typer.Option(help="With --photos: photographs per super-class, at most; half train.", min=4)
    ] = 60,
    kinds: Annotated[
        str | None,
        typer.Option(
            help="Marks: patch, text, stripe, border; on photographs patch and text. Default: the "
            "first three, or both."
        ),
    ] = None,
    sizes: Annotated[
        str, typer.Option(help="Sizes as a share of the picture's side, at most 0.18.")
    ] = "0.05,0.09,0.17",
    probabilities: Annotated[str, typer.Option(help="Share of the class's images.")] = "1.0,0.5",
    controls: Annotated[bool, typer.Option(help="Also one on the object and an invisible one.")] = True,
    method: Annotated[str, typer.Option(help="Explanation method.")] = "lrp.preset_a",
    seed: Annotated[int, typer.Option(help="Seed of data, networks and choices.")] = 0,
    attach: Annotated[
        list[str] | None, typer.Option(help="Run whose report shall show the result. Repeatable.")
    ] = None,
) -> None:
    """Plant marks of known kind, size and frequency, train networks, audit them: what would be missed?

    Finished networks are kept, so the same command goes on where it stopped.
    """
    from flows import terminal
    from flows.options import listed
    from flows.settings import load_tensorflow

    if photos and model:
        _glance(photos, model, card or "")
    load_tensorflow()
    from pipeline.canary.campaign import Campaign, run_campaign
    from pipeline.canary.grid import Grid
    from pipeline.canary.summary import attach as attach_to
    from pipeline.run.folder import CANARY, RunFolder
    from pipeline.run.store import Store

    grid = Grid(
        tuple(listed(kinds or ("patch,text" if photos else "patch,text,stripe")) or ()),
        _shares("sizes", sizes),
        _shares("probabilities", probabilities),
        controls,
    )
    campaign = Campaign(grid, networks, method, seed, _photo_source(photos, model, card), images)
    summary = run_campaign(campaign, Path(out), lambda n, trial: _print_trial(n, networks, trial))
    for run in attach or ():
        with Store(run).lock_existing():
            attach_to(RunFolder(run), summary)
    print_canary(summary)
    terminal.print_line(f"written: {out}/{CANARY}")


def _glance(photos: str, model: str, card: str) -> None:
    """Refuse what can be told of photographs and network before a framework is loaded. Raises InputError."""
    from flows.options import trust
    from pipeline.config_sections import DatasetConfig, ModelConfig
    from pipeline.inputs.datasets import glance_dataset, section_of
    from pipeline.measure.beforehand import glance_model

    glance_dataset(DatasetConfig.model_validate(section_of(photos)))
    glance_model(ModelConfig(source=model, card=card), trust(False, model))


def _print_trial(n: int, networks: int, trial: TrialDocument) -> None:
    from flows import terminal
    from pipeline.verdicts import MapVerdict

    suspicious = sum(c.verdict == MapVerdict.SUSPICIOUS for c in trial.cells)
    terminal.console.print(
        f"network {n + 1} of {networks}: accuracy {trial.accuracy:.1%}, "
        f"{suspicious} of {len(trial.cells)} planted classes suspicious, "
        f"{trial.false_suspicious} of {trial.classes_clean} others"
    )


def _photo_source(photos: str | None, model: str | None, card: str | None) -> PhotoSource | None:
    """What ``--photos`` asks for; None: the planted data."""
    from flows.options import trust
    from pipeline.canary.photo_trials import PhotoSource
    from pipeline.config_sections import DatasetConfig, ModelConfig
    from pipeline.errors import InputError
    from pipeline.inputs.datasets import section_of

    if photos is None:
        if model or card:
            raise InputError(
                "canary: --model and --card are for --photos; drawn data train their own network"
            )
        return None
    if model is None:
        raise InputError(
            "canary: --photos needs --model, the network whose features the heads are trained on"
        )
    return PhotoSource(
        DatasetConfig.model_validate(section_of(photos)),
        ModelConfig(source=model, card=card or ""),
        trust(False, model),
    )


def print_canary(summary: CanaryDocument) -> None:
    """Cells, figures and the line."""
    from flows import terminal
    from pipeline.canary.detection import USED

    rows = [
        (
            f"{c.kind}{' inside' if c.inside else ''}",
            f"{c.size:.0%}",
            _share(c.probability, c.carried),
            f"{c.added:+.2f}" + ("" if c.used else " unused"),
            c.said,
            c.verdict,
        )
        for c in sorted(summary.cells, key=lambda c: (c.kind, c.inside, c.size, -c.probability))
    ]
    heads = ("size", "on", "adds", "verdict", "maps")
    terminal.print_list("mark", rows, heads, whole=heads)
    shown = {
        name: [("-" if v is None else f"{v:.3f}") for v in figures.values()]
        for name, figures in summary.figures.items()
    }
    terminal.print_list(
        "order of the classes",
        [(name.replace("_", " "), *values) for name, values in shown.items()],
        ("average precision", "AUC", "recall at k"),
    )
    alarms = summary.false_alarms
    terminal.console.print(
        f"{alarms.classes} classes without a mark: {alarms.suspicious} suspicious by their maps, "
        f"{alarms.confirmed + alarms.hidden} confirmed"
    )
    terminal.console.print(
        "inside: on the object; on: share of the images (in brackets: that really carry it); adds: "
        f"probability of the class that the mark adds, unused below {USED}",
        style="dim",
    )
    terminal.print_line(summary.line)


def _share(asked: float, carried: float | None) -> str:
    """A share of the images, and the true one where it reads differently."""
    true = f"{asked if carried is None else carried:.0%}"
    return true if true == f"{asked:.0%}" else f"{asked:.0%} ({true})"


def _shares(name: str, text: str) -> tuple[float, ...]:
    from pipeline.errors import InputError

    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(
            f"--{name}: received {text!r}; valid: numbers with commas, such as 0.05,0.17"
        ) from None
