"""The canary on photographs: super-classes, marks, the head against scikit-learn, a trial on real images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.canary import photo_canary as photo
from pipeline.canary import photos as reading
from pipeline.canary.grid import Grid
from pipeline.canary.photo_canary import PhotoSpec
from pipeline.canary.photos import Choice, Photos
from pipeline.canary.super_classes import ARTEFACTS, RANGES, SUPER_CLASSES, THING, super_class
from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import drawing
from pipeline.inputs.datasets.ilsvrc2012 import imagenet_classes
from pipeline.inputs.datasets.planted import Artefact
from pipeline.inputs.geometry import union_mask

SIDE = 32


def photographs(per_class: int = 6, seed: int = 0) -> Photos:
    """Grey-level pictures of four super-classes, told apart by brightness, with a box on the left."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 2, 5, 9], per_class)
    level = labels[:, None, None, None] * 20 + 20
    pictures = np.clip(level + rng.normal(0, 12, (len(labels), SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    boxes = tuple(np.array([[2, 2, 12 + i % 3, 29]], np.int32) for i in range(len(labels)))
    return Photos(tuple(f"photo-{i:02d}.JPEG" for i in range(len(labels))), labels, pictures, boxes)


# -- super-classes


def test_every_synset_has_its_group():
    ids, names = imagenet_classes()
    first = [name.split(",")[0].strip() for name in names]
    groups = [super_class(i, name) for i, name in enumerate(names)]
    by_id = dict(zip(ids, groups, strict=True))
    assert set(groups) == set(SUPER_CLASSES)
    # known ones: tench, crane (the bird), Egyptian cat, basketball, crane (the machine), alp, ear of corn
    known = {
        "n01440764": "reptile or fish",
        "n02012849": "bird",
        "n02124075": "other mammal",
        "n02802426": THING,
        "n03126707": THING,
        "n09193705": "place",
        "n13133613": "food or plant",
    }
    assert {k: by_id[k] for k in known} == known
    # no index is in two ranges, no name in two lists, and every listed name is a synset between the ranges
    taken = [i for ranges in RANGES.values() for start, stop in ranges for i in range(start, stop)]
    assert len(taken) == len(set(taken))
    listed = [name for own in ARTEFACTS.values() for name in own]
    assert len(listed) == len(set(listed))
    assert set(listed) <= {name for i, name in enumerate(first) if i not in set(taken)}


def test_photos_are_grouped_by_synset_whatever_their_classes_are_called(tiny_dataset):
    groups = reading.super_classes_of(tiny_dataset)
    names = dict(zip(tiny_dataset.info.class_ids, (SUPER_CLASSES[k] for k in groups), strict=True))
    assert names["n01440764"] == "reptile or fish"
    assert names["n02802426"] == names["n03888257"] == THING


def test_other_classes_are_refused(tiny_planted):
    from pipeline.inputs.planted_model import planted_card

    card = planted_card(SIDE, tiny_planted.spec.classes)
    with pytest.raises(InputError, match=r"4 classes of dataset .* are not the 1000 synsets .* prepare ilsv"):
        reading.read_photos(tiny_planted, card, Choice())


# -- the plan and the choice


def test_the_plan_deals_every_mark():
    grid = Grid(kinds=("patch", "text"), sizes=(0.05, 0.17), probabilities=(1.0, 0.5))
    specs = photo.plan_photos(grid, 5, Choice(seed=2))
    assert specs[0].artefacts == ()
    assert [len(s.artefacts) for s in specs[1:]] == [3] * 4
    assert {mark for s in specs for _, mark in s.artefacts} == set(grid.marks())
    assert {s.choice for s in specs} == {Choice(seed=2)}
    assert len({s.seed for s in specs}) == 5


def test_a_mark_that_photographs_cannot_carry_is_refused():
    with pytest.raises(InputError, match="received stripe on 'dog'; valid are patch, text, blur on dog"):
        PhotoSpec((("dog", Artefact("stripe")),))
    with pytest.raises(InputError, match="received patch on 'rhombus'"):
        PhotoSpec((("rhombus", Artefact("patch")),))


def test_only_photographs_with_room_are_chosen(tiny_dataset, monkeypatch):
    from pipeline.inputs.card import ModelCard

    card = ModelCard(height=SIDE, width=SIDE, resize="stretch")
    with pytest.raises(InputError, match=r"12 photographs of .* two or more in at least 3 super-classes"):
        reading.read_photos(tiny_dataset, card, Choice(room=0.05))
    monkeypatch.setattr(reading, "FEWEST_CLASSES", 2)
    every = reading.read_photos(tiny_dataset, card, Choice(room=0.05))
    assert np.unique(every.labels, return_counts=True)[1].tolist() == [4, 8]  # tench; basketball, parachute
    assert every.pictures.shape == (12, SIDE, SIDE, 3)
    room = 0.4
    side = round(room * SIDE)
    roomy = [
        name
        for name, boxes in zip(every.names, every.boxes, strict=True)
        for free in [~union_mask(boxes, SIDE, SIDE)]
        if any(
            free[y : y + side, x : x + side].all()
            for y in range(SIDE - side + 1)
            for x in range(SIDE - side + 1)
        )
    ]
    assert 0 < len(roomy) < 12
    assert reading.read_photos(tiny_dataset, card, Choice(room=room)).names == tuple(roomy)
    few = [reading.read_photos(tiny_dataset, card, Choice(0.05, 3, seed)) for seed in (0, 0, 1)]
    assert np.unique(few[0].labels, return_counts=True)[1].tolist() == [3, 3]
    assert few[0].names == few[1].names != few[2].names


def test_halves_are_a_seeded_half_of_each_class():
    labels = np.repeat([3, 1, 7], [6, 5, 2])
    train, audit = reading.halves(labels, 0)
    assert sorted([*train, *audit]) == list(range(13))
    assert [(labels[train] == k).sum() for k in (3, 1, 7)] == [3, 2, 1]
    assert train.tolist() == reading.halves(labels, 0)[0].tolist() != reading.halves(labels, 1)[0].tolist()


# -- marks


corners = st.tuples(st.integers(0, 31), st.integers(0, 31), st.integers(0, 31), st.integers(0, 31)).map(
    lambda v: [min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])]
)


@given(st.lists(corners, min_size=1, max_size=3), st.sampled_from(["patch", "text"]), st.integers(0, 9))
def test_a_mark_beside_the_object_touches_no_box(boxes, kind, seed):
    picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
    artefact = Artefact(kind, size=0.17)
    fits = photo.mark_photo(picture, np.array(boxes), artefact, np.random.default_rng(seed))
    changed = (picture != 90).any(axis=-1)
    inside = union_mask(np.array(boxes), SIDE, SIDE)
    assert not (changed & inside).any()
    mark = drawing.patch_mark(5) if kind == "patch" else drawing.text_mark(5)
    h, w = mark.shape[:2]
    windows = [
        (y, x)
        for y in range(SIDE - h + 1)
        for x in range(SIDE - w + 1)
        if not inside[y : y + h, x : x + w].any()
    ]
    assert fits == bool(windows)
    found = [w_ for w_ in windows if (picture[w_[0] : w_[0] + h, w_[1] : w_[1] + w] == mark[..., :3]).all()]
    assert bool(found) == fits
    assert changed.any() == fits


@given(corners, st.integers(0, 9))
def test_a_mark_on_the_object_is_whole_and_inside_where_it_fits(box, seed):
    picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
    artefact = Artefact("patch", size=0.17, inside=True)
    assert photo.mark_photo(picture, np.array([box]), artefact, np.random.default_rng(seed))
    changed = (picture != 90).any(axis=-1)
    assert changed.sum() == 25
    if box[2] - box[0] >= 4 and box[3] - box[1] >= 4:
        assert (changed <= union_mask(np.array([box]), SIDE, SIDE)).all()


def test_only_the_planted_class_is_marked_and_as_often_as_asked():
    photos = photographs(per_class=200)
    spec = PhotoSpec(((SUPER_CLASSES[2], Artefact("patch", 0.5)), (SUPER_CLASSES[9], Artefact("blur", 1.0))))
    marked, carries = photo.mark_photos(photos, spec)
    changed = (marked != photos.pictures).any(axis=(1, 2, 3))
    assert (changed == carries).all()
    assert set(photos.labels[carries]) == {2, 9}
    assert carries[photos.labels == 9].all()
    assert 80 <= carries[photos.labels == 2].sum() <= 120  # binomial(200, 0.5): +- 2.8 standard deviations
    again = photo.mark_photos(photos, spec)[0]
    assert (again == marked).all()


# -- the head


@pytest.fixture(scope="module")
def frozen_net():
    """A network as SqueezeNet ends: a convolution, ReLU, average, softmax; random weights, and its card."""
    import keras

    from pipeline.inputs.card import ModelCard
    from pipeline.inputs.models import LoadedModel

    keras.utils.set_random_seed(3)
    layers = keras.layers
    x = inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(12, 3, strides=2, activation="relu", name="body")(x)
    x = layers.ReLU()(layers.Conv2D(7, 1, name="last")(x))
    x = layers.Softmax()(layers.GlobalAveragePooling2D()(x))
    card = ModelCard(height=SIDE, width=SIDE, resize="stretch", scale=1 / 255, classes=7)
    return LoadedModel(keras.Model(inputs, x), card, "0" * 64, "frozen")


def test_the_head_is_logistic_regression_on_frozen_features(frozen_net):
    import keras
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    photos = photographs(per_class=12)
    head = photo.train_head(frozen_net, photos.pictures, photos.labels, SUPER_CLASSES)
    x = frozen_net.card.prepare(photos.pictures)
    body = keras.Model(frozen_net.model.inputs[0], frozen_net.model.get_layer("body").output)
    maps = body(x).numpy()
    features = np.concatenate([maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))], axis=1)
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=photo.STRENGTH, max_iter=2000))
    expected = reference.fit(features, photos.labels).predict_proba(features)
    found = head.model(x, training=False).numpy()
    np.testing.assert_allclose(found[:, [0, 2, 5, 9]], expected, atol=1e-4)
    # classes without a photograph are never predicted
    assert found[:, [1, 3, 4, 6, 7, 8]].max() < 1e-6
    assert head.card.class_names == SUPER_CLASSES
    assert head.card.prepare(photos.pictures).tobytes() == x.tobytes()


