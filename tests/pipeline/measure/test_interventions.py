"""Edited pictures: fills, holes, donors; the stage on a network that is known by construction."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from pipeline.config import parse_config
from pipeline.config_sections import InterventionsConfig
from pipeline.measure.bench import open_bench
from pipeline.measure.interventions.donors import Donors
from pipeline.measure.interventions.kinds import (
    FULL,
    Donor,
    Edit,
    Intervention,
    Subject,
    all_contrasts,
    all_interventions,
)
from pipeline.measure.interventions.kinds.box import without_object
from pipeline.measure.interventions.kinds.exchange import exchange
from pipeline.measure.interventions.more import further_blocks
from pipeline.measure.interventions.pictures import FILLS, Scene, fill, inpaint, widen, window_sums
from pipeline.measure.interventions.plan import looks, passes_needed, passes_per_image, plan_blocks
from pipeline.measure.interventions.stage import blocks_to_edit, edit_part, edit_run
from pipeline.run.edited_parts import EditedParts, read_edited
from pipeline.run.folder import part_name
from pipeline.run.store import Store
from pipeline.run.verify import repair, verify
from pipeline.statistics.effects import evidence, undecided_classes
from tests.drawn_runs import COLOURS, SIDE, copied, drawn_run


def box_mask(x0: int, y0: int, x1: int, y1: int, side: int = SIDE) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


def noise_scene(seed: int, mask: np.ndarray) -> Scene:
    return Scene(np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8), mask)


# -- pictures


@pytest.mark.parametrize("kind", FILLS)
def test_a_fill_does_not_see_what_it_replaces(kind: str) -> None:
    mask = box_mask(8, 6, 20, 15)
    a = noise_scene(0, mask).picture
    b = a.copy()
    b[mask] = 255 - b[mask]
    filled = [fill(kind, p, mask, np.random.default_rng(1)) for p in (a, b)]
    np.testing.assert_array_equal(*filled)


def test_fills_by_hand() -> None:
    mask = box_mask(0, 0, 15, 31)
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[:, 16:] = (200, 100, 50)
    picture[:, :16] = 7
    rng = np.random.default_rng(0)
    assert (fill("mean", picture, mask, rng)[mask] == (200, 100, 50)).all()
    assert (inpaint(picture, mask)[mask] == (200, 100, 50)).all()  # one colour continues as itself
    assert fill("noise", picture, mask, rng).std() > 60
    assert (fill("blur", picture, np.ones_like(mask), rng) == 127).all()


def test_inpainting_is_normalised_convolution() -> None:
    """A 32 x 32 picture has cells of one pixel: SciPy's own filters give the same."""
    scene = noise_scene(5, box_mask(9, 9, 22, 20))
    there = (~scene.mask).astype(float)
    colour = np.where(scene.mask[..., None], 0, scene.picture).astype(float)
    smooth = np.broadcast_to(colour.sum(axis=(0, 1)) / there.sum(), colour.shape)
    for sigma in (8.0, 4.0, 2.0, 1.0):
        weight = gaussian_filter(there, sigma)[..., None]
        share = np.clip(weight / 0.05, 0, 1)
        spread = gaussian_filter(colour, (sigma, sigma, 0)) / np.maximum(weight, 1e-12)
        smooth = np.where(weight > 0, share * spread + (1 - share) * smooth, smooth)
    np.testing.assert_allclose(inpaint(scene.picture, scene.mask), smooth, atol=0.51)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 12), st.sampled_from([0.02, 0.1, 0.3]))
def test_a_rim_is_a_square_around_every_pixel(x: int, y: int, size: int, rim: float) -> None:
    mask = box_mask(x, y, min(x + size, SIDE) - 1, min(y + size, SIDE) - 1)
    mask[3, 5] = True
    reach = max(1, round(rim * SIDE))
    expected = np.zeros_like(mask)
    for row, column in np.argwhere(mask):
        expected[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = True
    np.testing.assert_array_equal(widen(mask, rim), expected)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 10))
