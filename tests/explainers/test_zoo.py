"""Every network that the issue names: attribution works, the ledger closes, the forward pass is the model's.

Networks run once each on one image, so compiling them would take most of the time: functions run eagerly
here, compiled programs are tested elsewhere (test_analyzer.py, test_networks.py).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf

from explainers import create_analyzer
from explainers.rules.ledger import Ledger
from tests.explainers import zoo

METHODS = ("lrp.preset_a", "lrp.epsilon", "lrp.alpha_2_beta_1")


@pytest.fixture(autouse=True)
def without_compiling() -> Iterator[None]:
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
    keras.backend.clear_session()
    gc.collect()


def leaks(ledger: Ledger) -> list[str]:
    """Nodes that pass on, absorb and lose another amount than they received."""
    received = np.asarray(ledger.received, np.float64)
    rest = received - ledger.passed - ledger.absorbed - ledger.lost
    bad = np.abs(rest) > 1e-4 * np.maximum(ledger.magnitude, 1e-30)
    return [ledger.nodes[i] for i in np.flatnonzero(bad.any(axis=1))]


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_network_is_explained(name: str) -> None:
    model = zoo.build(name)
    before = [np.array(w) for w in model.get_weights()]
    x = zoo.images(model, 1)
    probabilities = np.asarray(model(x, training=False))
    for method in METHODS:
        fitted = create_analyzer(method).fit(model)
        explanation = fitted.analyze(x, ledger=True)
        assert explanation.relevance.shape == x.shape
        assert np.isfinite(explanation.relevance).all()
        assert np.abs(explanation.relevance).max() > 0, f"{method}: the map is empty"
        assert explanation.ledger is not None
        assert not leaks(explanation.ledger), f"{method} leaks"
        assert explanation.ledger.non_finite.sum() == 0
        softmax = np.exp(explanation.output - explanation.output.max())
        np.testing.assert_allclose(
            softmax / softmax.sum(), probabilities, rtol=1e-4, atol=1e-6, err_msg=method
        )
        assert fitted.network.equality < 1e-4
    after = model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True)), "weights changed"


def test_the_relevance_that_enters_is_the_logit_and_what_reaches_the_image_is_the_map() -> None:
    model = zoo.build("MobileNetV2")
    explanation = create_analyzer("lrp.preset_a").fit(model).analyze(zoo.images(model, 2), ledger=True)
    ledger = explanation.ledger
    assert ledger is not None
    logits = explanation.output[np.arange(2), explanation.target]
    np.testing.assert_allclose(ledger.received[0], logits, rtol=1e-6)
    kept = logits - ledger.absorbed.sum(axis=0) - ledger.lost.sum(axis=0)
    np.testing.assert_allclose(explanation.relevance.sum((1, 2, 3)), kept, atol=1e-4 * np.abs(logits).max())