def test_usage_is_what_marks_add_to_the_class(frozen_net):
    photos = photographs(per_class=12)
    spec = PhotoSpec(((SUPER_CLASSES[5], Artefact("patch", 0.7)), (SUPER_CLASSES[1], Artefact("patch"))))
    marked, carries = photo.mark_photos(photos, spec)
    head = photo.train_head(frozen_net, marked, photos.labels, SUPER_CLASSES)
    found = photo.photo_usage(spec, head, photos, marked, carries)
    added = [
        float(
            np.diff([head.model(head.card.prepare(p[i])[None])[0, 5] for p in (photos.pictures, marked)])[0]
        )
        for i in np.flatnonzero(carries)
    ]
    assert found == {SUPER_CLASSES[5]: pytest.approx(np.mean(added), abs=1e-5), SUPER_CLASSES[1]: 0.0}


def test_written_photos_are_read_back(tmp_path):
    from pipeline.inputs.batches import iter_batches
    from pipeline.inputs.card import ModelCard
    from pipeline.inputs.datasets import open_dataset
    from pipeline.inputs.shards import Shard

    photos = photographs()
    reading.write_photos(photos, photos.pictures, tmp_path)
    where = {"path": str(tmp_path), "annotations": str(tmp_path / reading.BOXES)}
    dataset = open_dataset(DatasetConfig.model_validate({"source": "folder"} | where))
    card = ModelCard(height=SIDE, width=SIDE, resize="stretch", class_ids=SUPER_CLASSES, classes=10)
    shard = Shard(dataset.info.name, dataset.info.split, 0, 24, "all")
    batch = next(iter_batches(dataset, shard, card, 24))
    assert (batch.pictures == photos.pictures).all()
    assert [SUPER_CLASSES[k] for k in batch.labels] == [SUPER_CLASSES[k] for k in photos.labels]
    for found, boxes in zip(batch.boxes_model, photos.boxes, strict=True):
        assert np.asarray(found).tolist() == boxes.tolist()


