"""The look before a run: what it counts and what it says is wrong, on networks known by construction."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest
from PIL import Image
from statsmodels.stats.proportion import proportion_confint

from pipeline.config import parse_config
from pipeline.config_sections import ModelConfig
from pipeline.errors import InputError
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets import NO_BOXES, DatasetInfo, Record
from pipeline.inputs.models import LoadedModel, load_model
from pipeline.inputs.spread import spread
from pipeline.measure import audit, benches
from pipeline.measure.agreement import Agreement, accuracy_of, can_tell, wilson
from pipeline.measure.bench import rebudgeted
from pipeline.measure.check import look
from pipeline.run.preflight import KEY, Preflight, read_preflight
from pipeline.run.store import Store

SIDE = 8
COLOURS = {"red": (250, 20, 20), "green": (20, 250, 20), "blue": (20, 20, 250)}


@dataclass(frozen=True)
class Shown:
    """A dataset of the records that are given."""

    info: DatasetInfo
    records: tuple[Record, ...]

    def read(self, shard):
        yield from self.records[shard.start : shard.stop]


def shown(names: Sequence[str], pictures: Sequence[tuple[int, tuple[int, int, int]]], **changes) -> Shown:
    """Plain pictures of 20 x 10 pixels: a label and a colour each, with a box in the middle."""
    records = tuple(
        Record(f"{i}.png", i, f"{i}.png", png(colour), label, box(2, 2, 9, 7))
        for i, (label, colour) in enumerate(pictures)
    )
    records = tuple(replace(record, **changes) for record in records)
    info = DatasetInfo("shown", "all", len(records), tuple(names), tuple(names), "f", decisions=("a rule",))
    return Shown(info, records)


def png(colour: tuple[int, int, int], size: tuple[int, int] = (20, 10)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def box(*corners: float) -> np.ndarray:
    return np.array([corners], np.float32)


def network(kernel: np.ndarray, bias: Sequence[float], **card) -> LoadedModel:
    """Logits: ``kernel`` (3, k) times the mean of the input's channels, plus ``bias``."""
    inputs = keras.Input((SIDE, SIDE, 3))
    dense = keras.layers.Dense(kernel.shape[1], activation="softmax")
    model = keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(inputs)))
    dense.set_weights([kernel, np.array(bias)])
    settings = {
        "height": SIDE,
        "width": SIDE,
        "resize": "stretch",
        "scale": 1 / 255,
        "output": "softmax",
    } | card
    return LoadedModel(
        model, ModelCard(classes=kernel.shape[1], **settings), "0" * 64, "known", ("a default",)
    )


def colours(**card) -> LoadedModel:
    """Says which channel is brightest."""
    return network(9 * np.eye(3), (0, 0, 0), **card)


def brightness(**card) -> LoadedModel:
    """Says "dark" (0) or "bright" (1) of pixels from 0 to 1."""
    return network(np.array([[-9.0, 9.0]] * 3), (9 * 1.5, -9 * 1.5), **card)


def of_colours(n: int = 24, **changes) -> Shown:
    values = list(COLOURS.values())
    return shown(list(COLOURS), [(i % 3, values[i % 3]) for i in range(n)], **changes)


def of_brightness(n: int = 60) -> Shown:
    return shown(["dark", "bright"], [(i % 2, ((40, 220)[i % 2],) * 3) for i in range(n)])


# -- a dataset and a network that fit


def test_what_fits_is_counted_and_nothing_is_doubted():
    seen = look(of_colours(), colours(class_names=tuple(COLOURS)))
    assert (seen.sample.images, seen.sample.of, seen.sample.status) == (24, 24, {"ok": 24})
    assert (seen.boxes.stored, seen.boxes.visible, seen.boxes.faulty, seen.boxes.boxes) == (24, 24, 0, 24)
    assert (seen.sizes.smallest, seen.sizes.largest) == ((20, 10), (20, 10))
    assert seen.classes.by == "name"
    assert seen.classes.pairs == (("red", 0, "red"), ("green", 1, "green"), ("blue", 2, "blue"))
    assert (seen.network.shape, seen.network.dtype, seen.network.computes) == ((8, 8, 3), *["float32"] * 2)
    assert seen.network.high == pytest.approx((1.0, 1.0, 1.0))
    assert seen.accuracy is not None
    assert (seen.accuracy.right, seen.accuracy.n) == (24, 24)
    assert seen.warnings == ()
    assert seen.decisions == ("a rule", "a default")


def test_what_was_decided_by_position_is_said():
    seen = look(of_colours(), colours())
    assert seen.classes.by == "position"
    assert any(
        "by position" in said and "red is output 0, green is output 1" in said for said in seen.decisions
    )
    assert seen.warnings == ()


