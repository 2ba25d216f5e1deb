"""AttnLRP (Achtibat et al. 2024) written out with loops in numpy, against attention opened into nodes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from explainers import create_analyzer, trace
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
    return ended(x, x, t)


def ended(inputs: object, x: keras.KerasTensor, t: keras.KerasTensor) -> keras.Model:
    """The residual sum and one logit per class; random weights."""
    options = {"dtype": "float64"}
    t = layers.Add(name="sum", **options)([x, t])
    model = keras.Model(inputs, layers.Dense(2, name="top", **options)(layers.Flatten(**options)(t)))
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


def attend_back(
    weights: dict[str, Array], asked: Array, told: Array, seen: Array, r: Array | None
) -> tuple[Array, Array]:
    """Attention of tokens `asked` (T, d) to tokens `told` (S, d), of which they see `seen` (T, S).

    Without `r`: its output (T, d), twice. With `r`, relevance of that: relevance of `asked` and of `told`.
    """
    project = {k: (weights[f"{k}/kernel"], weights[f"{k}/bias"]) for k in ("query", "key", "value")}
    q = np.einsum("td,dhs->hts", asked, project["query"][0]) + project["query"][1][:, None]
    k, v = (np.einsum("td,dhs->hts", told, project[p][0]) + project[p][1][:, None] for p in ("key", "value"))
    heads, own = len(q), len(q) // len(k)  # so many queries share a key and a value
    scores = np.stack([q[h] @ k[h // own].T / np.sqrt(SIZE) for h in range(heads)])
    shares = np.where(seen, np.exp(scores), 0)
    shares /= shares.sum(-1, keepdims=True)
    mixed = np.stack([shares[h] @ v[h // own] for h in range(heads)])
    w_out, b_out = weights["attention_output/kernel"], weights["attention_output/bias"]
    if r is None:
        out = np.einsum("hqs,hsd->qd", mixed, w_out) + b_out
        return out, out
    to_asked, to_told, flat_out = np.zeros_like(asked), np.zeros_like(told), w_out.reshape(-1, WIDTH)
    tokens = range(len(asked))
    r_mixed = np.array([epsilon(mixed[:, t].reshape(-1), flat_out, b_out, r[t], EPS) for t in tokens])
    r_mixed = r_mixed.reshape(len(asked), heads, SIZE)
    r_key, r_value = np.zeros_like(k), np.zeros_like(v)
    for h in range(heads):
        r_shares, of_value = product(shares[h], v[h // own], r_mixed[:, h])
        r_scores = softmax_back(scores[h], shares[h], r_shares)
        r_query, of_key = product(q[h] / np.sqrt(SIZE), k[h // own].T, r_scores)
        r_key[h // own] += of_key.T
        r_value[h // own] += of_value
        kernel, bias = project["query"][0][:, h] / np.sqrt(SIZE), project["query"][1][h] / np.sqrt(SIZE)
        for t in tokens:
            to_asked[t] += epsilon(asked[t], kernel, bias, r_query[t], EPS)
    for p, rel in (("key", r_key), ("value", r_value)):
        for h, t in np.ndindex(len(k), len(told)):
            to_told[t] += epsilon(told[t], project[p][0][:, h], project[p][1][h], rel[h, t], EPS)
    return to_asked, to_told


def reference(model: keras.Model, x: Array, told: Array | None = None, seen: Array | None = None) -> Array:
    """Relevance of logit 0: of the tokens that ask; where others are `told`, of these as well, behind."""
    weights = {v.path.removeprefix("attention/"): np.asarray(v) for v in model.weights}
    n = x
    if "norm/gamma" in weights:
        gamma, beta = weights["norm/gamma"], weights["norm/beta"]
        layer_eps = model.get_layer("norm").epsilon
        n = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + layer_eps) * gamma + beta
    given = n if told is None else told
    seen = np.ones((len(x), len(given)), bool) if seen is None else seen
    attended, _ = attend_back(weights, n, given, seen, None)
    total = x + attended
    top, b = weights["top/kernel"], weights["top/bias"]
    logit = total.reshape(-1) @ top[:, 0] + b[0]
    r = epsilon(total.reshape(-1), top, b, np.array([logit, 0.0]), EPS).reshape(x.shape)
    direct, r = x * r / stab(total, EPS), attended * r / stab(total, EPS)
    to_asked, to_told = attend_back(weights, n, given, seen, r)
    # LayerNormalization: the identity rule (proposition 3.4)
    return direct + to_asked + to_told if told is None else np.concatenate([direct + to_asked, to_told])


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


CAUSAL = np.tril(np.ones((TOKENS, TOKENS), bool))
SOME = np.array([[True, False, True], [True, True, True], [False, True, False]])
MASKS = {
    "causal": ({"use_causal_mask": True}, CAUSAL),
    "array": ({"attention_mask": SOME[None]}, SOME),
    "both": ({"attention_mask": SOME[None], "use_causal_mask": True}, SOME & CAUSAL),
}


@pytest.mark.parametrize("mask", MASKS)
def test_hidden_tokens_are_left_out(mask: str) -> None:
    call, seen = MASKS[mask]
    if mask == "both":
        seen = seen | np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0]], bool)
        call = call | {"attention_mask": seen[None]}
    model, x = attention_model(**call), np.random.default_rng(1).normal(size=(2, TOKENS, WIDTH))
    made = create_analyzer("lrp.epsilon").fit(model).analyze(x, target=0, ledger=True)
    np.testing.assert_allclose(made.output, np.asarray(model(x)), rtol=1e-9)
    want = np.array([reference(model, image, seen=seen) for image in x])
    assert np.linalg.norm(made.relevance - want) <= 1e-8 * np.linalg.norm(want)
    assert made.ledger is not None
    assert made.ledger.gap.max() < 1e-9


def test_a_mask_for_each_image_is_an_input_that_gets_nothing() -> None:
    keras.utils.set_random_seed(6)
    x = keras.Input((TOKENS, WIDTH), dtype="float64", name="x")
    mask = keras.Input((TOKENS, TOKENS), dtype="bool", name="mask")
    layer = layers.MultiHeadAttention(HEADS, SIZE, name="attention", dtype="float64")
    model = ended([x, mask], x, layer(x, x, attention_mask=mask))
    images, masks = np.random.default_rng(1).normal(size=(2, TOKENS, WIDTH)), np.stack([CAUSAL, SOME])
    fitted = create_analyzer("lrp.epsilon").fit(trace(model, explained="x"))
    made = fitted.analyze([images, masks.astype(float)], target=0)
    np.testing.assert_allclose(made.output, np.asarray(model([images, masks])), rtol=1e-9)
    want = np.array([reference(model, i, seen=m) for i, m in zip(images, masks, strict=True)])
    assert np.linalg.norm(made.relevance - want) <= 1e-8 * np.linalg.norm(want)
    fitted = create_analyzer("lrp.epsilon").fit(trace(model, explained="mask"))
    assert not fitted.analyze([images, masks.astype(float)], target=0).relevance.any()


@pytest.mark.parametrize("grouped", [False, True])
def test_queries_of_one_input_and_keys_of_another(grouped: bool) -> None:
    """Cross attention, with a key and a value for each query or for two of them; two tokens more are told."""
    keras.utils.set_random_seed(6)
    x = keras.Input((TOKENS, WIDTH), dtype="float64", name="x")
    memory = keras.Input((TOKENS + 2, WIDTH), dtype="float64", name="memory")
    layer = (
        layers.GroupQueryAttention(SIZE, 4, 2, name="attention", dtype="float64")
        if grouped
        else layers.MultiHeadAttention(HEADS, SIZE, name="attention", dtype="float64")
    )
    model = ended([x, memory], x, layer(x, memory))
    rng = np.random.default_rng(1)
    images, told = rng.normal(size=(2, TOKENS, WIDTH)), rng.normal(size=(2, TOKENS + 2, WIDTH))
    want = np.array([reference(model, i, told=m) for i, m in zip(images, told, strict=True)])
    for name, rows in (("x", slice(0, TOKENS)), ("memory", slice(TOKENS, None))):
        made = create_analyzer("lrp.epsilon").fit(trace(model, explained=name)).analyze([images, told], 0)
        np.testing.assert_allclose(made.output, np.asarray(model([images, told])), rtol=1e-9)
        assert np.linalg.norm(made.relevance - want[:, rows]) <= 1e-8 * np.linalg.norm(want)


def test_a_mask_that_tensors_carry_along_is_refused() -> None:
    tokens = keras.Input((TOKENS,), dtype="int32")
    t = layers.Embedding(5, WIDTH, mask_zero=True)(tokens)
    t = layers.MultiHeadAttention(HEADS, SIZE, name="attention")(t, t)
    model = keras.Model(tokens, layers.Dense(2)(layers.GlobalAveragePooling1D()(t)))
    attention = trace(model)["attention"]
    assert attention.parts == ()
    assert attention.note == "a mask that tensors carry along is not supported; give it as attention_mask"
