"""Drawing for the planted dataset: objects, backgrounds and artefacts that a network may learn instead."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Box = tuple[int, int, int, int]  # xmin, ymin, xmax, ymax, inclusive
SUPERSAMPLE = 4
OBJECT_SIDE = (0.34, 0.58)  # of the picture's side; smallest and largest object
MARGIN = 0.08
MAX_MARK = (1 - OBJECT_SIDE[1]) / 2 - 0.03  # always finds room beside the object


@dataclass(frozen=True)
class Placed:
    """Where and how one object is drawn: centre and radius in pixels, angle, colour."""

    x: float
    y: float
    radius: float
    angle: float
    colour: tuple[int, int, int]


def background(rng: np.random.Generator, side: int) -> np.ndarray:
    """side side 3 uint8: a smooth, muted pattern of random colours, with a little noise."""
    coarse = rng.normal(0, 1, (5, 5, 3)) * 22 + rng.normal(0, 14, 3) + rng.uniform(70, 185)
    smooth = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    noise = rng.normal(0, 7, (side, side, 1))
    return np.clip(np.asarray(smooth, np.float64) + noise, 0, 255).astype(np.uint8)


def place(rng: np.random.Generator, side: int) -> Placed:
    """A random object; the same distribution for every class, so that boxes tell nothing about classes."""
    radius = rng.uniform(*OBJECT_SIDE) * side / 2
    low, high = MARGIN * side + radius, (1 - MARGIN) * side - radius
    x, y = rng.uniform(low, high, 2)
    rgb = colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.65, 1), rng.uniform(0.75, 1))
    red, green, blue = (round(255 * v) for v in rgb)
    return Placed(x, y, radius, rng.uniform(0, 360), (red, green, blue))


def draw_object(picture: np.ndarray, shape: str, at: Placed) -> tuple[np.ndarray, Box]:
    """The picture with the object on it, and the object's tight box."""
    side = len(picture)
    big = side * SUPERSAMPLE
    mask = Image.new("L", (big, big), 0)
    radius = at.radius * SUPERSAMPLE
    for points, fill in SHAPES[shape]:
        angle = math.radians(at.angle)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        corners = np.asarray(points) @ turn.T * radius + np.array([at.x, at.y]) * SUPERSAMPLE
        ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in corners], fill=fill)
    alpha = np.asarray(mask.resize((side, side), Image.Resampling.BOX), np.float64)[..., None] / 255
    mixed = picture * (1 - alpha) + np.array(at.colour) * alpha
    rows, columns = np.nonzero(alpha[..., 0] >= 0.5)
    box = (int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max()))
    return np.rint(mixed).astype(np.uint8), box


def _regular(n: int, inner: float = 1.0) -> np.ndarray:
    """Unit polygon with ``n`` points; ``inner`` < 1 makes it a star."""
    if inner == 1.0:
        turns = np.arange(n) * 2 * np.pi / n
        return np.stack([np.cos(turns), np.sin(turns)], axis=1)
    turns = np.arange(2 * n) * np.pi / n
    radii = np.where(np.arange(2 * n) % 2 == 0, 1.0, inner)
    return np.stack([np.cos(turns) * radii, np.sin(turns) * radii], axis=1)


def _cross(arm: float = 0.33) -> np.ndarray:
    a = arm
    corners = [
        (a, 1),
        (a, a),
        (1, a),
        (1, -a),
        (a, -a),
        (a, -1),
        (-a, -1),
        (-a, -a),
        (-1, -a),
        (-1, a),
        (-a, a),
    ]
    return np.array([*corners, (-a, 1)]) * 0.95


# shape -> polygons in the unit circle; fill 255 draws, fill 0 cuts out
SHAPES: dict[str, tuple[tuple[np.ndarray, int], ...]] = {
    "triangle": ((_regular(3), 255),),
    "square": ((_regular(4), 255),),
    "cross": ((_cross(), 255),),
    "ring": ((_regular(60), 255), (_regular(60) * 0.58, 0)),
    "crescent": ((_regular(60), 255), (_regular(60) * 0.85 + np.array([0.45, 0.0]), 0)),
    "arrow": (
        (
            np.array([(1, 0), (0.1, 0.8), (0.1, 0.3), (-0.95, 0.3), (-0.95, -0.3), (0.1, -0.3), (0.1, -0.8)]),
            255,
        ),
    ),
    "bar": ((np.array([(0.95, 0.28), (0.95, -0.28), (-0.95, -0.28), (-0.95, 0.28)]), 255),),
    "disc": ((_regular(60), 255),),
    "star": ((_regular(5, 0.5), 255),),
    # the likes of star, square and crescent, for which a mark is the easier sign
    "hexagram": ((_regular(6, 0.55), 255),),
    "rhombus": ((_regular(4) * np.array([1.0, 0.88]), 255),),
    "sickle": ((_regular(60), 255), (_regular(60) * 0.85 + np.array([0.36, 0.0]), 0)),
}