def test_window_sums_by_brute_force(h: int, w: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((20, 23)) < 0.3
    found = window_sums(mask, h, w)
    assert found.shape == (21 - h, 24 - w)
    for y in range(0, 21 - h, 3):
        for x in range(0, 24 - w, 3):
            assert found[y, x] == mask[y : y + h, x : x + w].sum()


# -- edits

SUBJECT = Subject(
    noise_scene(0, box_mask(4, 4, 11, 12)),
    Donor("own", noise_scene(1, box_mask(6, 5, 14, 12))),
    (Donor("a", noise_scene(2, box_mask(8, 8, 16, 14))), Donor("b", noise_scene(3, box_mask(2, 2, 9, 9)))),
)


def made(intervention: Intervention, subject: Subject = SUBJECT) -> dict[str, Edit]:
    return {edit.name: edit for edit in intervention.edits(subject, np.random.default_rng(0))}


@pytest.mark.parametrize("intervention", all_interventions(), ids=lambda i: str(i.order))
def test_edits_are_pictures_and_as_many_as_is_said(intervention: Intervention) -> None:
    edits = made(intervention)
    assert len(edits) == intervention.count(len(SUBJECT.others))
    for edit in edits.values():
        assert edit.picture.shape == SUBJECT.scene.picture.shape
        assert edit.picture.dtype == np.uint8
        assert (edit.picture != SUBJECT.scene.picture).any()


def test_contrasts_speak_of_edits_that_are_made() -> None:
    kinds = {name.partition(":")[0] for i in all_interventions() for name in made(i)} | {FULL}
    contrasts = all_contrasts()
    assert {kind for c in contrasts.values() for kind in (c.of, c.less)} <= kinds
    assert len(contrasts) == sum(len(i.contrasts) for i in all_interventions())
    assert [name for name, c in contrasts.items() if c.decides] == ["sufficiency", "necessity"]
    assert all(c.heading and c.about for c in contrasts.values() if c.decides)


def test_a_picture_without_donors_is_only_emptied() -> None:
    alone = Subject(SUBJECT.scene)
    assert [name for i in all_interventions() for name in made(i, alone)] == ["removed:mean"]


def test_donors_are_named_and_the_wide_hole_is_wider() -> None:
    edits = {name: edit for i in all_interventions() for name, edit in made(i).items()}
    donors = {name: edit.donor for name, edit in edits.items()}
    assert donors["removed:mean"] is None
    assert {donors[k] for k in donors if k.startswith("same")} == {"own"}
    assert [donors[k] for k in ("other:0", "other:1", "other_object:1", "other_wide:0")] == [
        "a",
        "b",
        "b",
        "a",
    ]
    own = SUBJECT.own.scene.picture
    narrow, wide = ((edits[k].picture != own).any(axis=-1) for k in ("same:0", "same_wide:0"))
    assert not (narrow & ~wide)[2:-2, 2:-2].any()
    assert wide.sum() > narrow.sum() + 40


def test_removing_the_object_keeps_what_is_far_from_it() -> None:
    scene = noise_scene(3, box_mask(10, 8, 20, 19))
    for kind in FILLS:
        edited = without_object(scene, kind, np.random.default_rng(0))
        far = ~box_mask(8, 6, 22, 21)
        np.testing.assert_array_equal(edited[far], scene.picture[far])
        assert (edited[scene.mask] != scene.picture[scene.mask]).mean() > 0.9


@pytest.mark.parametrize("kind", FILLS)
def test_an_exchange_cuts_both_backgrounds_alike(kind: str) -> None:
    masks = box_mask(10, 10, 18, 18), box_mask(2, 2, 12, 9), box_mask(20, 14, 27, 25)
    scene, same, other = (noise_scene(i, m) for i, m in enumerate(masks))
    rng = np.random.default_rng(5)
    edited = exchange(scene, same, other, kind, rng)
    assert edited is not None
    hole = masks[0] | masks[1] | masks[2]
    changed = [(e != d.picture).any(axis=-1) for e, d in ((edited.same, same), (edited.other, other))]
    for of_one in changed:
        assert of_one[hole].mean() > 0.99  # no object is left
        assert not of_one[~widen(hole)].any()
    if kind == "noise":
        np.testing.assert_array_equal(edited.same[hole], edited.other[hole])
    for with_object, ground in ((edited.same_object, edited.same), (edited.other_object, edited.other)):
        np.testing.assert_array_equal(with_object[scene.mask], scene.picture[scene.mask])
        np.testing.assert_array_equal(with_object[~scene.mask], ground[~scene.mask])
    assert exchange(scene, same, Scene(other.picture, box_mask(0, 0, 31, 30)), kind, rng) is None


# -- donors


def scenes(n: int, first: int = 0) -> dict[str, Scene]:
    rng = np.random.default_rng(first)
    boxes = [(*rng.integers(0, 12, 2), *rng.integers(14, 31, 2)) for _ in range(n)]
    return {f"{first}-{i}": noise_scene(i, box_mask(*box)) for i, box in enumerate(boxes)}


def used(subjects: list[Subject]) -> tuple[Counter[str], Counter[str]]:
    own = Counter(s.own.example_id for s in subjects if s.own)
    return own, Counter(donor.example_id for s in subjects for donor in s.others)


def test_every_picture_gives_its_background_to_one_other() -> None:
    mine = scenes(10)
    donors = Donors(mine, scenes(60, 7), pairs=2)
    first = donors.subjects(list(mine), np.random.default_rng(0))
    own, others = used(first)
    assert set(own) == set(mine)
    assert set(own.values()) == set(others.values()) == {1}
    assert len(others) == 20
    assert all(s.own and s.own.scene is not s.scene for s in first)
    _, later = used(donors.subjects(list(mine), np.random.default_rng(1)))
    assert not set(later) & set(others)  # nor is a foreign one taken again while there are others


def test_few_foreign_pictures_are_shared_evenly() -> None:
    mine = scenes(6)
    for foreign, times in ((6, {2}), (3, {4}), (1, {12})):
        subjects = Donors(mine, scenes(foreign, 7), pairs=2).subjects(list(mine), np.random.default_rng(0))
        assert set(used(subjects)[1].values()) == times
    # with as many as pictures, both pairs have the same one, so that no two pictures share one
    equal = Donors(mine, scenes(6, 7), pairs=2).subjects(list(mine), np.random.default_rng(0))
    assert all(s.others[0].example_id == s.others[1].example_id for s in equal)


def test_where_nobody_can_give_there_are_no_donors() -> None:
    one, two = scenes(1), scenes(2)
    rng = np.random.default_rng(0)
    assert Donors(one, scenes(5, 7), 2).subjects(list(one), rng)[0].own is None
    assert Donors(two, {}, 2).subjects(list(two), rng)[0].own is None
    (last,) = Donors(two, scenes(5, 7), 2).subjects([list(two)[1]], rng)
    assert last.own is not None
    assert last.own.example_id == next(iter(two))


def covered(*of: Scene) -> float:
    return float(np.logical_or.reduce([scene.mask for scene in of]).mean())


def test_donors_keep_the_hole_small() -> None:
    mine, foreign = scenes(8), scenes(64, 7)
    chosen = Donors(mine, foreign, 1).subjects(list(mine), np.random.default_rng(0))
    hole = [
        np.logical_or.reduce([s.scene.mask, s.own.scene.mask, s.others[0].scene.mask]).mean() for s in chosen
    ]
    rng = np.random.default_rng(1)
    lots = [list(mine.values()), list(mine.values()), list(foreign.values())]
    random = [
        np.logical_or.reduce([lot[rng.integers(len(lot))].mask for lot in lots]).mean() for _ in range(200)
    ]
    assert np.mean(hole) < np.mean(random) - 0.05


# -- a network that is known by construction


def edited(store: Store, batch_size: int = 16, **settings: int) -> None:
    config = parse_config(store.manifest["config"])
    asked = config.model_copy(
        update={
            "interventions": InterventionsConfig(**settings),
            "execution": config.execution.model_copy(update={"batch_size": batch_size}),
        }
    )
    edit_run(store, open_bench(asked), undecided_classes)


def said_of(store: Store) -> dict[str, str]:
    config = parse_config(store.manifest["config"])
    names = store.manifest["dataset"]["class_names"]
    said = evidence(store, config.ranking)
    return {names[k]: j.tested.value for k, j in said.judgements.items()} if said else {}


ALL = dict.fromkeys(COLOURS, 12)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (dict.fromkeys(COLOURS, "background"), "depends"),
        (dict.fromkeys(("red", "green"), "background"), "depends"),
        (dict.fromkeys(COLOURS, "object"), "independent"),
        (dict.fromkeys(COLOURS, "rim"), "rim"),
    ],
    ids=["every class leans on it", "both of two", "none", "a leak"],
)
def test_the_footing_is_absolute(where: dict[str, str], expected: str, tmp_path: Path) -> None:
    store = drawn_run(tmp_path, where, ALL)
    edited(store)
    assert said_of(store) == dict.fromkeys(where, expected)
    said = evidence(store, parse_config(store.manifest["config"]).ranking)
    assert said is not None
    assert said.null_depends == 0
    # what is excluded by the first look costs no more
    assert {j.n for j in said.judgements.values()} == {10 if expected == "independent" else 12}
    if expected == "depends":
        assert said.background_gap.low > 0.3
    if expected == "independent":
        assert said.background_gap.mean == pytest.approx(0, abs=0.05)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    where = {"red": "background", "green": "object", "blue": "object"}
    return drawn_run(tmp_path_factory.mktemp("mixed"), where, {"red": 14, "green": 12, "blue": 5})


