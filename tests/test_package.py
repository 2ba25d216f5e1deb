"""What is shipped is whole: wheel and sdist hold every file that the code reads, and run on their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("explainers", "pipeline", "reports", "flows")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both archives, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    skipped = shutil.ignore_patterns(
        "__pycache__", "*.egg-info", ".*", "runs", "data", "build", "tests", "docs"
    )
    shutil.copytree(ROOT, source, ignore=skipped)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder / "dist"


@pytest.fixture(scope="module")
def installed(shipped: Path) -> Path:
    """The wheel as an installer lays it out, without its dependencies."""
    (wheel,) = shipped.glob("*.whl")
    target = shipped.parent / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def files_of(root: Path) -> set[str]:
    return {
        path.relative_to(root).as_posix()
        for package in PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_the_packages(installed: Path) -> None:
    assert files_of(installed) == files_of(ROOT)


def test_licence_and_notice_are_shipped(shipped: Path, installed: Path) -> None:
    (info,) = installed.glob("*.dist-info")
    assert {path.name for path in (info / "licenses").iterdir()} == {"LICENSE", "NOTICE"}
    (sdist,) = shipped.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "NOTICE", "README.md", "pyproject.toml"} <= names


def test_a_report_is_written_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    """Templates, style and script of the page come out of the wheel."""
    run = shutil.copytree(ROOT / "tests/fixtures/run-schema-1", tmp_path / "run")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from flows.cli import run; import flows;"
        "print(flows.__file__); sys.exit(run(['report', sys.argv[2]]))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-P", "-c", code, str(installed), str(run)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed))
    assert (run / "report.html").stat().st_size > 100_000
