"""Where a model comes from, and the card that says how its input is prepared.

Sources: a ``keras.applications`` name, a ``.keras`` or ``.h5`` file, ``package.module:function``, planted.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from explainers.errors import UntraceableModel
from explainers.model.loading import application_names, check_format, load_file, names_file
from pipeline.config_sections import ModelConfig
from pipeline.errors import InputError
from pipeline.inputs.card import ModelCard
from pipeline.inputs.card_files import FoundCard, file_sha256, find_card, read_card
from pipeline.inputs.datasets import Dataset
from pipeline.inputs.outputs import outputs_of
from pipeline.trust import NOTHING, Trust, is_function

CROP = 0.875  # share of the shorter side that ImageNet evaluation crops: 224 of 256


@dataclass(frozen=True)
class LoadedModel:
    """A network and its card. ``sha256`` of the file, or of the weights where there is no file.

    ``decisions``: what was decided about it by default or by guess, a sentence each.
    """

    model: keras.Model
    card: ModelCard
    sha256: str
    name: str
    decisions: tuple[str, ...] = ()


def load_model(
    config: ModelConfig, dataset: Dataset | None = None, trust: Trust = NOTHING, sha256: str | None = None
) -> LoadedModel:
    """The model that ``config`` describes.

    ``dataset`` is needed by the source ``planted`` only: its network is trained on it and kept beside it.
    ``trust``: whether code may run for it, whatever ``config`` says. ``sha256``: of the model that is looked
    for; a file is compared before anything of it is read, and none is trained.
    Raises :class:`InputError` when the model or its card cannot be had.
    """
    trust.check(config)
    source = config.source
    if source == "planted":
        return _planted(config, dataset, sha256)
    if names_file(source):
        return _from_file(config, Path(source), trust, sha256)
    model = _from_function(config) if is_function(source) else _from_applications(config)
    check_sha256(source, model.sha256, sha256)
    return model


def check_sha256(where: str, now: str, then: str | None) -> None:
    """Refuse another model than the one that is looked for (None: any). Raises :class:`InputError`."""
    if then is not None and now != then:
        raise InputError(
            f"{where}: the model is not the run's any more (sha256 {now[:12]} instead of {then[:12]}); put "
            "the old one back, or audit the new one first"
        )


def _from_file(config: ModelConfig, path: Path, trust: Trust, sha256: str | None) -> LoadedModel:
    try:
        check_format(path)
    except UntraceableModel as error:
        raise InputError(str(error)) from None
    if not path.is_file():
        raise InputError(f"{path}: no such model file")
    digest = file_sha256(path)
    check_sha256(str(path), digest, sha256)
    found = find_card(config, path, digest)
    if found.shipped:
        found = replace(found, card=_imagenet_named(found.card))
    try:
        model = load_file(path, trust.unsafe)
    except UntraceableModel as error:
        raise InputError(str(error)) from None
    return _finish(model, found, digest, path.stem)


def _from_function(config: ModelConfig) -> LoadedModel:
    where, _, name = config.source.partition(":")
    try:
        function = getattr(importlib.import_module(where), name)
        made = function()
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(f"model {config.source!r}: cannot call it: {_first_line(error)}") from None
    model, card = made if isinstance(made, tuple) else (made, None)
    if config.card:
        found = read_card(config.card)
    elif card is None:
        raise InputError(
            f"model {config.source!r}: give --card, or return (model, ModelCard) from the function"
        )
    else:
        found = FoundCard(card, f"comes from {config.source}")
    return _finish(model, found, "", config.source)


def _from_applications(config: ModelConfig) -> LoadedModel:
    if config.source not in application_names():
        names = ", ".join(application_names())
        raise InputError(
            f"model {config.source!r} is unknown; valid: a .keras or .h5 file, package.module:function, "
            f"planted, or one of keras.applications: {names}"
        )
    build = vars(keras.applications)[config.source]
    weights = None if config.weights == "none" else config.weights
    if weights not in (None, "imagenet") and not Path(str(weights)).is_file():
        raise InputError(f"weights {weights!r}: no such file; valid: imagenet, none, or a weights file")
    try:
        model = build(weights=weights)
    except Exception as error:  # a failed download is a bare Exception in Keras
        raise InputError(
            f"model {config.source!r}: weights {config.weights!r} cannot be loaded: {_first_line(error)}; "
            "give a weights file, or none"
        ) from None
    if config.card:
        found = read_card(config.card)
    else:
        preprocess = importlib.import_module(build.__module__).preprocess_input
        origin = f"from {config.source}'s own preprocess_input; resized and cropped as ImageNet is evaluated"
        found = FoundCard(application_card(model, preprocess), origin)
    loaded = _finish(model, found, "", config.source)
    return replace(loaded, decisions=(_weights_told(config), *loaded.decisions))


def _weights_told(config: ModelConfig) -> str:
    if config.weights == "none":
        return "weights: none; the network is untrained, its weights are random"
    return f"weights: {config.weights}" + (" (the default)" if config.weights == "imagenet" else "")


def application_card(model: keras.Model, preprocess: Callable[[np.ndarray], np.ndarray]) -> ModelCard:
    """The card of a ``keras.applications`` network, its preprocessing found by probing the function itself.

    That function is affine per channel, up to the order of the channels: two probes determine it.
    """
    _, height, width, _ = model.input_shape
    zero = np.asarray(preprocess(np.zeros((1, 1, 1, 3), np.float32)), np.float64)[0, 0, 0]
    probes = [np.zeros((1, 1, 1, 3), np.float32) for _ in range(3)]
    for channel, probe in enumerate(probes):
        probe[..., channel] = 255
    slopes = np.stack([np.asarray(preprocess(p), np.float64)[0, 0, 0] - zero for p in probes], axis=1) / 255
    order = "rgb" if abs(slopes[0, 0]) > abs(slopes[0, 2]) else "bgr"
    slope = np.diag(slopes if order == "rgb" else slopes[:, ::-1])
    card = ModelCard(
        height=height,
        width=width,
        shorter_side=round(max(height, width) / CROP),
        channel_order=order,
        mean=tuple(float(round(v, 4)) for v in -zero / slope + 0.0),
        std=tuple(float(round(v, 4)) for v in 1 / slope),
        classes=model.output_shape[-1],
    )
    return _imagenet_named(card)


def _imagenet_named(card: ModelCard) -> ModelCard:
    """The card of a network of ImageNet's 1000 classes with their ids and names; any other as it is."""
    from pipeline.inputs.datasets.ilsvrc2012 import imagenet_classes

    ids, names = imagenet_classes()
    return replace(card, class_ids=ids, class_names=names) if card.classes == len(ids) else card


