"""Gradient SHAP (expected gradients) and Kernel SHAP (Shapley values of segments)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import Any, ClassVar, Self

import numpy as np
from keras import ops

from explainers.analyzer import State
from explainers.checks import Numbers, between, numbers, per_channel, whole
from explainers.engine import Tensor
from explainers.inputs import image_shape
from explainers.methods.deeplift import reference_scores, references
from explainers.methods.lime import switched
from explainers.network import Network
from explainers.registry import register
from explainers.rules.presets import GRADIENT, Preset
from explainers.sampling.analyzer import Maps, SamplingAnalyzer, SamplingFitted, spread
from explainers.sampling.runner import add_rows
from explainers.sampling.segments import Segmentation, background, check_samples
from explainers.sampling.slopes import Slopes
from explainers.sampling.trials import Trials
from explainers.targets import Goal

LUNDBERG = "Lundberg, Lee 2017 (arXiv:1705.07874)"


@register(
    "gradient_shap",
    family="reference",
    paper="Erion et al. 2021 (arXiv:1906.10670); " + LUNDBERG,
    cost="1 + samples x 2 forward passes",
    needs=("data",),
)
@dataclass(frozen=True)
class GradientShap(SamplingAnalyzer):
    """`R = mean_s (y_s - x'_s) df/dx (x'_s + a_s (y_s - x'_s))`, `y_s = x + n_s`, `a ~ U(0, 1)`.

    References x'_s are drawn from the first `references` images of the data of `fit`, each equally
    often up to one. `n ~ N(0, noise_scale^2)`, in units of the preprocessed input; the image itself is
    moved, as in the implementations of SHAP. In expectation the maps sum to `mean f(y) - mean f(x')`:
    to `f(x) - mean f(x')` without noise. The draws are the same for every image of a call.
    """

    method: ClassVar[str] = "gradient_shap"
    estimates: ClassVar[bool] = True
    samples: int = 32
    references: int = 16
    noise_scale: float = 0.0
    seed: int = 0
    batch_size: int = 16

    def __post_init__(self) -> None:
        whole("samples", self.samples)
        whole("references", self.references)
        whole("seed", self.seed, 0)
        whole("batch_size", self.batch_size)
        between("noise_scale", self.noise_scale, 0, np.inf)

    def estimate(self, net: Network, data: Any) -> State:
        return {"references": references(net, data, self.references, "gradient_shap")}

    def preset(self) -> Preset:
        return GRADIENT

    def passes(self, crossing: float) -> float:
        return 1 + self.samples * crossing

    def bind(self, net: Network, state: State) -> GradientShapFitted:
        return GradientShapFitted(self, net, state)


class GradientShapFitted(SamplingFitted):
    """Gradient SHAP of one network and its references."""

    complete = True
    analyzer: GradientShap

    def prepare(self) -> None:
        def between_(x: Tensor, reference: Tensor, alpha: Tensor, noise: Tensor) -> Tensor:
            alpha = ops.reshape(alpha, (-1, *[1] * (len(x.shape) - 1)))
            return reference + alpha * (x + noise - reference)

        self.slopes = Slopes("gradient_shap", self.network, between_, self.analyzer.batch_size)

    def explain(self, x: np.ndarray, inputs: tuple[np.ndarray, ...], goal: Goal, output: np.ndarray) -> Maps:
        a, dtype = self.analyzer, np.dtype(self.network.dtype)
        others = self.state["references"]
        rng = np.random.default_rng(a.seed)
        alpha = rng.random(a.samples).astype(dtype)
        chosen = rng.permutation(np.arange(a.samples) % len(others))

        def noise(which: np.ndarray) -> np.ndarray:
            if a.noise_scale == 0:
                return np.zeros((len(which), *[1] * (x.ndim - 1)), dtype)
            draws = [np.random.default_rng((a.seed, int(j))).standard_normal(x.shape[1:]) for j in which]
            return (a.noise_scale * np.stack(draws)).astype(dtype)

        def spec(rows: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, ...]:
            return others[chosen[which]], alpha[which], noise(which)

        total = np.zeros(x.shape)
        for rows, which, gradients in self.slopes(inputs, goal, a.samples, spec):
            moved = x[rows].astype(np.float64) + noise(which)
            add_rows(total, rows, gradients * (moved - others[chosen[which]]))
        at = goal.scores(output, np.arange(len(x)))
        used = others[np.unique(chosen)]
        return Maps(total / a.samples, sums_to=at - reference_scores(self.network, inputs, used, goal))


@register(
    "kernel_shap",
    family="perturbation",
    paper=LUNDBERG,
    cost="2 + samples x references forward passes",
)
@dataclass(frozen=True)
class KernelShap(SamplingAnalyzer):
    """Shapley values of segments by regression: coalitions z, weights `(S-1) / (C(S,|z|) |z| (S-|z|))`.

    A segment outside the coalition shows `value`, or the images given as data to `fit` (the first
    `references`, their scores averaged). Up to `samples` coalitions, all of them when that is enough
    (then the values are exact): whole sizes from both ends first, then random ones in pairs with
    their complement. The values sum to `f(x) - f(nothing)` exactly. Every pixel of a segment gets its
    value; the channels share equally.
    """

    method: ClassVar[str] = "kernel_shap"
    samples: int = 1000
    segmentation: str = "grid"
    size: int = 32
    kernel_size: float = 4.0
    max_dist: float = 200.0
    ratio: float = 0.2
    value: Numbers = 0.0
    references: int = 1
    seed: int = 0
    batch_size: int = 32

    def __post_init__(self) -> None:
        check_samples(self.samples)
        whole("references", self.references)
        whole("seed", self.seed, 0)
        whole("batch_size", self.batch_size)
        numbers("value", self.value)
        self.cut()

    def plain(self) -> Self:
        return replace(self, value=numbers("value", self.value))

    def cut(self) -> Segmentation:
        """How images are segmented."""
        return Segmentation(self.segmentation, self.size, self.kernel_size, self.max_dist, self.ratio)

    def estimate(self, net: Network, data: Any) -> State:
        value = per_channel("value", self.value, image_shape(net, "kernel_shap")[2])
        return {"references": background(net, data, value, self.references, "kernel_shap")}

    def bind(self, net: Network, state: State) -> KernelShapFitted:
        return KernelShapFitted(self, net, state)


def coalitions(segments: int, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`n S` zeros and ones, neither all off nor all on, and their weights; n <= max(samples, 2)."""
    weight = {k: (segments - 1) / (k * (segments - k)) for k in range(1, segments)}
    left, rows, weights = samples, [], []
    sizes = list(range(1, segments // 2 + 1))
    while sizes:
        k = sizes[0]
        both = sorted({k, segments - k})
        count = comb(segments, k) * len(both)
        if count > left:
            break
        for size in both:
            chosen = np.zeros((comb(segments, size), segments))
            for row, members in enumerate(combinations(range(segments), size)):
                chosen[row, list(members)] = 1
            rows.append(chosen)
            weights.append(np.full(len(chosen), weight[size] / len(chosen)))
        left -= count
        sizes.pop(0)
    if sizes and left >= 2:
        rest = sum(weight[k] for size in sizes for k in {size, segments - size})
        drawn = _drawn(segments, left // 2, sizes, weight, seed)
        rows.append(drawn)
        weights.append(np.full(len(drawn), rest / len(drawn)))
    if not rows:
        return np.zeros((0, segments)), np.zeros(0)
    return np.concatenate(rows), np.concatenate(weights)


def _drawn(segments: int, pairs: int, sizes: list[int], weight: Mapping[int, float], seed: int) -> np.ndarray:
    """Random coalitions of these sizes by their weight, each followed by its complement."""
    rng = np.random.default_rng((seed, segments))
    share = np.array([weight[k] * len({k, segments - k}) for k in sizes])
    drawn = rng.choice(sizes, pairs, p=share / share.sum())
    order = np.argsort(rng.random((pairs, segments)), axis=1)
    z = (np.argsort(order, axis=1) < drawn[:, None]).astype(np.float64)
    return np.stack([z, 1 - z], axis=1).reshape(-1, segments)


def shapley(
    z: np.ndarray, weights: np.ndarray, y: np.ndarray, nothing: float, everything: float
) -> np.ndarray:
    """`min_v sum_i w_i (y_i - nothing - z_i v)^2` with `sum v = everything - nothing`.

    The constraint is met by writing `v = mean + deviation` with the deviations summing to 0; where the
    coalitions do not determine the deviations, the smallest ones are taken.
    """
    segments, gain = z.shape[1], everything - nothing
    mean = gain / segments
    root = np.sqrt(weights)
    centred = z - z.mean(axis=1, keepdims=True)
    residual = y - nothing - z.sum(axis=1) * mean
    deviation = np.linalg.lstsq(centred * root[:, None], residual * root, rcond=None)[0]
    return mean + deviation - deviation.mean()


class KernelShapFitted(SamplingFitted):
    """Kernel SHAP of one network."""

    analyzer: KernelShap

    def prepare(self) -> None:
        def seen(x: Tensor, labels: Tensor, on: Tensor, reference: Tensor) -> Tensor:
            return switched(x, reference, labels, on)

        self.trials = Trials("kernel_shap", self.network, seen, self.analyzer.batch_size)

    def explain(self, x: np.ndarray, inputs: tuple[np.ndarray, ...], goal: Goal, output: np.ndarray) -> Maps:
        a, rows = self.analyzer, np.arange(len(x))
        others = np.broadcast_to(self.state["references"], (len(self.state["references"]), *x.shape[1:]))
        labels = np.stack([a.cut().labels(image) for image in x])
        plans = [coalitions(int(segmented.max()) + 1, a.samples, a.seed) for segmented in labels]
        scores = self._scores(inputs, goal, labels, [z for z, _ in plans], others)
        everything = goal.scores(output, rows)
        nothing = reference_scores(self.network, inputs, others, goal)
        maps = []
        for row, (segmented, (z, weights)) in enumerate(zip(labels, plans, strict=True)):
            y = scores[row, : len(z)]
            values = shapley(z, weights, y, nothing[row], everything[row]) if len(z) else None
            if values is None:  # too few samples for any coalition, or one segment: all share the gain
                values = np.full(z.shape[1], (everything[row] - nothing[row]) / z.shape[1])
            maps.append(values[segmented])
        return Maps(spread(np.stack(maps), x.shape[-1]))

    def _scores(
        self, inputs: Sequence[np.ndarray], goal: Goal, labels: np.ndarray, z: list, others: np.ndarray
    ) -> np.ndarray:
        """`b n`: the score of every coalition, averaged over the references."""
        most, longest = max(on.shape[1] for on in z), max(len(on) for on in z)
        padded = np.zeros((len(z), max(longest, 1), most), np.int32)
        for row, on in enumerate(z):
            padded[row, : len(on), : on.shape[1]] = on
        m = len(others)

        def spec(rows: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, ...]:
            return padded[rows, which // m], others[which % m]

        scores = self.trials.scores((*inputs, labels), goal, padded.shape[1] * m, spec)
        return scores.reshape(len(z), -1, m).mean(axis=2)
