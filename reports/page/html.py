"""Tables in, one self-contained page out: inline style, script and pictures; nothing is fetched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment
from markupsafe import Markup

from pipeline.run.files import open_files
from pipeline.run.ranking_settings import ranking_files
from reports.inline import assets, environment
from reports.page import words
from reports.page.data import NOTHING_BESIDE, Beside, RunData, load_run
from reports.page.explore import embedded
from reports.page.sections import Section, all_sections

if TYPE_CHECKING:
    from pipeline.statistics.ranking import Ranking
PACKAGE = "reports.page"


def write_report(
    run_dir: str | Path, ranking: Ranking, out: str | Path | None = None, beside: Beside = NOTHING_BESIDE
) -> Path:
    """Write the report of a run and return its path.

    Args:
        run_dir: folder that the audit wrote.
        ranking: what :func:`pipeline.statistics.ranking.rank` made of it.
        out: file to write; default the ranking's place in the run (``report.html`` for the run's own), which
            may be in an object store. Written whole or not at all.
        beside: what is shown of other files; decisions about other datasets' classes are left out.

    Raises:
        InputError: the folder is no run or has no finished shard, or the file cannot be written.
    """
    run = load_run(run_dir, ranking, beside)
    run = replace(run, pages={label: f"#images-{label}" for label in embedded(run)})
    page = render(run).encode("utf-8")
    if out is None:
        name = ranking_files(run.manifest, ranking.settings).report
        run.store.files.put(name, page)
        return Path(run_dir) / name
    folder, _, name = str(out).rpartition("/")  # not Path: it would make one slash of s3://
    open_files(folder or ".").put(name, page)
    return Path(out)


def render(run: RunData) -> str:
    """The page as text."""
    templates = templates_for(run)
    macros = templates.get_template("macros.html.j2").module
    built = [(s, s.build(run)) for s in all_sections()]
    shown = [(s, _section(templates, macros, s, c)) for s, c in built if c is not None]
    dataset = run.manifest.get("dataset", {})
    return templates.get_template("page.html.j2").render(
        title=f"{dataset.get('name') or 'dataset'} · {run.manifest.get('model', {}).get('name') or 'model'}",
        sections=shown,
        **assets(PACKAGE, "report"),
    )


def templates_for(run: RunData) -> Environment:
    """The page's templates, with its filters."""
    templates = environment(PACKAGE)
    templates.filters.update(words.FILTERS | {"short": run.short})
    templates.tests["given"] = words.given
    return templates


def _section(templates: Environment, macros: Any, section: Section, context: dict[str, Any]) -> Markup:
    return Markup(templates.from_string(section.template).render(m=macros, **context))
