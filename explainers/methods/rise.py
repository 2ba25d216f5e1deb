"""RISE: the mean of random masks, weighted by the score of the image seen through them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Self

import numpy as np
from keras import ops

from explainers.analyzer import State
from explainers.checks import Numbers, between, numbers, whole
from explainers.engine import Tensor
from explainers.inputs import image_shape
from explainers.network import Network
from explainers.registry import register
from explainers.sampling.analyzer import Maps, SamplingAnalyzer, SamplingFitted, spread
from explainers.sampling.trials import Trials
from explainers.targets import Goal

_AT_ONCE = 64  # masks in memory while the maps are summed


@register(
    "rise",
    family="perturbation",
    paper="Petsiuk, Das, Saenko 2018 (arXiv:1806.07421)",
    cost="1 + samples forward passes",
)
@dataclass(frozen=True)
class Rise(SamplingAnalyzer):
    """`R = 1 / (N p) sum_i f(x * M_i + value * (1 - M_i)) M_i`, N = `samples`.

    A mask is a `grid` x `grid` pattern of independent zeros and ones (one with `probability` p),
    enlarged bilinearly to one cell more than the image and cut out at a random shift. The masks are
    the same for every image. `f` is the explained logit; the channels share a pixel's value equally.
    """

    method: ClassVar[str] = "rise"
    samples: int = 4000
    grid: int = 7
    probability: float = 0.5
    value: Numbers = 0.0
    seed: int = 0
    batch_size: int = 32

    def __post_init__(self) -> None:
        whole("samples", self.samples)
        whole("grid", self.grid)
        whole("batch_size", self.batch_size)
        whole("seed", self.seed, 0)
        between("probability", self.probability, 0, 1, open_low=True)
        numbers("value", self.value)

    def plain(self) -> Self:
        return replace(self, value=numbers("value", self.value))

    def bind(self, net: Network, state: State) -> RiseFitted:
        return RiseFitted(self, net, state)


class Masks(NamedTuple):
    """`mask_i = rows_i cells_i columns_i^T`: small factors of large masks."""

    cells: np.ndarray  # n grid grid
    shifts: np.ndarray  # n 2, pixels

    def factors(self, shape: tuple[int, int], which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Interpolation rows `n h grid`, cells and columns `n w grid` of the chosen masks."""
        grid = self.cells.shape[-1]
        rows, columns = (enlarge(n, grid, self.shifts[which, i]) for i, n in enumerate(shape))
        return rows, self.cells[which], columns


def draw_masks(samples: int, grid: int, probability: float, shape: tuple[int, int], seed: int) -> Masks:
    """Random cells and shifts for images of this shape."""
    rng = np.random.default_rng(seed)
    cells = (rng.random((samples, grid, grid)) < probability).astype(np.float32)
    cell = [-(-n // grid) for n in shape]
    return Masks(cells, np.stack([rng.integers(0, c, samples) for c in cell], axis=1))


def enlarge(length: int, grid: int, shift: np.ndarray) -> np.ndarray:
    """`n length grid` weights of linear interpolation from `grid` cells to `grid + 1` cells' width of pixels,
    cut out at `shift`. Each row sums to 1."""
    cell = -(-length // grid)
    pixel = np.arange(length) + shift[:, None]
    place = np.clip((pixel + 0.5) * grid / ((grid + 1) * cell) - 0.5, 0, grid - 1)
    return np.maximum(0, 1 - np.abs(place[..., None] - np.arange(grid))).astype(np.float32)


def weighted_masks(masks: Masks, scores: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """`sum_i scores_bi M_i`, b h w float64."""
    total = np.zeros((len(scores), *shape))
    for begin in range(0, scores.shape[1], _AT_ONCE):
        which = np.arange(begin, min(begin + _AT_ONCE, scores.shape[1]))
        rows, cells, columns = masks.factors(shape, which)
        pictures = np.matmul(np.matmul(rows, cells), columns.swapaxes(1, 2))
        total += np.tensordot(scores[:, which], pictures.astype(np.float64), 1)
    return total


class RiseFitted(SamplingFitted):
    """RISE of one network."""

    analyzer: Rise

    def prepare(self) -> None:
        a, net = self.analyzer, self.network
        image_shape(net, "rise")
        value = ops.convert_to_tensor(self.constant("value", a.value))

        def seen(x: Tensor, rows: Tensor, cells: Tensor, columns: Tensor) -> Tensor:
            mask = ops.matmul(ops.matmul(rows, cells), ops.transpose(columns, (0, 2, 1)))[..., None]
            mask = ops.cast(mask, x.dtype)
            return x * mask + value * (1 - mask)

        self.trials = Trials("rise", net, seen, a.batch_size)

    def explain(self, x: np.ndarray, inputs: tuple[np.ndarray, ...], goal: Goal, output: np.ndarray) -> Maps:
        a, shape = self.analyzer, x.shape[1:3]
        masks = draw_masks(a.samples, a.grid, a.probability, shape, a.seed)
        scores = self.trials.scores(inputs, goal, a.samples, lambda rows, which: masks.factors(shape, which))
        relevance = weighted_masks(masks, scores, shape) / (a.samples * a.probability)
        return Maps(spread(relevance, x.shape[-1]))
