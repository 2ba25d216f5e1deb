"""Every page in a real browser under axe-core: no violation, wide and narrow, light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.run.store import Store
from pipeline.statistics.comparison import compare
from pipeline.statistics.ranking import Ranking
from reports.changes.page import changes_page
from reports.decisions.file import parse_decisions
from reports.gallery.page import write_gallery
from reports.history.course import history_of
from reports.history.page import history_page
from reports.history.watched import Measured, watched_page
from reports.page.folder import write_folder
from reports.page.html import write_report
from tests.axe import violations
from tests.reports.gallery.test_page import gallery
from tests.reports.history.test_history import quiet, said
from tests.reports.page.pages import HOSTILE, write_everything

pytestmark = pytest.mark.browser
NAMES = ("report", "class", "changes", "history", "watched", "gallery")


def _changes(drawn: Path, folder: Path) -> str:
    """Against the same run with other answers to the same images."""
    shutil.copytree(drawn, folder / "now")
    verdicts = ({0: "confirmed", 1: "unremarkable"}, {0: "unremarkable", 1: "confirmed"})
    return changes_page(compare(Store(folder / "now"), Store(drawn), verdicts))


def _history() -> str:
    """An accused class that somebody decided about, one that changed, quiet ones."""
    calm = {f"calm {c}": quiet(0.1) for c in range(3)}
    words = ("confirmed", "suspected", "confirmed")
    runs = [
        said(k, {HOSTILE[0]: {"verdict": word, "effect": 0.1 * k}} | calm) for k, word in enumerate(words)
    ]
    decision = {"class": HOSTILE[0], "decision": "unsure", "reason": "r", "owner": "o"}
    return history_page(history_of(runs), parse_decisions({"decision": [decision]}))


def _watched() -> str:
    """Three epochs of two images, one of which has no figure at first."""
    shares = {("a", 1): 0.25, ("b", 1): None, ("a", 2): 0.5, ("b", 2): 0.75, ("a", 3): 0.5, ("b", 3): 0.625}
    measured = [Measured(k, image, HOSTILE[1], "gradient", "mass", v) for (image, k), v in shares.items()]
    return watched_page("a network while it learns", measured, ["mass"])


@pytest.fixture(scope="module")
def pages(drawn: tuple[Path, Ranking], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Name -> address of the pages that need no server."""
    folder = tmp_path_factory.mktemp("pages")
    run = shutil.copytree(drawn[0], folder / "run")
    ranking = write_everything(run, drawn[1])
    write_report(run, ranking)
    write_folder(run, ranking, folder / "folder")
    (folder / "changes.html").write_text(_changes(drawn[0], folder), encoding="utf-8")
    (folder / "history.html").write_text(_history(), encoding="utf-8")
    (folder / "watched.html").write_text(_watched(), encoding="utf-8")
    write_gallery(gallery(), folder)
    elsewhere = {"report": "run/report.html", "class": "folder/classes/1.html"}
    files = {name: folder / elsewhere.get(name, f"{name}.html") for name in NAMES}
    assert all(file.is_file() for file in files.values())
    return {name: file.as_uri() for name, file in files.items()}


def _open(browser: Any, address: str, width: int, scheme: str) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
    browser.get("about:blank")
    browser.get(address)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
@pytest.mark.parametrize("name", NAMES)
def test_axe_core_finds_nothing(browser, pages, name, width, scheme):
    _open(browser, pages[name], width, scheme)
    assert violations(browser) == []


def test_what_is_wrong_is_found(browser, pages):
    """The engine is there and looks: a picture that says nothing to who cannot see it."""
    _open(browser, pages["changes"], 1280, "light")
    browser.execute_script("document.querySelector('main').append(document.createElement('img'))")
    assert violations(browser) == ["critical: image-alt: <img>"]
