"""Windows pasted onto other images: where they lie, who gets them, the stage on a network that is known."""

from __future__ import annotations

import io
import shutil
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.config import parse_config
from pipeline.config_sections import TransferConfig
from pipeline.measure.audit import audit_run
from pipeline.measure.bench import open_bench
from pipeline.measure.interventions.pictures import Scene
from pipeline.measure.transfer.pairs import pair
from pipeline.measure.transfer.places import POWER, SHARES, Place, best_place, object_mask
from pipeline.measure.transfer.plan import Spot, images_per_class, passes_needed, plan_blocks, why_not
from pipeline.measure.transfer.stage import blocks_to_paste, paste, paste_part
from pipeline.run.folder import WINDOWS, part_name
from pipeline.run.store import Store
from pipeline.run.transfer_parts import TransferParts, read_transfer, read_windows
from pipeline.run.verify import repair, verify
from pipeline.statistics.ranking import rank
from tests.drawn_runs import MAPS, SIDE, copied, drawn_run, noisy_run, pasted

# -- places


@given(st.integers(0, 1000), st.sampled_from([(16, 16), (12, 20)]), st.sampled_from([32, 40]))
def test_the_best_place_by_brute_force(seed: int, grid: tuple[int, int], side: int) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.random(grid) ** 4
    taken = np.zeros((side, side), bool)
    top, left = rng.integers(0, side - 12, 2)
    taken[top : top + 12, left : left + 12] = True
    rows, columns = ([k * side // n for k in range(n + 1)] for n in grid)
    best = (0.0, None)
    for share in SHARES:
        h, w = max(1, round(grid[0] * share)), max(1, round(grid[1] * share))
        for r in range(grid[0] - h + 1):
            for c in range(grid[1] - w + 1):
                y, x, bottom, right = rows[r], columns[c], rows[r + h], columns[c + w]
                score = cells[r : r + h, c : c + w].sum() / (h * w) ** POWER
                if not taken[y:bottom, x:right].any() and score > best[0] + 1e-12:
                    best = score, (x, y, right - x, bottom - y)
    place = best_place(cells, taken)
    assert place is not None
    assert (place.x, place.y, place.width, place.height) == best[1]
    assert 0 < place.relevance < 1


def test_no_place_where_there_is_no_room_or_no_relevance() -> None:
    cells = np.ones((16, 16))
    assert best_place(cells, np.ones((32, 32), bool)) is None
    assert best_place(np.zeros((16, 16)), np.zeros((32, 32), bool)) is None
    beside = np.zeros((16, 16))
    beside[:, :8] = 1.0
    taken = np.zeros((32, 32), bool)
    taken[:, :17] = True
    assert best_place(beside, taken) is None  # all relevance lies on the object


def test_objects_have_a_rim() -> None:
    mask = object_mask([{"xmin": 4.0, "ymin": 5.0, "xmax": 6.0, "ymax": 5.0}], 20, 20)
    assert np.argwhere(mask).min(axis=0).tolist() == [4, 3]
    assert np.argwhere(mask).max(axis=0).tolist() == [6, 7]
    assert not object_mask([], 20, 20).any()


# -- pairs


def spots(counts: dict[int, int]) -> tuple[dict[int, list[Spot]], dict[str, Scene]]:
    place = Place(2, 3, 5, 4, 0.5)
    of_class = {k: [Spot(f"{k}-{i}", i, k, place, True) for i in range(n)] for k, n in counts.items()}
    blank, free = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), bool)
    return of_class, {spot.example_id: Scene(blank, free) for lot in of_class.values() for spot in lot}


@pytest.mark.parametrize("counts", [{0: 6, 1: 6, 2: 6, 3: 6}, {0: 5, 1: 1}, {0: 8, 1: 2, 2: 0}])
def test_recipients_and_controls_are_of_other_classes(counts: dict[int, int]) -> None:
    of_class, scenes = spots(counts)
    pastes = pair(of_class, scenes, 2, np.random.default_rng(0))
    assert len(pastes) == sum(counts.values())
    for made in pastes:
        own = str(made.spot.label)
        assert made.other.label != made.spot.label
        assert 1 <= len(made.recipients) <= 2
        assert all(r.partition("-")[0] != own for r in made.recipients)
        assert len(set(made.recipients)) == len(made.recipients)
    if counts == {0: 6, 1: 6, 2: 6, 3: 6}:
        for label in counts:  # every window of a class has recipients of its own
            onto = [r for made in pastes if made.spot.label == label for r in made.recipients]
            assert len(set(onto)) == len(onto) == 12
        assert max(Counter(made.other.example_id for made in pastes).values()) <= 3
        assert all(made.other.example_id not in made.recipients for made in pastes)


