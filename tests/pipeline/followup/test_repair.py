"""The last layer trained again: its loss and minimum by other means, a short cut undone, and the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from flows import cli
from pipeline.errors import InputError
from pipeline.followup.last_layer import LastLayer, Lessons, fit, loss, retrain
from pipeline.followup.repair import last_layer
from pipeline.run.documents import RankingDocument
from pipeline.run.store import Store

layers = keras.layers


def lessons(n: int = 60, classes: int = 3) -> Lessons:
    rng = np.random.default_rng(0)
    return Lessons(rng.normal(size=(n, 4)), rng.integers(0, classes, n), np.arange(n))


def test_the_gradient_of_the_loss_is_that_of_differences() -> None:
    rng, given = np.random.default_rng(1), lessons()
    old, at, along = (LastLayer(rng.normal(size=(4, 3)), rng.normal(size=3)) for _ in range(3))
    _, slope = loss(at, old, given, 0.3)
    step = 1e-6
    above, below = (
        loss(LastLayer(at.kernel + s * along.kernel, at.bias + s * along.bias), old, given, 0.3)[0]
        for s in (step, -step)
    )
    exact = (slope.kernel * along.kernel).sum() + (slope.bias * along.bias).sum()
    assert exact == pytest.approx((above - below) / (2 * step), rel=1e-6)


def test_from_zero_it_is_logistic_regression() -> None:
    """scikit-learn: C times the summed loss plus half the squared weights; the bias is not drawn there, so it
    is fixed by balanced pairs of mirrored pictures."""
    given = lessons(200, 2)
    mirrored = Lessons(
        np.concatenate([given.features, -given.features]),
        np.concatenate([given.labels, 1 - given.labels]),
        np.arange(400),
    )
    made = fit(LastLayer(np.zeros((4, 2)), np.zeros(2)), mirrored, 0.05)
    # two outputs w0 = -w1 = w / 2 pay half of what one difference w of weights pays
    scale = 0.05 * np.mean(mirrored.features**2) / 2
    sklearn = LogisticRegression(C=1 / (scale * 400), tol=1e-10).fit(mirrored.features, mirrored.labels)
    np.testing.assert_allclose(made.kernel[:, 1] - made.kernel[:, 0], sklearn.coef_[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(made.bias, 0, atol=1e-5)


def test_a_short_cut_that_the_lessons_contradict_is_undone() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 400)
    sign = 2 * labels - 1
    kept, mark = sign + 0.3 * rng.normal(size=400), rng.choice([-1, 1], 400) + 0.1 * rng.normal(size=400)
    given = Lessons(np.stack([kept, mark], axis=1), labels, np.arange(400) // 2)
    old = LastLayer(np.array([[-0.1, 0.1], [-3.0, 3.0]]), np.zeros(2))
    new, _ = retrain(old, given, np.random.default_rng(0))
    assert (old.logits(given.features).argmax(1) == labels).mean() < 0.7
    assert (new.logits(given.features).argmax(1) == labels).mean() > 0.97
    assert np.abs(new.kernel[1]).max() < 0.1 * np.abs(new.kernel[0]).max()


def test_a_strong_pull_leaves_the_weights_where_they_were() -> None:
    rng = np.random.default_rng(3)
    old = LastLayer(rng.normal(size=(4, 3)), rng.normal(size=3))
    np.testing.assert_allclose(fit(old, lessons(), 1e6).kernel, old.kernel, atol=1e-5)


def test_a_last_layer_that_is_a_convolution_is_refused() -> None:
    x = keras.Input((6, 6, 3))
    conv = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 1, name="last")(x))
    with pytest.raises(InputError, match=r"the model's logits come from .*; valid: a Dense layer"):
        last_layer(keras.Model(x, layers.Softmax()(conv)))


def test_the_command_saves_a_network_of_which_only_the_last_layer_differs(
    small_run: Store, tiny_cnn_file: Path, tmp_path: Path, capsys
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(small_run.path, run)
    assert cli.run(["repair", str(run), "--class", "star", "--out", str(out)]) == cli.DONE
    said = " ".join(capsys.readouterr().out.split())
    assert "accuracies are of the" in said
    assert "star" in said
    before, after = keras.models.load_model(tiny_cnn_file), keras.models.load_model(out / "model.keras")
    differing = {
        a.path for a, b in zip(after.weights, before.weights, strict=True) if not np.array_equal(a, b)
    }
    assert {path.split("/")[-2] for path in differing} == {"logits"}
    result = json.loads((out / "repair.json").read_text())
    assert result["pictures"] + result["held_out"] == 24
    assert result["edits"] > result["pictures"]
    assert RankingDocument.read(Store(out / "run")) is not None
    assert (out / "model.toml").is_file()
    assert cli.run(["repair", str(run), "--class", "star", "--out", str(out)]) == cli.WRONG_INPUT
    assert "is not empty; name a new folder" in " ".join(capsys.readouterr().err.split())


def test_without_a_confirmed_class_there_is_nothing_to_repair(
    small_run: Store, tmp_path: Path, capsys
) -> None:
    assert cli.run(["repair", small_run.path, "--out", str(tmp_path / "o")]) == cli.WRONG_INPUT
    assert "no class of the run is confirmed" in " ".join(capsys.readouterr().err.split())
