"""Fixtures that several test files share: real data where they are, tiny stand-ins everywhere."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import absl.logging
import pytest
from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", os.environ.get("HANSAUDIT_TEST_DEVICES", "-1"))

# Prefect, when imported, closes all handlers of logs, and absl's (Keras brings it) then closes its stream,
# unless that is the process's own: so never the one with which pytest captures
absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__

# the same examples every time, and no deadline: a busy machine is no defect
settings.register_profile("hansaudit", deadline=None, derandomize=True, database=None)
settings.load_profile("hansaudit")

if TYPE_CHECKING:  # nothing here may load TensorFlow for tests that do not need it
    import keras

    from pipeline.inputs.datasets.planted import PlantedDataset
    from pipeline.inputs.datasets.tfds import TfdsDataset
    from pipeline.run.store import Store


@pytest.fixture(scope="session")
def ilsvrc() -> Path:
    """The folder of real ILSVRC files; skips where HANSAUDIT_ILSVRC does not name it."""
    folder = Path(os.environ.get("HANSAUDIT_ILSVRC", ""))
    if not (folder / "ILSVRC2012_img_val.tar").is_file():
        pytest.skip("HANSAUDIT_ILSVRC names no folder with the real ILSVRC files")
    return folder


@pytest.fixture(scope="session")
def ilsvrc_dataset(ilsvrc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 500 real images as a prepared dataset (folder)."""
    from pipeline.inputs.datasets.ilsvrc2012 import prepare_ilsvrc2012

    out = tmp_path_factory.mktemp("ilsvrc") / "dataset"
    prepare_ilsvrc2012(
        ilsvrc / "ILSVRC2012_img_val.tar",
        ilsvrc / "ILSVRC2012_bbox_val_v3.tgz",
        out,
        mapping=ilsvrc / "LOC_synset_mapping.txt",
    )
    return out


@pytest.fixture(scope="session")
def tiny_prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset in the layout of ILSVRC: 12 pictures from archives made here."""
    from pipeline.inputs.datasets.ilsvrc2012 import prepare_ilsvrc2012
    from tests.archives import write_archives

    folder = tmp_path_factory.mktemp("tiny")
    archives = write_archives(folder, 12)
    prepare_ilsvrc2012(archives.images, archives.boxes, folder / "dataset")
    return folder / "dataset"


@pytest.fixture(scope="session")
def tiny_planted(tmp_path_factory: pytest.TempPathFactory) -> PlantedDataset:
    """A planted dataset of 4 classes, 2 with a mark; 12 training and 6 validation images per class."""
    from pipeline.config_sections import DatasetConfig
    from pipeline.inputs.datasets.planted import Artefact, PlantedDataset, PlantedSpec, prepare_planted

    spec = PlantedSpec(
        classes=("square", "rhombus", "ring", "star"),
        artefacts=(("rhombus", Artefact("patch")), ("star", Artefact("stripe"))),
        train_per_class=12,
        validation_per_class=6,
        side=32,
    )
    folder = prepare_planted(spec, tmp_path_factory.mktemp("planted"))
    return PlantedDataset(DatasetConfig(source="planted", path=str(folder)), folder)


@pytest.fixture(scope="session")
def tiny_cnn(tiny_planted: PlantedDataset) -> keras.Model:
    """The planted network, trained for two epochs on ``tiny_planted``: fast, not good."""
    from pipeline.inputs.planted_model import train_planted_model

    return train_planted_model(tiny_planted, epochs=2)


@pytest.fixture(scope="session")
def tiny_cnn_file(tiny_planted: PlantedDataset, tiny_cnn: keras.Model) -> Path:
    """``tiny_cnn`` with its card, where the source ``planted`` looks for it."""
    from pipeline.inputs.planted_model import save_planted_model

    return save_planted_model(tiny_cnn, tiny_planted, seed=0)


@pytest.fixture(scope="session")
def tiny_dataset(tiny_prepared: Path) -> TfdsDataset:
    """``tiny_prepared``, opened."""
    from pipeline.config_sections import DatasetConfig
    from pipeline.inputs.datasets.tfds import TfdsDataset

    return TfdsDataset(DatasetConfig(source="tfds", path=str(tiny_prepared)))


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


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """The address of a real S3 server, a process of its own, for all tests."""
    from tests.object_stores import s3_server

    if importlib.util.find_spec("moto") is None:
        pytest.skip("moto, the S3 server for tests, is not installed")
    with s3_server() as address:
        yield address


@pytest.fixture
def s3(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The file system of that server, the environment's endpoint too, with the bucket ``audits``."""
    from pipeline.inputs.objects import store
    from tests.object_stores import environment

    s3fs = pytest.importorskip("s3fs")
    for name, value in environment(s3_address).items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(store, "_stores", {})  # connections to the servers of other tests
    files = s3fs.S3FileSystem()
    files.mkdirs("audits", exist_ok=True)
    yield files
    s3fs.S3FileSystem.clear_instance_cache()
