"""The report as a folder: the page, and a page per class with all of its images.

One file holds the images of a few classes; a thousand classes have tens of thousands. Every page is whole by
itself and fetches nothing, so the folder can be opened from a disk and lie among the artifacts of a CI job.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.run.documents import records
from pipeline.run.files import open_files
from reports.inline import assets
from reports.page import edits
from reports.page.cards import sentence
from reports.page.data import NOTHING_BESIDE, Beside, RunData, load_run
from reports.page.explore import class_shots, effect_heading
from reports.page.html import PACKAGE, render, templates_for
from reports.page.wanted import wanted_of

if TYPE_CHECKING:
    from pipeline.statistics.ranking import Ranking

INDEX, CLASSES = "index.html", "classes"


@dataclass(frozen=True)
class _Neighbour:
    """The class before or after one, by rank."""

    label: int
    name: str


def write_folder(
    run_dir: str | Path, ranking: Ranking, out: str | Path, beside: Beside = NOTHING_BESIDE
) -> Path:
    """Write the report of a run into the folder ``out``; returns the path of its first page.

    ``beside``: what is shown of other files.

    Raises:
        InputError: the folder is no run or has no finished shard, it stores neither photographs nor maps, or
            a file cannot be written.
    """
    run = load_run(run_dir, ranking, beside)
    if not {"thumbnails", "maps"} & set(run.tables):
        raise InputError(
            f"{run_dir}: stores neither photographs nor maps, so there are no images to show; leave out "
            "--folder, or audit with audit.thumbnails = true"
        )
    rows = records(run.classes)
    present = set(run.images["label"])
    rows = [row for row in rows if int(row["label"]) in present]
    run = replace(run, pages={int(row["label"]): f"{CLASSES}/{int(row['label'])}.html" for row in rows})
    files = open_files(out)
    for name, page in _class_pages(run, rows):
        files.put(name, page.encode("utf-8"))
    files.put(INDEX, render(run).encode("utf-8"))
    return Path(out) / INDEX


def _class_pages(run: RunData, rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Name and text of the page of every class, in the order of the ranking."""
    templates = templates_for(run)
    template = templates.get_template("class.html.j2")
    head = assets(PACKAGE, "report") | {
        "m": templates.get_template("macros.html.j2").module,
        "model": run.manifest.get("model", {}).get("name") or "model",
        "dataset": run.manifest.get("dataset", {}).get("name") or "dataset",
        "total": len(rows),
        "size": run.size,
        "heading": effect_heading(),
    }
    wanted = wanted_of(run)
    order = [_Neighbour(int(row["label"]), str(row["class_name"])) for row in rows]
    for k, of in enumerate(class_shots(run, [n.label for n in order], side=0)):
        page = template.render(
            of=of,
            wanted=wanted.get(of.label),
            sentence=" ".join(filter(None, (edits.sentence(rows[k]), sentence(rows[k])))),
            before=order[k - 1] if k else None,
            after=order[k + 1] if k + 1 < len(order) else None,
            **head,
        )
        yield run.pages[of.label], page
