"""How many images at once: halved where memory does not suffice, found by trying where it is left open."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from explainers import create_analyzer, engine
from pipeline.config import parse_config
from pipeline.config_sections import AuditConfig
from pipeline.errors import InputError
from pipeline.inputs.shards import plan_shards
from pipeline.measure import batching
from pipeline.measure.audit import audit_shard
from pipeline.measure.batching import explain_inputs, in_batches, with_batch_size
from pipeline.measure.bench import Bench, Room, open_bench
from pipeline.measure.sanity import check_methods


@pytest.fixture(scope="module")
def bench(tiny_planted, tiny_cnn_file) -> Bench:
    return open_bench(
        parse_config(
            {
                "dataset": {"source": "planted", "path": tiny_planted.config.path},
                "model": {"source": str(tiny_cnn_file)},
                "methods": [{"name": "lrp.preset_a"}],
                "audit": {"maps": 0, "thumbnails": False},
                "perturbation": False,
                "execution": {"batch_size": 8},
            }
        )
    )


@pytest.fixture
def small_memory(monkeypatch):
    """A device that holds ``limit`` images at once; the sizes that it was asked for are kept."""
    asked: list[int] = []

    def set_limit(limit: int, error: Exception) -> list[int]:
        real = batching.analyze_many

        def limited(methods, x, target):
            asked.append(len(x))
            if len(x) > limit:
                raise error
            return real(methods, x, target)

        monkeypatch.setattr(batching, "analyze_many", limited)
        return asked

    return set_limit


FULL = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[8,64,64,32]")


def test_a_batch_that_does_not_fit_is_halved_from_then_on_and_no_row_changes(bench, small_memory):
    info = bench.dataset.info
    (shard,) = plan_shards(info.name, info.split, info.n_examples, 24)
    whole = audit_shard(shard, bench)
    asked = small_memory(3, FULL)
    poor = replace(bench, room=Room())
    halved = audit_shard(shard, poor)
    assert poor.room.images == 2
    assert asked == [8, 4, *[2] * 12]
    for column in ("target_logit", "confidence"):
        np.testing.assert_allclose(
            halved["examples"][column].to_numpy(), whole["examples"][column].to_numpy(), rtol=1e-4
        )
    np.testing.assert_allclose(
        halved["scores"]["value"].to_numpy(zero_copy_only=False),
        whole["scores"]["value"].to_numpy(zero_copy_only=False),
        rtol=2e-4,
        atol=1e-6,
    )


def test_the_check_of_a_method_takes_what_memory_turned_out_to_hold(bench, small_memory):
    card = bench.model.card
    x = np.random.default_rng(0).normal(size=(4, card.height, card.width, card.channels)).astype(np.float32)
    asked = small_memory(3, FULL)
    checked, failed = check_methods(replace(bench, room=Room(2)), x, np.ones(4, bool), {"all layers": 1.0})
    assert [method.images for method in checked] == [4]
    assert failed == {}
    assert set(asked) == {2}


def test_one_image_that_does_not_fit_is_said_and_other_errors_stay(bench, small_memory):
    x, methods = np.zeros((4, *bench.model.model.input_shape[1:]), np.float32), list(bench.methods.values())
    small_memory(0, FULL)
    with pytest.raises(InputError, match="does not suffice to explain one image"):
        explain_inputs(replace(bench, room=Room()), x, None, methods)
    small_memory(0, ZeroDivisionError("something else"))
    with pytest.raises(ZeroDivisionError):
        explain_inputs(replace(bench, room=Room()), x, None, methods)


@pytest.mark.parametrize(
    ("error", "exhausted"),
    [
        (FULL, True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8589934592 bytes."), True),  # JAX
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),  # PyTorch
        (MemoryError(), True),
        (tf.errors.InvalidArgumentError(None, None, "shapes differ"), False),
    ],
    ids=["tensorflow", "jax", "torch", "host", "another"],
)
def test_what_frameworks_say_when_memory_is_out(error, exhausted):
    assert engine.is_exhausted(error) is exhausted


def test_pieces_of_a_batch_are_the_batch(bench):
    x = np.random.default_rng(0).uniform(size=(5, *bench.model.model.input_shape[1:])).astype(np.float32)
    methods, target = list(bench.methods.values()), np.array([0, 1, 2, 3, 0])
    (whole,), (cut,) = in_batches(methods, x, target, 5), in_batches(methods, x, target, 2)
    np.testing.assert_allclose(cut.relevance, whole.relevance, rtol=1e-4, atol=1e-6)
    assert cut.target.tolist() == target.tolist()
    assert len(cut.reason) == 5


def test_passes_compiled_by_xla_have_the_same_maps(bench, monkeypatch):
    x = np.random.default_rng(0).uniform(size=(3, *bench.model.model.input_shape[1:])).astype(np.float32)
    asked: list[bool] = []

    def compiled(function, weights, jit):
        asked.append(jit)
        return compile_(function, weights, jit)

    compile_ = engine._COMPILE["tensorflow"]
    monkeypatch.setitem(engine._COMPILE, "tensorflow", compiled)
    audit = bench.config.audit.model_copy(update={"xla": True})
    by_xla = replace(bench, config=bench.config.model_copy(update={"audit": audit}), room=Room(3))
    methods = [create_analyzer("lrp.preset_a").fit(bench.model.model)]
    usual, whole = (explain_inputs(b, x, None, methods)[0] for b in (replace(bench, room=Room(3)), by_xla))
    assert asked == [False, True]
    np.testing.assert_allclose(whole.relevance, usual.relevance, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(whole.output, usual.output, rtol=1e-5)


def test_what_xla_cannot_compute_is_one_line_and_no_silent_fallback():
    x = keras.Input((8, 8, 3))
    t = keras.layers.UpSampling2D(interpolation="bicubic")(keras.layers.Conv2D(2, 3)(x))
    fitted = create_analyzer("gradient").fit(keras.Model(x, keras.layers.Dense(2)(keras.layers.Flatten()(t))))
    images = np.ones((1, 8, 8, 3), np.float32)
    assert in_batches([fitted], images, None, 1)[0].relevance.any()
    with pytest.raises(InputError, match=r"^audit.xla: XLA has no way to compute .*leave it out$"):
        in_batches([fitted], images, None, 1, AuditConfig(xla=True))


def test_xla_is_tensorflows(bench, monkeypatch):
    audit = bench.config.audit.model_copy(update={"xla": True})
    monkeypatch.setattr(engine, "backend", lambda: "jax")
    with pytest.raises(
        InputError, match=r"^audit.xla: it is TensorFlow's, and Keras runs on jax .*leave it out$"
    ):
        open_bench(bench.config.model_copy(update={"audit": audit}))


def fake_clock(seconds: dict[int, float], asked: list[int]):
    """Each call of a size takes what ``seconds`` says, whenever it is looked at after it."""

    def now() -> float:
        return sum(seconds[size] for size in asked)

    return now


@pytest.mark.parametrize(
    ("seconds", "sizes", "best"),
    [
        (
            {8: 1.0, 16: 1.2, 24: 1.0},
            [8, 16],
            16,
        ),  # there are no more than 24 images
        ({8: 1.0, 16: 1.95}, [8, 16], 8),  # 2.5 % faster is not worth twice the memory
    ],
    ids=["faster", "no gain"],
)
def test_the_smallest_batch_that_is_nearly_the_fastest_is_taken(bench, small_memory, seconds, sizes, best):
    asked = small_memory(999, FULL)
    made = with_batch_size(bench, fake_clock(seconds, asked))
    assert list(made.tried) == sizes
    assert made.tried[8] == pytest.approx(8.0)
    assert made.config.execution.batch_size == best
    assert asked == [size for size in sizes for _ in range(3)]


def test_sizes_that_do_not_fit_end_the_search(bench, small_memory):
    asked = small_memory(8, FULL)
    made = with_batch_size(bench, fake_clock({8: 1.0, 16: 1.0}, asked))
    assert (list(made.tried), made.config.execution.batch_size) == ([8], 8)
    small_memory(4, FULL)
    with pytest.raises(InputError, match="does not suffice for 8 images at once; name a batch_size below"):
        with_batch_size(bench)


def test_auto_is_a_batch_size_and_other_words_are_not():
    assert parse_config({"execution": {"batch_size": "auto"}}).execution.batch_size == 0
    assert parse_config({"execution": {"batch_size": "32"}}).execution.batch_size == 32
    for other in ("many", "0", 0, -1, 4097):
        with pytest.raises(ValueError, match="valid is a number of images from 1 to 4096, or auto"):
            parse_config({"execution": {"batch_size": other}})


@pytest.mark.parametrize("size", ["auto", 32])
def test_a_configuration_that_is_handed_on_says_the_same_of_batches(size):
    written = parse_config({"execution": {"batch_size": size}}).model_dump(mode="json")
    assert written["execution"]["batch_size"] == size
    assert parse_config(written).execution.batch_size == (0 if size == "auto" else size)
