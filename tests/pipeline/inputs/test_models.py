"""Models from every source, and their cards."""

from __future__ import annotations

import importlib
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers.model.loading import application_names
from pipeline.config_sections import ModelConfig
from pipeline.errors import InputError
from pipeline.inputs.card import ModelCard, read_class_file
from pipeline.inputs.card_files import file_sha256, read_card
from pipeline.inputs.models import LoadedModel, application_card, load_model, model_sha256
from pipeline.trust import Trust

CARD = """
height = 16
width = 16
shorter_side = 18
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]
"""


def small_model() -> keras.Model:
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(5, activation="softmax")(x))


def model_with_card() -> tuple[keras.Model, ModelCard]:
    return small_model(), ModelCard(height=16, width=16, resize="stretch")


def no_model() -> int:
    return 3


def load_function(name: str, card: str = "") -> LoadedModel:
    """The model that a function of this file makes, as if the command line named it."""
    source = f"{__name__}:{name}"
    return load_model(ModelConfig(source=source, card=card), trust=Trust(functions=(source,)))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_with_the_card_beside_it(tmp_path: Path, suffix: str) -> None:
    model, path = small_model(), tmp_path / f"net{suffix}"
    model.save(path)
    path.with_suffix(".toml").write_text(CARD)
    loaded = load_model(ModelConfig(source=str(path)))
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(loaded.model(x), model(x), rtol=1e-6)
    assert (loaded.name, loaded.card.classes, loaded.card.output) == ("net", 5, "softmax")
    assert loaded.sha256 == file_sha256(path)
    assert loaded.card.low.tolist() == [-1, -1, -1]
    assert loaded.card.high.tolist() == [1, 1, 1]


def test_a_function(tmp_path: Path) -> None:
    loaded = load_function("model_with_card")
    assert loaded.sha256 == model_sha256(small_model())
    (tmp_path / "card.toml").write_text(CARD)
    loaded = load_function("small_model", str(tmp_path / "card.toml"))
    assert loaded.card.shorter_side == 18


def test_an_application_by_name_with_its_own_preprocessing() -> None:
    loaded = load_model(ModelConfig(source="MobileNetV2", weights="none"))
    assert (loaded.card.height, loaded.card.shorter_side, loaded.card.classes) == (224, 256, 1000)
    assert loaded.card.class_ids[1] == "n01443537"
    assert loaded.card.low == pytest.approx([-1, -1, -1])
    assert loaded.card.high == pytest.approx([1, 1, 1])


APPLICATIONS = [
    "vgg16",
    "resnet",
    "resnet_v2",
    "densenet",
    "xception",
    "nasnet",
    "efficientnet",
    "convnext",
    "mobilenet_v3",
]


@pytest.mark.parametrize("name", APPLICATIONS)
def test_probed_preprocessing_equals_the_function(name: str) -> None:
    module = importlib.import_module(f"keras.applications.{name}")

    class Shape:
        input_shape = (None, 224, 224, 3)
        output_shape = (None, 1000)

    card = application_card(Shape(), module.preprocess_input)  # type: ignore[arg-type]
    x = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3)).astype(np.uint8)
    expected = module.preprocess_input(x.astype(np.float32))
    np.testing.assert_allclose(card.prepare(x), expected, atol=2e-5)


@settings(max_examples=40, deadline=None)
@given(
    order=st.sampled_from(["rgb", "bgr"]),
    mean=st.tuples(*[st.floats(-200, 200)] * 3),
    std=st.tuples(*[st.floats(0.1, 300)] * 3),
    scale=st.sampled_from([1.0, 1 / 255]),
    pixel=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_prepare_is_the_formula(
    order: str, mean: tuple[float, ...], std: tuple[float, ...], scale: float, pixel: tuple[int, ...]
) -> None:
    card = ModelCard(
        height=1, width=1, resize="stretch", channel_order=order, mean=mean, std=std, scale=scale
    )
    values = pixel if order == "rgb" else pixel[::-1]
    expected = [(p * scale - m) / s for p, m, s in zip(values, mean, std, strict=True)]
    got = card.prepare(np.array(pixel, np.uint8).reshape(1, 1, 3))[0, 0]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-3 / min(std))


def test_a_gray_network_sees_luminance() -> None:
    card = ModelCard(
        height=1, width=1, channels=1, resize="stretch", channel_order="gray", mean=(0.0,), std=(255.0,)
    )
    assert card.prepare(np.array([[[255, 0, 0]]], np.uint8)).tolist() == [[[pytest.approx(76 / 255)]]]
    assert card.high == pytest.approx([1.0])


def test_a_card_survives_toml(tmp_path: Path) -> None:
    card = ModelCard(
        height=3, width=5, resize="pad", antialias=False, scale=0.5, class_names=('say "hi"', "ü"), classes=2
    )
    card.save(tmp_path / "card.toml")
    assert read_card(str(tmp_path / "card.toml")).card == card


