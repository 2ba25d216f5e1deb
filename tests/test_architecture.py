"""docs/architecture.md tells the truth: files and rooms exist, and what it calls one file is one."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from explainers import Analyzer, MethodInfo, list_methods
from explainers.registry import example
from explainers.rules.base import Rule
from explainers.rules.presets import GRADIENT
from flows import cli, runners
from pipeline import columns, seeds
from pipeline.followup import exports
from pipeline.inputs.datasets import list_sources
from pipeline.measure import forecast
from pipeline.measure.curve_metrics import metrics_of
from pipeline.measure.interventions.kinds import all_interventions
from pipeline.measure.metrics import list_metrics
from pipeline.measure.properties import file_properties
from pipeline.run import documents
from pipeline.schema import CurveOrder
from pipeline.terms import FileProperty
from reports.gallery.views import all_views
from reports.gate import statistics
from reports.page.sections import all_sections

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PACKAGES = ("explainers", "pipeline", "reports", "flows")


def rows(title: str) -> list[list[str]]:
    """Cells of the table below a heading that begins so, without its two header lines."""
    section = re.split(rf"^## {re.escape(title)}", PAGE, flags=re.M)[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def places(cell: str) -> list[str]:
    """The paths of a cell; a bare file name lies beside the one before it."""
    paths: list[str] = []
    for name in re.findall(r"`([\w./]+)`", cell):
        beside = paths[-1].rpartition("/")[0] if paths and "/" not in name else ""
        paths.append(f"{beside}/{name}" if beside else name)
    return paths


PLACES = {row[0]: places(row[1]) for row in rows("Where do I add")}


@pytest.mark.parametrize("path", sorted({p for of in PLACES.values() for p in of}))
def test_every_place_to_add_something_exists(path: str) -> None:
    assert (ROOT / path).exists(), path


def test_every_path_of_the_page_exists() -> None:
    named = re.findall(r"`((?:explainers|pipeline|reports|flows|tests)/[\w./]*)`", PAGE)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("package", ["explainers", "pipeline", "reports"])
def test_every_room_is_on_the_page(package: str) -> None:
    section = PAGE.split("## The rooms")[1].split("\n## ")[0]
    rooms = {p.parent.name for p in (ROOT / package).glob("*/__init__.py")}
    assert {room for room in rooms if f"`{room}/`" not in section} == set()


def sources(things: Iterable[object]) -> set[str]:
    """Files, relative to the repository, in which classes, functions or modules are defined."""
    files = (inspect.getsourcefile(thing) for thing in things)  # type: ignore[arg-type]
    return {Path(str(file)).resolve().relative_to(ROOT).as_posix() for file in files}


def subclasses(base: type) -> set[type]:
    direct = set(base.__subclasses__())
    return direct.union(*(subclasses(sub) for sub in direct))


def own(classes: Iterable[type]) -> list[type]:
    return [c for c in classes if c.__module__.partition(".")[0] in PACKAGES]


def method(info: MethodInfo) -> Analyzer:
    return example(info.name, {"preset": GRADIENT} if "preset" in info.required else {})


def _rules() -> set[str]:
    # DeepLIFT and the patterns bring rules of their own, which are no rules of LRP
    return {path for path in sources(own(subclasses(Rule))) if path.startswith("explainers/rules/")}


def _commands() -> set[str]:
    return {f"flows/commands/{name}.py" for name in cli.COMMANDS}


DEFINED: dict[str, Callable[[], set[str]]] = {
    "explanation method": lambda: sources(type(method(info)) for info in list_methods()),
    "LRP rule": _rules,
    "LRP preset": lambda: sources(
        type(method(info)) for info in list_methods() if info.name.startswith("lrp.")
    ),
    "localisation metric": lambda: sources(metric.function for metric in list_metrics()),
    "curve metric": lambda: sources(metric.function for metric in metrics_of(tuple(CurveOrder))),
    "dataset source": lambda: {
        f"pipeline/inputs/datasets/sources/{source.name}.py" for source in list_sources()
    },
    "format for other tools": lambda: sources(exports.module_of(name).export for name in exports.FORMATS),
    "intervention": lambda: sources(i.edits for i in all_interventions()),
    "report section": lambda: sources(section.build for section in all_sections()),
    "property of files": lambda: sources([FileProperty, file_properties]),
    "gate statistic": lambda: sources(statistics.OF_RUN.values()),
    "visualisation": lambda: {f"reports/gallery/views/{name}.py" for name in all_views()},
    "stage whose cost is forecast": lambda: sources(forecast.STAGES),
    "runner": lambda: sources(runners.RUNNERS.values()),
    "command": _commands,
    "column of the ranking": lambda: sources([columns]),
    "document of a run": lambda: sources(own(subclasses(documents.Document))),
    "purpose of random numbers": lambda: sources([seeds.Purpose, seeds.ImagePurpose, seeds.ImageChoice]),
}


def test_every_row_of_the_page_is_checked_here() -> None:
    assert set(DEFINED) == set(PLACES)


@pytest.mark.parametrize("thing", DEFINED)
def test_all_of_a_kind_lie_where_the_page_says(thing: str) -> None:
    files = DEFINED[thing]()
    assert files
    allowed = PLACES[thing]
    strangers = {f for f in files if not any(f == place or f.startswith(place) for place in allowed)}
    assert strangers == set()


FOLDERS = {
    "flows/commands": lambda: set(cli.COMMANDS),
    "reports/gallery/views": lambda: set(all_views()),
    "pipeline/measure/interventions/kinds": lambda: {
        Path(path).stem for path in sources(i.edits for i in all_interventions())
    },
    "pipeline/inputs/datasets/sources": lambda: {source.name for source in list_sources()},
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_file_in_a_folder_of_the_page_is_found(folder: str) -> None:
    files = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}
    assert files == FOLDERS[folder]()