def test_a_control_is_not_the_object_of_its_picture_where_another_can_be_had() -> None:
    of_class, scenes = spots({0: 4, 1: 4})
    full = np.ones((SIDE, SIDE), bool)
    for k in (0, 1, 2):
        scenes[f"1-{k}"] = Scene(scenes[f"1-{k}"].picture, full)
    pastes = pair(of_class, scenes, 1, np.random.default_rng(0))
    for made in pastes:
        if made.spot.label == 0 and "1-3" not in made.recipients:
            assert (made.other.example_id, made.free) == ("1-3", True)
    assert all(made.free for made in pastes if made.spot.label == 1)


def test_pasting_changes_the_place_and_nothing_else() -> None:
    onto, window = np.zeros((8, 9, 3), np.uint8), np.arange(216, dtype=np.uint8).reshape(8, 9, 3)
    made = paste(onto, window, Place(2, 1, 4, 3, 0.1))
    assert (made[1:4, 2:6] == window[1:4, 2:6]).all()
    made[1:4, 2:6] = 0
    assert not made.any()
    assert not onto.any()


# -- what it costs


def test_passes_by_hand() -> None:
    settings = TransferConfig()
    # 20 images x 2 recipients x (window and control), and 40 recipients from 19 others: 3 of each class
    assert passes_needed([50] * 200, settings, 100_000) == 200 * (20 * 4 + 3)
    # 1.6 passes an image, 10,000 at least: as many images as that leaves
    assert images_per_class([50] * 200, settings, 10_000) == 19  # 76 + 2 (38 from 19 others)
    assert images_per_class([50] * 200, settings, 5_000) == 12  # 48 + 2 = 50
    assert passes_needed([50] * 200, settings, 5_000) == 200 * 50
    assert images_per_class([50] * 2000, settings, 1_000) == 1  # never fewer
    assert passes_needed([50], settings, 1_000) == 0


# -- a network that is known by construction: it says the colour that there is most of


def test_the_class_whose_colour_lies_beside_its_object_transfers(finished: Store) -> None:
    ranking = rank(finished)
    by = ranking.table.set_index("class_name")
    assert by["transferred"].to_dict() == {"red": "transfers", "green": "nothing", "blue": "nothing"}
    assert by.loc["red", "transfer_low"] > 1
    assert by.loc[["green", "blue"], "transfer"].abs().max() < 0.2
    assert by.loc["red", "transfer_added"] > by.loc["red", "transfer_control"]
    # nobody edited an image: the windows alone make it suspected, never confirmed
    assert by.loc["red", "verdict"] == "suspected"
    assert by["n_windows"].to_dict() == {"red": 14, "green": 12, "blue": 11}
    assert ranking.summary["n_transfer"] == 1
    assert verify(finished).faults == ()