def rows(store: Store) -> dict[tuple[str, str], tuple[str | None, float]]:
    table = read_edited(store)
    assert table is not None
    return {(r["example_id"], r["edit"]): (r["donor"], r["probability"]) for r in table.to_pylist()}


@pytest.mark.parametrize(("images", "red"), [(17, 6), (22, 6), (23, 12)])
def test_further_looks_end_with_the_passes(mixed: Store, tmp_path: Path, images: int, red: int) -> None:
    """The first look takes 17 images, a further one 6: it goes to the class that shows most."""
    run = copied(mixed, tmp_path / "a")
    edited(run, images=6, most=12, passes=images * 11)
    counted = Counter(example.partition("/")[0] for example, edit in rows(run) if edit == FULL)
    assert counted["red"] == red
    assert counted.total() == 17 + red - 6


def test_budgets_passes_and_the_same_rows_whatever_the_batch(mixed: Store, tmp_path: Path) -> None:
    first, second = copied(mixed, tmp_path / "a"), copied(mixed, tmp_path / "b")
    edited(first, images=6, most=12)
    edited(second, 5, images=6, most=12)
    a, b = rows(first), rows(second)
    assert a.keys() == b.keys()
    assert {k: v[0] for k, v in a.items()} == {k: v[0] for k, v in b.items()}
    np.testing.assert_allclose([a[k][1] for k in a], [b[k][1] for k in a], atol=1e-5)
    images = Counter(example.partition("/")[0] for example, edit in a if edit == FULL)
    assert images["red"] == 12  # still open after the first look
    assert images["blue"] == 5
    assert passes_per_image(2) == 11
    assert EditedParts(first).passes == sum(edit != FULL for _, edit in a) <= 29 * 11
    settings = InterventionsConfig(images=6, most=12)
    assert passes_needed([14, 12, 5], settings, 31) == (17 * 11, 29 * 11)
    # 2.5 passes an image beyond the first look, and 10,000 at least; but the first look always
    assert passes_needed([50] * 400, InterventionsConfig(), 20_000) == (44_000, 50_000 // 11 * 11)
    assert passes_needed([50] * 400, InterventionsConfig(), 1_000) == (44_000, 44_000)
    assert passes_needed([50] * 40, InterventionsConfig(passes=5_500), 1_000) == (4_400, 5_500)
    # the unedited picture is what the audit stored, and what the network says to it
    stored = first.read("examples", ["example_id", "label_probability"]).to_pylist()
    assert all(
        a[r["example_id"], FULL][1] == r["label_probability"] for r in stored if (r["example_id"], FULL) in a
    )


def test_parts_are_whole_or_absent_and_what_is_missing_is_made(
    mixed: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.measure.interventions.plan.CLASSES_A_BLOCK", 1)
    store = copied(mixed, tmp_path / "run")
    bench = open_bench(parse_config(store.manifest["config"]))
    settings = bench.config.interventions
    blocks = blocks_to_edit(store, settings)
    assert sorted(k for block in blocks for k in block.images) == [0, 1, 2]
    edit_part(store, bench, blocks[0], undecided_classes)  # and then the process died
    left = blocks_to_edit(store, settings)
    assert [block.key for block in left] == [block.key for block in blocks[1:]]
    before = store.files.get(part_name("interventions", blocks[0].key))
    edit_run(store, bench, undecided_classes)
    assert store.files.get(part_name("interventions", blocks[0].key)) == before
    assert EditedParts(store).keys == sorted(block.key for block in blocks)
    assert verify(store).faults == ()
    # other settings: other parts, and the old ones go
    edited(store, images=3, most=3)
    assert not set(EditedParts(store).keys) & {block.key for block in blocks}
    # a spoilt part is noticed, dropped and made again
    name = part_name("interventions", EditedParts(store).keys[0])
    raw = bytearray(store.files.get(name) or b"")
    raw[len(raw) // 3] ^= 255
    store.files.put(name, bytes(raw))
    found = verify(store)
    assert [fault.file for fault in found.faults] == [name]
    repair(store, found)
    edited(store, images=3, most=3)
    assert verify(store).faults == ()


def test_new_images_make_old_parts_count_for_nothing(mixed: Store, tmp_path: Path) -> None:
    store = copied(mixed, tmp_path / "run")
    edited(store, images=3, most=3)
    assert read_edited(store) is not None
    key = store.manifest["shards"][0]
    inventory = store.files.get(f"inventory/{key}.json") or b""
    digest = inventory.decode().split('"sha256": "')[1][:64]
    store.files.put(f"inventory/{key}.json", inventory.replace(digest.encode(), b"0" * 64))
    assert read_edited(store) is None


def test_more_images_of_some_classes(mixed: Store, tmp_path: Path) -> None:
    store = copied(mixed, tmp_path / "run")
    edited(store, images=4, most=4)
    before = rows(store)
    config = parse_config(store.manifest["config"])
    settings = InterventionsConfig(images=4, most=4)
    bench = open_bench(config.model_copy(update={"interventions": settings}))
    (block,) = further_blocks(store, settings, [1], 11)
    edit_part(store, bench, block, lambda table: block.edited)
    after = rows(store)
    new = {example for example, edit in after.keys() - before.keys()}
    assert len(new) == 7
    assert len({example.partition("/")[0] for example in new}) == 1
    assert {k: after[k] for k in before} == before
    assert further_blocks(store, settings, [1], 11) == []
    # the run's own stage leaves them alone
    assert blocks_to_edit(store, settings) == []
    assert rows(store) == after


@pytest.mark.parametrize(
    ("where", "counts"),
    [
        ({"red": "object", "green": "object"}, {"red": 1, "green": 6}),
        ({"red": "object"}, {"red": 6}),
        ({"red": "background", "green": "background", "blue": "object"}, {"red": 2, "green": 1, "blue": 1}),
    ],
    ids=["one image", "one class", "hardly any"],
)
def test_too_little_to_compare_is_no_error(
    where: dict[str, str], counts: dict[str, int], tmp_path: Path
) -> None:
    store = drawn_run(tmp_path, where, counts)
    edited(store)
    assert set(said_of(store)) == set(where)
    assert said_of(store)["red"] == "undecided"


def test_none_are_asked_for_or_there_is_nothing_to_edit(mixed: Store, tmp_path: Path) -> None:
    store = copied(mixed, tmp_path / "none")
    edited(store, images=0)
    assert EditedParts(store).keys == []
    assert said_of(store) == {}
    wrong = drawn_run(tmp_path, {"red": "object", "green": "object"}, {"red": 2, "green": 2})
    assert len(plan_blocks(wrong, InterventionsConfig())) == 1


def test_each_look_doubles_what_was_seen_and_takes_every_image_once() -> None:
    for first, most in ((10, 80), (10, 10), (10, 3), (6, 12), (7, 50), (1, 100)):
        spans = looks(first, most)
        assert [k for start, end in spans for k in range(start, end)] == list(range(max(first, most)))
        assert all(end - start <= max(first, start) for start, end in spans)
    assert looks(10, 80) == ((0, 10), (10, 20), (20, 40), (40, 80))
