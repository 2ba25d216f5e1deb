"""What can be told of a configuration before a framework is loaded: small files, and what is not there.

Loading TensorFlow and compiling takes half a minute; a misspelt path or column shall not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Config, parse_config
from pipeline.config_sections import DatasetConfig, ModelConfig, ReferenceConfig
from pipeline.errors import InputError
from pipeline.inputs.batches import map_classes
from pipeline.inputs.card import ModelCard
from pipeline.inputs.card_files import file_sha256, find_card, read_card
from pipeline.inputs.datasets import INFO_FILE, Dataset, glance_dataset
from pipeline.inputs.objects.places import Place, place
from pipeline.measure.metrics import get_metric
from pipeline.run.folder import MANIFEST
from pipeline.run.store import Store
from pipeline.trust import Trust, is_function

_FILES = (".keras", ".h5", ".hdf5")  # of models


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
    dataset, card = glance_dataset(config.dataset), glance_model(config.model, trust)
    if run is not None:
        run.refuse_other(config, dataset.info.fingerprint if dataset else None)
    if dataset is not None and card is not None:
        map_classes(dataset.info, card)
    return dataset


def glance_model(config: ModelConfig, trust: Trust) -> ModelCard | None:
    """The model's card, where it is a file; None where only the model itself knows.

    Raises:
        InputError: the model asks for more than ``trust``; the model's file, its card or its weights are
            missing or cannot be used.
    """
    trust.check(config)
    path = Path(config.source)
    if config.weights not in ("imagenet", "none") and not Path(config.weights).is_file():
        raise InputError(
            f"weights {config.weights!r}: no such file; valid: imagenet, none, or a weights file"
        )
    if config.card:
        return read_card(config.card).card
    if path.suffix and not is_function(config.source):
        refuse_missing(path, "model file")
    return find_card(config, path).card if path.suffix.lower() in _FILES else None


def given_run(reference: ReferenceConfig) -> Store | None:
    """The finished run that the configuration names; None where it names a model."""
    if is_function(reference.source) or reference.source.endswith(_FILES):
        return None
    run = Store(reference.source)
    return run if run.exists else None


def glance_reference(config: Config, trust: Trust) -> None:
    """Check what can be told of the reference before a framework is loaded.

    Raises:
        InputError: there is no such model, run or card, or it is the audited network itself.
    """
    reference = config.reference
    if not reference.source or given_run(reference) is not None:
        return
    try:
        glance_model(reference.model, trust)
    except InputError as error:
        told = str(error).replace("--card", "--reference-card")
        raise InputError(f"reference: {told}") from None
    files = [source for source in (config.model.source, reference.source) if source.endswith(_FILES)]
    if len(files) == 2 and file_sha256(files[0]) == file_sha256(files[1]):
        raise InputError(
            f"reference {reference.source}: the same network as the audited one, {config.model.source}: "
            "nothing could differ; give the last release, a public network, or one trained on other data"
        )


def refuse_missing(path: str | Path, what: str) -> None:
    """Refuse a file or folder, or object, that is not there. Raises :class:`InputError`."""
    if not place(str(path)).exists():
        raise InputError(f"{path}: no such {what}")


@dataclass(frozen=True)
class Moved:
    """Where what a run was made of is now, if it was moved; "": where it was."""

    dataset: str = ""
    annotations: str = ""
    model: str = ""
    card: str = ""

    def config(self, config: Config) -> Config:
        """The run's configuration with the places of today."""
        places = {"path": self.dataset, "annotations": self.annotations}
        dataset = config.dataset.model_copy(update={k: v for k, v in places.items() if v})
        sources = {"source": self.model, "card": self.card}
        model = config.model.model_copy(update={k: v for k, v in sources.items() if v})
        return config.model_copy(update={"dataset": dataset, "model": model})


def glance_run(run: Store, trust: Trust, moved: Moved) -> Config:
    """The configuration of a finished run, after a look whether data and model are where it says.

    Raises:
        InputError: something is not there, with its place and what to do; or it is not the run's any more.
    """
    manifest = run.manifest
    config = moved.config(parse_config(manifest["config"], f"{run.path}/{MANIFEST}"))
    trust.check(config.model)
    fingerprint, sha256 = str(manifest["dataset"]["fingerprint"]), str(manifest["model"]["sha256"])
    with _told(run, "dataset", place(config.dataset.path or "data"), fingerprint):
        _there(config.dataset)
        dataset = glance_dataset(config.dataset)
        if dataset is not None and dataset.info.fingerprint != fingerprint:
            raise InputError(f"what is there is not the run's any more ({dataset.info.fingerprint[:12]})")
    path = Path(config.model.source)
    if path.suffix and not is_function(config.model.source):
        with _told(run, "model", path, sha256):
            if not path.is_file():
                raise InputError("there is no such file")
            if (now := file_sha256(path)) != sha256:
                raise InputError(f"what is there is not the run's any more ({now[:12]})")
    return config


def _there(config: DatasetConfig) -> None:
    """Refuse a planted dataset that would have to be drawn again."""
    root = Path(config.path or "data")
    if config.source == "planted" and not any(
        (folder / INFO_FILE).is_file() for folder in (root, *root.glob("planted-*"))
    ):
        raise InputError("there is no dataset")


@contextmanager
def _told(run: Store, what: str, where: Place, identity: str) -> Iterator[None]:
    """Say with an error what of a run was looked for, where, and what to do."""
    try:
        yield
    except InputError as error:
        whole = where.absolute() if isinstance(where, Path) else where
        raise InputError(
            f"{run.path}: its {what} ({identity[:12]}) is looked for at {whole}: {error}; put it "
            f"back there, or say where it is now: --{what}"
        ) from None