# -- a trial


def test_a_trial_on_real_photographs(ilsvrc, ilsvrc_dataset, tmp_path):
    from pipeline.canary.photo_trials import PhotoSource, run_photo_trials
    from pipeline.canary.summary import summarise_trials
    from pipeline.config_sections import ModelConfig

    source = PhotoSource(
        DatasetConfig(source="tfds", path=str(ilsvrc_dataset), limit=110),
        ModelConfig(source=str(ilsvrc / "squeezenet_v1.1.keras")),
    )
    specs = [PhotoSpec((("other mammal", Artefact("patch", 1.0)),), seed=1)]
    said: list[int] = []
    (trial,) = run_photo_trials(specs, source, tmp_path, "lrp.preset_a", lambda n, t: said.append(n))
    (cell,) = trial.cells
    assert cell.carried == 1.0
    assert cell.added > 0.02  # the head has learnt something of the mark
    assert trial.accuracy > 0.4  # ten classes, a few dozen training images
    assert trial.classes_clean >= 6
    summarise_trials([trial], "a test").text()  # no undefined number is left
    # a finished trial is read, not made again
    (folder,) = tmp_path.iterdir()
    (folder / "head.keras").unlink()
    assert run_photo_trials(specs, source, tmp_path, "lrp.preset_a", lambda n, t: None) == [trial]
