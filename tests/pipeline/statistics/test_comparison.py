"""Two runs on the same images: what was planted between them is what changed, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import parse_config
from pipeline.errors import InputError
from pipeline.measure.interventions.kinds import all_contrasts
from pipeline.run.block_parts import block_key
from pipeline.run.edited_parts import EditedParts
from pipeline.run.folder import MANIFEST
from pipeline.run.store import Store
from pipeline.schema import INTERVENTIONS
from pipeline.statistics.comparison import compare
from tests.tables import write_run

NO_VERDICTS = ({}, {})


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Store, Store]:
    """Eight classes of 40 images, drawn alike; class 2 looks beside its objects before, class 5 now."""
    folder = tmp_path_factory.mktemp("paired")
    for name, effect in (("before", {2: -1.5}), ("now", {5: -1.5})):
        write_run(folder / name, 8, 40, 7, effect, maps=False, thumbnails=False, failures=0.02)
    jitter(folder / "now", 0.1)
    return Store(folder / "now"), Store(folder / "before")


def jitter(run: Path, scale: float) -> None:
    """Another training of the network: the lift of every image changes a little."""
    rng = np.random.default_rng(0)
    for path in sorted((run / "scores").iterdir()):
        table = pq.read_table(path)
        value = table["value"].to_numpy()
        value = value + np.where(
            table["metric"].to_numpy() == "lift", scale * rng.standard_t(5, len(value)), 0
        )
        column = pa.array(value, pa.float64(), mask=np.isnan(value))
        names = table.schema.names
        pq.write_table(table.set_column(names.index("value"), table.schema.field("value"), column), path)


def test_what_was_planted_is_what_changed(runs):
    run, baseline = runs
    verdicts = ({2: "suspected", 5: "unremarkable"}, {2: "unremarkable", 5: "suspected"})
    made = compare(run, baseline, verdicts)
    words = {c.label: str(c.change) for c in made.classes}
    assert words == {5: "new", 2: "gone", **dict.fromkeys([0, 1, 3, 4, 6, 7], "unchanged")}
    assert [made.classes[0].label, made.classes[-1].label] == [5, 2]
    by_label = {c.label: c for c in made.classes}
    for label, planted in ((5, -1.5), (2, 1.5)):
        assert by_label[label].lift == pytest.approx(planted, abs=0.3)
    assert by_label[5].lift_low < by_label[5].lift < by_label[5].lift_high
    assert by_label[0].lift == pytest.approx(0.0, abs=0.2)
    assert by_label[5].q <= 0.05 < by_label[0].q


def test_it_is_of_the_images_that_both_use(runs):
    run, baseline = runs
    examples = [store.read("examples", ["index", "label", "correct", "status"]).to_pandas() for store in runs]
    usable = [set(e[(e["status"] == "ok") & e["correct"].fillna(False)]["index"]) for e in examples]
    made = compare(run, baseline, NO_VERDICTS)
    assert made.n_images == len(usable[0] & usable[1])
    assert sum(c.n for c in made.classes) == made.n_images
    predicted = examples[0][examples[0]["status"] != "failed"]
    assert made.accuracy == pytest.approx((predicted["correct"].mean(),) * 2)


def test_a_shift_of_every_class_alike_is_no_change_of_any(runs, tmp_path):
    """Sharper maps in all classes: said of the run, not of its classes."""
    everywhere = dict.fromkeys(range(8), 0.8)
    write_run(tmp_path, 8, 40, 7, everywhere, maps=False, thumbnails=False, failures=0.02)
    made = compare(Store(tmp_path), runs[1], NO_VERDICTS)
    words = {c.label: str(c.change) for c in made.classes}
    assert words == {2: "better", **dict.fromkeys([0, 1, 3, 4, 5, 6, 7], "unchanged")}
    assert made.lift == pytest.approx(0.8 + 1.5 / 8, abs=0.1)


def edited_manifest(source: Store, target: Path, change) -> Store:
    write_run(target, 8, 40, 7, {5: -1.5}, maps=False, thumbnails=False, failures=0.02)
    manifest = json.loads((target / MANIFEST).read_text())
    change(manifest)
    (target / MANIFEST).write_text(json.dumps(manifest))
    return Store(target)


def set_pooling(manifest):
    manifest["config"]["audit"]["pooling"] = "sum"
    config = parse_config(manifest["config"])
    manifest |= {"run_id": config.run_id, "canonical": config.canonical_json()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["dataset"].update(fingerprint="1" * 64), "images or labels: 0000.* there, 1111.* here"),
        (lambda m: m["model"]["card"].update(height=96), "input height: 64 there, 96 here"),
        (lambda m: m["model"]["card"].update(resize="pad"), "resize: stretch there, pad here"),
        (set_pooling, "audit.pooling: abs_sum there, sum here"),
        (
            lambda m: m["config"]["ranking"].update(method="gradient"),
            r"method: lrp\.preset_a there, gradient here",
        ),
        (
            lambda m: m["config"]["ranking"].update(images="all"),
            r"images that count \(ranking.images\): correct there, all here",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_and_said(runs, tmp_path, change, said):
    other = edited_manifest(runs[0], tmp_path / "run", change)
    with pytest.raises(InputError, match=f"cannot be compared with .*before: {said}; compare runs on") as e:
        compare(other, runs[1], NO_VERDICTS)
    assert "\n" not in str(e.value)


def test_where_nothing_else_changed_the_change_is_exact(runs, tmp_path):
    write_run(tmp_path, 8, 40, 7, {2: -1.5, 5: -1.5}, maps=False, thumbnails=False, failures=0.02)
    made = compare(Store(tmp_path), runs[1], NO_VERDICTS)
    assert {c.label: c.lift for c in made.classes} == pytest.approx(
        {5: -1.5} | dict.fromkeys([*range(5), 6, 7], 0.0)
    )


def test_a_run_against_itself_has_not_changed(runs):
    made = compare(runs[0], runs[0], NO_VERDICTS)
    assert {str(c.change) for c in made.classes} == {"unchanged"}
    np.testing.assert_array_equal([c.lift for c in made.classes], 0)


def test_other_methods_are_compared_only_when_named(runs):
    assert compare(*runs, NO_VERDICTS, ("lrp.preset_a", "lrp.preset_a")).methods == (
        "lrp.preset_a",
        "lrp.preset_a",
    )
    with pytest.raises(InputError, match="no scores of method 'gradient'"):
        compare(*runs, NO_VERDICTS, ("lrp.preset_a", "gradient"))


def edit(run: Path, gains: dict[int, float], first: int = 0, base: float = 0.2) -> Path:
    """15 edited images of every class; a background of its own adds ``gains`` to the class's probability."""
    store = Store(run)
    examples = store.read("examples", ["example_id", "label"]).to_pandas().sort_values("example_id")
    deciding = [c for c in all_contrasts().values() if c.decides]
    rows = []
    for label, of_class in examples.groupby("label"):
        for i, example in enumerate(of_class["example_id"].iloc[first : first + 15]):
            for contrast in deciding:
                for k in range(2):
                    said = base + 0.01 * ((i + k) % 5)
                    rows.append((example, label, f"{contrast.of}:{k}", said + gains.get(label, 0.0)))
                    rows.append((example, label, f"{contrast.less}:{k}", said))
    frame = pd.DataFrame(rows, columns=["example_id", "label", "edit", "probability"])
    frame = frame.assign(donor="other", logit=0.0, predicted=0, confidence=0.5)
    table = pa.Table.from_pandas(frame[INTERVENTIONS.names], preserve_index=False).cast(INTERVENTIONS)
    EditedParts(store).write(block_key("all", {}), table.take(np.arange(len(table))[::-1]), {})
    return run


