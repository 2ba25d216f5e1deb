"""What can be told of a configuration before a framework is loaded: small files, and what is not there.

Loading TensorFlow and compiling takes half a minute; a misspelt path or column shall not.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.config import Config, ModelConfig
from pipeline.errors import InputError
from pipeline.inputs.batches import map_classes
from pipeline.inputs.card import ModelCard
from pipeline.inputs.card_files import find_card, read_card
from pipeline.inputs.datasets import Dataset, glance_dataset
from pipeline.measure.metrics import get_metric
from pipeline.run.store import Store
from pipeline.trust import Trust


def glance(config: Config, trust: Trust, run: Store | None = None) -> Dataset | None:
    """Check what can be checked; returns the dataset where opening it takes no framework.

    ``trust``: what may be executed for the model; ``run``: where the audit shall go.

    Raises:
        InputError, ConfigError: the model asks for more, a file or folder is missing or cannot be read,
            dataset and model card do not fit, a metric is unknown, or the folder holds another run.
    """
    trust.check(config.model)
    for name in config.audit.metrics:
        get_metric(name)
    dataset = glance_dataset(config.dataset)
    card = _glance_model(config.model)
    if run is not None:
        run.refuse_other(config, dataset.info.fingerprint if dataset else None)
    if dataset is not None and card is not None:
        map_classes(dataset.info, card)
    return dataset


def _glance_model(config: ModelConfig) -> ModelCard | None:
    """The model's card, where it is a file; None where only the model itself knows."""
    path = Path(config.source)
    if config.weights not in ("imagenet", "none") and not Path(config.weights).is_file():
        raise InputError(
            f"weights {config.weights!r}: no such file; valid: imagenet, none, or a weights file"
        )
    if config.card:
        return read_card(config.card).card
    if path.suffix and ":" not in config.source and not path.exists():
        raise InputError(f"{path}: no such model file")
    return find_card(config, path).card if path.suffix.lower() in (".keras", ".h5", ".hdf5") else None
