"""One real Prefect API for all tests of the flows, on a home of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.settings import prepare_prefect


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a temporary Prefect server that lives as long as the tests."""
    prepare_prefect()
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield str(PREFECT_API_URL.value())


@pytest.fixture(scope="session")
def options(tiny_planted, tiny_cnn_file: Path) -> list[str]:
    """Options of a small real audit: 24 images in shards of 8."""
    return [
        "--config",
        str(write_config(tiny_cnn_file.parent / "audit.toml", tiny_planted.config.path, tiny_cnn_file)),
        *("--shard-size", "8", "--batch-size", "8", "--maps", "8"),
    ]


def write_config(path: Path, data: str, network: Path) -> Path:
    """A TOML configuration on the planted data."""
    path.write_text(
        f'perturbation = false\n[dataset]\nsource = "planted"\npath = "{data}"\n'
        f'[model]\nsource = "{network}"\n[[methods]]\nname = "lrp.preset_a"\n[ranking]\ndraws = 100\n'
    )
    return path