def test_what_is_stored_is_what_the_network_says(finished: Store) -> None:
    table = read_transfer(finished)
    assert table is not None
    config = parse_config(finished.manifest["config"])
    model = keras.saving.load_model(config.model.source)
    folder = Path(config.dataset.path)
    rows = table.to_pylist()

    def picture(example_id: str) -> np.ndarray:
        return np.asarray(Image.open(folder / example_id)).copy()

    def said(pixels: np.ndarray, label: int) -> float:
        return float(model(pixels[None] / np.float32(255))[0, label])

    assert {r["window"] for r in rows} == {"relevant", "other_place"}
    for row in rows[:: len(rows) // 12]:
        onto = picture(row["recipient"])
        assert said(onto, row["label"]) == pytest.approx(row["before"], abs=1e-5)
        part = np.s_[row["y"] : row["y"] + row["height"], row["x"] : row["x"] + row["width"]]
        onto[part] = picture(row["example_id"])[part]
        assert said(onto, row["label"]) == pytest.approx(row["probability"], abs=1e-5)
    # the control of a window is what its partner's window says of its class
    key = ("recipient", "x", "y", "width", "height")
    both = {tuple(r[k] for k in key): r for r in rows if r["window"] == "other_place"}
    matched = [(r, both[tuple(r[k] for k in key)]) for r in rows if r["window"] == "relevant"][:5]
    for own, other in matched:
        onto = picture(own["recipient"])
        part = np.s_[own["y"] : own["y"] + own["height"], own["x"] : own["x"] + own["width"]]
        onto[part] = picture(other["example_id"])[part]
        assert said(onto, own["label"]) == pytest.approx(own["control"], abs=1e-5)


def test_the_finding_is_what_was_drawn(finished: Store) -> None:
    """The upper 6 of 32 rows of the red pictures are red, on grey that is the same in all of them."""
    by = rank(finished).table.set_index("class_name")
    assert by.loc[["green", "blue"], "finding"].isna().all()
    said = by.loc["red", "finding"]
    assert said.startswith("A grey and red patch of about 26 x ")
    assert " across the picture, mostly in the upper third: +0." in said
    assert " for this class wherever it is pasted, found on 14 of 14 images (100%, " in said
    table = read_windows(finished)
    assert table is not None
    rows = [r for r in table.to_pylist() if r["label"] == 0]
    assert all(r["mark_y"] == 0 for r in rows)
    red = [colour for r in rows for colour in r["colours"] if colour["red"] > 200]
    assert {(c["red"], c["green"], c["blue"]) for c in red} == {(230, 40, 40)}
    assert all(abs(c["share"] * r["mark_height"] - 6) < 3 for c, r in zip(red, rows, strict=True))
    assert len([r for r in rows if r["places"]]) == 6


def test_other_places_are_what_the_network_says(finished: Store) -> None:
    table = read_windows(finished)
    assert table is not None
    config = parse_config(finished.manifest["config"])
    model = keras.saving.load_model(config.model.source)
    folder = Path(config.dataset.path)
    cut_at = read_transfer(finished)
    assert cut_at is not None
    windows = {r["example_id"]: r for r in cut_at.to_pylist() if r["window"] == "relevant"}
    for row in [r for r in table.to_pylist() if r["places"]][:2]:
        cut = windows[row["example_id"]]
        part = np.s_[cut["y"] : cut["y"] + cut["height"], cut["x"] : cut["x"] + cut["width"]]
        window = np.asarray(Image.open(folder / row["example_id"]))[part]
        assert row["places"][0]["x"] == cut["x"]
        for place in row["places"]:
            onto = np.asarray(Image.open(folder / place["recipient"])).copy()
            onto[place["y"] : place["y"] + cut["height"], place["x"] : place["x"] + cut["width"]] = window
            said = float(model(onto[None] / np.float32(255))[0, row["label"]])
            assert said == pytest.approx(place["probability"], abs=1e-5)


def test_a_run_without_a_closer_look_gets_one_and_says_nothing_before(
    finished: Store, tmp_path: Path
) -> None:
    run = copied(finished, tmp_path / "run")
    shutil.rmtree(Path(run.path) / WINDOWS)
    before = rank(run).table.set_index("class_name")
    assert before["group_share"].isna().all()
    assert before.loc["red", "finding"].startswith("What lies beside its objects: +0.")
    pasted(run)
    pd.testing.assert_series_equal(
        rank(run).table.set_index("class_name")["finding"],
        rank(finished).table.set_index("class_name")["finding"],
    )


def test_the_best_windows_are_stored_as_pictures(finished: Store) -> None:
    table = read_transfer(finished)
    assert table is not None
    shown = [r for r in table.to_pylist() if r["picture"] is not None]
    assert Counter(r["label"] for r in shown)[0] == 4
    folder = Path(finished.manifest["config"]["dataset"]["path"])
    for row in shown:
        window = np.asarray(Image.open(io.BytesIO(row["picture"])))
        whole = np.asarray(Image.open(folder / row["example_id"]))
        part = whole[row["y"] : row["y"] + row["height"], row["x"] : row["x"] + row["width"]]
        np.testing.assert_array_equal(window, part)


def numbers(store: Store) -> dict[tuple[str, ...], float]:
    table = read_transfer(store)
    assert table is not None
    rows = table.to_pylist()
    return {
        (r["window"], r["example_id"], r["recipient"], f"{r['x']} {r['y']}"): r["probability"] for r in rows
    }


def test_the_same_whatever_the_batch_and_the_shards(finished: Store, mixed: Store, tmp_path: Path) -> None:
    other = copied(mixed, tmp_path / "a")
    pasted(other, 5)
    a, b = numbers(finished), numbers(other)
    assert a.keys() == b.keys()
    np.testing.assert_allclose([a[k] for k in a], [b[k] for k in a], atol=1e-5)
    assert TransferParts(finished).passes == TransferParts(other).passes
    counts = [14, 12, 11]
    assert TransferParts(finished).passes <= passes_needed(counts, TransferConfig(), 37)


def test_parts_are_whole_or_absent_and_what_is_missing_is_made(
    mixed: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.measure.transfer.plan.CLASSES_A_BLOCK", 2)
    store = copied(mixed, tmp_path / "run")
    bench = open_bench(parse_config(store.manifest["config"]))
    blocks = blocks_to_paste(store, bench.config.transfer)
    assert sorted(k for block in blocks for k in block.labels) == [0, 1, 2]
    paste_part(store, bench, blocks[0].key)  # and then the process died
    assert blocks_to_paste(store, bench.config.transfer) == blocks[1:]
    before = rank(store).edited
    pasted(store)
    assert rank(store).edited != before  # a ranking names what it rests on
    assert TransferParts(store).keys == sorted(block.key for block in blocks)
    # a spoilt part is noticed, dropped and made again
    name = part_name("transfer", TransferParts(store).keys[0])
    raw = bytearray(store.files.get(name) or b"")
    raw[len(raw) // 3] ^= 255
    store.files.put(name, bytes(raw))
    assert [fault.file for fault in verify(store).faults] == [name]
    repair(store, verify(store))
    pasted(store)
    assert verify(store).faults == ()
    # other settings: other parts, and the old ones go
    pasted(store, images=3)
    assert not set(TransferParts(store).keys) & {block.key for block in blocks}


# -- too little


def test_none_are_asked_for_or_there_is_nothing_to_paste(mixed: Store, tmp_path: Path) -> None:
    store = copied(mixed, tmp_path / "none")
    pasted(store, images=0)
    assert TransferParts(store).keys == []
    assert rank(store).table["transferred"].isna().all()
    alone = drawn_run(tmp_path / "alone", {"red": "object"}, {"red": 6}, **MAPS)
    assert why_not(alone, TransferConfig()).startswith("1 class with a correctly classified image")
    assert plan_blocks(alone, TransferConfig()) == ()
    unmapped = drawn_run(tmp_path / "no maps", {"red": "object", "green": "object"}, {"red": 2, "green": 2})
    assert "stores no maps" in why_not(unmapped, TransferConfig())
    pasted(unmapped)
    assert TransferParts(unmapped).keys == []


def test_images_without_room_are_counted(tmp_path: Path) -> None:
    where = {"red": "background", "green": "background"}
    store = drawn_run(tmp_path, where, {"red": 6, "green": 6}, **MAPS)
    folder = Path(store.manifest["config"]["dataset"]["path"])
    lines = (folder / "annotations.csv").read_text().splitlines()
    lines[1] = "red/0.png,red,0,1,31,31"  # one row is left beside the box, and its rim takes it
    (folder / "annotations.csv").write_text("\n".join(lines) + "\n")
    again = Store(tmp_path / "again")
    audit_run(again, open_bench(parse_config(store.manifest["config"])))
    pasted(again)
    assert TransferParts(again).left_out("no_room") == 1
    assert rank(again).table.set_index("class_name")["n_windows"].to_dict() == {"red": 5, "green": 6}


def test_without_boxes_windows_are_pasted_and_nobody_is_accused(tmp_path: Path) -> None:
    """Half of the red pictures have no box: they give no window. Of green none has: all of them do."""
    where = {"red": "background", "green": "background", "blue": "object"}
    bare = [f"red/{i}.png" for i in range(4)] + [f"green/{i}.png" for i in range(8)]
    run = noisy_run(tmp_path, where, dict.fromkeys(where, 8), bare)
    pasted(run)
    table = read_transfer(run)
    assert table is not None
    rows = [r for r in table.to_pylist() if r["window"] == "relevant"]
    assert {(r["label"], r["beside"]) for r in rows} == {(0, True), (1, False), (2, True)}
    assert len({r["example_id"] for r in rows if r["label"] == 0}) == 4
    ranking = rank(run)
    assert ranking.carried[1].transferred == "transfers"
    assert not ranking.carried[1].beside
    assert "suspected" not in ranking.table.loc[ranking.table["label"] == 1, "verdict"].tolist()
