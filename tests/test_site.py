"""The documentation site builds with every link and anchor good, and says what the commands say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from flows.cli import app

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; strict, so that a broken link or anchor fails here."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_in_docs_has_its_place_in_the_navigation(site: Path) -> None:
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    front = (site / "index.html").read_text(encoding="utf-8")
    assert pages <= set(re.findall(r'href="([\w-]+)/"', front))


def test_every_command_and_option_is_in_the_reference(site: Path) -> None:
    text = (site / "commands/index.html").read_text(encoding="utf-8")
    commands = getattr(get_command(app), "commands")  # noqa: B009 - typer's own group, which has no public type
    for name, command in commands.items():
        assert f'id="hansaudit-{name}"' in text
        for parameter in command.params:
            for option in parameter.opts:
                assert option.lstrip("-") in text, (name, option)
    assert "[cyan]" not in text
    assert "[bold]" not in text


def test_the_front_page_is_the_readme_and_loads_nothing_from_elsewhere(site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    assert "Which classes does your network get right for the wrong reason?" in page
    loaded = re.findall(r'<(?:script|img|link)[^>]*?(?:src|href)="(https?://[^"]+)"', page)
    assert loaded == []
