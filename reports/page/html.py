"""Tables in, one self-contained page out: inline style, script and pictures; nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.run.files import open_files
from reports.page import words
from reports.page.data import RunData, load_run
from reports.page.sections import Section, all_sections

if TYPE_CHECKING:
    from pipeline.statistics.ranking import Ranking

NAME = "report.html"


def write_report(run_dir: str | Path, ranking: Ranking, out: str | Path | None = None) -> Path:
    """Write the report of a run and return its path.

    Args:
        run_dir: folder that the audit wrote.
        ranking: what :func:`pipeline.statistics.ranking.rank` made of it.
        out: file to write; default ``report.html`` in the run, which may be in an object store. Written whole
            or not at all.

    Raises:
        InputError: the folder is no run or has no finished shard, or the file cannot be written.
    """
    run = load_run(run_dir, ranking)
    page = render(run).encode("utf-8")
    if out is None:
        run.store.files.put(NAME, page)
        return Path(run_dir) / NAME
    folder, _, name = str(out).rpartition("/")  # not Path: it would make one slash of s3://
    open_files(folder or ".").put(name, page)
    return Path(out)


def render(run: RunData) -> str:
    """The page as text."""
    environment = _environment()
    macros = environment.get_template("macros.html.j2").module
    built = [(s, s.build(run)) for s in all_sections()]
    shown = [(s, _section(environment, macros, s, c)) for s, c in built if c is not None]
    style, script = _asset("report.css"), _asset("report.js")
    dataset = run.manifest.get("dataset", {})
    return environment.get_template("page.html.j2").render(
        title=f"{dataset.get('name') or 'dataset'} · {run.manifest.get('model', {}).get('name') or 'model'}",
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        sections=shown,
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(words.FILTERS)
    environment.tests["known"] = words.known
    return environment


def _section(environment: Environment, macros: Any, section: Section, context: dict[str, Any]) -> Markup:
    return Markup(environment.from_string(section.template).render(m=macros, **context))


def _asset(name: str) -> str:
    return (resources.files("reports.page") / "templates" / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Content security policy: only this page's own style and script, only inline pictures, no network."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