def test_classes_on_one_side_only_are_named():
    seen = look(of_colours(), colours(class_names=("red", "green", "violet")))
    assert (seen.classes.without_output.count, seen.classes.without_output.first) == (1, ("blue",))
    assert (seen.classes.without_class.count, seen.classes.without_class.first) == (1, ("violet",))
    assert seen.sample.status == {"ok": 16, "failed": 8}
    assert "8 of 24 images cannot be used, e.g.: label 2 is none of the 3 classes" in "\n".join(seen.warnings)


# -- one that does not


def test_pixels_on_another_scale_are_found_out():
    seen = look(of_brightness(), brightness(scale=1.0))
    assert seen.accuracy is not None
    assert (seen.accuracy.right, seen.accuracy.n, seen.accuracy.chance) == (30, 60, 0.5)
    assert "30 of 60" in seen.warnings[0]
    assert "is what chance gives (50 %): wrong preprocessing or class order?" in seen.warnings[0]
    assert seen.warnings[1].startswith("60 of 60 predictions would be right with pixels from 0 to 1")
    assert look(of_brightness(), brightness()).warnings == ()


def test_channels_in_the_other_order_are_found_out():
    seen = look(of_colours(), colours(channel_order="bgr"))
    assert seen.accuracy is not None
    assert seen.accuracy.right == 8
    assert any("24 of 24 predictions would be right with channel_order = 'rgb'" in w for w in seen.warnings)


def test_classes_in_another_order_are_found_out():
    seen = look(of_colours(), colours(class_names=("green", "blue", "red")))
    assert "is what chance gives" in seen.warnings[0]
    assert "red is output 0" in seen.warnings[1]
    assert "24 of 24 predictions would be right under another order of the classes" in seen.warnings[1]


def test_too_few_images_are_no_silent_pass():
    (warning,) = look(of_brightness(3), brightness()).warnings
    assert "3 of 3" in warning
    assert "too few images to tell it from chance" in warning


def test_images_of_one_class_say_nothing():
    one_class = shown(["dark", "bright"], [(1, (220, 220, 220))] * 30)
    assert "all 30 images of the sample are of class 'bright'" in look(one_class, brightness()).warnings


def test_always_the_commonest_class_is_not_praised():
    always = network(np.zeros((3, 2)), (0, 1))
    mostly = shown(["dark", "bright"], [(int(i % 6 > 0), (9, 9, 9)) for i in range(60)])
    warning = look(mostly, always).warnings[0]
    assert "50 of 60" in warning
    assert "no better than always saying 'bright' (83.3 %)" in warning


def test_images_without_a_class_are_no_accuracy():
    seen = look(of_colours(label=-1, remark="no class"), colours())
    assert seen.accuracy is None
    assert "its accuracy cannot be told" in seen.warnings[0]


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        (box(0.1, 0.2, 0.5, 0.75), "look like shares of the picture"),
        (box(5, 5, 40, 30), "the boxes of 24 of 24 images do not fit them"),
        (box(9, 7, 2, 2), "the boxes of 24 of 24 images do not fit them"),
        (NO_BOXES, "no image of the sample has a box: classes without boxes are not tested"),
    ],
)
def test_boxes_that_do_not_fit_are_said(boxes, said):
    assert any(said in warning for warning in look(of_colours(boxes=boxes), colours()).warnings)


def test_annotated_sizes_are_compared_with_the_pictures():
    right = look(of_colours(viewed=True, size=(20, 10)), colours())
    assert (right.sizes.stated, right.sizes.fitting, right.warnings) == (24, 24, ())
    mixed = of_colours(viewed=True, size=(20, 10))
    wrong = tuple(replace(r, size=(10, 30)) if r.index < 3 else r for r in mixed.records)
    seen = look(replace(mixed, records=wrong), colours())
    assert (seen.sizes.stated, seen.sizes.fitting) == (24, 21)
    assert any("3 of 24 images cannot be used" in warning for warning in seen.warnings)


def test_nothing_usable_is_an_error_with_the_reason():
    with pytest.raises(InputError, match=r"none of the 24 images .* can be used, e.g.: torn"):
        look(of_colours(image=None, error="torn"), colours())
    with pytest.raises(InputError, match="it is empty"):
        look(shown(list(COLOURS), []), colours())


# -- the sample and its statistics


def test_the_sample_is_spread_over_the_data_and_always_the_same():
    chosen = spread(50_000, 64)
    assert chosen == spread(50_000, 64)
    assert [position * 64 // 50_000 for position in chosen] == list(range(64))
    assert len({position % 781 for position in chosen}) > 32, "a fixed step would miss what repeats"
    assert spread(64, 64) == tuple(range(64))
    assert spread(3, 64) == (0, 1, 2)


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 64), (32, 64), (64, 64), (7, 10), (999, 1000)])
def test_the_interval_is_wilson_s(right, n):
    assert wilson(right, n) == pytest.approx(proportion_confint(right, n, 0.05, "wilson"), abs=1e-6)


