"""What the outputs of a network are: how they become probabilities, and how many classes there are.

The graph decides: what its end is cut off as (a softmax, sigmoids) is what the outputs are. The card decides
where nothing is cut, and must not say anything else where something is.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from explainers.errors import ExplainError
from explainers.model.canonize import output_kind
from explainers.model.trace import trace
from pipeline.errors import InputError
from pipeline.inputs.card import ModelCard

_BY_CUT = {"softmax": "softmax", "log_softmax": "softmax", "sigmoid": "sigmoid"}


@dataclass(frozen=True)
class Outputs:
    """``kind``: see :func:`pipeline.measure.rows.probabilities`; ``classes``; ``by``: what decided, in words.

    ``model``: the network, with a sigmoid at its end where its one output is a logit.
    """

    model: keras.Model
    kind: str
    classes: int
    by: str


def outputs_of(model: keras.Model, card: ModelCard) -> Outputs:
    """What the outputs of ``model`` are. One sigmoid unit is two classes, with 1 - p and p.

    Raises:
        InputError: the model has no graph, the card contradicts it, or one output cannot be understood.
    """
    try:
        cut = output_kind(trace(model))
    except ExplainError as error:
        raise InputError(str(error)) from None
    units = model.output_shape[-1]
    if cut:
        kind, by = _BY_CUT[cut], f"by the network's own {cut}"
        if card.output not in ("", kind):
            raise InputError(
                f"its card says output = {card.output!r}, but the network ends in a {cut}; valid: "
                f"output = {kind!r}, or leave it out"
            )
    else:
        kind, by = _by_card(model, card, units)
    if units > 1:
        return Outputs(model, kind, units, by)
    if kind != "sigmoid":
        raise InputError(
            "it has one output, which is no sigmoid: two classes cannot be told from it; valid: one sigmoid "
            'unit, one logit with output = "sigmoid" in the card, or one output per class'
        )
    if not cut:
        ended = keras.layers.Activation("sigmoid", dtype="float32")(model.outputs[0])
        model = keras.Model(model.input, ended, name=model.name)
    return Outputs(model, kind, 2, f"{by}; one unit, so two classes with 1 - p and p")


def _by_card(model: keras.Model, card: ModelCard, units: int) -> tuple[str, str]:
    """The kind of outputs that no activation of the network tells, and by what."""
    if units > 1 and _are_probabilities(model, card):
        if card.output in ("logits", "sigmoid"):
            raise InputError(
                f"its card says output = {card.output!r}, but the outputs are positive and sum to 1; valid: "
                'output = "probabilities", or leave it out'
            )
        return (
            "probabilities",
            "they sum to 1 but come from no last softmax, so they are explained themselves",
        )
    if card.output == "probabilities":
        raise InputError(
            'its card says output = "probabilities", but its outputs do not sum to 1; valid: softmax, '
            "logits, sigmoid"
        )
    if card.output:
        return card.output, "by the model card"
    return "logits", "by default: the network ends in no softmax or sigmoid"


def _are_probabilities(model: keras.Model, card: ModelCard) -> bool:
    """Whether the outputs for a few coloured patterns are positive and sum to 1."""
    size = 3 * card.height * card.width * 3
    pictures = (np.arange(size) * 97 % 256).astype(np.uint8).reshape(3, card.height, card.width, 3)
    out = np.asarray(keras.ops.convert_to_numpy(model(card.prepare(pictures), training=False)), np.float64)
    return bool(np.all(out >= 0) and np.all(np.abs(out.sum(axis=-1) - 1) < 1e-3))
