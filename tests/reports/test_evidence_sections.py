"""The sections that appear when their table is there: interventions, strategies, perturbation curves."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipeline import schema
from pipeline.ranking import Ranking
from reports.html import write_report
from tests.reports.pages import HOSTILE, Page, planted_run

METHOD = "lrp.preset_a"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def ranking(original: Path) -> Ranking:
    return planted_run(original, hostile=True)


@pytest.fixture
def folder(original: Path, ranking: Ranking, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "run")


def page_of(folder: Path, ranking: Ranking) -> Page:
    page = Page(write_report(folder, ranking).read_text(encoding="utf-8"))
    for tag, attributes in page.tags:
        assert not [a for a in attributes if a.startswith("on") or a == "style"], (tag, attributes)
    assert len(page.all("script")) == 1
    return page


def write_confirmation(folder: Path, verdicts: dict[int, str], names: dict[int, str]) -> None:
    effect = {"n": 20, "mean": 0.4375, "low": 0.25, "high": 0.5}
    nothing = {"n": 0, "mean": None, "low": None, "high": None}
    classes = [
        {
            "label": label,
            "class_name": names[label],
            "role": "control" if verdict == "clean" else "top",
            "verdict": verdict,
            "attribution": "unremarkable" if verdict == "clean" else "suspicious",
            "strength": 0.4,
            "low": 0.2,
            "n_needed": 31 if verdict == "undecided" else None,
            "effects": {"sufficiency": effect, "necessity": nothing},
        }
        for label, verdict in verdicts.items()
    ]
    counts = {v: list(verdicts.values()).count(v) for v in verdicts.values()}
    content = {"classes": classes, "counts": counts, "relevant": 0.1, "plan": {"images": 25}}
    (folder / "confirm.json").write_text(json.dumps(content), encoding="utf-8")


def test_confirmed_classes_make_the_headline(folder, ranking):
    names = dict(zip(ranking.table["label"], ranking.table["class_name"], strict=True))
    write_confirmation(folder, {0: "confirmed", 1: "attribution_only", 7: "undecided", 4: "clean"}, names)
    page = page_of(folder, ranking)
    assert "One of 12 classes is right for the wrong reason" in page.text
    assert "Edited images confirm it" in page.text
    assert "3 classes from the top of the ranking, 1 other as controls, up to 25 images each" in page.text
    assert "+0.44" in page.text
    assert "needs 31 images" in page.text
    assert "one of three is confirmed, with no false alarms" in page.text
    assert "What does this not show?" not in page.text
    assert HOSTILE[0] in page.text


def test_a_suspicion_that_nothing_confirms_keeps_its_wording(folder, ranking):
    names = dict(zip(ranking.table["label"], ranking.table["class_name"], strict=True))
    write_confirmation(folder, dict.fromkeys((0, 1, 7), "attribution_only"), names)
    page = page_of(folder, ranking)
    assert "Three of 12 classes look right for the wrong reason" in page.text
    assert "Edited images confirm it" not in page.text
    assert "the network does not need what is there" in page.text


def write_strategies(folder: Path, ranking: Ranking, label: int) -> list[str]:
    """Two clusters of one class, the second a candidate; a class with a single group. Returns image ids."""
    rows = ds.dataset(folder / "examples").to_table(columns=["index", "example_id"]).to_pandas()
    index = ranking.images.loc[ranking.images["label"] == label, "index"]
    ids = rows.set_index("index").loc[index, "example_id"].tolist()
    frame = pd.DataFrame({"example_id": ids, "method": METHOD, "label": label})
    frame["cluster"] = np.arange(len(ids)) % 2
    frame["x"], frame["y"] = np.arange(len(ids), dtype=float), frame["cluster"].astype(float)
    frame["adjusted_lift"], frame["prototype"] = -1.0, pd.array([pd.NA] * len(ids), dtype="Int32")
    table = pa.Table.from_pandas(frame, preserve_index=False).select(schema.CLUSTERS.names)
    pq.write_table(table.cast(schema.CLUSTERS), folder / "clusters.parquet")
    cluster = {"n": 9, "share": 0.5, "separability": 0.875, "low": -1.5, "high": -0.5}
    clusters = [
        cluster | {"cluster": c, "adjusted_lift": -1.25 - c, "candidate": c == 1, "prototypes": ids[c::2][:3]}
        for c in range(2)
    ]
    names = dict(zip(ranking.table["label"], ranking.table["class_name"], strict=True))
    head = {"method": METHOD, "tau": 0.875, "tau_null": 0.5, "n": 18, "reason": None}
    entries = [
        head | {"label": label, "class_name": names[label], "clusters": clusters},
        head | {"label": 5, "class_name": names[5], "clusters": clusters[:1]},
        head | {"label": 6, "class_name": names[6], "clusters": [], "tau": None, "reason": "3 maps"},
        head | {"label": 8, "class_name": names[8], "clusters": clusters, "method": "other"},
    ]
    (folder / "clusters.json").write_text(json.dumps({"classes": entries}), encoding="utf-8")
    return ids


def test_strategies_show_groups_candidates_and_prototypes(folder, ranking):
    ids = write_strategies(folder, ranking, 1)
    page = page_of(folder, ranking)
    source = (folder / "report.html").read_text(encoding="utf-8")
    section = re.search(r'<section id="strategies".*?</section>', source, re.S)
    assert section is not None
    text = Page(section[0]).text
    assert "Two groups among 18 maps, 1 is a candidate. Separability 0.88; chance alone reaches 0.50" in text
    assert "\u22122.25" in text
    assert "One strategy: its 18 maps form a single group" in text
    assert "Not clustered: 3 maps." in text
    assert "class 008" not in text, "another method's strategies"
    assert section[0].count('class="chip suspicious">candidate') == 1
    for key in (ids[0], ids[1], ids[2], ids[3]):
        assert f"{key}.JPEG" in text
    assert HOSTILE[1] in page.text


def write_curves(folder: Path, ids: list[str], part: str) -> None:
    steps = np.linspace(0, 1, 5, dtype=np.float32)
    shapes = {"morf": 0.8 * (1 - steps), "random": 0.8 - 0.4 * steps, "lerf": np.full(5, 0.8, np.float32)}
    rows = [
        {"example_id": i, "method": m, "order": order, "values": (values * k).tolist(), "reason": None}
        for i in ids
        for m, k in ((METHOD, 1.0), ("gradient", 0.5))
        for order, values in shapes.items()
    ]
    rows.append({"example_id": "x", "method": METHOD, "order": "morf", "values": None, "reason": "zero_map"})
    (folder / "curves").mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema.CURVES), folder / "curves" / part)


def test_perturbation_curves_give_the_differences_of_the_aopc(folder, ranking):
    parts = sorted(p.name for p in (folder / "examples").glob("*.parquet"))
    for i, part in enumerate(parts):
        write_curves(folder, [f"{i}-{k}" for k in range(3 + i)], part)
    page = page_of(folder, ranking)
    images = sum(3 + i for i in range(len(parts)))
    # means of the curves: morf 0.4, random 0.6, lerf 0.8; half of that for the gradient
    assert f"lrp.preset_a {images} +0.200 +0.400" in page.text
    assert f"gradient {images} +0.100 +0.200" in page.text
    assert "most relevant first" in page.text
    assert "Pixels deleted and inserted" not in page.text


def test_without_their_tables_there_are_no_such_sections(folder, ranking):
    shown = {a["id"] for a in page_of(folder, ranking).all("section")}
    assert shown.isdisjoint({"confirm", "strategies", "perturbation"})