def test_classes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("n1 cat, house cat\nn2\n")
    (tmp_path / "card.toml").write_text(CARD + 'classes_file = "names.txt"\n')
    card = read_card(str(tmp_path / "card.toml")).card
    assert (card.class_ids, card.class_names) == (("n1", "n2"), ("cat, house cat", "n2"))
    (tmp_path / "names.txt").write_text("n1 a\nn1 b\n")
    with pytest.raises(InputError, match="twice"):
        read_class_file(tmp_path / "names.txt")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("height = 3", "'width' is missing"),
        (
            "height = 3\nwidth = 3\nresize = 'fit'",
            "resize must be one of shorter_side, stretch, pad, received 'fit'",
        ),
        ("height = 3\nwidth = 3\nshorter_side = 2", "at least 3"),
        ("height = 3\nwidth = 3\nresize = 'pad'\nstd = [1, 0, 1]", "must not be 0"),
        ("height = 3\nwidth = 3\nresize = 'pad'\nmean = [1]", "mean must have 3 values"),
        ("height = 3\nwidth = 3\nsize = 3", "unknown field 'size'"),
        ("height = 'a'\nwidth = 3", "wrong type"),
        ("height = ", "not valid TOML"),
    ],
)
def test_a_bad_card_says_what_is_wrong(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "card.toml").write_text(text)
    with pytest.raises(InputError, match=reason):
        read_card(str(tmp_path / "card.toml"))


def test_bad_models_say_what_is_wrong(tmp_path: Path) -> None:
    broken, bare = tmp_path / "broken.keras", tmp_path / "bare.keras"
    broken.write_bytes(b"no zip")
    broken.with_suffix(".toml").write_text(CARD)
    small_model().save(bare)
    cases = {
        "no/such.keras": "no such model file",
        str(broken): "neither a zip archive",
        str(bare): "no model card",
        "NoSuchNet": "keras.applications: .*VGG16",
        "no_such_package:f": "No module named",
        f"{__name__}:missing": "no attribute",
        f"{__name__}:small_model": "give --card",
        "planted": "planted dataset",
    }
    for source, reason in cases.items():
        with pytest.raises(InputError, match=reason):
            load_model(ModelConfig(source=source), trust=Trust(functions=(source,)))
    (tmp_path / "card.toml").write_text(CARD)
    with pytest.raises(InputError, match="received int"):
        load_function("no_model", str(tmp_path / "card.toml"))
    with pytest.raises(InputError, match=r"weights 'nowhere.h5': no such file"):
        load_model(ModelConfig(source="VGG16", weights="nowhere.h5"))


def test_what_nobody_stated_is_said(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    small_model().save(path)
    path.with_suffix(".toml").write_text(CARD)
    assert load_model(ModelConfig(source=str(path))).decisions == (
        "model card: net.toml, beside the model file",
        "the model card does not say, so by default: resize shorter_side, channel_order rgb, scale 1",
        "output: softmax, by the network's own softmax",
    )
    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.save(path)
    assert load_model(ModelConfig(source=str(path))).decisions[-1].startswith("output: logits, by default")
    path.with_suffix(".toml").write_text(CARD + 'output = "logits"\n')
    assert load_model(ModelConfig(source=str(path))).decisions[-1] == "output: logits, by the model card"
    untrained = load_model(ModelConfig(source="MobileNet", weights="none")).decisions
    assert untrained[0] == "weights: none; the network is untrained, its weights are random"
    assert "MobileNet's own preprocess_input" in untrained[1]


def test_a_byte_order_mark_is_no_part_of_a_card_or_its_classes(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\ufeffn1 cat\nn2 dog\n")
    (tmp_path / "card.toml").write_text("\ufeff" + CARD + 'classes_file = "names.txt"\n')
    card = read_card(str(tmp_path / "card.toml")).card
    assert (card.height, card.class_ids, card.class_names) == (16, ("n1", "n2"), ("cat", "dog"))


def test_a_card_that_contradicts_the_network(tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    for text, reason in ((CARD.replace("16", "18"), "takes"), (CARD + "classes = 7\n", "5 outputs")):
        card.write_text(text)
        with pytest.raises(InputError, match=reason):
            load_function("small_model", str(card))


def test_code_in_a_file_runs_only_when_allowed(tmp_path: Path) -> None:
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Lambda(lambda t: t * 2, output_shape=(16, 16, 3))(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    path = tmp_path / "code.keras"
    keras.Model(inputs, keras.layers.Dense(2)(x)).save(path)
    path.with_suffix(".toml").write_text(CARD)
    with pytest.raises(InputError, match="cannot load"):
        load_model(ModelConfig(source=str(path)))
    with pytest.raises(InputError, match="only on the command line: give --unsafe"):
        load_model(ModelConfig(source=str(path), unsafe=True))
    assert load_model(ModelConfig(source=str(path)), trust=Trust(unsafe=True)).card.classes == 2


def test_known_names() -> None:
    assert {"VGG16", "ResNet50", "EfficientNetB0"} <= set(application_names())


@pytest.mark.ilsvrc
def test_squeezenet_is_recognised_by_its_checksum(ilsvrc: Path) -> None:
    import json

    loaded = load_model(ModelConfig(source=str(ilsvrc / "squeezenet_v1.1.keras")))
    stated = json.loads((ilsvrc / "squeezenet_v1.1.json").read_text())["preprocessing"]
    np.testing.assert_allclose(loaded.card.low, stated["range"]["low_per_channel"], atol=1e-5)
    np.testing.assert_allclose(loaded.card.high, stated["range"]["high_per_channel"], atol=1e-5)
    assert loaded.card.shorter_side == 256
