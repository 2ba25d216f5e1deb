"""Which windows of a class are of a kind, by the network's own features. NumPy and scikit-learn."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import AgglomerativeClustering

# Windows of one class are of a kind as far as they are more alike than this share of pairs of windows of
# different classes. Chosen on the photographs of one network whose marks were known.
ALIKE = 0.2


def group_windows(seen: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Number (n,) of each window's group within its class, 0 the largest.

    ``seen`` (n, d): what each window adds to the features of the pictures that it is pasted onto; ``labels``
    (n,): its class. Features are centred over all windows, so that what pasting itself does cancels. Average
    linkage (Sokal and Michener 1958) of the cosine distances within a class, up to the :data:`ALIKE` quantile
    of those between windows of different classes.
    """
    apart = distances(seen)
    between = apart[labels[:, None] != labels[None]]
    limit = max(float(np.quantile(between, ALIKE)), 1e-9) if len(between) else 1e-9
    groups = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            groups[members] = _by_size(_linked(apart[np.ix_(members, members)], limit))
    return groups


def distances(seen: np.ndarray) -> np.ndarray:
    """(n, n) cosine distances of the centred rows of ``seen`` (n, d), in [0, 2]; 1 from one that is 0."""
    rows = np.asarray(seen, np.float64)
    rows = rows - rows.mean(axis=0)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    apart = np.clip(1 - rows @ rows.T, 0, 2)
    np.fill_diagonal(apart, 0)
    return apart


def central(apart: np.ndarray) -> int:
    """The row of the distances (n, n) that is nearest to all others on average."""
    return int(apart.mean(axis=1).argmin())


def _linked(apart: np.ndarray, limit: float) -> np.ndarray:
    linkage = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=limit
    )
    return linkage.fit_predict(apart)


def _by_size(groups: np.ndarray) -> np.ndarray:
    """The same groups, numbered by falling size; among equal ones the first comes first."""
    _, first, inverse, counts = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -counts))
    return np.argsort(order)[inverse]
