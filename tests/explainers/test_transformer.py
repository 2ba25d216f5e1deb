"""A small vision transformer, trained here: maps of AttnLRP find the planted mark that it goes by."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from explainers import create_analyzer
from tests.explainers.zoo import ClassToken, Positions

layers = keras.layers
SIDE, PATCH, WIDTH = 16, 4, 16
GRID = SIDE // PATCH


def marked(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise n h w 1, classes n, and the patch n of the bright mark that images of class 1 carry."""
    rng = np.random.default_rng(seed)
    images, labels = rng.normal(0, 0.25, (n, SIDE, SIDE, 1)), np.arange(n) % 2
    places = rng.integers(0, GRID * GRID, n)
    for i in np.flatnonzero(labels):
        y, x = PATCH * (places[i] // GRID), PATCH * (places[i] % GRID)
        images[i, y : y + PATCH, x : x + PATCH] += 1.5
    return images.astype("float32"), labels, places


def transformer() -> keras.Model:
    """Patches, class token, positions, two pre-norm blocks with GELU, one logit per class."""
    keras.utils.set_random_seed(0)
    x = keras.Input((SIDE, SIDE, 1))
    t = layers.Conv2D(WIDTH, PATCH, PATCH)(x)
    t = Positions()(ClassToken()(layers.Reshape((GRID * GRID, WIDTH))(t)))
    for _ in range(2):
        n = layers.LayerNormalization()(t)
        t = layers.Add()([t, layers.MultiHeadAttention(2, 8)(n, n)])
        n = layers.Dense(2 * WIDTH, activation="gelu")(layers.LayerNormalization()(t))
        t = layers.Add()([t, layers.Dense(WIDTH)(n)])
    t = layers.LayerNormalization()(t)[:, 0]
    return keras.Model(x, layers.Dense(2, activation="softmax")(t))


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    model = transformer()
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    images, labels, _ = marked(256, 0)
    model.fit(images, labels, batch_size=64, epochs=12, verbose=0)
    return model


# By chance 1 in 16. Processors round differently, and so train different networks; over networks of six other
# seeds the worst had 72 % and 43 % with epsilon, 91 % and 69 % with gamma: the bounds are far below both.
@pytest.mark.parametrize(("method", "hits", "held"), [("lrp.epsilon", 0.4, 0.25), ("lrp.gamma", 0.7, 0.5)])
def test_the_map_lies_on_the_mark(trained: keras.Model, method: str, hits: float, held: float) -> None:
    images, labels, places = marked(64, 1)
    predicted = trained.predict(images, verbose=0).argmax(1)
    assert (predicted == labels).mean() > 0.95
    chosen = (labels == 1) & (predicted == 1)
    made = create_analyzer(method).fit(trained).analyze(images[chosen], target=1, ledger=True)
    maps = np.maximum(made.relevance.sum(-1), 0)
    cells = maps.reshape(-1, GRID, PATCH, GRID, PATCH).sum((2, 4)).reshape(len(maps), -1)
    hit = (cells.argmax(1) == places[chosen]).mean()
    share = (cells[np.arange(len(cells)), places[chosen]] / cells.sum(1)).mean()
    print(f"{method}: the largest patch is the mark in {hit:.0%}, which holds {share:.0%} of the relevance")
    assert hit > hits
    assert share > held
    assert made.ledger is not None
    assert made.ledger.gap.max() < 1e-4
