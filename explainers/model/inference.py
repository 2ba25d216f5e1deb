"""Layers that do nothing, or something else, when the model is not training: dropout, noise, augmentation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from explainers.model.graph import Arguments, Node

# Of Keras, those which pass their input on when not training. (Equalization, AutoContrast and the like do
# not: they work at inference as well.)
IDENTITIES = (
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout",
    "GaussianNoise", "AlphaDropout", "Identity", "ActivityRegularization", "StochasticDepth",
    "AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness", "RandomColorDegeneration",
    "RandomColorJitter", "RandomContrast", "RandomElasticTransform", "RandomErasing", "RandomFlip",
    "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective",
    "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear",
    "RandomTranslation", "RandomZoom", "Solarization",
)  # fmt: skip


def random_crop(node: Node, arguments: Arguments) -> Node:
    """It crops in training only, though Keras gives it the cropped shape: an identity where they agree."""
    before, after = tuple(arguments.tensors[0].shape[1:3]), tuple(node.shape[1:3])
    if before == after:
        return replace(node, kind="identity")
    return replace(
        node, note=f"it crops {before} to {after} in training only; valid: CenterCrop or Resizing, or none"
    )


def pipeline(node: Node, arguments: Arguments) -> Node:
    """A chain of preprocessing layers: an identity where each of them is one."""
    working = [type(layer).__name__ for layer in node.layer.layers if not _passes_on(layer)]
    if not working:
        return replace(node, kind="identity")
    return replace(
        node, note=f"a Pipeline that holds {', '.join(working)}; put these layers into the model one by one"
    )


def _passes_on(layer: Any) -> bool:
    return type(layer).__module__.startswith("keras.src.layers") and type(layer).__name__ in IDENTITIES
