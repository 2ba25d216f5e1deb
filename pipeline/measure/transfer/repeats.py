"""What repeats, pixel for pixel, in the windows of a group: a mark, where it lies, its colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from scipy import ndimage
from scipy.signal import fftconvolve
from sklearn.cluster import KMeans

from pipeline.measure.interventions.pictures import window_sums
from pipeline.measure.transfer.places import Place

FEWEST = 3  # windows in which something must lie for it to repeat
AGREE = 0.6  # share of the windows that must agree on a pixel
STEADY = 0.35  # and how far they may differ there, over what all their pixels differ by
SAME = 30  # mean difference, of 255, up to which a window holds what repeats
SMALLEST = 1 / 16  # of the window's area
BLUR = 0.7  # pixels: a mark that was resized with its picture lies between them
JOINED = 1 / 56  # of the picture's side: pieces that lie so near to one another are one


@dataclass(frozen=True)
class Colour:
    """One colour and which share of the pixels it stands for."""

    red: int
    green: int
    blue: int
    share: float


@dataclass(frozen=True)
class Repeat:
    """What repeats. ``at``: per window its left and upper edge in the picture, None where it is not there;
    ``width``, ``height``: pixel; ``colours``: its two colours, the larger share first."""

    at: tuple[tuple[int, int] | None, ...]
    width: int
    height: int
    colours: tuple[Colour, ...]


@dataclass(frozen=True)
class _Part:
    """A piece of the aligned pictures: edges in the first one's pixels, and which of its pixels repeat."""

    top: int
    left: int
    mask: np.ndarray
    median: np.ndarray


def repeated_part(pictures: Sequence[np.ndarray], places: Sequence[Place], first: int) -> Repeat | None:
    """What repeats in the windows at ``places`` of the ``pictures`` ((h, w, 3) uint8 each); None: nothing.

    The pictures are laid over the ``first`` one's window (normalised cross-correlation, Lewis 1995), within
    half a window about their own; then once more over what repeats. A pixel repeats where :data:`AGREE` of
    the windows lie as near to their median as :data:`STEADY` of the median distance of all their pixels.
    """
    if len(pictures) < FEWEST:
        return None
    start = places[first]
    blurred = [ndimage.gaussian_filter(p.astype(np.float64), (BLUR, BLUR, 0)) for p in pictures]
    shifts = _shifts(pictures, places, (start.y, start.x), pictures[first][start.slices])
    part = _steady(blurred, shifts, start)
    if part is None:
        return None
    size = part.mask.shape
    near = [Place(part.left + dx, part.top + dy, size[1], size[0], 0.0) for dy, dx in shifts]
    shifts = _shifts(pictures, near, (part.top, part.left), part.median.astype(np.uint8))
    holding = [_holding(p, shift, part) is not None for p, shift in zip(blurred, shifts, strict=True)]
    if sum(holding) >= FEWEST:  # windows that show something else have no say in how large it is
        part = _steady(list(compress(blurred, holding)), list(compress(shifts, holding)), start) or part
    at = tuple(_holding(p, shift, part) for p, shift in zip(blurred, shifts, strict=True))
    if sum(corner is not None for corner in at) < max(FEWEST, len(pictures) / 2):
        return None
    height, width = part.mask.shape
    cuts = [_cut(p, (y, x), (height, width)) for p, (x, y) in _there(pictures, at)]
    return Repeat(at, width, height, colours_of(_quantile(np.stack(cuts), 0.5)[part.mask]))


def _there(
    pictures: Sequence[np.ndarray], at: Sequence[tuple[int, int] | None]
) -> list[tuple[np.ndarray, tuple[int, int]]]:
    """The pictures that hold what repeats, and where."""
    return [(picture, corner) for picture, corner in zip(pictures, at, strict=True) if corner is not None]


def _shifts(
    pictures: Sequence[np.ndarray], places: Sequence[Place], corner: tuple[int, int], template: np.ndarray
) -> list[tuple[int, int]]:
    """:func:`_shift` of every picture."""
    return [_shift(p, place, template, corner) for p, place in zip(pictures, places, strict=True)]


