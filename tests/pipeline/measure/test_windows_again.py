"""The windows of a run shown to a reference network: the same pictures, and what is left of a class."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.config import parse_config
from pipeline.config_sections import ReferenceConfig
from pipeline.errors import InputError
from pipeline.measure.audit import audit_run
from pipeline.measure.bench import Bench, open_bench
from pipeline.measure.reference import reference_config
from pipeline.measure.transfer.again import keys_to_paste, paste_again
from pipeline.run.documents import ReferenceDocument
from pipeline.run.folder import AGAIN, REFERENCE_TABLE, part_name
from pipeline.run.hashes import bytes_hash, hashed
from pipeline.run.reference import read_reference, write_reference
from pipeline.run.store import Store
from pipeline.run.transfer_parts import AgainParts, read_transfer
from pipeline.run.verify import repair, verify
from pipeline.statistics.ranking import rank
from pipeline.statistics.reference_pairs import compare_with
from tests.drawn_runs import SIDE, colour_network, copied, pasted

OF_A_PASTE = ("example_id", "recipient", "x", "y", "width", "height")


def bench_of(run: Store, model: Path, batch_size: int = 16) -> Bench:
    config = parse_config(run.manifest["config"])
    execution = config.execution.model_copy(update={"batch_size": batch_size})
    update = {"reference": ReferenceConfig(source=str(model)), "execution": execution}
    return open_bench(reference_config(config.model_copy(update=update), "input_x_gradient"))


def show(run: Store, reference: Store, bench: Bench) -> None:
    for key in keys_to_paste(run, reference):
        paste_again(run, reference, bench, key)


def asked(run: Store, root: Path, **network: object) -> tuple[Store, Path]:
    """The run of another network on the same images, which was shown the same windows; and its file."""
    root.mkdir(exist_ok=True)
    colour_network(root / "other.keras", **network)
    bench, reference = bench_of(run, root / "other.keras"), Store(root / "reference")
    audit_run(reference, bench)
    show(run, reference, bench)
    return reference, root / "other.keras"


@pytest.fixture(scope="module")
def deaf(finished: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A network that knows nothing of red, so nothing of the colour beside the objects of that class."""
    return asked(finished, tmp_path_factory.mktemp("deaf"), deaf="red", less=0.55)[0]


@pytest.fixture
def run(finished: Store, tmp_path: Path) -> Store:
    return copied(finished, tmp_path / "run")


def compared(run: Store, reference: Store) -> pd.DataFrame:
    write_reference(run, *compare_with(run, reference, "other.keras"))
    return rank(run).table.set_index("class_name")


def gains(rows: Sequence[dict]) -> pd.Series:
    """Per image, by hand: mean over the recipients of the gain in log odds."""

    def odds(p: float) -> float:
        return float(np.log((p + 1e-4) / (1 - p + 1e-4)))

    frame = pd.DataFrame(rows)
    frame["gain"] = [odds(p) - odds(c) for p, c in zip(frame["probability"], frame["control"], strict=True)]
    return frame.groupby("example_id")["gain"].mean()


def relevant(run: Store, label: int) -> list[dict]:
    table = read_transfer(run)
    assert table is not None
    return [r for r in table.to_pylist() if r["window"] == "relevant" and r["label"] == label]


def test_only_the_mark_that_the_reference_does_not_use_is_left(run: Store, deaf: Store) -> None:
    before = rank(run).table.set_index("class_name")
    assert before.filter(like="reference_transfer").isna().all(axis=None)
    by = compared(run, deaf)
    there = AgainParts(deaf).read().to_pylist()
    change = gains(relevant(run, 0)) - gains([r for r in there if r["label"] == 0])
    assert len(change) == 14
    assert by.loc["red", "reference_transfer"] == pytest.approx(change.mean(), abs=1e-6)
    assert by.loc["red", "reference_transfer"] == pytest.approx(by.loc["red", "transfer"], abs=0.1)
    assert by.loc["red", "reference_transfer_low"] > 1
    assert by.loc["red", "reference_transfer_added"] == pytest.approx(0, abs=0.01)
    both = by.loc[["green", "blue"]]
    assert both["reference_transfer"].abs().max() < 0.2
    assert (both["reference_transfer_low"] < 0).all()
    assert (both["reference_transfer_high"] > 0).all()
    # it is said, and nothing else is judged by it
    pd.testing.assert_series_equal(by["transferred"].sort_index(), before["transferred"].sort_index())
    assert " (+0.00 for the reference network), found on 14 of 14" in by.loc["red", "finding"]
    document, _ = read_reference(run) or pytest.fail("nothing stored")
    assert document.windows == 37
    assert verify(run).faults + verify(deaf).faults == ()


