"""Perturbation curves: the mathematics by hand, the device side against a slow loop."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config_sections import PerturbationConfig
from pipeline.inputs.datasets import DatasetInfo, Record
from pipeline.measure.curve_images import choose_images
from pipeline.measure.curve_metrics import CURVE_METRICS, aopc, area_under, curve_metric, metrics_of
from pipeline.measure.curves import passes_per_image, replaced
from pipeline.measure.metrics.perturbation import Grid, fill_picture, rank_regions
from pipeline.seeds import generator
from pipeline.terms import CurveOrder

# -- by hand


def test_aopc_by_hand():
    # drops 0, 0.2, 0.5 over L + 1 = 3 values
    assert aopc(np.array([0.9, 0.7, 0.4])) == pytest.approx((0.0 + 0.2 + 0.5) / 3)
    assert aopc(np.array([0.3])) == 0.0


def test_metrics_of_curves_by_hand():
    curves = {
        "morf": np.array([1.0, 0.4, 0.1]),
        "lerf": np.array([1.0, 1.0, 0.7]),
        "random": np.array([1.0, 0.7, 0.4]),
        "deletion": np.array([1.0, 0.5, 0.0]),
        "insertion": np.array([0.0, 1.0, 1.0]),
    }
    found = {name: metric(curves) for name, metric in CURVE_METRICS.items()}
    assert found == pytest.approx(
        {
            "aopc_morf": 0.5,
            "aopc_lerf": 0.1,
            "aopc_random": 0.3,
            "aopc_morf_random": 0.2,
            "aopc_gap": 0.4,
            "deletion_auc": 0.5,
            "insertion_auc": 0.75,
        }
    )
    # the gap is the area between the two curves
    assert found["aopc_gap"] == pytest.approx(np.mean(curves["lerf"] - curves["morf"]))


def test_metrics_need_their_curves():
    assert [m.name for m in metrics_of(["lerf"])] == ["aopc_lerf"]
    assert [m.name for m in metrics_of(["deletion", "lerf", "random"])] == [
        "aopc_lerf",
        "aopc_random",
        "deletion_auc",
    ]
    assert list(metrics_of([])) == []
    assert len(metrics_of(tuple(CurveOrder))) == len(CURVE_METRICS) == 7


def test_better_is_what_a_map_that_describes_the_network_gets():
    """Of a network that only looks at one region: the right map against one that names it last."""
    steps = np.arange(6)
    right = {"morf": 1.0 * (steps < 1), "lerf": 1.0 * (steps < 5), "random": 1.0 - steps / 5}
    right |= {"deletion": right["morf"], "insertion": 1.0 * (steps >= 1)}
    wrong = {"morf": right["lerf"], "lerf": right["morf"], "random": right["random"]}
    wrong |= {"deletion": right["lerf"], "insertion": 1.0 * (steps >= 5)}
    for name, metric in CURVE_METRICS.items():
        gain = metric.sign * (metric(right) - metric(wrong))
        assert gain > 0 or (name == "aopc_random" and gain == 0), name


def test_one_more_metric_is_one_function(monkeypatch):
    known = dict(CURVE_METRICS)
    monkeypatch.setattr("pipeline.measure.curve_metrics.CURVE_METRICS", known)

    @curve_metric("score", "lower")
    def end_of_deletion(deletion):
        """Score of the empty picture."""
        return float(deletion[-1])

    made = known["end_of_deletion"]
    assert (made.about, made.orders, made.sign) == ("Score of the empty picture.", ("deletion",), -1.0)
    assert made({"deletion": [0.9, 0.5, 0.25], "morf": [1.0]}) == 0.25
    with pytest.raises(ValueError, match="'end_of_deletion' is registered twice"):
        curve_metric("score", "lower")(end_of_deletion)
    with pytest.raises(ValueError, match="'upwards' is not a valid CurveOrder"):
        curve_metric("score", "higher")(lambda upwards: 0.0)


def test_area_under_a_straight_line_is_its_middle():
    assert area_under(np.linspace(0.8, 0.2, 7)) == pytest.approx(0.5)


def test_regions_with_a_partial_last_row_and_column():
    grid = Grid(5, 7, 3)
    assert (grid.shape, grid.count) == ((2, 3), 6)
    assert grid.areas.tolist() == [9, 9, 3, 6, 6, 2]
    maps = np.arange(35.0).reshape(1, 5, 7)
    by_hand = [maps[0, y : y + 3, x : x + 3] for y in (0, 3) for x in (0, 3, 6)]
    np.testing.assert_allclose(grid.sums(maps)[0], [part.sum() for part in by_hand])
    np.testing.assert_allclose(grid.scores(maps)[0], [9 * part.mean() for part in by_hand])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.integers(0, 5))
def test_orders(values, seed):
    scores = np.array(values, float)
    breaks = np.random.default_rng(seed).permutation(len(scores))
    morf, lerf = (rank_regions(scores, breaks, down) for down in (True, False))
    for ranks, sign in ((morf, -1), (lerf, 1)):
        assert sorted(ranks) == list(range(len(scores)))
        assert (np.diff(sign * scores[np.argsort(ranks)]) >= 0).all()
    # ties follow the shuffle, in both orders
    for value in set(values):
        tied = np.flatnonzero(scores == value)
        for ranks in (morf, lerf):
            assert list(tied[np.argsort(ranks[tied])]) == list(tied[np.argsort(breaks[tied])])


def test_ties_are_shuffled_anew_in_each_repeat():
    first = {
        tuple(rank_regions(np.zeros(9), generator(0, "a", f"ties {r}").permutation(9), True))
        for r in range(8)
    }
    assert len(first) == 8


def test_fills():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(40, 60, 3)).astype(np.float32)
    low, high = np.array([-2.0, -1.0, 0.0]), np.array([2.0, 3.0, 0.5])
    uniform = fill_picture("uniform", image, (low, high), rng)
    assert (uniform >= low).all()
    assert (uniform < high).all()
    # Kolmogorov-Smirnov of 2400 uniform numbers: 1 % critical value 1.63 / sqrt(n)
    for c in range(3):
        share = np.sort((uniform[..., c].ravel() - low[c]) / (high[c] - low[c]))
        assert np.abs(share - (np.arange(2400) + 0.5) / 2400).max() < 1.63 / np.sqrt(2400)
    np.testing.assert_allclose(
        fill_picture("mean", image, (low, high), rng)[3, 5], image.mean(axis=(0, 1)), atol=1e-6
    )
    assert not fill_picture("zero", image, (low, high), rng).any()
    blurred = fill_picture("blur", image, (low, high), rng)
    assert blurred.std() < 0.3 * image.std()
    assert np.abs(blurred.mean() - image.mean()) < 0.05


def test_seeds_depend_on_example_and_purpose_only():
    def draw(*key):
        return generator(*key).integers(1 << 60)

    assert draw(1, "a", "fill") == draw(1, "a", "fill")
    assert len({draw(1, "a", "fill"), draw(2, "a", "fill"), draw(1, "b", "fill"), draw(1, "a", "ties")}) == 4
    # BLAKE2b of known bytes: the same in every process
    digest = hashlib.blake2b(b"fill\0a", digest_size=8).digest()
    assert draw(1, "a", "fill") == np.random.default_rng([1, int.from_bytes(digest, "little")]).integers(
        1 << 60
    )


# -- on the device


@pytest.fixture(scope="module")
def small():
    """A tiny untrained network, its card, a batch of 4 images and a padded row, two methods' maps."""
    import keras

    from explainers import Explanation
    from pipeline.inputs.batches import Batch
    from pipeline.inputs.card import ModelCard
    from pipeline.inputs.datasets import Record

    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = inputs = keras.Input((14, 11, 3))
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(x))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    card = ModelCard(height=14, width=11, resize="stretch", mean=(127.5,) * 3, std=(40.0,) * 3, classes=3)
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (5, 14, 11, 3)).astype(np.uint8)
    records = tuple(Record(f"image-{i}", i, "", b"", i % 3, np.zeros((0, 4))) for i in range(4))
    batch = Batch(
        records=(*records, None),
        pictures=pictures,
        inputs=card.prepare(pictures),
        valid=np.array([True, True, True, True, False]),
        labels=np.array([0, 1, 2, 0, -1], np.int32),
        masks=np.zeros((5, 14, 11), bool),
        boxes_model=((),) * 5,
        sizes=np.zeros((5, 2), np.int32),
        status=("ok",) * 4 + ("",),
        reason=(None,) * 5,
    )
    target = np.array([0, 1, 2, 1, 0], np.int32)
    relevance = rng.integers(-1, 2, (5, 14, 11, 3)).astype(np.float32)  # with many ties
    relevance[0] = rng.normal(size=(14, 11, 3))  # without
    relevance[2] = 0
    other = -relevance  # its MoRF is the first one's LeRF
    output = np.zeros((5, 3), np.float32)
    reasons = (None, "the target's logit is 0", None, None, None)
    maps = [
        Explanation(relevance, output, target, reasons),
        Explanation(other, output, target, (None,) * 5),
    ]
    return model, card, batch, maps