def test_effects_are_compared_on_images_that_both_edited(tmp_path):
    for name in ("before", "now"):
        write_run(tmp_path / name, 6, 40, 7, {}, maps=False, thumbnails=False, failures=0.0)
    edit(tmp_path / "before", {3: 0.0, 4: 0.6, 5: 0.5})
    edit(tmp_path / "now", {3: 0.4, 4: 0.0, 5: 0.5}, first=5, base=0.3)
    verdicts = ({4: "confirmed", 5: "confirmed"}, {3: "confirmed", 5: "confirmed"})
    made = {
        c.label: c for c in compare(Store(tmp_path / "now"), Store(tmp_path / "before"), verdicts).classes
    }
    assert {k: str(c.change) for k, c in made.items()} == {3: "new", 4: "gone"} | dict.fromkeys(
        [0, 1, 2, 5], "unchanged"
    )
    assert {c.n_edited for c in made.values()} == {10}  # of 15 each, 5 of them others
    assert made[3].effect == pytest.approx(0.4, abs=1e-6)
    assert made[4].effect == pytest.approx(-0.6, abs=1e-6)
    assert made[5].effect == pytest.approx(0.0, abs=1e-6)
    assert made[3].effect_low <= made[3].effect <= made[3].effect_high


def test_edited_images_of_one_run_alone_are_not_compared(tmp_path):
    for name in ("before", "now"):
        write_run(tmp_path / name, 4, 20, 7, {}, maps=False, thumbnails=False, failures=0.0)
    edit(tmp_path / "now", {3: 0.9})
    made = compare(Store(tmp_path / "now"), Store(tmp_path / "before"), NO_VERDICTS)
    assert {(c.n_edited, c.effect) for c in made.classes} == {(0, None)}
