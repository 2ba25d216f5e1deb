"""The last layer of a network, trained again on given features. NumPy and SciPy, no framework.

Kirichenko, Izmailov, Wilson 2023, "Last layer re-training is sufficient for robustness to spurious
correlations" (arXiv:2204.02937): a network that goes by a short cut has mostly learnt the object as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

Floats = NDArray[np.float64]
STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4)  # of the pull towards the old weights, strongest first
CHOSEN_ON = 0.25  # share of the pictures on which the strength is chosen


@dataclass(frozen=True)
class LastLayer:
    """``logits = features @ kernel + bias``: kernel (f, k), bias (k,)."""

    kernel: Floats
    bias: Floats

    def logits(self, features: Floats) -> Floats:
        """(n, f) -> (n, k)."""
        return features @ self.kernel + self.bias


@dataclass(frozen=True)
class Lessons:
    """Features (n, f) of pictures and edited pictures, classes (n,), and of which picture each is (n,)."""

    features: Floats
    labels: NDArray[np.int64]
    sources: NDArray[np.int64]

    def __getitem__(self, rows: NDArray[np.bool_]) -> Lessons:
        return Lessons(self.features[rows], self.labels[rows], self.sources[rows])

    @property
    def weights(self) -> Floats:
        """(n,) that sum to 1: every class counts the same."""
        counts = np.bincount(self.labels)
        share = 1 / counts[self.labels]
        return share / share.sum()


def loss(layer: LastLayer, old: LastLayer, lessons: Lessons, strength: float) -> tuple[float, LastLayer]:
    """Weighted cross-entropy plus ``strength / 2`` times the squared distance to the old weights, in units of
    the features' mean square; and its gradient."""
    scale = strength * float(np.mean(np.square(lessons.features)))
    logits = layer.logits(lessons.features)
    log_p = logits - logsumexp(logits, axis=1, keepdims=True)
    weights, rows = lessons.weights, np.arange(len(logits))
    away = layer.kernel - old.kernel, layer.bias - old.bias
    value = -weights @ log_p[rows, lessons.labels] + scale / 2 * sum(float(np.sum(d**2)) for d in away)
    residual = np.exp(log_p)
    residual[rows, lessons.labels] -= 1
    residual *= weights[:, None]
    kernel = lessons.features.T @ residual + scale * away[0]
    return float(value), LastLayer(kernel, residual.sum(axis=0) + scale * away[1])


def fit(old: LastLayer, lessons: Lessons, strength: float) -> LastLayer:
    """The layer that minimises :func:`loss`, which is convex, from the old weights on (L-BFGS)."""
    shape = old.kernel.shape

    def unpack(flat: Floats) -> LastLayer:
        return LastLayer(flat[: old.kernel.size].reshape(shape), flat[old.kernel.size :])

    def objective(flat: Floats) -> tuple[float, Floats]:
        value, slope = loss(unpack(flat), old, lessons, strength)
        return value, _flat(slope)

    made = minimize(objective, _flat(old), jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    return unpack(made.x)


def retrain(old: LastLayer, lessons: Lessons, rng: np.random.Generator) -> tuple[LastLayer, float]:
    """The layer fitted with the strength that does best on pictures it was not fitted to; and that strength.

    A picture and its edits are on the same side.
    """
    sources = np.unique(lessons.sources)
    held = rng.permutation(sources)[: max(1, round(CHOSEN_ON * len(sources)))]
    chosen_on = np.isin(lessons.sources, held)
    rest, test = lessons[~chosen_on], lessons[chosen_on]
    errors = {s: loss(fit(old, rest, s), old, test, 0.0)[0] for s in STRENGTHS}
    strength = min(errors, key=errors.__getitem__)
    return fit(old, lessons, strength), strength


def _flat(layer: LastLayer) -> Floats:
    return np.concatenate([layer.kernel.ravel(), layer.bias])
