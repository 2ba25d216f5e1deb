"""Configured methods, bound to a network: what the user left open comes from the card and the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from explainers import Analyzer, Fitted, create_analyzer, method_info
from pipeline.config import AUTO
from pipeline.config_sections import MethodConfig
from pipeline.errors import InputError
from pipeline.inputs.batches import iter_batches
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets import Dataset
from pipeline.inputs.models import LoadedModel
from pipeline.inputs.shards import plan_shards
from pipeline.seeds import Purpose

ESTIMATE_IMAGES = 256  # of the dataset, for methods that estimate from data
_AT_ONCE = 8  # neighbouring images that are read together


def create(method: MethodConfig, card: ModelCard) -> Analyzer:
    """The analyzer of ``method``; a ``low`` or ``high`` that is not given is the card's.

    Raises:
        ExplainError: the method or a parameter is unknown or impossible.
        InputError: it is ``auto``, which is no method.
    """
    if method.name == AUTO:
        raise InputError(
            f"method {AUTO} chooses on the images of a dataset, as `hansaudit run` does; here name methods "
            "(`hansaudit methods` lists them)"
        )
    given = dict(method.params)
    for name, values in (("low", card.low), ("high", card.high)):
        if name in method_info(method.name).parameters and name not in given:
            given[name] = tuple(float(v) for v in values)
    return create_analyzer(method.name, **given)


def check(method: MethodConfig) -> None:
    """Refuse an unknown method or parameter before anything is loaded.

    Raises:
        ExplainError: as :func:`create` does, as far as it can be told without a card.
    """
    about = method_info(method.name)
    from_card = {"low", "high"} & set(about.required) - set(method.params)
    if not from_card or set(method.params) - set(about.parameters):
        create_analyzer(method.name, **method.params)


def fit_methods(
    methods: Iterable[MethodConfig],
    model: LoadedModel,
    data: Callable[[], Iterable[np.ndarray]] | None = None,
) -> Mapping[str, Fitted]:
    """Fitted analyzers by method key, in order. ``data()`` gives batches of inputs, anew for every method.

    Raises:
        ExplainError: the method, a parameter or the model cannot be used.
        InputError: a method estimates from images and there are none.
    """
    fitted: dict[str, Fitted] = {}
    for method in methods:
        analyzer = create(method, model.card)
        if not analyzer.estimates:
            fitted[method.key] = analyzer.fit(model.model)
        elif data is None:
            raise InputError(
                f"method {method.name!r} estimates from images of the kind that the network sees; give some "
                "with --references (a prepared dataset, an image folder with boxes, or 'planted')"
            )
        else:
            fitted[method.key] = analyzer.fit(model.model, data())
    return fitted


def reference_batches(
    dataset: Dataset, card: ModelCard, images: int = ESTIMATE_IMAGES
) -> Iterator[np.ndarray]:
    """About ``images`` of the dataset, spread over it, as inputs b h w c; unreadable ones are left out.

    Their labels play no part, so they may be of classes that the network does not know.
    """
    card = replace(card, classes=0, class_names=(), class_ids=())
    about = dataset.info
    shards = plan_shards(about.name, about.split, about.n_examples, _AT_ONCE)
    pieces = min(len(shards), -(-images // _AT_ONCE))
    # every other piece first, so that the first few images already come from all over the dataset
    places = np.unique(np.linspace(0, len(shards) - 1, pieces).round().astype(int))
    for place in Purpose.REFERENCE_PIECES.rng(0).permutation(places):
        for batch in iter_batches(dataset, shards[place], card, _AT_ONCE):
            if batch.valid.any():
                yield batch.inputs[batch.valid]
