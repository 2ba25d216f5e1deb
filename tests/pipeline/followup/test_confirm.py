"""Confirmation by intervention: edits, effects, verdicts, and a network known by construction."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import schema
from pipeline.followup.judgement import ClassEffects, both_effects, effects_of, judge, summarise
from pipeline.measure.interventions.kinds.background import without_background
from pipeline.measure.interventions.kinds.box import control_box, without_object
from pipeline.measure.interventions.kinds.exchange import closest_mask, exchange
from pipeline.measure.interventions.pictures import FILLS, Scene, fill, inpaint, window_sums
from pipeline.run.hashes import hashed

SIDE = 32


def box_mask(x0, y0, x1, y1, side=SIDE):
    mask = np.zeros((side, side), bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


def noise_scene(seed, mask):
    return Scene(np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8), mask)


# -- edits


@pytest.mark.parametrize("kind", FILLS)
def test_a_fill_does_not_see_what_it_replaces(kind):
    mask = box_mask(8, 6, 20, 15)
    a = noise_scene(0, mask).picture
    b = a.copy()
    b[mask] = 255 - b[mask]
    filled = [fill(kind, p, mask, np.random.default_rng(1)) for p in (a, b)]
    np.testing.assert_array_equal(*filled)


def test_fills_by_hand():
    mask = box_mask(0, 0, 15, 31)
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[:, 16:] = (200, 100, 50)
    picture[:, :16] = 7
    rng = np.random.default_rng(0)
    assert (fill("mean", picture, mask, rng)[mask] == (200, 100, 50)).all()
    assert (inpaint(picture, mask)[mask] == (200, 100, 50)).all()  # one colour continues as itself
    noise = fill("noise", picture, mask, rng)
    assert noise.std() > 60
    everything = np.ones_like(mask)
    assert (fill("blur", picture, everything, rng) == 127).all()


def test_inpainting_follows_the_nearest_surroundings():
    """Left of the hole dark, right of it bright: so is the filling."""
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[:, 16:] = 240
    filled = inpaint(picture, box_mask(10, 10, 21, 21))
    assert filled[16, 11].mean() < 60
    assert filled[16, 20].mean() > 180


def test_object_and_background_edits():
    scene = noise_scene(3, box_mask(10, 8, 20, 19))
    rng = np.random.default_rng(0)
    for kind in FILLS:
        edited = without_object(scene, kind, rng)
        far = ~box_mask(8, 6, 22, 21)
        np.testing.assert_array_equal(edited[far], scene.picture[far])
        assert (edited[scene.mask] != scene.picture[scene.mask]).mean() > 0.9
    for kind in ("blur", "noise"):
        edited = without_background(scene, kind, rng)
        np.testing.assert_array_equal(edited[scene.mask], scene.picture[scene.mask])
        assert (edited[~scene.mask] != scene.picture[~scene.mask]).mean() > 0.9


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 10))
def test_window_sums_by_brute_force(h, w, seed):
    mask = np.random.default_rng(seed).random((20, 23)) < 0.3
    found = window_sums(mask, h, w)
    assert found.shape == (21 - h, 24 - w)
    for y in range(0, 21 - h, 3):
        for x in range(0, 24 - w, 3):
            assert found[y, x] == mask[y : y + h, x : x + w].sum()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 25), st.integers(0, 25), st.integers(1, 18), st.integers(1, 18), st.integers(0, 3))
def test_a_control_box_is_as_large_as_the_object_and_off_it(x, y, w, h, seed):
    mask = box_mask(x, y, min(x + w, SIDE) - 1, min(y + h, SIDE) - 1)
    area = mask.sum()
    box = control_box(mask, np.random.default_rng(seed))
    assert box is not None
    assert abs(box.sum() - area) <= 0.5 * max(np.ptp(np.argwhere(box), axis=0) + 1) + 1
    assert (box & mask).sum() <= 0.25 * box.sum()
    if w <= 8 and h <= 8:
        assert not (box & mask).any()


def test_no_room_for_a_control_box():
    assert control_box(box_mask(0, 0, 31, 27), np.random.default_rng(0)) is None
    assert control_box(np.zeros((SIDE, SIDE), bool), np.random.default_rng(0)) is None


@pytest.mark.parametrize("kind", FILLS)
def test_an_exchange_cuts_both_backgrounds_alike(kind):
    masks = box_mask(10, 10, 18, 18), box_mask(2, 2, 12, 9), box_mask(20, 14, 27, 25)
    scene, same, other = (noise_scene(i, m) for i, m in enumerate(masks))
    made = exchange(scene, same, other, kind, np.random.default_rng(5))
    hole = masks[0] | masks[1] | masks[2]
    changed = [(e != d.picture).any(axis=-1) for e, d in ((made.same, same), (made.other, other))]
    for one, ground in zip(changed, (same, other), strict=True):
        assert one[hole].mean() > 0.99  # no object is left
        assert not one[~box_mask(0, 0, 31, 31)].any()
        assert ground is not scene
    outside = ~(changed[0] | changed[1])
    np.testing.assert_array_equal(made.same[outside], same.picture[outside])
    np.testing.assert_array_equal(made.other[outside], other.picture[outside])
    if kind == "noise":
        np.testing.assert_array_equal(made.same[hole], made.other[hole])
    for edited, ground in ((made.same_object, made.same), (made.other_object, made.other)):
        np.testing.assert_array_equal(edited[scene.mask], scene.picture[scene.mask])
        np.testing.assert_array_equal(edited[~scene.mask], ground[~scene.mask])
    assert (
        exchange(scene, same, Scene(other.picture, box_mask(0, 0, 31, 30)), kind, np.random.default_rng(5))
        is None
    )


def test_closest_mask_adds_least():
    wanted = box_mask(0, 0, 9, 9)
    assert (
        closest_mask(wanted, [box_mask(0, 0, 15, 15), box_mask(2, 2, 10, 9), box_mask(20, 20, 24, 24)]) == 1
    )


# -- effects and verdicts


def test_effects_by_hand():
    responses = {
        "full": [0.9, 0.8],
        "removed:mean": [0.5, 0.2],
        "removed:blur": [0.3, 0.4],
        "control:mean": [0.7, np.nan],
        "replaced:noise": [0.1, 0.8],
        "same:0": [0.6, 0.5],
        "same:1": [0.4, np.nan],
        "other:0": [0.1, 0.1],
        "other:1": [0.3, np.nan],
        "same_object:0": [0.9, 0.9],
        "other_object:0": [0.2, 0.7],
    }
    found = effects_of({k: np.array(v) for k, v in responses.items()})
    by_hand = {
        "drop_removed": [0.5, 0.5],
        "drop_control": [0.2, np.nan],
        "object_over_control": [0.3, np.nan],
        "drop_background": [0.7, 0.1],
        "sufficiency": [0.3, 0.4],
        "necessity": [0.7, 0.2],
        "drop_replaced:noise": [0.8, 0.0],
        "drop_removed:blur": [0.6, 0.4],
    }
    for name, values in by_hand.items():
        np.testing.assert_allclose(found[name], values, err_msg=name)


def draw_class(rng, label, attribution, mean=0.0, n=25):
    """Per-image contrasts as confirm sees them: bounded, skewed, many exact zeros."""
    noise = rng.choice([0.0, 0.3, -0.3], n, p=[0.6, 0.2, 0.2]) * rng.random(n)
    values = np.clip(mean + noise, -1, 1)
    return ClassEffects(label, attribution, {"sufficiency": values, "necessity": rng.permutation(noise)})


def test_no_effect_is_hardly_ever_confirmed():
    """Simulation: 12 suspicious classes without an effect; runs with any class confirmed must be <= 5 %."""
    confirmed = 0
    for run in range(40):
        rng = np.random.default_rng(run)
        found = judge([draw_class(rng, k, True, n=8 + run % 20) for k in range(12)], seed=run)
        confirmed += any(j.verdict == "confirmed" for j in found)
    assert confirmed <= 2


def test_all_four_verdicts_and_undecided():
    rng = np.random.default_rng(0)
    classes = [
        draw_class(rng, 0, True, 0.5),
        draw_class(rng, 1, False, 0.5),
        draw_class(rng, 2, True),
        draw_class(rng, 3, False),
        draw_class(rng, 4, True, 0.5, n=3),
        *(draw_class(rng, k, False) for k in (5, 6)),
    ]
    found = judge(classes)
    assert [j.verdict for j in found[:5]] == ["confirmed", "hidden", "attribution_only", "clean", "undecided"]
    assert found[4].needed > 5
    assert found[0].strength == pytest.approx(found[0].effects["sufficiency"].mean, abs=0.05)


def test_what_all_classes_share_is_no_finding():
    rng = np.random.default_rng(1)
    found = judge([draw_class(rng, k, True, 0.4) for k in range(9)])
    assert {j.verdict for j in found} == {"attribution_only"}
    stands_out = judge([draw_class(rng, k, True, 0.4 if k else 0.9) for k in range(9)])
    assert [j.verdict for j in stands_out].count("confirmed") == 1


def test_a_value_that_never_varies_has_an_interval():
    assert summarise(np.full(6, 0.7), 0).low == pytest.approx(0.7)
    assert summarise(np.array([np.nan]), 0).n == 0


# -- a network that is known by construction


def colour_model():
    """Logits: 40 x mean of (red, green, blue) beyond grey; so red anywhere is class 0, and so on."""
    import keras

    from pipeline.inputs.card import ModelCard
    from pipeline.inputs.models import LoadedModel

    inputs = keras.Input((SIDE, SIDE, 3))
    kernel = (np.eye(3) - 0.5 * (1 - np.eye(3))).reshape(1, 1, 3, 3)
    convolution = keras.layers.Conv2D(3, 1, activation="relu", name="colour")
    x = keras.layers.GlobalAveragePooling2D()(convolution(inputs))
    dense = keras.layers.Dense(3, activation="softmax", name="scores")
    model = keras.Model(inputs, dense(x))
    convolution.set_weights([kernel, np.zeros(3)])
    dense.set_weights([40 * np.eye(3), np.zeros(3)])
    card = ModelCard(height=SIDE, width=SIDE, resize="stretch", scale=1 / 255, classes=3)
    return LoadedModel(model, card, "0" * 64, "colours")


def colour_scenes(n=8):
    """Class 0: a grey object and a red mark beside it. Class 1: a green object. Class 2: a blue one."""
    scenes = {}
    for label in range(3):
        for i in range(n):
            rng = np.random.default_rng([label, i])
            x, y = rng.integers(8, 16, 2)
            picture = rng.integers(110, 140, (SIDE, SIDE, 1)).repeat(3, axis=2).astype(np.uint8)
            picture[y : y + 9, x : x + 9] = (90, 90, 90) if label == 0 else np.eye(3)[label] * 250
            if label == 0:
                picture[:5, 3 * (i % 8) : 3 * (i % 8) + 6] = (250, 20, 20)
            scenes.setdefault(label, {})[f"{label}-{i}"] = Scene(picture, box_mask(x, y, x + 8, y + 8))
    return scenes


def test_interventions_see_what_the_network_uses():
    from pipeline.config import ConfirmConfig
    from pipeline.measure.interventions.edits import intervene

    measured = intervene(colour_scenes(), colour_model(), ConfirmConfig(images=8, seed=3), 16)
    assert measured.passes % 16 == 0
    effects = {k: both_effects(v) for k, v in measured.responses.items()}
    judged = judge([ClassEffects(k, k == 0, v) for k, v in effects.items()])
    assert [j.verdict for j in judged] == ["confirmed", "clean", "clean"]
    mean = {k: {name: e.mean for name, e in j.effects.items()} for k, j in enumerate(judged)}
    assert mean[0]["drop_removed"] < 0.05 < 0.5 < mean[1]["drop_removed"]
    assert mean[0]["sufficiency"] > 0.2
    assert abs(mean[1]["sufficiency"]) < 0.1
    assert mean[1]["object_over_control"] > 0.5
    assert mean[1]["hit drop_removed"] > 0.5
    # another seed, other donors, the same verdicts; the same seed, the same numbers
    again = intervene(colour_scenes(), colour_model(), ConfirmConfig(images=8, seed=3), 5)
    np.testing.assert_allclose(
        both_effects(again.responses[0])["necessity"], effects[0]["necessity"], atol=1e-5
    )


# -- a run


def test_confirm_on_a_run(small_run):
    from pipeline.config import ConfirmConfig, RankingConfig
    from pipeline.followup.confirm import confirm, confirmed_order
    from pipeline.measure.bench import reopen
    from pipeline.run.documents import ConfirmationDocument
    from pipeline.run.folder import CONFIRMATION_TABLE
    from pipeline.statistics.ranking import rank

    seen = []
    ranking = rank(small_run, RankingConfig(images="all", n_min=2, draws=200))
    plan = ConfirmConfig(top=2, controls=1, images=5)
    result = confirm(small_run, plan, ranking, reopen(small_run), lambda *a: seen.append(a))
    assert seen[-1][0] == seen[-1][1] == sum(e.effects["full"].n for e in result.judgements.values())
    assert sorted(result.roles.values()) == ["control", "top", "top"]
    stored = ConfirmationDocument.read(small_run)
    assert [c.verdict for c in stored.classes] == [j.verdict for j in result.judgements.values()]
    table = pq.read_table(io.BytesIO(small_run.files.get(CONFIRMATION_TABLE)))
    assert table.schema.equals(schema.CONFIRM)
    rows = table.to_pandas()
    first = stored.classes[0]
    mine = rows[(rows["label"] == first.label) & (rows["effect"] == "sufficiency")]
    assert mine["mean"].item() == pytest.approx(first.effects["sufficiency"].mean)
    labels = [3, 1, 0, 2]
    assert sorted(confirmed_order(labels, result)) == [0, 1, 2, 3]


def test_another_dataset_is_not_taken_for_the_run_s(small_run, tmp_path):
    import shutil

    from pipeline.errors import InputError
    from pipeline.measure.bench import reopen
    from pipeline.run.store import Store

    shutil.copytree(small_run.path, tmp_path / "run")
    path = tmp_path / "run" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["dataset"]["fingerprint"] = "f" * 64
    path.write_text(json.dumps(hashed(manifest)))
    with pytest.raises(InputError, match="the dataset is not the run's any more"):
        reopen(Store(tmp_path / "run"))


def test_order_with_confirmation():
    from pipeline.followup.confirm import Confirmed, confirmed_order
    from pipeline.followup.judgement import Judgement

    def one(verdict, strength):
        return Judgement(verdict, strength, strength, None, {})

    judged = {
        1: one("clean", 0.05),
        2: one("confirmed", 0.3),
        3: one("hidden", 0.6),
        4: one("attribution_only", 0.08),
    }
    judged[5] = one("undecided", np.nan)
    assert confirmed_order([1, 2, 3, 4, 5, 6], Confirmed(judged, {}, (), 0, "lrp.preset_a")) == [
        3,
        2,
        5,
        6,
        4,
        1,
    ]


def test_a_run_confirms_when_its_configuration_says_so(small_run, tmp_path):
    import shutil
    from dataclasses import replace

    from flows.followups import follow_up
    from pipeline.config import ConfirmConfig, parse_config
    from pipeline.measure.bench import reopen
    from pipeline.run.store import Store
    from pipeline.statistics.ranking import rank

    shutil.copytree(small_run.path, tmp_path / "run")
    store = Store(tmp_path / "run")
    config = parse_config(store.manifest["config"])
    ranking = rank(store, config.ranking)
    asked = config.model_copy(update={"confirm": ConfirmConfig(top=2, controls=1, images=3, pairs=1)})
    bench = replace(reopen(store), config=asked)
    follow_up(store, ranking, bench, fresh=True)
    first = json.loads(store.files.get("confirm.json"))
    assert first["plan"] == {"top": 2, "controls": 1, "images": 3, "pairs": 1, "seed": 0}
    assert [c["role"] for c in first["classes"]].count("top") == 2

    def is_done_again(ranking, fresh):
        store.files.put("confirm.json", json.dumps(hashed(first | {"passes": -1})).encode())
        follow_up(store, ranking, bench, fresh=fresh)
        return json.loads(store.files.get("confirm.json"))["passes"] != -1

    assert not is_done_again(ranking, fresh=False)
    assert is_done_again(rank(store, config.ranking.model_copy(update={"method": "gradient"})), fresh=False)
    assert is_done_again(ranking, fresh=True)
    assert json.loads(store.files.get("confirm.json")) == first