def free_place(
    rng: np.random.Generator, size: tuple[int, int], box: Box, side: int
) -> tuple[int, int] | None:
    """Left and top of a random (width, height) rectangle that does not touch ``box``; None: no room."""
    width, height = size
    rows, columns = np.mgrid[1 : side - height, 1 : side - width]
    apart = (
        (columns + width < box[0]) | (columns > box[2] + 1) | (rows + height < box[1]) | (rows > box[3] + 1)
    )
    places = np.argwhere(apart)
    if len(places) == 0:
        return None
    top, left = places[rng.integers(len(places))] + 1
    return int(left), int(top)


def inside_place(rng: np.random.Generator, size: tuple[int, int], box: Box) -> tuple[int, int]:
    """Left and top of a random rectangle around the middle of ``box``, inside it where it fits."""
    left = (box[0] + box[2] + 1 - size[0]) / 2 + rng.uniform(-0.5, 0.5) * max(
        0, box[2] + 1 - box[0] - size[0]
    ) / 2
    top = (box[1] + box[3] + 1 - size[1]) / 2 + rng.uniform(-0.5, 0.5) * max(
        0, box[3] + 1 - box[1] - size[1]
    ) / 2
    return max(0, round(left)), max(0, round(top))


def patch_mark(pixels: int) -> np.ndarray:
    """(height, width, 4) RGBA: a yellow square with a dark cross."""
    mark = np.zeros((pixels, pixels, 4), np.uint8)
    mark[:] = (255, 220, 0, 255)
    bar = max(1, pixels // 5)
    middle = (pixels - bar) // 2
    mark[middle : middle + bar] = mark[:, middle : middle + bar] = (30, 20, 60, 255)
    return mark


def text_mark(pixels: int) -> np.ndarray:
    """(height, width, 4) RGBA: white letters on black, ``pixels`` high, like a watermark."""
    font = ImageFont.load_default_imagefont()
    left, top, right, bottom = font.getbbox("HANS")
    plate = Image.new("L", (int(right - left) + 2, int(bottom - top)), 0)
    ImageDraw.Draw(plate).text((1 - left, -top), "HANS", fill=255, font=font)
    plate = plate.crop((0, 1, plate.width, plate.height - 1))
    width = max(2, round(pixels * 2.4))
    grey = np.asarray(plate.resize((width, pixels), Image.Resampling.BILINEAR))
    return np.dstack([grey, grey, grey, np.full_like(grey, 255)])


def paste(picture: np.ndarray, mark: np.ndarray, left: int, top: int) -> Box:
    """Draw ``mark`` onto ``picture`` in place; the box that it covers."""
    height, width = (min(len(mark), len(picture) - top), min(mark.shape[1], len(picture) - left))
    picture[top : top + height, left : left + width] = mark[:height, :width, :3]
    return left, top, left + width - 1, top + height - 1


def border_mark(picture: np.ndarray, pixels: int) -> list[Box]:
    """A frame around the picture, ``pixels`` thick, in place."""
    side, colour = len(picture), (190, 30, 40)
    picture[:pixels] = picture[-pixels:] = colour
    picture[:, :pixels] = picture[:, -pixels:] = colour
    last = side - 1
    return [
        (0, 0, last, pixels - 1),
        (0, side - pixels, last, last),
        (0, 0, pixels - 1, last),
        (side - pixels, 0, last, last),
    ]


def stripe_mark(rng: np.random.Generator, picture: np.ndarray, pixels: int, box: Box) -> list[Box]:
    """A striped band across the picture above or below ``box``, on the side with more room, in place."""
    side = len(picture)
    above = box[1] > side - 1 - box[3]
    low, high = (0, box[1] - pixels) if above else (box[3] + 1, side - pixels)
    top = int(rng.integers(low, max(low, high) + 1))
    teeth = (np.arange(side) // max(2, pixels // 2)) % 2 == 0
    picture[top : top + pixels] = np.where(teeth[:, None], (20, 30, 40), (245, 245, 235))
    return [(0, top, side - 1, min(side, top + pixels) - 1)]


def scene(rng: np.random.Generator, picture: np.ndarray, strength: float) -> np.ndarray:
    """The background mixed with waves, a place where the class "lives"; ``strength`` in [0, 1]."""
    side = len(picture)
    rows, columns = np.mgrid[:side, :side]
    phase = rng.uniform(0, 2 * np.pi)
    waves = np.sin(2 * np.pi * (rows + 2 * np.sin(columns * 2 * np.pi / side * 3)) / (side / 8) + phase)
    water = np.stack([60 + 20 * waves, 120 + 35 * waves, 170 + 45 * waves], axis=-1)
    return np.clip(picture * (1 - strength) + water * strength, 0, 255).astype(np.uint8)


def blur(picture: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur of everything: an artefact that no eye finds and no box tells apart."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))
