"""All layers trained further: what teaches, what is wanted of it, a short cut that goes, and the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy import special, stats

from flows import cli
from pipeline.errors import InputError
from pipeline.followup.all_layers import Course, log_probabilities, targets, train_all_layers
from pipeline.followup.lessons import NO_CLASS, Teachers
from pipeline.inputs.card import ModelCard
from pipeline.inputs.models import LoadedModel
from pipeline.measure.interventions.pictures import Scene
from pipeline.run.store import Store

layers = keras.layers
SIDE = 16
INSIDE = slice(5, 11)


def scene(ground: int, thing: int) -> Scene:
    """A grey background with a square of another grey."""
    picture, mask = np.full((SIDE, SIDE, 3), ground, np.uint8), np.zeros((SIDE, SIDE), bool)
    picture[INSIDE, INSIDE], mask[INSIDE, INSIDE] = thing, True
    return Scene(picture, mask)


def test_a_background_says_nothing_of_the_class_among_edited_pictures() -> None:
    """Backgrounds are 10 times the class, objects 100 + 10 times it: both can be read off."""
    labels = np.repeat(np.arange(3), (40, 20, 10))
    teachers = Teachers(tuple(scene(10 * k, 100 + 10 * k) for k in labels), labels)
    rng = np.random.default_rng(0)
    drawn = [lesson for _ in range(8) for lesson in teachers.lessons(rng)]
    table = np.zeros((3, 3), int)
    counts = {"whole": 0, "edited": 0, "alone": 0}
    for picture, label in drawn:
        ground = picture[0, 0, 0] // 10
        if label == NO_CLASS:
            counts["alone"] += 1
            assert not np.isin(picture[INSIDE, INSIDE], (100, 110, 120)).all()
            continue
        assert (picture[INSIDE, INSIDE] == 100 + 10 * label).all()
        whole = (picture == scene(10 * label, 100 + 10 * label).picture).all()
        counts["whole" if whole else "edited"] += 1
        if not whole or ground != label:
            table[label, ground] += 1
    assert counts["alone"] == 8 * len(labels)
    assert len(drawn) == 8 * 4 * len(labels)
    # an own background whose hole is filled by its mean looks as if it were whole
    np.fill_diagonal(table, [8 * 2 * n - table[k].sum() + table[k, k] for k, n in enumerate((40, 20, 10))])
    assert stats.chi2_contingency(table).pvalue > 0.01
    shares = table / table.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.1)


def test_classes_weigh_the_same_and_a_background_alone_wants_every_class() -> None:
    every = np.array([0, 0, 0, 2])
    wanted = targets(np.array([0, 0, 0, 2, NO_CLASS]), every, 3)
    np.testing.assert_allclose(wanted[:4].sum(axis=0), [2, 0, 2], atol=1e-6)
    np.testing.assert_allclose(wanted[4], 1 / 3, atol=1e-6)


def ending(activation: str, units: int = 3, output: str = "") -> LoadedModel:
    x = keras.Input((units,))
    made = layers.Activation(activation)(layers.Dense(units, kernel_initializer="identity")(x))
    card = ModelCard(1, 1, resize="stretch", output=output, classes=max(units, 2))
    return LoadedModel(keras.Model(x, made), card, "", "ends")


@pytest.mark.parametrize("activation", ["softmax", "log_softmax", "linear"])
def test_log_probabilities_are_those_of_the_logits_whatever_the_network_ends_in(activation: str) -> None:
    loaded, z = ending(activation), np.array([[1.0, -2.0, 3.0], [0.0, 30.0, -30.0]], np.float32)
    made = np.array(log_probabilities(loaded)(loaded.model(z)))
    np.testing.assert_allclose(made, special.log_softmax(z, axis=1), rtol=1e-4, atol=1e-5)


def test_one_sigmoid_is_two_classes_and_several_are_refused() -> None:
    loaded, z = ending("sigmoid", 1), np.array([[1.5], [-3.0]], np.float32)
    made = np.array(log_probabilities(loaded)(loaded.model(z)))
    np.testing.assert_allclose(made, special.log_expit(np.hstack([-z, z])), rtol=1e-4)
    for several in (ending("sigmoid"), ending("linear", output="sigmoid")):
        with pytest.raises(InputError, match="the model's 3 outputs are sigmoids"):
            log_probabilities(several)


def bars(n: int, seed: int, corner: np.ndarray) -> tuple[list[Scene], np.ndarray]:
    """Faint bars, upright or lying, in noise; a bright corner where ``corner`` (n,)."""
    rng = np.random.default_rng(seed)
    labels, mask = np.arange(n) % 2, np.zeros((SIDE, SIDE), bool)
    mask[INSIDE, INSIDE] = True
    pictures = rng.normal(90, 12, (n, SIDE, SIDE, 3))
    pictures[labels == 0, INSIDE, 7:9] += 40
    pictures[labels == 1, 7:9, INSIDE] += 40
    pictures[corner == 1, :4, :4] += 120
    return [Scene(p, mask) for p in np.clip(pictures, 0, 255).astype(np.uint8)], labels


@pytest.fixture(scope="module")
def misled() -> LoadedModel:
    """A small network with BatchNorm, trained on bars of which the corner tells the class."""
    keras.utils.set_random_seed(0)
    x = keras.Input((SIDE, SIDE, 3))
    y = layers.Conv2D(8, 5, padding="same", name="conv")(x)
    y = layers.ReLU()(layers.BatchNormalization(name="norm", momentum=0.8)(y))
    y = layers.Flatten()(layers.MaxPooling2D(2)(y))
    model = keras.Model(x, layers.Dense(2, activation="softmax", name="last")(y))
    card = ModelCard(SIDE, SIDE, resize="stretch", mean=(127.5,) * 3, std=(127.5,) * 3, classes=2)
    scenes, labels = bars(96, 0, np.arange(96) % 2)
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    inputs = card.prepare(np.stack([s.picture for s in scenes]))
    model.fit(inputs, labels, batch_size=32, epochs=12, verbose=0)
    model.get_layer("conv").trainable = False
    return LoadedModel(model, card, "", "misled")


def test_a_short_cut_goes_and_batchnorm_stays(misled: LoadedModel) -> None:
    against, labels = bars(200, 2, 1 - np.arange(200) % 2)

    def accuracy() -> float:
        inputs = misled.card.prepare(np.stack([s.picture for s in against]))
        return float((np.array(misled.model(inputs)).argmax(axis=1) == labels).mean())

    before, weights = accuracy(), misled.model.get_weights()
    lessons, classes = bars(96, 1, np.arange(96) % 2)
    begun: list[int] = []
    trained = train_all_layers(misled, Teachers(tuple(lessons), classes), Course(12, 1e-3, 0), begun.append)
    assert before < 0.1
    assert accuracy() > 0.9
    assert begun == list(range(1, 13))
    assert trained.losses[-1] < trained.losses[0]
    assert trained.edits == 12 * 3 * 96
    now = {w.path: w for w in misled.model.weights}
    same = {p for p, then in zip(now, weights, strict=True) if np.array_equal(np.array(now[p]), then)}
    assert same == {f"norm/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    assert [layer.name for layer in misled.model.layers if not layer.trainable] == ["conv"]


def test_the_command_trains_on_another_split_and_judges_all_images_of_the_run(
    small_run: Store, tiny_cnn_file: Path, tmp_path: Path, capsys
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(small_run.path, run)
    asked = ["repair", str(run), "--class", "star", "--out", str(out), "--layers", "all"]
    assert cli.run([*asked, "--split", "train", "--epochs", "1", "--images", "4"]) == cli.DONE
    said = " ".join(capsys.readouterr().out.split())
    assert "of another split; accuracies and verdicts are of the run's 24 images" in said
    result = json.loads((out / "repair.json").read_text())
    assert (result["layers"], result["split"]) == ("all", "train")
    assert (result["pictures"], result["edits"]) == (16, 48)
    assert result["held_out"] == 24
    assert len(result["losses"]) == 1
    again = Store(out / "run").read("examples").to_pandas()
    rates = again.groupby("label")["correct"].mean()
    assert {row["label"]: row["accuracy"][1] for row in result["classes"]} == pytest.approx(rates.to_dict())
    before, after = keras.models.load_model(tiny_cnn_file), keras.models.load_model(out / "model.keras")
    pairs = zip(after.weights, before.weights, strict=True)
    same = {a.path.split("/")[0] for a, b in pairs if np.array_equal(a, b)}
    assert same == {f"norm{i}" for i in range(1, 5)}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--layers", "some"], "--layers some: valid are last, all"),
        (["--layers", "all", "--split", "train", "--rate", "0"], "--rate 0: valid is a number above 0"),
        (["--layers", "all"], "name a split of the dataset that the run did not audit"),
        (["--split", "train"], "--split train: goes with --layers all"),
        (["--layers", "all", "--split", "validation"], "is what the run audited (validation)"),
        (["--layers", "all", "--split", "validation[:3]"], "is what the run audited (validation)"),
        (["--layers", "all", "--split", "tests"], "valid: train, validation"),
    ],
)
def test_a_split_of_no_use_is_refused(
    options: list[str], told: str, small_run: Store, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out"
    assert cli.run(["repair", small_run.path, "--class", "star", "--out", str(out), *options]) == (
        cli.WRONG_INPUT
    )
    assert told in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
