"""AttnLRP (Achtibat et al. 2024) written out with loops in numpy, against attention opened into nodes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from explainers import create_analyzer
from explainers.errors import UnsupportedLayer
from tests.oracles import Array, epsilon, stab

layers = keras.layers
TOKENS, WIDTH, HEADS, SIZE = 3, 4, 2, 4  # 1 / sqrt(SIZE) is exact
EPS = 1e-6


def attention_model(**call: object) -> keras.Model:
    """float64: LayerNormalization, self-attention, a residual sum, one logit per class."""
    keras.utils.set_random_seed(6)
    options = {"dtype": "float64"}
    x = keras.Input((TOKENS, WIDTH), **options)
    n = layers.LayerNormalization(name="norm", **options)(x)
    t = layers.MultiHeadAttention(HEADS, SIZE, name="attention", **options)(n, n, **call)
    t = layers.Add(name="sum", **options)([x, t])
    model = keras.Model(x, layers.Dense(2, name="top", **options)(layers.Flatten(**options)(t)))
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape))
    return model


def product(first: Array, second: Array, r: Array) -> tuple[Array, Array]:
    """``O = A V``: half of each output's relevance to either factor, by contribution (proposition 3.3)."""
    out = first @ second
    to_first, to_second = np.zeros_like(first), np.zeros_like(second)
    for i, k in np.ndindex(*out.shape):
        for j in range(first.shape[1]):
            share = first[i, j] * second[j, k] / (2 * stab(out[i, k], EPS)) * r[i, k]
            to_first[i, j] += share
            to_second[j, k] += share
    return to_first, to_second


def softmax_back(x: Array, s: Array, r: Array) -> Array:
    """``R_i = x_i (R_i - s_i sum_j R_j)`` for each row (proposition 3.1)."""
    out = np.zeros_like(x)
    for q, i in np.ndindex(*x.shape):
        out[q, i] = x[q, i] * (r[q, i] - s[q, i] * r[q].sum())
    return out


def reference(model: keras.Model, x: Array) -> Array:
    """Relevance of logit 0, ``TOKENS x WIDTH``."""
    weights = {v.path.removeprefix("attention/"): np.asarray(v) for v in model.weights}
    gamma, beta = weights["norm/gamma"], weights["norm/beta"]
    layer_eps = model.get_layer("norm").epsilon
    n = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + layer_eps) * gamma + beta
    project = {k: (weights[f"{k}/kernel"], weights[f"{k}/bias"]) for k in ("query", "key", "value")}
    q, k, v = (np.einsum("td,dhs->hts", n, w) + b[:, None] for w, b in project.values())
    scores = np.einsum("hqs,hks->hqk", q, k) / np.sqrt(SIZE)
    shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    mixed = np.einsum("hqk,hks->hqs", shares, v)
    w_out, b_out = weights["attention_output/kernel"], weights["attention_output/bias"]
    attended = np.einsum("hqs,hsd->qd", mixed, w_out) + b_out
    total = x + attended
    top, b = weights["top/kernel"], weights["top/bias"]
    logit = total.reshape(-1) @ top[:, 0] + b[0]
    r = epsilon(total.reshape(-1), top, b, np.array([logit, 0.0]), EPS).reshape(x.shape)
    direct, r = x * r / stab(total, EPS), attended * r / stab(total, EPS)
    flat_out, down = w_out.reshape(-1, WIDTH), np.zeros_like(n)
    r_mixed = np.array([epsilon(mixed[:, t].reshape(-1), flat_out, b_out, r[t], EPS) for t in range(TOKENS)])
    r_mixed = r_mixed.reshape(TOKENS, HEADS, SIZE)
    for h in range(HEADS):
        r_shares, r_value = product(shares[h], v[h], r_mixed[:, h])
        r_scores = softmax_back(scores[h], shares[h], r_shares)
        r_query, r_key = product(q[h] / np.sqrt(SIZE), k[h].T, r_scores)
        for p, rel in (("query", r_query), ("key", r_key.T), ("value", r_value)):
            kernel, bias = project[p][0][:, h], project[p][1][h]
            scale = 1 / np.sqrt(SIZE) if p == "query" else 1.0
            for t in range(TOKENS):
                down[t] += epsilon(n[t], kernel * scale, bias * scale, rel[t], EPS)
    return direct + down  # LayerNormalization: the identity rule (proposition 3.4)


def test_attention_with_layer_normalisation_and_a_residual_sum() -> None:
    model, x = attention_model(), np.random.default_rng(1).normal(size=(2, TOKENS, WIDTH))
    explanation = create_analyzer("lrp.epsilon").fit(model).analyze(x, target=0, ledger=True)
    want = np.array([reference(model, image) for image in x])
    np.testing.assert_allclose(explanation.output, np.asarray(model(x)), rtol=1e-10)
    assert np.linalg.norm(explanation.relevance - want) <= 1e-8 * np.linalg.norm(want)
    assert explanation.ledger is not None
    assert explanation.ledger.gap.max() < 1e-9


def test_attention_is_opened_into_named_parts() -> None:
    graph = create_analyzer("lrp.epsilon").fit(attention_model()).network.graph
    parts = [node.name for node in graph if node.name.startswith("attention")]
    inner = ("query", "key", "value", "scores", "softmax", "mixture")
    assert parts == [*(f"attention/{p}" for p in inner), "attention"]
    assert ("attention", "MultiHeadAttention opened into 7 nodes") in graph.changes


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ({"use_causal_mask": True}, "attention called with use_causal_mask is not supported"),
        ({"attention_mask": np.ones((1, TOKENS, TOKENS), bool)}, "attention called with attention_mask"),
    ],
)
def test_attention_that_does_more_is_refused(call: dict[str, object], why: str) -> None:
    with pytest.raises(UnsupportedLayer, match=why):
        create_analyzer("lrp.epsilon").fit(attention_model(**call))