@pytest.mark.parametrize("side", [SIDE, 2 * SIDE])
def test_the_reference_is_shown_the_same_pictures(finished: Store, tmp_path: Path, side: int) -> None:
    """Of another size: stretched. Its classes are in another order, and green is none of them."""
    reference, file = asked(finished, tmp_path, side=side, says=("blue", "red"), less=0.55)
    model, folder = keras.saving.load_model(file), Path(finished.manifest["config"]["dataset"]["path"])
    table = AgainParts(reference).read()
    assert table is not None
    rows, mine = table.to_pylist(), {tuple(r[k] for k in OF_A_PASTE): r for r in relevant(finished, 0)}
    assert {tuple(r[k] for k in OF_A_PASTE) for r in rows if r["label"] == 1} == mine.keys()
    assert {(Path(r["example_id"]).parts[0], r["label"]) for r in rows} == {("red", 1), ("blue", 0)}

    def said(pixels: np.ndarray, label: int) -> float:
        seen = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))
        return float(model(seen[None] / np.float32(255))[0, label])

    for row in rows[::7]:
        onto = np.asarray(Image.open(folder / row["recipient"])).copy()
        assert said(onto, row["label"]) == pytest.approx(row["before"], abs=1e-5)
        part = np.s_[row["y"] : row["y"] + row["height"], row["x"] : row["x"] + row["width"]]
        onto[part] = np.asarray(Image.open(folder / row["example_id"]))[part]
        assert said(onto, row["label"]) == pytest.approx(row["probability"], abs=1e-5)
    by = compared(copied(finished, tmp_path / "run"), reference)
    assert by["reference_transfer"].notna().to_dict() == {"red": True, "blue": True, "green": False}
    assert by["reference_transfer"].abs().max() < 0.2  # it goes by the same colours


def test_controls_are_the_same_windows(finished: Store, tmp_path: Path) -> None:
    """The same weights in another network's place: every figure is that of the run."""
    again, _ = asked(finished, tmp_path)
    table = AgainParts(again).read()
    assert table is not None
    mine = {tuple(r[k] for k in OF_A_PASTE): r for k in range(3) for r in relevant(finished, k)}
    rows = table.to_pylist()
    assert len(rows) == len(mine)
    for row in rows:
        own = mine[tuple(row[k] for k in OF_A_PASTE)]
        for name in ("label", "before", "probability", "control"):
            assert row[name] == pytest.approx(own[name], abs=1e-6), name
    with pytest.raises(InputError, match="the same network as the audited one"):
        compare_with(finished, again, "other.keras")


def test_a_run_that_was_not_shown_them_says_so(run: Store, deaf: Store, tmp_path: Path) -> None:
    bare = copied(deaf, tmp_path / "bare")
    for key in AgainParts(bare).keys:
        bare.files.remove(part_name(AGAIN, key))
    by = compared(run, bare)
    assert by.filter(like="reference_transfer").isna().all(axis=None)
    assert by["reference_lift"].notna().any()
    document, _ = read_reference(run) or pytest.fail("nothing stored")
    assert document.windows == 0
    (note,) = document.notes
    assert note.startswith("its run was not shown the windows that were pasted here")
    assert "reference network" not in by.loc["red", "finding"]


def test_parts_are_made_once_and_what_is_missing_or_spoilt_again(
    run: Store, deaf: Store, tmp_path: Path
) -> None:
    reference = copied(deaf, tmp_path / "reference")
    assert keys_to_paste(run, reference) == {}
    (key,) = AgainParts(reference).keys
    bench = bench_of(run, Path(reference.manifest["config"]["model"]["source"]), batch_size=5)
    name = part_name(AGAIN, key)
    raw = bytearray(reference.files.get(name) or b"")
    raw[len(raw) // 3] ^= 255
    reference.files.put(name, bytes(raw))
    assert [fault.file for fault in verify(reference).faults] == [name]
    repair(reference, verify(reference))
    assert keys_to_paste(run, reference) == {key: 3}
    show(run, reference, bench)  # in batches of another size
    old, new = (AgainParts(store).read().to_pandas() for store in (deaf, reference))
    pd.testing.assert_frame_equal(old, new, atol=1e-6)
    # other windows: other parts, and the old ones go
    pasted(run, images=3)
    (other,) = keys_to_paste(run, reference)
    assert AgainParts(reference).keys == []
    assert other != key
    assert compare_with(run, deaf, "deaf.keras")[0].windows == 0


def test_a_comparison_of_before_there_were_windows_is_read(run: Store, deaf: Store) -> None:
    now = compared(run, deaf)
    _, table = read_reference(run) or pytest.fail("nothing stored")
    file, document = Path(run.path) / REFERENCE_TABLE, Path(run.path) / ReferenceDocument.FILE
    pq.write_table(table.drop_columns(["window_gain", "window_added"]), file)
    content = json.loads(document.read_text()) | {"table_sha256": bytes_hash(file.read_bytes())}
    del content["windows"]
    document.write_text(json.dumps(hashed(content)))
    by = rank(run).table.set_index("class_name")
    assert by.filter(like="reference_transfer").isna().all(axis=None)
    pd.testing.assert_series_equal(by["reference_lift"], now["reference_lift"])
    assert verify(run).faults == ()
