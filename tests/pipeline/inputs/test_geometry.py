"""Pictures and boxes reach the model's input by the same map.

Independent oracles: Pillow's resize of the whole image, TensorFlow's, and painting the box as pixels.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import InputError
from pipeline.inputs.card import ModelCard
from pipeline.inputs.geometry import (
    clean_boxes,
    draw,
    map_boxes,
    open_image,
    place_image,
    shorter_side_size,
    union_mask,
)
from tests.archives import encoded, jpeg

CROPPED = ModelCard(height=56, width=56, shorter_side=64)
STRETCHED = ModelCard(height=40, width=56, resize="stretch")
PADDED = ModelCard(height=48, width=48, resize="pad")
CARDS = [CROPPED, STRETCHED, PADDED]
sides = st.integers(1, 300)


def picture(width: int, height: int, seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
    return Image.fromarray(noise.astype(np.uint8))


def whole_then_crop(image: Image.Image, card: ModelCard) -> np.ndarray:
    """The protocol as it is written down: resize everything with Pillow, then cut."""
    if card.resize == "stretch":
        return np.asarray(image.resize((card.width, card.height), Image.Resampling.BILINEAR))
    short, long = sorted(image.size)
    other = int(card.shorter_side * long / short)
    size = (card.shorter_side, other) if image.width <= image.height else (other, card.shorter_side)
    left, top = (round((n - m) / 2) for n, m in zip(size, (card.width, card.height), strict=True))
    whole = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(whole.crop((left, top, left + card.width, top + card.height)))


@settings(max_examples=60, deadline=None)
@given(width=sides, height=sides, seed=st.integers(0, 9), card=st.sampled_from([CROPPED, STRETCHED]))
def test_a_crop_is_drawn_within_one_grey_level_of_pillow(
    width: int, height: int, seed: int, card: ModelCard
) -> None:
    assume(max(width, height) < 40 * min(width, height))  # Pillow would make the whole strip
    image = picture(width, height, seed)
    expected = whole_then_crop(image, card).astype(int)
    assert np.abs(draw(image, place_image(width, height, card), card) - expected).max() <= 1


def test_a_crop_is_drawn_within_one_grey_level_of_tensorflow() -> None:
    import tensorflow as tf

    data = jpeg(150, 97, seed=3)
    card = ModelCard(height=56, width=56, shorter_side=64)
    decoded = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
    size = (64, int(64 * 150 / 97))
    resized = tf.image.resize(decoded, size, antialias=True).numpy()
    left = round((size[1] - 56) / 2)
    expected = resized[4:60, left : left + 56]
    image = open_image(data)
    assert np.abs(draw(image, place_image(*image.size, card), card) - expected).max() <= 1.01


@settings(max_examples=30, deadline=None)
@given(width=st.integers(2, 200), height=st.integers(2, 200))
def test_padding_keeps_the_picture_whole_and_the_rest_black(width: int, height: int) -> None:
    image = Image.new("RGB", (width, height), (200, 100, 50))
    drawn = draw(image, place_image(width, height, PADDED), PADDED)
    inside = (drawn == (200, 100, 50)).all(axis=2)
    assert ((drawn == 0).all(axis=2) | inside).all()
    rows, columns = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    assert max(rows, columns) == 48
    assert min(rows, columns) == pytest.approx(48 * min(width, height) / max(width, height), abs=1)
    assert inside.sum() == rows * columns


def test_without_antialiasing_pixels_are_sampled() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    card = ModelCard(height=64, width=64, resize="stretch", antialias=False)
    placed = place_image(512, 512, card)
    sampled = draw(Image.fromarray(stripes), placed, card)
    smooth = draw(Image.fromarray(stripes), placed, ModelCard(height=64, width=64, resize="stretch"))
    assert np.abs(smooth.astype(int) - 127).max() <= 6  # the border sees an odd number of stripes
    import tensorflow as tf

    expected = tf.image.resize(stripes, (64, 64), antialias=False).numpy()
    assert np.abs(sampled - expected).max() <= 1


@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(8, 200),
    height=st.integers(8, 200),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    card=st.sampled_from(CARDS),
)
def test_a_box_covers_what_its_painted_pixels_cover(
    width: int, height: int, corners: tuple[float, ...], card: ModelCard
) -> None:
    x = sorted(int(c * (width - 1)) for c in corners[:2])
    y = sorted(int(c * (height - 1)) for c in corners[2:])
    painted = np.zeros((height, width, 3), np.uint8)
    painted[y[0] : y[1] + 1, x[0] : x[1] + 1] = 255
    placed = place_image(width, height, card)
    smooth = draw(Image.fromarray(painted), placed, card)[..., 0]
    mask = union_mask(map_boxes(np.array([[x[0], y[0], x[1], y[1]]]), placed, card), card.height, card.width)
    # antialiasing spreads an edge over a pixel or two: what is clearly inside or outside must agree
    assert mask[smooth == 255].all()
    assert (smooth[mask] > 0).all()


@settings(max_examples=80, deadline=None)
@given(width=st.integers(30, 300), height=st.integers(30, 300), card=st.sampled_from(CARDS), data=st.data())
def test_a_pixel_is_in_a_box_when_its_centre_is(
    width: int, height: int, card: ModelCard, data: st.DataObject
) -> None:
    x0 = data.draw(st.integers(0, width - 1))
    y0 = data.draw(st.integers(0, height - 1))
    box = (x0, y0, min(x0 + width // 3, width - 1), min(y0 + height // 3, height - 1))
    placed = place_image(width, height, card)
    assume((box[2] - box[0] + 1) * placed.scale_x >= 1)
    assume((box[3] - box[1] + 1) * placed.scale_y >= 1)
    mask = union_mask(map_boxes(np.array([box]), placed, card), card.height, card.width)
    # each centre, taken back to the original image
    x = (np.arange(card.width) + 0.5 + placed.offset_x) / placed.scale_x
    y = (np.arange(card.height) + 0.5 + placed.offset_y) / placed.scale_y
    inside_x = (x > box[0] + 1e-9) & (x < box[2] + 1 - 1e-9)
    inside_y = (y > box[1] + 1e-9) & (y < box[3] + 1 - 1e-9)
    edge_x = (np.abs(x - box[0]) < 1e-9) | (np.abs(x - box[2] - 1) < 1e-9)
    edge_y = (np.abs(y - box[1]) < 1e-9) | (np.abs(y - box[3] - 1) < 1e-9)
    clear = ~(edge_y[:, None] | edge_x[None, :])
    assert ((mask == (inside_y[:, None] & inside_x[None, :])) | ~clear).all()


@settings(max_examples=100, deadline=None)
@given(width=st.integers(2, 500), height=st.integers(2, 500), card=st.sampled_from(CARDS), data=st.data())
def test_mapped_boxes_lie_in_the_input_and_are_monotone(
    width: int, height: int, card: ModelCard, data: st.DataObject
) -> None:
    xs = sorted(data.draw(st.tuples(*[st.integers(0, width - 1)] * 2)))
    ys = sorted(data.draw(st.tuples(*[st.integers(0, height - 1)] * 2)))
    placed = place_image(width, height, card)
    small = map_boxes(np.array([[xs[0], ys[0], xs[1], ys[1]]]), placed, card)
    whole = map_boxes(np.array([[0, 0, width - 1, height - 1]]), placed, card)
    assert len(whole) == 1
    mask = union_mask(whole, card.height, card.width)
    if card.resize != "pad":
        assert mask.all()
    for box in small:
        assert 0 <= box[0] <= box[2] < card.width
        assert 0 <= box[1] <= box[3] < card.height
        assert mask[box[1] : box[3] + 1, box[0] : box[2] + 1].all()


def test_a_tiny_box_keeps_a_pixel_and_a_cropped_one_disappears() -> None:
    placed = place_image(3000, 1000, CROPPED)
    boxes = np.array([[1500, 500, 1501, 501], [0, 0, 100, 900], [1400, 0, 1600, 10]])
    mapped = map_boxes(boxes, placed, CROPPED)
    assert len(mapped) == 1  # the second lies left, the third above the crop (8 of 64 rows are cut)
    assert (mapped[0, 2:] - mapped[0, :2] == 0).all()


@pytest.mark.parametrize(
    ("size", "expected"), [((500, 375), (341, 256)), ((375, 500), (256, 341)), ((9, 9), (256, 256))]
)
def test_shorter_side_by_hand(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert shorter_side_size(*size, 256) == expected


def test_boxes_are_clipped_or_refused_with_a_reason() -> None:
    boxes = np.array(
        [[5, 5, 20, 20], [-4, 2, 200, 9], [30, 5, 10, 9], [100, 0, 120, 5], [np.nan, 0, 1, 1], [-9, 0, -1, 5]]
    )
    good, reason = clean_boxes(boxes, 100, 50)
    assert good.tolist() == [[5, 5, 20, 20], [0, 2, 99, 9]]
    assert reason is not None
    assert reason.split("; ") == [
        "box 2 is inverted (30, 5, 10, 9)",
        "box 3 (100, 0, 120, 5) lies outside the 100 x 50 image",
        "box 4 is not finite",
        "box 5 (-9, 0, -1, 5) lies outside the 100 x 50 image",
    ]
    assert clean_boxes(np.zeros((0, 4)), 10, 10)[1] is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"GARBAGE", "not an image file"),
        (jpeg(64, 48)[:40], "not an image file|header cannot be read"),
    ],
)
def test_what_is_no_image_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        open_image(data)


def test_a_decompression_bomb_is_refused_before_decoding() -> None:
    file = io.BytesIO()
    Image.new("1", (12000, 9000)).save(file, "PNG")
    assert len(file.getvalue()) < 100_000
    with pytest.raises(InputError, match=r"12000 x 9000|bomb"):
        open_image(file.getvalue())


def test_a_truncated_jpeg_is_refused() -> None:
    data = jpeg(64, 48)
    card = STRETCHED
    image = open_image(data[: len(data) * 2 // 3])
    with pytest.raises(InputError, match="truncated"):
        draw(image, place_image(64, 48, card), card)


@pytest.mark.parametrize(
    ("mode", "form"),
    [("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("L", "PNG"), ("RGB", "BMP"), ("L", "GIF")],
)
def test_every_kind_of_picture_becomes_rgb(mode: str, form: str) -> None:
    data = encoded(70, 60, 1, mode, form)
    image = open_image(data)
    drawn = draw(image, place_image(*image.size, STRETCHED), STRETCHED)
    assert drawn.shape == (40, 56, 3)
    assert drawn.dtype == np.uint8
    assert drawn.std() > 5
    if mode == "L":
        assert (drawn == drawn[..., :1]).all()


def test_sixteen_bits_are_cut_to_eight() -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((20, 20), 0x8123, np.uint16)).save(file, "PNG")
    drawn = draw(open_image(file.getvalue()), place_image(20, 20, STRETCHED), STRETCHED)
    assert (drawn == 0x81).all()


def test_palette_with_transparency_is_drawn_without_a_warning() -> None:
    file = io.BytesIO()
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 10, 200, 30] + [0] * 762)
    image.save(file, "PNG", transparency=bytes([0, 255]))
    drawn = draw(open_image(file.getvalue()), place_image(20, 20, STRETCHED), STRETCHED)
    assert (drawn == (10, 200, 30)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1)])
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.resize)
def test_extreme_sizes_are_drawn(size: tuple[int, int], card: ModelCard) -> None:
    image = Image.new("RGB", size, (9, 8, 7))
    drawn = draw(image, place_image(*size, card), card)
    assert (drawn.reshape(-1, 3).max(axis=0) == (9, 8, 7)).all()