def _planted(config: ModelConfig, dataset: Dataset | None, sha256: str | None) -> LoadedModel:
    from pipeline.inputs.datasets.planted import PlantedDataset
    from pipeline.inputs.planted_model import model_path, planted_model

    if not isinstance(dataset, PlantedDataset):
        raise InputError(
            "model 'planted' is trained on the planted dataset; use it with dataset source 'planted', or "
            "name another model"
        )
    path = planted_model(dataset) if sha256 is None else model_path(dataset)
    return _from_file(config.model_copy(update={"source": str(path)}), path, NOTHING, sha256)


def _finish(model: Any, found: FoundCard, digest: str, name: str) -> LoadedModel:
    """Check card against network and fill in what the network itself says; ``digest`` "": of its weights."""
    card = found.card
    if not isinstance(model, keras.Model):
        raise InputError(f"model {name}: received {type(model).__name__}, valid is a keras.Model")
    single = len(model.inputs) == 1 and len(model.outputs) == 1
    if not single or len(model.input_shape) != 4 or len(model.output_shape) != 2:
        shapes = [tuple(tensor.shape) for tensor in (*model.inputs, *model.outputs)]
        raise InputError(
            f"model {name}: has {len(model.inputs)} inputs and {len(model.outputs)} outputs of shapes "
            f"{', '.join(map(str, shapes))}; valid is one image in (b h w c), one vector of classes out (b k)"
        )
    expected = (card.height, card.width, card.channels)
    if any(size not in (None, want) for size, want in zip(model.input_shape[1:], expected, strict=True)):
        raise InputError(f"model {name}: takes {model.input_shape[1:]}, but its card says {expected}")
    _check_dtype(model, card, name)
    digest = digest or model_sha256(model)
    try:
        outputs = outputs_of(model, card)
    except InputError as error:
        raise InputError(f"model {name}: {error}") from None
    if card.classes not in (0, outputs.classes):
        raise InputError(
            f"model {name}: has {model.output_shape[-1]} outputs, for {outputs.classes} classes, but its "
            f"card says {card.classes} classes"
        )
    card = replace(card, classes=outputs.classes, output=outputs.kind)
    decisions = (*found.decisions, f"output: {outputs.kind}, {outputs.by}")
    return LoadedModel(outputs.model, card, digest, name, decisions)


def _check_dtype(model: keras.Model, card: ModelCard, name: str) -> None:
    """A network that takes whole numbers gets whole numbers of its range."""
    dtype = np.dtype(str(model.inputs[0].dtype).replace("bfloat16", "float16"))
    if dtype.kind not in "iu":
        return
    ramp = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 1, 256, 3)
    values, info = card.prepare(ramp), np.iinfo(dtype)
    if np.any(values != np.rint(values)) or values.min() < info.min or values.max() > info.max:
        raise InputError(
            f"model {name}: takes {dtype} whole numbers, but its card makes {values.min():g} to "
            f"{values.max():g} of pixels; valid: scale = 1, mean 0 and std 1, if the network prepares its "
            "input itself"
        )


def model_sha256(model: keras.Model) -> str:
    """sha256 of the weights in order, with their names and shapes."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(f"{variable.path.rpartition('/')[2]} {tuple(variable.shape)}".encode())
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
