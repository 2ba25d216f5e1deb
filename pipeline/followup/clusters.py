"""Strategies inside a class: spectral relevance analysis (SpRAy) of the stored pooled maps.

Lapuschkin et al. 2019, "Unmasking Clever Hans predictors and assessing what machines really learn", and for
the separability tau Anders et al. 2022, "Finding and removing Clever Hans". Numbers in, numbers out: no
images, no framework; :mod:`pipeline.followup.strategies` applies this to a run folder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from sklearn.cluster import KMeans
from sklearn.manifold import TSNE
from sklearn.neighbors import kneighbors_graph
from threadpoolctl import threadpool_limits

from pipeline.seeds import Purpose

SIDE = 14  # cells per side that are compared: object parts, not pixels
COMPONENTS = 10  # principal components in which neighbours are found and clusters separated
MOST_CLUSTERS = 8
FEWEST_MAPS = 10  # below this no clustering says anything
MOST_MAPS = 3000  # the eigenproblem is dense: larger classes are sampled by the caller
NULL_DRAWS = 20


@dataclass(frozen=True)
class Strategies:
    """The clusters of ``n`` maps.

    Attributes:
        cluster: (n,) int, 0 is the largest cluster.
        coordinates: (n, 2) t-SNE of the spectral embedding, for the picture.
        eigenvalues: (MOST_CLUSTERS + 1,) ascending; the number of clusters stands at their largest gap.
        separability: (k,) Fisher separability of each cluster against the others, in [0, 1].
        tau: the largest of them; 0 for a single cluster.
        tau_null: 95 % quantile of tau for one Gaussian cloud of the same covariance, cut into as many
            clusters: clusters are real to the extent that ``tau`` exceeds it.
        prototypes: per cluster the indices of its most central maps, most central first.
    """

    cluster: np.ndarray
    coordinates: np.ndarray
    eigenvalues: np.ndarray
    separability: np.ndarray
    tau: float
    tau_null: float
    prototypes: tuple[tuple[int, ...], ...]

    @property
    def k(self) -> int:
        """Number of clusters."""
        return len(self.separability)


def features(maps: np.ndarray) -> np.ndarray:
    """(n, h, w) maps >= 0 -> (n, q) principal components of their pooled, normalised square roots.

    A map is pooled to ``SIDE`` x ``SIDE`` cells and divided by its sum; the Euclidean distance between square
    roots is then the Hellinger distance of two distributions of relevance: one hot pixel cannot dominate it.
    """
    pooled = pool(np.asarray(maps, dtype=np.float64), SIDE).reshape(len(maps), -1)
    total = pooled.sum(axis=1, keepdims=True)
    roots = np.sqrt(np.divide(pooled, total, out=np.zeros_like(pooled), where=total > 0))
    centred = roots - roots.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    q = max(1, min(COMPONENTS, len(maps) // 5))
    return u[:, :q] * s[:q]


def pool(maps: np.ndarray, side: int) -> np.ndarray:
    """(n, h, w) -> (n, <= side, <= side): sums over cells of (almost) equal size; the total is kept."""
    for axis in (1, 2):
        size = maps.shape[axis]
        if size > side:
            maps = np.add.reduceat(maps, np.arange(side) * size // side, axis=axis)
    return maps


def laplacian_spectrum(points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Smallest ``count`` eigenvalues (count,) and eigenvectors (n, count) of ``I - D^-1/2 A D^-1/2``.

    ``A`` is the symmetric kNN affinity ``(G + G') / 2`` of the 0/1 graph ``G`` of the ``ceil(log2 n) + 1``
    nearest neighbours.
    """
    n = len(points)
    neighbours = min(n - 1, int(np.ceil(np.log2(n))) + 1)
    graph = kneighbors_graph(points, neighbours).toarray()
    affinity = (graph + graph.T) / 2
    scale = 1 / np.sqrt(affinity.sum(axis=1))
    laplacian = np.eye(n) - scale[:, None] * affinity * scale
    values, vectors = eigh(laplacian, subset_by_index=[0, min(count, n) - 1])
    return np.clip(values, 0, None), vectors