def test_chance_and_majority():
    accuracy = accuracy_of(np.array([0, 0, 0, 2]), np.array([0, 1, 0, 1]), ("a", "b", "c", "d", "e"))
    assert accuracy is not None
    assert (accuracy.right, accuracy.n, accuracy.chance) == (2, 4, 0.2)
    assert (accuracy.majority, accuracy.commonest) == (0.75, "a")
    assert not can_tell(9, 0.001)
    assert can_tell(64, 0.5)
    assert not can_tell(10, 0.5)


@pytest.mark.parametrize("step", [1, -1])
def test_an_offset_by_one_is_found_among_many_classes(step):
    labels = np.random.default_rng(0).integers(1, 99, 64)
    names = [str(k) for k in range(100)]
    said = Agreement(labels, labels + step, names).read_otherwise()
    assert said is not None
    assert f"64 of 64 predictions are the output just {'after' if step > 0 else 'before'} the label's" in said
    assert Agreement(labels, labels, names).read_otherwise() is None


@pytest.mark.parametrize("k", [2, 3, 12, 64, 1000])
def test_predictions_that_are_drawn_fit_no_order(k):
    for seed in range(200):
        rng = np.random.default_rng([k, seed])
        drawn = Agreement(rng.integers(0, k, 64), rng.integers(0, k, 64), [str(i) for i in range(k)])
        assert drawn.read_otherwise() is None, seed


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_one_unit_is_two_classes(tmp_path, activation):
    unit = keras.layers.Dense(1 if activation == "sigmoid" else 2, activation=activation)
    inputs = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(inputs, unit(keras.layers.GlobalAveragePooling2D()(inputs)))
    kernel, bias = np.full((3, 1), 9.0), np.array([-9 * 1.5])
    signs = np.array([[1.0]]) if activation == "sigmoid" else np.array([[-0.5, 0.5]])
    unit.set_weights([kernel @ signs, (bias @ signs).ravel()])
    model.save(tmp_path / "net.keras")
    card = ModelCard(height=SIDE, width=SIDE, resize="stretch", scale=1 / 255)
    card.save(tmp_path / "net.toml")
    seen = look(of_brightness(), load_model(ModelConfig(source=str(tmp_path / "net.keras"))))
    assert seen.accuracy is not None
    assert (seen.accuracy.right, seen.accuracy.n, seen.accuracy.chance) == (60, 60, 0.5)
    assert seen.network.output == activation
    assert seen.classes.outputs == 2
    assert seen.warnings == ()


# -- stored


def test_a_look_beside_the_compilation_is_the_same_and_the_audit_takes_it(
    tiny_planted, tiny_cnn_file, tmp_path, monkeypatch
):
    config = parse_config(
        {
            "dataset": {"source": "planted", "path": tiny_planted.config.path},
            "model": {"source": str(tiny_cnn_file)},
            "methods": [{"name": "gradient"}],
            "sanity": {"images": 0},
            "perturbation": None,
            "execution": {"batch_size": 8, "shard_size": 24},
        }
    )
    bench = benches.bench_for(config, looks=True)
    assert bench.seen == look(bench.dataset, bench.model, batch_size=8)
    monkeypatch.setattr(audit, "look", None)  # whoever looks again fails
    run, told = Store(tmp_path / "run"), []
    audit.audit_run(run, bench, told=told.append)
    assert read_preflight(run.manifest, run.path).accuracy == told[0].accuracy == bench.seen.accuracy
    # other images are looked at anew
    assert rebudgeted(bench, config).seen is None


def test_it_is_stored_and_read_back_as_it_was():
    seen = look(of_colours(), colours())
    stored = json.loads(json.dumps({KEY: seen.to_dict()}))
    assert read_preflight(stored, "run") == seen
    assert read_preflight({}, "run") is None
    stored[KEY]["accuracy"]["right"] = "many"
    with pytest.raises(InputError, match=r"run: preflight.accuracy.right: .*was it edited"):
        read_preflight(stored, "run")


def test_its_rows_say_what_was_seen():
    rows = dict(look(of_colours(), colours()).rows())
    assert rows["images"] == "all 24 looked at: 24 ok"
    assert rows["sizes"] == "20 x 10; the annotations state none"
    assert rows["classes"].startswith("3 of 3 matched by position to 3 outputs: red = output 0")
    assert rows["network"] == "known: 8 x 8 x 3 float32; black is 0 0 0, white 1 1 1; output: softmax"
    assert rows["accuracy"].startswith("24 of 24 (95 % interval 86.2 % to 100 %); chance 33.3 %")
    assert isinstance(look(of_colours(), colours()), Preflight)
