"""What is measured of maps of one network taken apart in several ways: identities on the planted network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from explainers import create_analyzer
from explainers.model.decomposition import APART
from pipeline.config import parse_method
from pipeline.config_sections import ModelConfig
from pipeline.inputs.batches import Batch
from pipeline.inputs.models import LoadedModel, load_model
from pipeline.measure.choice_images import draw, rows_of
from pipeline.measure.decompositions import Compared, compare, gaps

METHOD = "lrp.alpha_2_beta_1"
OWN, ONE, TWO = "BatchNorm folded (default)", "BatchNorm one node", "BatchNorm two nodes"


@pytest.fixture(scope="module")
def model(tiny_cnn_file: Path) -> LoadedModel:
    return load_model(ModelConfig(source=str(tiny_cnn_file)))


@pytest.fixture(scope="module")
def images(model: LoadedModel, tiny_planted) -> Batch:
    return rows_of(draw(tiny_planted, model.card, 0), range(3))


@pytest.fixture(scope="module")
def compared(model: LoadedModel, images: Batch) -> Compared:
    return compare(model, parse_method(METHOD), images, np.array([0, 1, 2], np.int32))


def of(compared: Compared, name: str) -> pd.DataFrame:
    return compared.images[compared.images["decomposition"] == name].reset_index(drop=True)


def test_distances_are_those_of_the_maps(compared: Compared, model: LoadedModel, images: Batch) -> None:
    def maps(analyzer) -> np.ndarray:
        return (
            analyzer.fit(model.model).analyze(images.inputs, np.array([0, 1, 2])).relevance.astype("float64")
        )

    plain, apart = maps(create_analyzer(METHOD)), maps(create_analyzer(METHOD).decomposed(APART))
    rows = of(compared, ONE)
    for i, (a, b) in enumerate(zip(plain, apart, strict=True)):
        assert rows["relative_l2"][i] == pytest.approx(np.sqrt(((a - b) ** 2).sum() / (a**2).sum()), rel=1e-4)
        ranks = [rankdata(m.sum(axis=-1)) for m in (a, b)]
        right = np.corrcoef(ranks[0], ranks[1])[0, 1]
        assert rows["rank_correlation"][i] == pytest.approx(right, abs=1e-3)
    assert (of(compared, OWN)["relative_l2"] == 0).all()
    assert of(compared, OWN)["rank_correlation"].tolist() == pytest.approx([1.0] * 3)


def test_lift_is_the_share_on_the_boxes_against_their_area(compared: Compared, images: Batch) -> None:
    maps = np.abs(compared.maps[TWO].relevance.astype("float64")).sum(axis=-1)
    for i, lift in enumerate(of(compared, TWO)["lift"]):
        share, area = maps[i][images.masks[i]].sum() / maps[i].sum(), images.masks[i].mean()
        assert lift == pytest.approx(np.log(share / (1 - share)) - np.log(area / (1 - area)), abs=1e-4)


def test_what_does_not_arrive_is_counted(compared: Compared) -> None:
    """The sum of a map, and the logit that it starts from."""
    for name, maps in compared.maps.items():
        start = maps.output[np.arange(3), [0, 1, 2]].astype("float64")
        arrived = maps.relevance.reshape(3, -1).sum(axis=1, dtype="float64")
        error = of(compared, name)["conservation_error"]
        assert error.to_numpy() == pytest.approx(np.abs(arrived / start - 1), rel=1e-3, abs=1e-4)
    assert compared.images["ledger_gap"].max() < 1e-4


def test_the_table_has_medians_and_what_changes_nothing(compared: Compared) -> None:
    table = compared.table.set_index("decomposition")
    assert list(compared.maps) == [OWN, ONE, TWO, "without cut_output"]
    for name in compared.maps:
        assert table.loc[name, "gap"] == pytest.approx(np.median(of(compared, name)["gap"]))
        assert table.loc[name, "remark"] == ""
    assert table.loc["without fold_into_previous", "remark"] == f"the same nodes as {ONE!r}"
    assert table.loc["without merge_padding", "images"] == 0
    assert np.isnan(table.loc["without merge_padding", "gap"])


def test_the_gap_changes_its_sign_with_the_order_of_the_regions(
    compared: Compared, model: LoadedModel, images: Batch
) -> None:
    """What is most relevant in a map is least relevant in the largest value less the map."""
    maps = compared.maps[OWN]
    size = np.abs(maps.relevance).sum(axis=-1, keepdims=True)
    size = np.broadcast_to(
        size + np.arange(size[0].size).reshape(size.shape[1:]) * 1e-6, maps.relevance.shape
    )
    turned = [maps._replace(relevance=values) for values in (size, size.max() - size)]
    values = np.reshape(gaps(model, images, {"map": turned[0], "turned": turned[1]}), (2, 3))
    assert values[0] == pytest.approx(-values[1], abs=1e-6)
    assert np.abs(values).max() > 1e-3
