"""Galleries: shared scales, stated scales, self-contained pages; pure arrays."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from reports.gallery.figure import figure
from reports.gallery.model import Cell, Gallery, Line, caption, draw, legend
from reports.gallery.page import page, save_arrays, write_gallery
from reports.gallery.view import View
from reports.gallery.views import all_views

VIEWS = all_views()
HEATMAP, PROJECTION = VIEWS["heatmap"], VIEWS["projection"]

SHAPE = (12, 9, 3)


def picture(level: int = 90) -> np.ndarray:
    return np.full((*SHAPE[:2], 3), level, np.uint8)


def ramp(top: float) -> np.ndarray:
    """Relevance whose channel sum runs from -top / 2 to top."""
    values = np.linspace(-top / 2, top, SHAPE[0] * SHAPE[1]).reshape(SHAPE[:2])
    return np.repeat(values[..., None] / 3, 3, axis=-1)


def gallery(scope: str = "image") -> Gallery:
    tops = [[1.0, 4.0], [2.0, 8.0]]
    lines = tuple(
        Line(picture(), (f"row {r}",), tuple(Cell(ramp(t), HEATMAP) for t in row), ("p = 0.5",))
        for r, row in enumerate(tops)
    )
    return Gallery("two by two", ("a", "b"), lines, scope, (("network", "none"),))


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("image", [[1, 4], [2, 8]]),
        ("row", [[4, 4], [8, 8]]),
        ("column", [[2, 8], [2, 8]]),
        ("all", [[8, 8], [8, 8]]),
    ],
)
def test_what_shares_a_scale(scope: str, expected: list[list[float]]) -> None:
    made = gallery(scope)
    panels = draw(made)
    for r, row in enumerate(panels):
        for c, panel in enumerate(row):
            assert panel is not None
            assert panel.scale == pytest.approx(expected[r][c])
            cell = made.lines[r].cells[c]
            assert cell is not None
            np.testing.assert_array_equal(
                panel.image, HEATMAP.draw(cell.relevance, picture(), expected[r][c])
            )
            assert caption(panel) == f"±{expected[r][c]:.3g}"


def test_only_equal_views_share_a_scale() -> None:
    cells = (Cell(ramp(1.0), HEATMAP), Cell(ramp(50.0), PROJECTION), Cell(ramp(3.0), HEATMAP), None)
    line = Line(picture(), ("row",), cells)
    (panels,) = draw(Gallery("mixed", ("a", "b", "c", "d"), (line,), "all"))
    assert [p.scale if p else None for p in panels] == [
        pytest.approx(3.0),
        pytest.approx(50 / 3),
        pytest.approx(3.0),
        None,
    ]


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_every_view_survives_zeros_and_says_its_scale(view: View) -> None:
    lines = (
        Line(picture(), ("zero",), (Cell(np.zeros(SHAPE), view, "why"),)),
        Line(picture(), ("map",), (Cell(ramp(2.0), view),)),
    )
    (zero,), (map_,) = draw(Gallery("views", ("a",), lines))
    assert zero is not None
    assert map_ is not None
    assert zero.image.shape == map_.image.shape == (*SHAPE[:2], 3)
    assert zero.image.dtype == np.uint8
    assert "why" in caption(zero)
    if view.low is not None:
        assert re.match(r"(±|0 to )\d", caption(map_))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_number_of_channels_and_size(channels: int) -> None:
    relevance = np.random.default_rng(0).normal(size=(8, 20, channels))
    line = Line(
        np.zeros((8, 20, 3), np.uint8), ("x",), tuple(Cell(relevance, v) for v in (HEATMAP, PROJECTION))
    )
    made = Gallery("odd", ("a", "b"), (line,))
    assert figure(made).get_size_inches()[0] > 4
    assert "<img" in page(made)


def test_the_page_fetches_nothing_and_escapes_what_it_is_given(tmp_path: Path) -> None:
    name = '<img src="http://evil">&.jpg'
    line = Line(picture(), (name,), (Cell(ramp(1), HEATMAP, "<b>"),), ("<i>",))
    png, html = write_gallery(
        Gallery(name, ("<script>alert(1)</script>",), (line,), facts=(("a", "<u>"),)), tmp_path
    )
    text = html.read_text()
    assert png.read_bytes().startswith(b"\x89PNG")
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    for raw in ("<img src=&quot;", '<img src="http', "<script>alert", "<b>", "<i>", "<u>"):
        assert raw not in text
    assert "default-src 'none'; img-src data:" in unescape(text)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["gallery.html", "gallery.png"]


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        write_gallery(gallery(), tmp_path / "file")


def test_arrays_are_saved_as_they_are(tmp_path: Path) -> None:
    made = gallery()
    with np.load(save_arrays(made, tmp_path / "a.npz"), allow_pickle=False) as file:
        assert file["relevance"].shape == (2, 2, *SHAPE)
        np.testing.assert_array_equal(file["relevance"][1, 0], made.lines[1].cells[0].relevance)  # type: ignore[union-attr]
        assert json.loads(str(file["about"]))["columns"] == ["a", "b"]


def test_arrays_of_different_sizes_are_saved_one_by_one(tmp_path: Path) -> None:
    lines = tuple(
        Line(np.zeros((n, n, 3), np.uint8), (str(n),), (Cell(np.ones((n, n, 3)), HEATMAP), None))
        for n in (4, 6)
    )
    with np.load(
        save_arrays(Gallery("sizes", ("a", "b"), lines), tmp_path / "a.npz"), allow_pickle=False
    ) as file:
        assert file["relevance_1_0"].shape == (6, 6, 3)
        assert "relevance_1_1" not in file.files


def test_impossible_galleries_are_refused() -> None:
    with pytest.raises(ValueError, match="image, row, column, all"):
        gallery("page")
    with pytest.raises(ValueError, match="one cell per column"):
        Gallery("x", ("a", "b"), (Line(picture(), ("r",), (None,)),))
    with pytest.raises(ValueError, match="at least one line"):
        Gallery("x", ("a",), ())
    with pytest.raises(ValueError, match="above 0, at most 100"):
        Gallery("x", ("a",), (Line(picture(), ("r",), (None,)),), percentile=0)


def test_a_scale_may_end_at_a_percentile_of_what_is_not_zero() -> None:
    """Values 1 .. 100 and as many zeros: the 90th percentile lies at 90.1, whatever the zeros."""
    relevance = np.concatenate([np.arange(1.0, 101), np.zeros(100)]).reshape(20, 10, 1)
    line = Line(np.zeros((20, 10, 3), np.uint8), ("r",), (Cell(relevance, VIEWS["graymap"]),))
    made = Gallery("x", ("a",), (line,), percentile=90)
    ((panel,),) = draw(made)
    assert panel is not None
    assert panel.scale == pytest.approx(90.1)
    assert (panel.image.reshape(-1, 3)[90:100] == 255).all()  # what is beyond has the end's colour
    assert "90th percentile" in legend(made)[-1].words
    assert "90th percentile" in page(made)
    assert "the largest value" in legend(gallery())[-1].words


def test_the_figure_writes_nothing_outside_itself_or_over_its_pictures() -> None:
    """With names as long as they come: every text's own box, as the renderer measures it."""
    long = "integrated_gradients(reference=[-2.1179,-2.0357,-1.8044],low=[-3.0,-3.0,-3.0],steps=128)"
    note = "deep Taylor decomposition is not defined for a negative target logit (-3.218)"
    left = ("ILSVRC2012_val_00000010_resized_and_cropped.JPEG", "predicted: German short-haired pointer")
    lines = tuple(
        Line(np.zeros((30, 60, 3), np.uint8), left, (Cell(np.zeros((30, 60, 3)), v, note),) * 2, ("place 1",))
        for v in (HEATMAP, VIEWS["blend"])
    )
    made = figure(Gallery(f"a photograph explained by {long}, and again by {long}", (long, long), lines))
    made.canvas.draw()
    width, height = made.canvas.get_width_height()
    pictures = [axes.get_window_extent() for axes in made.axes]
    words = [text for text in made.texts if text.get_text()]
    boxes = [text.get_window_extent() for text in words]
    assert len(pictures) == 2 * 3 + 2  # and the two colour bars of the legend
    for text, box in zip(words, boxes, strict=True):
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text
        assert not any(_overlap(box, other) for other in pictures), text
    for i, box in enumerate(boxes):
        assert not any(_overlap(box, other) for other in boxes[:i]), words[i]


def _overlap(a, b, slack: float = 1.0) -> bool:
    return min(a.x1, b.x1) - max(a.x0, b.x0) > slack and min(a.y1, b.y1) - max(a.y0, b.y0) > slack


def test_the_legend_says_what_the_views_show_with_their_colours() -> None:
    cells = tuple(Cell(ramp(1), view) for view in VIEWS.values())
    made = Gallery("all", tuple(VIEWS), (Line(picture(), ("x",), cells),))
    entries = legend(made)
    assert [entry.name for entry in entries] == [*VIEWS, "scale"]
    text = unescape(page(made))
    assert all(f"{view.meaning}</dd>" in text for view in VIEWS.values())
    assert text.count('<img class="bar"') == sum(view.colours is not None for view in VIEWS.values())
