"""Streaming moments in float64, by merging batches: never `E[x^2] - E[x]^2`, which cancels.

Welford 1962; Chan, Golub, LeVeque 1983 (merging).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Moments:
    """Count, mean and sum of squared deviations of arrays of one shape."""

    count: int = 0
    mean: np.ndarray | float = 0.0
    squares: np.ndarray | float = 0.0

    def add(self, batch: np.ndarray) -> None:
        """`batch` n ...: n more arrays."""
        n = len(batch)
        if n == 0:
            return
        batch = np.asarray(batch, np.float64)
        mean = batch.mean(axis=0)
        squares = np.square(batch - mean).sum(axis=0)
        total = self.count + n
        shift = mean - self.mean
        self.squares = self.squares + squares + shift**2 * (self.count * n / total)
        self.mean = self.mean + shift * (n / total)
        self.count = total

    @property
    def variance(self) -> np.ndarray:
        """Of the population: the mean squared deviation."""
        return np.asarray(self.squares) / max(self.count, 1)


@dataclass
class Covariance:
    """Count, mean `d` and sum of products of deviations `d d` of vectors."""

    count: int = 0
    mean: np.ndarray | float = 0.0
    products: np.ndarray | float = 0.0

    def add(self, batch: np.ndarray) -> None:
        """`batch` n d: n more vectors."""
        n = len(batch)
        if n == 0:
            return
        batch = np.asarray(batch, np.float64)
        mean = batch.mean(axis=0)
        centred = batch - mean
        total = self.count + n
        shift = mean - self.mean
        self.products = (
            self.products + centred.T @ centred + np.outer(shift, shift) * (self.count * n / total)
        )
        self.mean = self.mean + shift * (n / total)
        self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """Of the population."""
        return np.asarray(self.products) / max(self.count, 1)
