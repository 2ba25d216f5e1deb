"""Averages in the frame of the box: what moves with the object stays, what lies still in the picture goes."""

from __future__ import annotations

import numpy as np

from reports.page.data import Heat
from reports.page.framed import SIDE, Seen, framed_mean, framed_uri

SIZE = (64, 48)  # width, height


def test_a_mark_beside_the_box_comes_out_at_its_place_whatever_moves_and_grows():
    values, boxes = [], []
    for x, y, side in ((20, 14, 8), (30, 20, 12), (36, 12, 16)):
        array = np.zeros((SIZE[1], SIZE[0]))
        half = side // 2  # the mark: left of the box, as high as it, half as wide
        array[y : y + side, x - half : x] = 1.0
        values.append(array)
        boxes.append((float(x), float(y), float(side), float(side)))
    mean, reached = framed_mean(values, boxes, SIZE)
    quarter = SIDE // 4
    expected = np.zeros((SIDE, SIDE))
    expected[quarter : 3 * quarter, :quarter] = 1.0  # the frame is twice the box, about its centre
    assert reached.all()
    assert np.abs(mean - expected).mean() < 0.05
    assert np.abs(np.mean(values, axis=0)).max() < 1, "in the picture no two marks lie on one another"


def test_what_lies_beyond_the_picture_is_not_counted():
    ones = [np.ones((SIZE[1], SIZE[0]))] * 4
    boxes = [(0.0, 0.0, 16.0, 16.0), *[(30.0, 20.0, 16.0, 16.0)] * 3]
    mean, _ = framed_mean(ones, boxes, SIZE)
    assert np.allclose(mean, 1.0, atol=1e-3)
    _, lonely = framed_mean(ones, [(0.0, 0.0, 16.0, 16.0)] * 4, SIZE)
    assert lonely[SIDE // 2, SIDE // 2]
    assert not lonely[: SIDE // 4 - 2].any()


def test_without_maps_there_is_no_picture():
    assert framed_uri([], SIZE) is None
    nothing = Seen(None, Heat(np.zeros((24, 32)), 0.0), (8.0, 8.0, 16.0, 16.0))
    assert framed_uri([nothing], SIZE) is None
    some = Seen(None, Heat(np.ones((24, 32)), 1.0), (8.0, 8.0, 16.0, 16.0))
    assert str(framed_uri([some, nothing], SIZE)).startswith("data:image/webp;base64,")