def make_perturber(small, evaluator=None, chosen=None, **settings):
    from pipeline.config_sections import PerturbationConfig
    from pipeline.measure.curves import Perturber
    from pipeline.measure.evaluate import Evaluator

    model, card, _, _ = small
    return Perturber(evaluator or Evaluator(model, 4), card, PerturbationConfig(**settings), 7, chosen)


def slow_curve(small, perturber, i, method, order):
    """The textbook, one forward pass at a time, every region replaced in a loop."""
    model, card, batch, maps = small
    config = perturber.config
    image, name = batch.inputs[i], batch.records[i].example_id
    relevance = maps[method].relevance[i].astype(np.float64).sum(axis=-1)
    side = config.region if order in ("morf", "lerf", "random") else 1
    boxes = [(y, x) for y in range(0, 14, side) for x in range(0, 11, side)]
    scores = [relevance[y : y + side, x : x + side].mean() for y, x in boxes]
    totals = np.zeros(config.steps + 1 if side > 1 else config.auc_steps + 1)
    repeats = config.repeats if side > 1 else 1
    for r in range(repeats):
        rng = generator(7, name, f"perturbation fill {r}")
        noise = fill_picture("uniform", image, (card.low, card.high), rng)
        ties = f"perturbation ties {r}" if side > 1 else "perturbation ties of pixels"
        breaks = generator(7, name, ties).permutation(len(boxes))
        sign = -1 if order in ("morf", "deletion", "insertion") else 1
        queue = sorted(range(len(boxes)), key=lambda k: (sign * scores[k], breaks[k]))
        if order == "random":
            queue = np.argsort(generator(7, name, f"perturbation order {r}").permutation(len(boxes)))
        start, end = image, noise
        if order == "deletion":
            end = np.zeros_like(image)
        elif order == "insertion":
            start, end = fill_picture("blur", image, (0, 0), rng), image
        for step in range(len(totals)):
            count = step if side > 1 else int(np.rint(step * len(boxes) / config.auc_steps))
            x = start.copy()
            for k in queue[:count]:
                y0, x0 = boxes[k]
                x[y0 : y0 + side, x0 : x0 + side] = end[y0 : y0 + side, x0 : x0 + side]
            totals[step] += float(model(x[None], training=False)[0, maps[method].target[i]])
    return totals / repeats


