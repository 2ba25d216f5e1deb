"""Channels of a class: what is chosen and compared, by hand; and on a real small run, as a user calls it."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows import cli
from pipeline import schema
from pipeline.followup.channels import Channels, evidence
from pipeline.run.documents import ConceptsDocument
from pipeline.run.folder import CONCEPTS_TABLE
from pipeline.run.store import Store
from pipeline.run.verify import verify
from pipeline.statistics.ranking import rank
from reports.page.data import load_run
from reports.page.sections import concepts as section

RELEVANCE = np.array([[4.0, 2, 1, 1, 0], [4, 3, 2, -1, 0]])  # shares 0.45, 0.275, 0.1625, 0.0125, 0


def test_channels_are_compared_with_those_of_the_nearest_relevance() -> None:
    channels = Channels.of(RELEVANCE, 2, 2)
    assert channels.top == (0, 1)
    assert channels.comparable == {0: (1, 2), 1: (2, 0)}
    assert channels.asked == (0, 1, 2)
    np.testing.assert_allclose(channels.shares.mean(0), [0.45, 0.275, 0.1625, 0.0125, 0])


def test_beyond_is_the_fall_over_that_of_the_comparable_channels() -> None:
    channels = Channels.of(RELEVANCE, 2, 2)
    falls = {0: np.array([3.0, 3.5]), 1: np.array([1.0, 1.2]), 2: np.array([0.5, 0.3])}
    made = evidence(channels, 0, np.array([0.75, np.nan]), falls)
    assert made.share == pytest.approx(0.45)
    assert (made.outside, made.outside_low) == (0.75, None)
    assert made.fall == pytest.approx(3.25)
    assert made.comparable_share == pytest.approx((0.275 + 0.1625) / 2)
    assert made.expected_fall == pytest.approx(0.75 * 0.45 / 0.21875)
    assert made.beyond == pytest.approx(3.25 - 0.75 * 0.45 / 0.21875)
    assert made.needed is None  # its like have less than half its relevance
    alone = evidence(Channels.of(RELEVANCE[:, :1], 1, 2), 0, np.zeros(0), {0: np.array([1.0, 1.1])})
    assert (alone.outside, alone.beyond, alone.needed) == (None, None, None)


def test_a_class_is_said_to_need_a_channel_only_where_it_falls_beyond_its_like() -> None:
    rng = np.random.default_rng(0)
    relevance = np.ones((30, 3)) + 0.01 * rng.normal(size=(30, 3))
    channels = Channels.of(relevance, 1, 2)
    (k,) = channels.top
    far, near = 1 + 0.1 * rng.normal(size=30), 0.2 + 0.1 * rng.normal(size=30)
    others = dict.fromkeys(channels.comparable[k], near)
    assert evidence(channels, k, np.zeros(0), others | {k: far}).needed is True
    assert evidence(channels, k, np.zeros(0), others | {k: near - 0.01}).needed is False
    unsure = evidence(channels, k, np.zeros(0), others | {k: 0.1 * rng.normal(size=30)})
    assert (unsure.needed, unsure.said) == (False, "does not surely fall")


@pytest.fixture(scope="module")
def explained(small_run: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The small run with the channels of two classes looked into, a call each."""
    folder = tmp_path_factory.mktemp("concepts") / "run"
    shutil.copytree(small_run.path, folder)
    common = ["concepts", str(folder), "--images", "5", "--channels", "3", "--pictures", "2"]
    assert cli.run([*common, "--class", "star"]) == cli.DONE
    assert cli.run([*common, "--class", "ring", "--replace", "zero"]) == cli.DONE
    return Store(folder)


def test_the_run_keeps_channels_and_crops_of_each_class(explained: Store) -> None:
    document = ConceptsDocument.current(explained)
    assert document is not None
    assert {c.class_name: c.replaced_by for c in document.classes} == {"star": "mean", "ring": "zero"}
    table = pq.read_table(io.BytesIO(explained.files.get(CONCEPTS_TABLE) or b""))
    assert table.schema.equals(schema.CONCEPTS)
    rows = table.to_pandas()
    for entry in document.classes:
        assert entry.n == entry.n_boxed == 5
        shares = [c.share for c in entry.channels]
        assert shares == sorted(shares, reverse=True)
        assert all(0 <= c.outside <= 1 for c in entry.channels)
        own = rows[(rows["label"] == entry.label) & (rows["channel"] == entry.channels[0].channel)]
        assert own["place"].tolist() == [0, 1]
        assert own["relevance"].is_monotonic_decreasing
        for row in own.itertuples():
            with Image.open(io.BytesIO(row.picture)) as crop:
                assert crop.size == (row.width, row.height) == (11, 11)
            assert 0 < row.held <= 1
    assert verify(explained).faults == ()


def test_the_crops_are_pieces_of_the_images(explained: Store) -> None:
    thumbnails = explained.read("thumbnails").to_pandas().set_index("example_id")["jpeg"]
    rows = pq.read_table(io.BytesIO(explained.files.get(CONCEPTS_TABLE) or b"")).to_pylist()
    for row in rows:
        with Image.open(io.BytesIO(thumbnails[row["example_id"]])) as photo:
            whole = np.asarray(photo.convert("L"), float)
        with Image.open(io.BytesIO(row["picture"])) as crop:
            piece = np.asarray(crop.convert("L"), float)
        x, y = row["x"], row["y"]
        own = whole[y : y + row["height"], x : x + row["width"]]
        assert np.corrcoef(piece.ravel(), own.ravel())[0, 1] > 0.7  # thumbnails are JPEG


def test_the_report_shows_them_and_a_run_without_has_no_section(explained: Store, small_run: Store) -> None:
    content = section.build(load_run(explained.path, rank(explained)))
    assert content is not None
    star = next(c for c in content["classes"] if c["name"] == "star")
    assert "% outside. " in star["sentence"]
    assert len(star["channels"][0]["crops"]) == 2
    assert section.build(load_run(small_run.path, rank(small_run))) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no class was named; valid: --class"),
        (("--class", "horse"), "class 'horse': there is no such class"),
        (("--class", "star", "--replace", "noise"), "--replace: received 'noise'; valid: mean, zero"),
        (("--class", "star", "--method", "gradient"), "relevance per concept is defined for LRP"),
        (("--class", "star", "--layer", "conv"), "layer 'conv': there is no such layer; layers: "),
    ],
)
def test_what_cannot_be_shown_is_one_line(small_run: Store, capsys, arguments, said: str) -> None:
    assert cli.run(["concepts", small_run.path, *arguments]) == cli.WRONG_INPUT
    error = capsys.readouterr().err
    assert said in " ".join(error.split())
    assert "Traceback" not in error
