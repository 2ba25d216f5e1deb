"""hansaudit visualize, as a user calls it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows import cli
from pipeline.inputs.card import ModelCard


def call(network: Path, *arguments: str) -> int:
    return cli.run(["visualize", str(network), "--steps", "12", "--pictures", "2", *arguments])


def test_classes_become_rows_of_a_figure(tiny_cnn_file: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "new" / "wanted.png"
    assert call(tiny_cnn_file, "--class", "ring", "--class", "3", "--out", str(out)) == cli.DONE
    said = capsys.readouterr().out
    for name in ("ring", "star"):
        (line,) = [line for line in said.splitlines() if line.startswith(f"{name}: ")]
        before, after = (float(part.split()[0]) for part in line.split(": ")[1].split(", "))
        assert after > before
    with Image.open(out) as figure:
        assert figure.size[0] < 2 * figure.size[1]


def test_channels_of_a_layer(tiny_cnn_file: Path, tmp_path: Path, capsys) -> None:
    import keras

    layer = next(
        x.name for x in keras.models.load_model(tiny_cnn_file).layers if isinstance(x, keras.layers.Conv2D)
    )
    assert (
        call(tiny_cnn_file, "--layer", layer, "--channel", "1", "--out", str(tmp_path / "c.png")) == cli.DONE
    )
    assert f"{layer}, channel 1: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "received neither --class nor --layer"),
        (("--class", "ring", "--layer", "conv", "--channel", "0"), "received both --class and --layer"),
        (("--layer", "conv"), "--layer and --channel belong together"),
        (("--class", "horse"), "class 'horse': there is no such class"),
        (("--layer", "conv", "--channel", "0"), "layer 'conv': there is no such layer; layers: "),
    ],
)
def test_what_cannot_be_drawn_is_one_line(tiny_cnn_file, tmp_path, capsys, arguments, said) -> None:
    assert call(tiny_cnn_file, *arguments, "--out", str(tmp_path / "x.png")) == cli.WRONG_INPUT
    error = capsys.readouterr().err
    assert said in error.replace("\n", " ")
    assert "Traceback" not in error


@pytest.mark.parametrize("order", ["rgb", "bgr", "gray"])
def test_a_card_s_way_back_is_the_way_back(order: str) -> None:
    channels = 1 if order == "gray" else 3
    card = ModelCard(
        4,
        4,
        channels,
        "stretch",
        channel_order=order,
        scale=1 / 255,
        mean=channels * (0.4,),
        std=channels * (0.2,),
    )
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    if order == "gray":
        pixels[...] = pixels[..., :1]
    np.testing.assert_array_equal(card.pictures(card.prepare(pixels)), pixels)