def eigengap(eigenvalues: np.ndarray) -> int:
    """Number of clusters: the position of the largest gap between consecutive eigenvalues (ascending)."""
    return int(np.argmax(np.diff(eigenvalues))) + 1


def assign(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    """k-means on the rows of the first ``k`` eigenvectors, each of unit length (Ng, Jordan & Weiss 2002)."""
    if k == 1:
        return np.zeros(len(vectors), dtype=int)
    rows = vectors[:, :k]
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    cluster = KMeans(k, n_init=5, random_state=seed).fit_predict(rows)
    _, cluster, counts = np.unique(cluster, return_inverse=True, return_counts=True)
    return np.argsort(np.argsort(-counts, kind="stable"))[cluster]


def separability(points: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Fisher separability of each cluster against the rest, (k,): ``J / (1 + J)`` in [0, 1].

    ``J = max_w (w'S_b w) / (w'S_w w)`` with between- and within-scatter of the two groups; it equals the
    share of variance of the best linear discriminant that the membership explains. One cluster: 0.
    """
    k = int(cluster.max()) + 1
    if k == 1:
        return np.zeros(1)
    centred = points - points.mean(axis=0)
    total = centred.T @ centred
    shares = []
    for c in range(k):
        member = cluster == c
        a, b = member.sum(), (~member).sum()
        gap = points[member].mean(axis=0) - points[~member].mean(axis=0)
        # S_b = ab/n gap gap', S_w = total - S_b: the maximum has the closed form below (Sherman-Morrison)
        shares.append(a * b / len(points) * gap @ np.linalg.lstsq(total, gap, rcond=None)[0])
    return np.clip(np.array(shares), 0.0, 1.0)


@threadpool_limits.wrap(limits=1)  # matrices of a few dozen rows: threads only get in each other's way
def find_strategies(maps: np.ndarray, seed: int = 0) -> Strategies:
    """Cluster the maps (n, h, w), n >= FEWEST_MAPS, all non-negative and none of them zero."""
    points = features(maps)
    values, vectors = laplacian_spectrum(points, MOST_CLUSTERS + 1)
    k = eigengap(values)
    cluster = assign(vectors, k, seed)
    apart = separability(points, cluster)
    return Strategies(
        cluster=cluster,
        coordinates=_picture(vectors, seed),
        eigenvalues=values,
        separability=apart,
        tau=float(apart.max()),
        tau_null=_null_tau(points, k, seed),
        prototypes=tuple(_central(points, np.flatnonzero(cluster == c)) for c in range(len(apart))),
    )


def _picture(vectors: np.ndarray, seed: int) -> np.ndarray:
    # the first eigenvector of a connected graph says nothing but the degree
    points = vectors[:, 1:MOST_CLUSTERS]
    perplexity = max(2.0, min(30.0, (len(points) - 1) / 3))
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)


def _null_tau(points: np.ndarray, k: int, seed: int) -> float:
    """What tau reaches on one Gaussian cloud of the same covariance (after SigClust, Liu et al. 2008)."""
    if k == 1:
        return 0.0
    rng = Purpose.GAUSSIAN_CLOUDS.rng(seed)
    spread = points.std(axis=0)  # principal components: the covariance is diagonal
    draws = []
    for _ in range(NULL_DRAWS):
        cloud = rng.standard_normal(points.shape) * spread
        _, vectors = laplacian_spectrum(cloud, k)
        draws.append(separability(cloud, assign(vectors, k, seed)).max())
    return float(np.quantile(draws, 0.95))


def _central(points: np.ndarray, members: np.ndarray, count: int = 3) -> tuple[int, ...]:
    """The members nearest to all others on average, the medoid first."""
    inside = points[members]
    mean = np.linalg.norm(inside[:, None] - inside[None], axis=2).mean(axis=1)
    return tuple(int(i) for i in members[np.argsort(mean, kind="stable")[:count]])
