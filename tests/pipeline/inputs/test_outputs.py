"""What outputs of networks are: the graph decides, a card that contradicts it is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from explainers.network import network
from pipeline.config_sections import ModelConfig
from pipeline.errors import InputError
from pipeline.inputs.models import LoadedModel, load_model
from pipeline.measure.rows import probabilities

layers = keras.layers
CARD = "height = 8\nwidth = 8\nresize = 'stretch'\nscale = 0.01\n"


def built(end: Callable[[Any], Any], dtype: str = "float32") -> keras.Model:
    keras.utils.set_random_seed(2)
    x = keras.Input((8, 8, 3), dtype=dtype)
    return keras.Model(x, end(layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(2.0)(x))))


def loaded(model: keras.Model, folder: Path, card: str = CARD) -> LoadedModel:
    model.save(folder / "net.keras")
    (folder / "net.toml").write_text(card)
    return load_model(ModelConfig(source=str(folder / "net.keras")))


def nested_sigmoid(t: Any) -> Any:
    return keras.Sequential([keras.Input((6, 6, 4)), layers.Flatten(), layers.Dense(3, "sigmoid")])(t)


def convolution(t: Any) -> Any:
    end = layers.Conv2D(3, 1, activation="softmax", kernel_initializer="random_normal")
    return layers.Flatten()(end(layers.GlobalAveragePooling2D(keepdims=True)(t)))


def two_heads(t: Any) -> Any:
    t = layers.Flatten()(t)
    return layers.Average()([layers.Dense(3, "softmax")(t), layers.Dense(3, "softmax")(t)])


def log_softmax(t: Any) -> Any:
    return layers.Activation("log_softmax")(layers.Dense(3)(layers.Flatten()(t)))


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (nested_sigmoid, "sigmoid"),
        (convolution, "softmax"),
        (two_heads, "probabilities"),
        (lambda t: layers.Dense(3, "softmax")(layers.Flatten()(t)), "softmax"),
    ],
)
def test_confidence_is_what_the_model_says(end: Callable[[Any], Any], kind: str, tmp_path: Path) -> None:
    model = built(end)
    ready = loaded(model, tmp_path)
    assert ready.card.output == kind
    x = np.random.default_rng(0).uniform(0, 2.55, (4, 8, 8, 3)).astype("float32")
    p = probabilities(network(ready.model).logits((x,)), ready.card.output)
    np.testing.assert_allclose(p, model(x).numpy(), rtol=1e-4)


def test_log_softmax_and_plain_logits_are_read_by_a_softmax(tmp_path: Path) -> None:
    assert loaded(built(log_softmax), tmp_path).card.output == "softmax"
    plain = loaded(built(lambda t: layers.Dense(3)(layers.Flatten()(t))), tmp_path)
    assert plain.card.output == "logits"
    assert plain.decisions[-1] == "output: logits, by default: the network ends in no softmax or sigmoid"


@pytest.mark.parametrize(
    ("end", "stated", "message"),
    [
        (nested_sigmoid, "softmax", r"card says output = 'softmax', but the network ends in a sigmoid"),
        (convolution, "logits", r"card says output = 'logits', but the network ends in a softmax"),
        (two_heads, "sigmoid", r"positive and sum to 1; valid: output = \"probabilities\""),
        (lambda t: layers.Dense(3)(layers.Flatten()(t)), "probabilities", r"do not sum to 1"),
        (lambda t: layers.Dense(1)(layers.Flatten()(t)), "", r"one output, which is no sigmoid"),
        (lambda t: layers.Dense(1, "softmax")(layers.Flatten()(t)), "", r"one output, which is no sigmoid"),
        (lambda t: t, "", r"outputs of shapes .*\(None, 6, 6, 4\); valid is one image"),
    ],
)
def test_contradictions_are_one_line(
    end: Callable[[Any], Any], stated: str, message: str, tmp_path: Path
) -> None:
    card = CARD + (f'output = "{stated}"\n' if stated else "")
    with pytest.raises(InputError, match=message) as refused:
        loaded(built(end), tmp_path, card)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("classes", [1, 3])
def test_one_unit_is_two_classes_and_no_other_number(classes: int, tmp_path: Path) -> None:
    unit = built(lambda t: layers.Dense(1, "sigmoid")(layers.Flatten()(t)))
    assert loaded(unit, tmp_path).card.classes == 2
    with pytest.raises(InputError, match=f"has 1 outputs, for 2 classes, but its card says {classes}"):
        loaded(unit, tmp_path, CARD + f"classes = {classes}\n")


def test_whole_numbers_get_whole_numbers(tmp_path: Path) -> None:
    model = built(lambda t: layers.Dense(3)(layers.Flatten()(t)), "uint8")
    assert loaded(model, tmp_path, CARD.replace("scale = 0.01", "")).card.scale == 1
    with pytest.raises(
        InputError, match=r"takes uint8 whole numbers, but its card makes 0 to 2.55 of pixels"
    ):
        loaded(model, tmp_path)


# -- files of other programs


@pytest.fixture
def keras_2(tmp_path: Path) -> Path:
    """As Keras 2 wrote depthwise convolutions: with an argument `groups` that Keras 3 does not take."""
    path = tmp_path / "old.h5"
    x = keras.Input((8, 8, 3))
    keras.Model(x, layers.Dense(2)(layers.Flatten()(layers.DepthwiseConv2D(3)(x)))).save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
    path.with_suffix(".toml").write_text(CARD)
    return path


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_file_of_keras_2_says_why_and_how_to_convert_it(keras_2: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"arguments passed to DepthwiseConv2D: \{'groups': 1\}") as refused:
        load_model(ModelConfig(source=str(keras_2)))
    assert "\n" not in str(refused.value)
    assert "config=" not in str(refused.value).partition("convert")[0]
    # the way out of the message, word for word
    words = str(refused.value).partition("convert it once: ")[2]
    code = words.replace("FILE", "path").replace('"model.keras"', "new")
    eval(code, {"keras": keras, "path": keras_2, "new": tmp_path / "new.keras"})
    (tmp_path / "new.toml").write_text(CARD)
    assert load_model(ModelConfig(source=str(tmp_path / "new.keras"))).card.classes == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net.onnx", "an ONNX file"),
        ("net.PT", "a PyTorch file: rebuild .* transposed"),
        ("net.pth", "a PyTorch file"),
        ("net.tflite", "a TensorFlow Lite file"),
        ("frozen.PB", "a graph of TensorFlow operations"),
        ("net.weights.h5", "weights without an architecture"),
        ("net.json", "the architecture without weights"),
        ("net.bin", "no format that is known by its suffix"),
        ("net.keras", "its content is neither a zip archive"),
        ("NET.H5", "its content is neither a zip archive"),
    ],
)
def test_files_of_other_programs_say_what_to_do(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"something")
    (tmp_path / name).with_suffix(".toml").write_text(CARD)
    with pytest.raises(InputError, match=message) as refused:
        load_model(ModelConfig(source=str(tmp_path / name)))
    assert "\n" not in str(refused.value)


def test_a_saved_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    with pytest.raises(InputError, match=r"a folder; valid: a \.keras or \.h5 file"):
        load_model(ModelConfig(source=str(tmp_path / "saved")))
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(InputError, match=r"a SavedModel folder.*tf_keras"):
        load_model(ModelConfig(source=str(tmp_path / "saved")))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("written", "name"), [("a.h5", "A.H5"), ("a.keras", "A.Keras"), ("a.h5", "b.keras")])
def test_the_content_decides_the_format(written: str, name: str, tmp_path: Path) -> None:
    model = built(lambda t: layers.Dense(3, "softmax")(layers.Flatten()(t)))
    model.save(tmp_path / written)
    shutil.move(tmp_path / written, tmp_path / name)
    (tmp_path / name).with_suffix(".toml").write_text(CARD)
    ready = load_model(ModelConfig(source=str(tmp_path / name)))
    x = np.ones((1, 8, 8, 3), "float32")
    np.testing.assert_array_equal(ready.model(x), model(x))
