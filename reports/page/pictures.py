"""Photographs and heat maps of a run as data URIs for the page."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from PIL import Image, UnidentifiedImageError

from reports.inline import data_uri
from reports.page.data import Heat

COLOURS = (colormaps["inferno"](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.float32)


def photo_uri(jpeg: bytes) -> str:
    """A stored thumbnail, byte for byte."""
    return data_uri(jpeg, "image/jpeg")


def decode(jpeg: bytes | None, size: tuple[int, int]) -> np.ndarray | None:
    """(h, w, 3) float32 at ``size`` (width, height); None where there is no readable picture."""
    if not jpeg:
        return None
    try:
        with Image.open(io.BytesIO(jpeg)) as image:
            picture = image.convert("RGB")
            if picture.size != size:
                picture = picture.resize(size, Image.Resampling.BILINEAR)
            return np.asarray(picture, dtype=np.float32)
    except (UnidentifiedImageError, OSError, ValueError):
        return None


def upsample(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map (rows, columns) >= 0 brought to ``size`` (width, height), bicubic, nothing below 0."""
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.clip(np.asarray(image.resize(size, Image.Resampling.BICUBIC)), 0, None)


def strengths(heat: np.ndarray) -> np.ndarray:
    """Relevance >= 0 of any shape as shares of its 99.5 % quantile, at most 1."""
    top = float(np.quantile(heat, 0.995)) or float(heat.max(initial=0.0))
    return np.clip(heat / top, 0, 1) if top > 0 else np.zeros_like(heat)


def overlay(picture: np.ndarray | None, values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The heat map over the dimmed grey photograph, (h, w, 3) uint8.

    Colour and opacity grow with the relevance; the 99.5 % quantile of the map is full colour, so that one
    single hot pixel does not darken all others. Without a photograph the ground is dark grey.
    """
    strength = strengths(upsample(values, size))
    if picture is None:
        ground = np.full((*strength.shape, 3), 24.0, dtype=np.float32)
    else:
        grey = picture @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        ground = np.repeat((0.5 * grey + 8)[..., None], 3, axis=2)
    colour = COLOURS[np.rint(255 * (0.25 + 0.75 * strength)).astype(int)]
    alpha = (0.95 * strength**0.65)[..., None]
    return np.rint((1 - alpha) * ground + alpha * colour).astype(np.uint8)


def picture_uri(picture: np.ndarray, quality: int = 82) -> str:
    """(h, w, 3) uint8 as WebP."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=quality, method=4)
    return data_uri(buffer.getvalue(), "image/webp")


def heat_uri(jpeg: bytes | None, heat: Heat, size: tuple[int, int]) -> str:
    """Heat map over photograph of one image."""
    return picture_uri(overlay(decode(jpeg, size), heat.values, size))


def mean_uri(jpegs: Sequence[bytes], heats: Sequence[Heat], size: tuple[int, int]) -> str | None:
    """Average map over average photograph of a class; every image counts the same. None without maps.

    What is at the same place in all pictures of a class (a mark, a border, a caption) shows up here.
    """
    shares = [h.values / h.values.sum() for h in heats if not h.is_zero]
    shares = [s for s in shares if s.shape == shares[0].shape]
    if not shares:
        return None
    pictures = [p for p in (decode(j, size) for j in jpegs) if p is not None]
    ground = np.mean(pictures, axis=0) if pictures else None
    return picture_uri(overlay(ground, np.mean(shares, axis=0), size))