def rows_of(tables):
    found = {}
    for row in tables["curves"].to_pylist():
        found[row["example_id"], row["method"], row["order"]] = row
    return found


METHODS, ONCE = ("one", "two"), {"repeats": 1}
ALL = ("morf", "lerf", "random", "deletion", "insertion")


@pytest.mark.parametrize("region", [4, 2])
def test_curves_equal_a_slow_loop(small, region):
    perturber = make_perturber(small, orders=ALL, region=region, steps=12, repeats=2, auc_steps=5)
    tables = perturber.tables(small[2], small[3], ("one", "two"))
    rows = rows_of(tables)
    assert len(rows) == 4 * 2 * 5
    for i, method, order in ((0, 0, "morf"), (0, 1, "lerf"), (3, 0, "lerf"), (3, 1, "random")):
        name = ("one", "two")[method]
        values = rows[f"image-{i}", name, order]["values"]
        np.testing.assert_allclose(values, slow_curve(small, perturber, i, method, order), atol=2e-6)
    for order in ("deletion", "insertion"):
        values = rows["image-3", "one", order]["values"]
        np.testing.assert_allclose(values, slow_curve(small, perturber, 3, 0, order), atol=2e-6)
    # undefined maps: null with their reason, in both tables
    assert rows["image-1", "one", "morf"]["values"] is None
    assert rows["image-1", "one", "morf"]["reason"] == "the target's logit is 0"
    assert rows["image-2", "two", "random"]["reason"] == "the map is zero everywhere"
    scores = {(r["example_id"], r["method"], r["metric"]): r for r in tables["scores"].to_pylist()}
    assert len(scores) == 4 * 2 * len(CURVE_METRICS)
    assert scores["image-2", "two", "aopc_gap"]["value"] is None
    morf, lerf = (np.array(rows["image-0", "one", o]["values"]) for o in ("morf", "lerf"))
    assert scores["image-0", "one", "aopc_gap"]["value"] == pytest.approx(np.mean(lerf - morf), abs=1e-6)


