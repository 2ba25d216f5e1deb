"""Arguments and options that several commands take: the same words, said once."""

from __future__ import annotations

from typing import Annotated

import typer

Run = Annotated[str, typer.Argument(help="Run folder that `hansaudit run` wrote.", show_default=False)]
Classes = Annotated[list[str] | None, typer.Option("--class", help="Class: name, id or index. Repeatable.")]
Unsafe = Annotated[
    bool,
    typer.Option(
        "--unsafe", help="Run code for the model: Lambda layers of its file, a function that a file names."
    ),
]

# where the parts of a run are now
MovedDataset = Annotated[str, typer.Option(help="Where the run's dataset is now, if it was moved.")]
MovedBoxes = Annotated[str, typer.Option(help="The same for the boxes of an image folder.")]
MovedModel = Annotated[str, typer.Option(help="The same for the model's file.")]
MovedCard = Annotated[str, typer.Option(help="The same for its model card.")]

# of an audit that comes again and again
Cron = Annotated[str, typer.Option(help='When: five fields of cron, e.g. "0 3 * * *".')]
Configuration = Annotated[str, typer.Option(help="TOML configuration of the audit.")]
DatedOut = Annotated[
    str, typer.Option(help="Run folder; {date} becomes the day (UTC). An unfinished one is resumed.")
]
Policy = Annotated[str, typer.Option(help="Gate each run by this policy (TOML), against the run before.")]
Keep = Annotated[int, typer.Option(help="Remove all but the newest N run folders; 0: none.", min=0)]
Address = Annotated[
    str | None, typer.Option(help="The cluster that the configuration names: a file alone cannot.")
]
Timezone = Annotated[str, typer.Option(help="Time zone of the schedule.")]
DeploymentName = Annotated[str, typer.Option(help="Name of the deployment in Prefect.")]
