"""What is measured of a file, against files of which it is known."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage

from pipeline.inputs.card import ModelCard
from pipeline.measure.properties import (
    file_properties,
    is_sampled,
    jpeg_quality,
    laplacian_variance,
    properties_table,
    sampled_share,
)
from pipeline.schema import PROPERTIES
from pipeline.terms import FileProperty

CARD = ModelCard(height=48, width=64, resize="stretch", classes=2)


def picture(seed: int = 0, height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(pixels: np.ndarray, form: str = "JPEG", **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("quality", [20, 30, 45, 50, 60, 75, 85, 90, 95, 98])
def test_the_quality_that_a_jpeg_was_saved_with(quality: int) -> None:
    assert jpeg_quality(saved(picture(), quality=quality)) == pytest.approx(quality, abs=0.6)


def test_low_qualities_keep_their_order_and_other_files_have_none() -> None:
    low = [jpeg_quality(saved(picture(), quality=q)) or 0 for q in (1, 5, 10, 15, 20)]
    assert low == sorted(low)
    assert len(set(low)) == 5
    assert jpeg_quality(saved(picture(), "PNG")) is None
    assert jpeg_quality(b"\xff\xd8\xff and nothing more") is None


def test_brightness_contrast_and_colours_of_plain_pictures() -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 255
    red[:, 32:] = 0
    measured = file_properties(saved(red, "PNG"), red, (128, 96), CARD)
    assert measured[FileProperty.BRIGHTNESS] == pytest.approx(0.299 / 2, abs=1e-6)
    assert measured[FileProperty.CONTRAST] == pytest.approx(0.299 / 2, abs=1e-6)
    assert measured[FileProperty.SATURATION] == pytest.approx(0.5, abs=1e-6)
    assert measured[FileProperty.RED_CAST] == pytest.approx(0.5, abs=1e-6)
    assert measured[FileProperty.BLUE_CAST] == 0
    assert measured[FileProperty.IS_JPEG] == 0
    assert measured[FileProperty.BYTES_PER_PIXEL] == len(saved(red, "PNG")) / (128 * 96)


def test_sharpness_is_the_variance_of_the_laplacian_and_falls_with_blur() -> None:
    pixels = picture(3, 200, 200)
    kernel = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]], float)
    expected = ndimage.convolve(pixels[..., 1].astype(float), kernel)[1:-1, 1:-1][::2, ::2].var()
    assert laplacian_variance(pixels) == pytest.approx(expected, rel=1e-5)
    blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2)))
    assert (laplacian_variance(blurred) or 0) < 0.05 * expected
    assert laplacian_variance(pixels[:2]) is None


def test_the_black_around_a_padded_picture_does_not_count() -> None:
    card = ModelCard(height=64, width=64, resize="pad", classes=2)
    white = np.zeros((64, 64, 3), np.uint8)
    white[16:48] = 255  # a picture twice as wide as high
    assert file_properties(b"x", white, (200, 100), card)[FileProperty.BRIGHTNESS] == pytest.approx(
        1, abs=1e-6
    )
    assert file_properties(b"x", white, (200, 100), CARD)[FileProperty.BRIGHTNESS] == pytest.approx(
        0.5, abs=0.01
    )


def test_the_rows_fit_the_table() -> None:
    row = file_properties(saved(picture(), "PNG"), picture(), (64, 48), CARD)
    table = properties_table(["a", "b"], [row, row])
    assert table.schema == PROPERTIES
    assert table["jpeg_quality"].null_count == 2
    assert properties_table([], []).num_rows == 0


@pytest.mark.parametrize(
    ("images", "classes", "expected"),
    [(500, 10, 500), (50_000, 10, 2000), (50_000, 1000, 10_000), (1_000_000, 2, 2000)],
)
def test_about_so_many_images_are_measured(images: int, classes: int, expected: int) -> None:
    share = sampled_share(images, classes)
    assert share * images == pytest.approx(expected)
    n = min(images, 60_000)
    taken = sum(is_sampled(f"image {i}", 3, share) for i in range(n))
    assert abs(taken - share * n) <= 5 * np.sqrt(share * (1 - share) * n)