def test_random_numbers_are_common_to_methods_and_orders(small):
    perturber = make_perturber(small, region=4, steps=12, repeats=2)
    rows = rows_of(perturber.tables(small[2], small[3], ("one", "two")))
    assert rows["image-0", "one", "morf"]["values"] == rows["image-0", "two", "lerf"]["values"]
    for i in (0, 3):
        name = f"image-{i}"
        assert rows[name, "one", "random"]["values"] == rows[name, "two", "random"]["values"]
        # 12 steps are all regions: the fully replaced picture is one and the same
        ends = {rows[name, m, o]["values"][-1] for m in ("one", "two") for o in ("morf", "lerf", "random")}
        assert len(ends) == 1


def test_every_distinct_variant_is_evaluated_once(small):
    from pipeline.measure.evaluate import Evaluator

    evaluator = Evaluator(small[0], 4)
    perturber = make_perturber(small, evaluator, frozenset({"image-0"}), region=4, steps=12, repeats=3)
    perturber.tables(small[2], small[3], ("one", "two"))
    # unperturbed once; per repeat: the full one once, 11 steps of 3 orders (the methods mirror each other)
    assert evaluator.passes == -(-(1 + 3 * (1 + 3 * 11)) // 4) * 4
    evaluator.passes = 0
    perturber = make_perturber(
        small, evaluator, frozenset({"image-0"}), region=4, steps=12, repeats=3, fill="mean"
    )
    perturber.tables(small[2], small[3], ("one", "two"))
    # a fill that is not random: the repeats of morf and lerf are equal, the random orders are not
    assert evaluator.passes == -(-(1 + 1 + 11 * (2 + 3)) // 4) * 4


def test_curves_do_not_depend_on_the_batch(small):
    perturber = make_perturber(small, region=4, steps=5, repeats=2)
    whole = rows_of(perturber.tables(small[2], small[3], ("one", "two")))
    fourth = {f.name: getattr(small[2], f.name)[3:4] for f in dataclasses.fields(small[2])}
    batch = dataclasses.replace(small[2], **fourth)
    maps = [type(e)(e.relevance[3:4], e.output[3:4], e.target[3:4], e.reason[3:4]) for e in small[3]]
    alone = rows_of(perturber.tables(batch, maps, ("one", "two")))
    for key, row in alone.items():
        np.testing.assert_allclose(row["values"], whole[key]["values"], atol=1e-6)


class Listed:
    """60 records of three classes (40, 18 and 2), in the given order."""

    def __init__(self, order):
        self.order = order
        self.read_at = []
        self.info = DatasetInfo("listed", "test", len(order), ("a", "b", "c"), ("a", "b", "c"), "0")

    def read(self, shard):
        for i in self.order[shard.start : shard.stop]:
            self.read_at.append(i)
            yield Record(f"{i:05d}", i, "", b"", 0 if i < 40 else 1 if i < 58 else 2, np.zeros((0, 4)))


def per_class(chosen):
    return [sum(a <= int(i) < b for i in chosen) for a, b in ((0, 40), (40, 58), (58, 10**5))]


def test_the_budget_is_stratified_seeded_and_independent_of_the_order():
    five = PerturbationConfig(budget=5)
    chosen = choose_images(Listed(range(60)), five, 1)
    assert chosen == choose_images(Listed(range(59, -1, -1)), five, 1)
    assert chosen != choose_images(Listed(range(60)), five, 2)
    assert per_class(chosen) == [5, 5, 2]
    assert choose_images(Listed([]), PerturbationConfig(budget=0), 1) is None


@pytest.mark.parametrize(
    ("images", "expected"),
    [(3, [1, 1, 1]), (6, [2, 2, 2]), (7, [3, 2, 2]), (8, [3, 3, 2]), (48, [28, 18, 2])],
)
def test_a_few_images_in_all_are_dealt_over_the_classes(images, expected):
    config = PerturbationConfig(images=images)
    chosen = choose_images(Listed(range(60)), config, 1)
    assert len(chosen) == images
    assert chosen == choose_images(Listed(range(59, -1, -1)), config, 1)
    assert sorted(per_class(chosen)[:2], reverse=True) == expected[:2]
    assert per_class(chosen)[2] == expected[2]
    # who was chosen stays chosen when there may be more
    assert chosen < choose_images(Listed(range(60)), PerturbationConfig(images=images + 1), 1)


def test_few_images_of_many_cost_few_reads():
    data = Listed(range(50_000))
    chosen = choose_images(data, PerturbationConfig(), 3)
    assert len(chosen) == 100
    assert len(data.read_at) == 1000
    assert choose_images(Listed(range(60)), PerturbationConfig(images=60), 1) is None


def test_the_default_is_bounded_by_the_dataset():
    usual = PerturbationConfig()
    assert [usual.most_images(n) for n in (5, 96, 1600, 5000, 10_000, 10**6)] == [5, 16, 16, 50, 100, 100]
    assert PerturbationConfig(images=300).most_images(1000) == 300  # somebody chose it
    assert PerturbationConfig(protocol="samek").most_images(1000) == 1000


def test_points_lie_on_the_whole_curve(small):
    """A curve with fewer points: the same regions in the same order, looked at less often."""
    whole = rows_of(make_perturber(small, region=2, steps=30, points=0, **ONCE).tables(*small[2:], METHODS))
    short = rows_of(make_perturber(small, region=2, steps=30, points=6, **ONCE).tables(*small[2:], METHODS))
    for key, row in short.items():
        if row["values"] is not None:
            assert len(row["values"]) == 7
            np.testing.assert_allclose(row["values"], whole[key]["values"][::5], atol=1e-6)
    # a region of a 25th of the input's side, but one pixel at least; 12 points up to Samek's 100 regions
    assert [PerturbationConfig().region_side(s, s) for s in (224, 112, 299, 8)] == [9, 4, 12, 1]
    assert replaced(PerturbationConfig(), 625).tolist() == [0, 8, 17, 25, 33, 42, 50, 58, 67, 75, 83, 92, 100]
    assert replaced(PerturbationConfig(protocol="samek"), 625).tolist() == list(range(101))
    assert replaced(PerturbationConfig(), 4).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("steps", [5, 12])
def test_the_cost_of_curves_is_told_beforehand(small, steps):
    from pipeline.measure.evaluate import Evaluator

    asked = {"region": 4, "steps": steps, "repeats": 2, "orders": ALL, "auc_steps": 5}
    evaluator = Evaluator(small[0], 1)
    perturber = make_perturber(small, evaluator, frozenset({"image-0"}), **asked)
    # two methods that are not each other's mirror
    first = small[3][0]
    other = type(first)(first.relevance[::-1].copy(), first.output, first.target, first.reason)
    perturber.tables(small[2], [first, other], METHODS)
    assert evaluator.passes == passes_per_image(PerturbationConfig(**asked), 12, 2)
    # what the documentation says: 1 + 12 points x 3 orders, and two orders more per method
    assert passes_per_image(PerturbationConfig(), 625, 1) == 37
    assert passes_per_image(PerturbationConfig(), 625, 3) == 85
    assert passes_per_image(PerturbationConfig(protocol="samek"), 625, 1) == 1 + 100 * 10 * 3


def test_the_default_curves_of_a_linear_network_are_its_sorted_contributions():
    """``f(x) = sum w x``, regions set to 0: a curve falls by the contributions of its regions."""
    import keras

    from pipeline.inputs.card import ModelCard
    from pipeline.measure.curves import Explained, Perturber
    from pipeline.measure.evaluate import Evaluator

    rng = np.random.default_rng(5)
    side = 20  # regions of one pixel
    x, w = rng.normal(size=(2, side, side, 3)).astype(np.float32)
    inputs = keras.Input((side, side, 3))
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(keras.layers.Flatten()(inputs)))
    model.set_weights([np.stack([w.ravel(), 0 * w.ravel()], axis=1)])
    card = ModelCard(height=side, width=side, resize="stretch", classes=2, output="logits")
    perturber = Perturber(Evaluator(model, 8), card, PerturbationConfig(fill="zero", score="logit"), 0)
    gain = (w.astype(float) * x).sum(axis=-1)
    rows = perturber.draw([Explained("one", x, 0, ((gain, None),))], ("method",))
    curves = {row["order"]: row["values"] for row in rows["curves"].to_pylist()}
    counts = [0, 8, 17, 25, 33, 42, 50, 58, 67, 75, 83, 92, 100]
    for order, ranked in (("morf", np.sort(gain.ravel())[::-1]), ("lerf", np.sort(gain.ravel()))):
        expected = [gain.sum() - ranked[:k].sum() for k in counts]
        np.testing.assert_allclose(curves[order], expected, atol=1e-4)
    scores = {row["metric"]: row["value"] for row in rows["scores"].to_pylist()}
    ranked = np.sort(gain.ravel())
    gap = np.mean([ranked[::-1][:k].sum() - ranked[:k].sum() for k in counts])
    assert scores["aopc_gap"] == pytest.approx(gap, rel=1e-5)


# -- a run


def test_curves_of_a_run(small_run):
    curves = small_run.read("curves").to_pandas()
    examples = small_run.read("examples", ["example_id", "label"]).to_pandas()
    assert len(curves) == 4 * 3 * 2 * 3  # classes, budget, methods, orders
    labels = curves.merge(examples, on="example_id")["label"]
    assert labels.value_counts().tolist() == [18] * 4
    assert {len(v) for v in curves["values"]} == {7}
    # the first value is the confidence that the table of examples has for the explained class
    confidence = small_run.read("examples", ["example_id", "confidence"]).to_pandas()
    both = curves.merge(confidence, on="example_id")
    np.testing.assert_allclose(both["values"].str[0], both["confidence"], atol=1e-5)


def test_curves_do_not_depend_on_the_shards(tiny_planted, tiny_cnn_file):
    """The images that get curves wait until they fill a batch: over batches here, over none there."""
    from pipeline.config import parse_config
    from pipeline.inputs.shards import plan_shards
    from pipeline.measure.audit import audit_shard
    from pipeline.measure.bench import open_bench

    bench = open_bench(
        parse_config(
            {
                "dataset": {"source": "planted", "path": tiny_planted.config.path},
                "model": {"source": str(tiny_cnn_file)},
                "methods": [{"name": "gradient"}],
                "perturbation": {"images": 6, "points": 4},
                "execution": {"batch_size": 5},
            }
        )
    )
    whole, parts = (
        [
            row
            for shard in plan_shards("tiny", "validation", 24, size)
            for row in curves_of(audit_shard(shard, bench))
        ]
        for size in (24, 7)
    )
    assert len(whole) == len(parts) == 6 * 3
    for one, other in zip(whole, parts, strict=True):
        assert one[:2] == other[:2]
        np.testing.assert_allclose(one[2], other[2], atol=1e-6)
    labels = bench_labels(bench)
    counts = np.bincount([labels[name] for name, order, _ in whole if order == "morf"], minlength=4)
    assert sorted(counts) == [1, 1, 2, 2]  # six images of four classes


def curves_of(tables):
    return [(r["example_id"], r["order"], r["values"]) for r in tables["curves"].to_pylist()]


def bench_labels(bench):
    from pipeline.inputs.shards import plan_shards

    (shard,) = plan_shards("tiny", "validation", 24, 24)
    return {record.example_id: record.label for record in bench.dataset.read(shard)}


def test_methods_are_ranked_on_the_same_images(small_run):
    from pipeline.statistics.method_ranking import rank_methods

    found = rank_methods(small_run)
    scores = small_run.read("scores").to_pandas()
    wide = (
        scores[scores["metric"] == "aopc_gap"]
        .pivot(index="example_id", columns="method", values="value")
        .dropna()
    )
    assert found.n == len(wide)
    assert found.n + found.left_out == 12
    assert found.table["method"].tolist() == wide.mean().sort_values(ascending=False).index.tolist()
    last = found.table.iloc[-1]
    assert last["behind"] == pytest.approx(wide.mean().max() - wide.mean().min())
    assert last["behind_low"] <= last["behind"] <= last["behind_high"]


def test_the_intervals_of_methods_are_paired(small_run, tmp_path):
    """Images differ by units, methods by 0.1 +- 0.01: only the pairs can show it."""
    import shutil

    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipeline.run.store import Store
    from pipeline.statistics.method_ranking import rank_methods
    from tests.tables import with_inventories

    shutil.copytree(small_run.path, tmp_path / "run")
    rng = np.random.default_rng(0)
    for part in sorted((tmp_path / "run" / "scores").iterdir()):
        table = pq.read_table(part)
        frame = table.to_pandas()
        image = frame["example_id"].map(lambda name: sum(map(ord, name)) % 13)
        better = 0.1 * (frame["method"].astype(str) == "gradient")
        values = (image + better + rng.uniform(-0.01, 0.01, len(frame))).where(frame["value"].notna())
        position, field = table.schema.get_field_index("value"), table.schema.field("value")
        array = pa.array(values.to_numpy(), field.type, from_pandas=True)
        pq.write_table(table.set_column(position, field, array), part)
    with_inventories(tmp_path / "run")
    first, second = rank_methods(Store(tmp_path / "run")).table.to_dict("records")
    assert first["method"] == "gradient"
    assert first["high"] - first["low"] > 1
    assert 0.08 < second["behind_low"] < second["behind"] < second["behind_high"] < 0.12
    assert not second["tied"]


def test_rank_methods_says_what_is_missing(small_run, tmp_path):
    from pipeline.errors import InputError
    from pipeline.run.store import Store
    from pipeline.statistics.method_ranking import rank_methods
    from tests.tables import write_run

    with pytest.raises(InputError, match="no metric of a curve; valid: aopc_morf"):
        rank_methods(small_run, "lift")
    write_run(tmp_path, n_classes=2, per_class=3, seed=0, maps=False, thumbnails=False)
    with pytest.raises(InputError, match=r"run the audit with a \[perturbation\] section"):
        rank_methods(Store(tmp_path))


def test_the_run_id_changes_with_curves_only():
    from pipeline.config import Config, parse_config

    off = parse_config({"perturbation": False})
    assert off.perturbation is None
    assert "perturbation" not in off.identity()
    assert parse_config({"perturbation": "none"}) == off == parse_config({"perturbation": None})
    assert parse_config({"perturbation": True}) == Config()
    assert Config().run_id != off.run_id != parse_config({"perturbation": {"protocol": "samek"}}).run_id
    # what is stored of a run is read as what it was
    for section in ({"protocol": "samek"}, {"budget": 5}, {"images": 7}, {}):
        config = parse_config({"perturbation": section})
        assert parse_config(config.model_dump(mode="json")) == config
    earlier = {"region": 9, "steps": 100, "repeats": 10, "budget": 5}  # all that a section could say
    assert parse_config({"perturbation": earlier}).perturbation.model_dump(include=set(earlier)) == earlier
