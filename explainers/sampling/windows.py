"""Rectangular windows of an image: where they lie, and maps painted from one value per window."""

from __future__ import annotations

import numpy as np

from explainers.errors import InvalidInput


def starts(length: int, size: int, stride: int, partial: bool) -> np.ndarray:
    """First positions of windows along one axis that together cover it.

    `partial`: windows start at every multiple of `stride` and the last ones stand over the edge;
    otherwise all lie inside, the last one at the edge.
    """
    if partial:
        return np.arange(0, length, stride)
    inside = np.arange(0, length - size + 1, stride)
    return inside if inside[-1] == length - size else np.append(inside, length - size)


def corners(shape: tuple[int, int], size: tuple[int, int], stride: int, partial: bool) -> np.ndarray:
    """`n 2` top and left of all windows, row by row."""
    tops, lefts = (starts(n, k, stride, partial) for n, k in zip(shape, size, strict=True))
    return np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1).reshape(-1, 2)


def paint(values: np.ndarray, where: np.ndarray, size: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """`b n` values of windows at `where` (n 2) as maps `b h w`: the mean over the windows of a pixel.

    By summed-area differences: the cost does not grow with the size of the windows.
    """
    bottom = np.minimum(where[:, 0] + size[0], shape[0])
    right = np.minimum(where[:, 1] + size[1], shape[1])
    values = np.concatenate([values, np.ones((1, values.shape[1]))])  # the last map counts the windows
    steps = np.zeros((len(values), shape[0] + 1, shape[1] + 1))
    for rows, columns, sign in (
        (where[:, 0], where[:, 1], 1),
        (bottom, right, 1),
        (where[:, 0], right, -1),
        (bottom, where[:, 1], -1),
    ):
        np.add.at(steps, np.index_exp[:, rows, columns], sign * values)  # type: ignore[arg-type]
    sums = steps.cumsum(axis=1).cumsum(axis=2)[:, :-1, :-1]
    return sums[:-1] / np.maximum(np.rint(sums[-1]), 1)


def enlarged(maps: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Maps `b r c` at `shape` (height, width), bilinear with half-pixel centres, float64."""
    rows, columns = (_interpolation(n, small) for n, small in zip(shape, maps.shape[1:], strict=True))
    return rows @ np.asarray(maps, np.float64) @ columns.T


def _interpolation(length: int, small: int) -> np.ndarray:
    """`length small` weights; each row sums to 1."""
    place = np.clip((np.arange(length) + 0.5) * small / length - 0.5, 0, small - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(small)))


def fits(name: str, size: int, shape: tuple[int, ...]) -> None:
    """A window is not larger than the image. Raises InvalidInput."""
    if size > min(shape[:2]):
        raise InvalidInput(
            f"{name}: received {size}; valid: at most the image's shorter side, {min(shape[:2])}"
        )
