"""Prediction-difference analysis: what the class loses when a patch is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from explainers.analyzer import State
from explainers.checks import between, whole
from explainers.inputs import image_shape
from explainers.network import Network
from explainers.registry import register
from explainers.sampling.analyzer import Maps, SamplingAnalyzer, SamplingFitted, spread
from explainers.sampling.conditional import Conditional, patches
from explainers.sampling.trials import Trials
from explainers.sampling.windows import corners, fits, paint
from explainers.targets import Goal


@register(
    "prediction_difference",
    family="perturbation",
    paper="Zintgraf et al. 2017 (arXiv:1702.04595)",
    cost="1 + samples x windows forward passes",
    needs=("data",),
)
@dataclass(frozen=True)
class PredictionDifference(SamplingAnalyzer):
    """`R_p = log2 odds(c | x) - log2 odds(c | x without p)`, the mean over the windows of a pixel.

    `p(c | x without p)` is the mean over `samples` images whose window of `size` is drawn from the
    normal distribution of such patches given the ring of `padding` pixels around it; fitted on
    `patches` random patches of the data of `fit`. Probabilities are corrected by Laplace,
    `(p N + 1) / (N + K)`, N = `examples`. For a function of the output it is the mean loss of that
    number instead of odds. Windows start every `stride` (0: `size`) pixels and lie inside the image.
    """

    method: ClassVar[str] = "prediction_difference"
    estimates: ClassVar[bool] = True
    size: int = 8
    stride: int = 0
    padding: int = 2
    samples: int = 10
    patches: int = 10_000
    examples: int = 1_000_000
    seed: int = 0
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name in ("size", "samples", "examples", "batch_size"):
            whole(name, getattr(self, name))
        whole("patches", self.patches, 2)
        for name in ("stride", "padding", "seed"):
            whole(name, getattr(self, name), 0)
        between("stride", self.stride, 0, self.size)

    @property
    def outer(self) -> int:
        """Side of a window with its ring."""
        return self.size + 2 * self.padding

    def estimate(self, net: Network, data: Any) -> State:
        height, width, _ = image_shape(net, "prediction_difference")
        if height and width and data is not None:
            fits("size + 2 padding", self.outer, (height, width))
        return patches(net, data, self.outer, self.patches, self.seed)

    def bind(self, net: Network, state: State) -> PredictionDifferenceFitted:
        return PredictionDifferenceFitted(self, net, state)


def probabilities(logits: np.ndarray, cut: str) -> np.ndarray:
    """Softmax of the logits, or sigmoid where that is what the model ends with; float64."""
    logits = np.asarray(logits, np.float64)
    if cut == "sigmoid":
        return 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def log_odds(p: np.ndarray, examples: int, classes: int) -> np.ndarray:
    """`log2 (p / (1 - p))` of `(p N + 1) / (N + K)`."""
    p = (p * examples + 1) / (examples + classes)
    return np.log2(p) - np.log2(1 - p)


class PredictionDifferenceFitted(SamplingFitted):
    """Prediction-difference analysis of one network and the patches of one dataset."""

    analyzer: PredictionDifference

    def prepare(self) -> None:
        a = self.analyzer
        channels = image_shape(self.network, "prediction_difference")[2]
        self.conditional = Conditional(
            self.state["mean"], self.state["covariance"], (a.outer, a.outer, channels), a.size
        )
        self.trials = Trials("prediction_difference", self.network, lambda x, drawn: drawn, a.batch_size)

    def explain(self, x: np.ndarray, inputs: tuple[np.ndarray, ...], goal: Goal, output: np.ndarray) -> Maps:
        a, shape = self.analyzer, x.shape[1:3]
        fits("size + 2 padding", a.outer, shape)
        where = corners(shape, (a.size, a.size), a.stride or a.size, partial=False)

        def spec(rows: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, ...]:
            return (self.resampled(x, where, rows, which),)

        measure = None if goal.function else self._probability(goal)
        scores = self.trials.scores(inputs, goal, len(where) * a.samples, spec, measure)
        without = scores.reshape(len(x), len(where), a.samples).mean(axis=2)
        rows = np.arange(len(x))
        if goal.function:
            lost = goal.scores(output, rows)[:, None] - without
        else:
            classes = max(2, output.shape[-1])
            seen = self._probability(goal)(output, rows, rows)[:, None]
            lost = log_odds(seen, a.examples, classes) - log_odds(without, a.examples, classes)
        return Maps(spread(paint(lost, where, (a.size, a.size), shape), x.shape[-1]))

    def _probability(self, goal: Goal) -> Any:
        cut = self.network.graph.cut
        return lambda out, rows, which: probabilities(out, cut)[np.arange(len(out)), goal.classes[rows]]

    def resampled(self, x: np.ndarray, where: np.ndarray, rows: np.ndarray, which: np.ndarray) -> np.ndarray:
        """The images with one window each drawn anew: window `which // samples`, draw `which % samples`."""
        a = self.analyzer
        images = x[rows].copy()
        low, high = self.state["low"], self.state["high"]
        for item, (row, variant) in enumerate(zip(rows, which, strict=True)):
            window, draw = divmod(int(variant), a.samples)
            top, left = where[window]
            noise = np.random.default_rng((a.seed, window, draw)).standard_normal(a.size**2 * x.shape[-1])
            drawn = self.conditional.draw(x[row], (int(top), int(left)), noise)
            images[item, top : top + a.size, left : left + a.size] = np.clip(drawn, low, high)
        return images
