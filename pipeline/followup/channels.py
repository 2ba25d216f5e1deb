"""Which channels say most for a class, which are comparable, and what their replacement shows. Pure NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.run.documents import ChannelEvidence
from pipeline.statistics.resampling import bca_intervals

DRAWS = 1000


@dataclass(frozen=True)
class Channels:
    """The channels of a layer for one class.

    Attributes:
        shares: relevance of each channel over the sum of all channels' sizes, n k; 0 where there is none.
        top: the channels with the largest mean share, largest first.
        comparable: of each of them the channels whose mean share is nearest to its own.
    """

    shares: np.ndarray
    top: tuple[int, ...]
    comparable: Mapping[int, tuple[int, ...]]

    @classmethod
    def of(cls, relevance: np.ndarray, top: int, comparable: int) -> Channels:
        """From the relevance of every channel in every image, n k."""
        size = np.abs(relevance).sum(axis=1, keepdims=True)
        shares = np.divide(relevance, size, out=np.zeros_like(relevance, float), where=size > 0)
        mean = shares.mean(axis=0)
        chosen = [int(k) for k in np.argsort(-mean, kind="stable")[:top] if mean[k] > 0]
        near = {}
        for k in chosen:
            order = np.argsort(np.abs(mean - mean[k]), kind="stable")
            near[k] = tuple(int(j) for j in order if j != k and mean[j] > 0)[:comparable]
        return cls(shares, tuple(chosen), near)

    @property
    def asked(self) -> tuple[int, ...]:
        """All channels that are replaced."""
        return tuple(sorted({*self.top, *(j for near in self.comparable.values() for j in near)}))


def evidence(
    channels: Channels, k: int, outside: np.ndarray, falls: Mapping[int, np.ndarray]
) -> ChannelEvidence:
    """What is known of channel ``k``: ``outside`` n (nan: no box) and, by channel, the ``falls`` n.

    The channel being one of the first, those that it is compared with mostly have a little less relevance:
    the fall to be expected is theirs, made larger in proportion.
    """
    near = channels.comparable[k]
    share, fall = channels.shares[:, k], falls[k]
    usual = None
    if near:
        usual = np.mean([falls[j] for j in near], axis=0) * share.mean() / channels.shares[:, near].mean()
    looked = outside[np.isfinite(outside)]
    return ChannelEvidence(
        channel=k,
        share=float(share.mean()),
        **_ends("share", share),
        outside=float(looked.mean()) if len(looked) else None,
        **_ends("outside", looked),
        fall=float(fall.mean()),
        **_ends("fall", fall),
        comparable=near,
        comparable_share=float(channels.shares[:, near].mean()) if near else None,
        expected_fall=None if usual is None else float(usual.mean()),
        beyond=None if usual is None else float((fall - usual).mean()),
        **_ends("beyond", np.zeros(0) if usual is None else fall - usual),
    )


def _ends(name: str, values: np.ndarray) -> dict[str, float | None]:
    """The 95 % interval of the mean, as two fields; None where it is not known."""
    low, high = np.full(1, np.nan), np.full(1, np.nan)
    if len(values) > 1:
        low, high = bca_intervals(np.asarray(values, float), np.array([0, len(values)]), DRAWS, 0)
    ends = {f"{name}_low": low[0], f"{name}_high": high[0]}
    return {key: float(value) if np.isfinite(value) else None for key, value in ends.items()}