def _shift(
    picture: np.ndarray, place: Place, template: np.ndarray, corner: tuple[int, int]
) -> tuple[int, int]:
    """By how many rows and columns ``picture`` lies off where the ``template`` of ``corner`` fits it."""
    height, width = template.shape[:2]
    limit = picture.shape[0] - height, picture.shape[1] - width
    middle = place.y + (place.height - height) // 2, place.x + (place.width - width) // 2
    ends = [
        (int(np.clip(m - side // 2, 0, most)), int(np.clip(m + side // 2, 0, most)))
        for m, side, most in zip(middle, (height, width), limit, strict=True)
    ]
    (top, bottom), (left, right) = ends
    if template.std() < 2:  # nothing to lay over one another
        return int(np.clip(middle[0], 0, limit[0])) - corner[0], int(
            np.clip(middle[1], 0, limit[1])
        ) - corner[1]
    area = picture[top : bottom + height, left : right + width]
    fit = correlation(area.astype(np.float64), template.astype(np.float64))
    y, x = np.unravel_index(fit.argmax(), fit.shape)
    return top + int(y) - corner[0], left + int(x) - corner[1]


def correlation(area: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Normalised cross-correlation (Lewis 1995) of the template (h, w, c) with the area (H, W, c) at each
    place where it lies inside: (H - h + 1, W - w + 1), -1 to 1; 0 where either is even.

    As scikit-image's `match_template`, whose transforms run over the channels and a padded area as well: a
    sixteenth of its time.
    """
    area, template = area - area.mean(), template - template.mean()
    height, width = template.shape[:2]
    product = fftconvolve(area, template[::-1, ::-1], mode="valid", axes=(0, 1)).sum(axis=-1)
    sums, squares = (window_sums(values.sum(axis=-1), height, width) for values in (area, area**2))
    spread = np.maximum(squares - sums**2 / template.size, 0)
    whole = np.sqrt(spread * (template**2).sum())
    return np.divide(product, whole, out=np.zeros_like(product), where=whole > np.finfo(float).eps)


def _steady(pictures: Sequence[np.ndarray], shifts: Sequence[tuple[int, int]], start: Place) -> _Part | None:
    """The largest piece that repeats in and about the window ``start`` of the first picture."""
    height, width = pictures[0].shape[:2]
    top, left = max(0, start.y - start.height), max(0, start.x - start.width)
    bottom, right = min(height, start.y + 2 * start.height), min(width, start.x + 2 * start.width)
    stack = np.stack([_cut(p, (top + dy, left + dx), (bottom - top, right - left))
                      for p, (dy, dx) in zip(pictures, shifts, strict=True)])  # fmt: skip
    enough = np.isfinite(stack[..., 0]).sum(axis=0) >= max(FEWEST, len(pictures) / 2)
    median = _quantile(stack, 0.5)
    spread = _quantile(np.abs(stack - median), AGREE).mean(axis=-1)
    values = stack[np.isfinite(stack[..., 0])]
    overall = np.median(np.abs(values - np.median(values, axis=0)), axis=0).mean()
    steady = enough & (spread <= max(STEADY * overall, 2.0))
    reach = max(1, round(JOINED * min(height, width)))
    steady = ndimage.binary_opening(steady, np.ones((2, 2)))
    pieces, count = ndimage.label(
        ndimage.binary_closing(np.pad(steady, reach), iterations=reach)[reach:-reach, reach:-reach]
    )
    window = pieces[
        start.y - top : start.y - top + start.height, start.x - left : start.x - left + start.width
    ]
    sizes = np.bincount(window.ravel(), minlength=count + 1)[1:]
    if not count or sizes.max() < SMALLEST * window.size:
        return None
    piece = pieces == 1 + int(sizes.argmax())
    rows, columns = (_extent(piece.sum(axis=axis)) for axis in (1, 0))
    return _Part(top + rows.start, left + columns.start, piece[rows, columns], median[rows, columns])


def _cut(picture: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """A piece of the picture (h, w, 3) float, nan where it reaches beyond."""
    cut = np.full((*size, 3), np.nan)
    top, left = max(0, -corner[0]), max(0, -corner[1])
    inside = picture[max(0, corner[0]) : corner[0] + size[0], max(0, corner[1]) : corner[1] + size[1]]
    cut[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return cut


def _quantile(stack: np.ndarray, share: float) -> np.ndarray:
    """Over the first axis, of the values that are no nan, the one that ``share`` of them do not exceed."""
    n = np.isfinite(stack).sum(axis=0, keepdims=True)
    place = np.ceil(share * np.maximum(n - 1, 0)).astype(np.int64)
    return np.take_along_axis(np.sort(stack, axis=0), place, axis=0)[0]


def _extent(counts: np.ndarray) -> slice:
    """From the first to the last place with a third of the largest count: loose threads are no part."""
    full = np.flatnonzero(counts >= counts.max() / 3)
    return slice(int(full[0]), int(full[-1]) + 1)


def _holding(picture: np.ndarray, shift: tuple[int, int], part: _Part) -> tuple[int, int] | None:
    """Left and upper edge of the part in the picture; None where the picture shows something else there."""
    top, left = part.top + shift[0], part.left + shift[1]
    cut = _cut(picture, (top, left), part.mask.shape)
    off = np.abs(cut - part.median).mean(axis=-1)[part.mask]
    return (left, top) if np.isfinite(off).mean() >= 0.5 and np.nanmean(off) <= SAME else None


def colours_of(pixels: np.ndarray) -> tuple[Colour, ...]:
    """The two colours (k-means) that ``pixels`` (n, 3) are nearest to; one where they are all the same."""
    distinct = len(np.unique(pixels, axis=0))
    pixels = np.nan_to_num(pixels)
    means = KMeans(min(2, distinct), n_init=5, random_state=0).fit(pixels.astype(np.float64))
    shares = np.bincount(means.labels_, minlength=len(means.cluster_centers_)) / len(pixels)
    made = [colour_of(*pair) for pair in zip(means.cluster_centers_, shares.tolist(), strict=True)]
    return tuple(sorted(made, key=lambda colour: -colour.share))


def colour_of(values: np.ndarray, share: float) -> Colour:
    """``values`` (3,), 0 to 255, as a colour that stands for a ``share`` of the pixels."""
    red, green, blue = np.rint(values).astype(int).tolist()
    return Colour(red, green, blue, share)
