"""How a network is taken apart into the nodes that relevance crosses: the same function, other graphs.

LRP's maps depend on it: a BatchNorm is part of the convolution before it, a layer, or two layers (Alber 2019,
"Software and Application Patterns for Explanation Methods", section 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from explainers.checks import one_of
from explainers.errors import InvalidParameter

BATCH_NORMS: Final = ("fold", "apart", "two")

# steps of the canonisation that can be left out, and what they need to change anything; without the others no
# rule could cross what remains: fused activations, attention in one piece, one unit for two classes
OPTIONAL_STEPS: Final = {
    "fold_into_previous": "no BatchNorm or other scale that a linear node before it could take in",
    "fold_into_next": "no BatchNorm or other scale that only linear nodes behind it could take in",
    "merge_padding": "no padding layer that a convolution behind it could take in",
    "cut_output": "no softmax or sigmoid at the end",
    "drop_identities": "no Dropout or other layer that only trains",
}
_FOLDS = ("fold_into_previous", "fold_into_next")


@dataclass(frozen=True)
class Decomposition:
    """Which steps the canonisation takes.

    `batch_norm`: `fold` into neighbours, `apart` as a node of its own, `two` for scale and shift (what holds
    for a BatchNorm holds for every scale per channel); `without`: names of OPTIONAL_STEPS that are left out.

    Raises InvalidParameter for other words, and for a fold left out where `batch_norm` folds nothing.
    """

    batch_norm: str = "fold"
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        one_of("batch_norm", self.batch_norm, BATCH_NORMS)
        for step in self.without:
            one_of("without", step, tuple(OPTIONAL_STEPS))
        folds = [step for step in self.without if step in _FOLDS]
        if folds and self.batch_norm != "fold":
            raise InvalidParameter(
                f"without: received {folds[0]!r} with batch_norm={self.batch_norm!r}, which folds nothing; "
                "valid: batch_norm='fold', or without that step"
            )

    def takes(self, step: str) -> bool:
        """Whether the step of this name is taken."""
        if step in _FOLDS and self.batch_norm != "fold":
            return False
        return step not in self.without and (step != "split_scales" or self.batch_norm == "two")


FOLDED: Final = Decomposition()
APART: Final = Decomposition("apart")
