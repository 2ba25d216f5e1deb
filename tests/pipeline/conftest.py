"""A whole run of the real parts, made once: what later analyses of a finished run are tested on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.inputs.datasets.planted import PlantedDataset
    from pipeline.run.store import Store


@pytest.fixture(scope="session")
def small_run(
    tiny_planted: PlantedDataset, tiny_cnn_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Store:
    """``tiny_planted`` audited with two methods and perturbation curves of 3 images per class; 2 shards."""
    from pipeline.config import parse_config
    from pipeline.measure.audit import audit_run
    from pipeline.measure.bench import open_bench
    from pipeline.run.store import Store

    config = parse_config(
        {
            "dataset": {"source": "planted", "path": tiny_planted.config.path},
            "model": {"source": str(tiny_cnn_file)},
            "methods": [{"name": "lrp.preset_a"}, {"name": "gradient"}],
            "audit": {"maps": 16},
            "perturbation": {"region": 8, "steps": 6, "repeats": 2, "budget": 3},
            "execution": {"batch_size": 8, "shard_size": 12},
            "ranking": {"images": "all", "n_min": 2, "draws": 200},
            "sanity": {"images": 0},
        }
    )
    store = Store(tmp_path_factory.mktemp("small") / "run")
    audit_run(store, open_bench(config))
    return store
