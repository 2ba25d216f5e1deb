"""Two networks and their LRP backward pass written out by hand in numpy float64: no framework, no graph walk.

Only the parameters come from the Keras model. The rules are those of ``tests.oracles``, but take convolutions
apart by its signs (``a+ w+ + a- w-``) because an unrolled matrix of SqueezeNet would not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from tests import oracles
from tests.oracles import Array, divide, negative, positive, stab, unroll

Rule = Callable[["Convolution", Array, Array], Array]


@dataclass(frozen=True)
class Convolution:
    """``a (h, w, c)`` -> ``z (h', w', k)``; ``kernel (kh, kw, c, k)``, ``pad`` zeros on every side."""

    kernel: Array
    bias: Array
    stride: int = 1
    pad: int = 0

    def forward(self, a: Array, kernel: Array) -> Array:
        p, (kh, kw) = self.pad, kernel.shape[:2]
        padded = np.pad(a, ((p, p), (p, p), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(0, 1))
        return np.einsum("yxcij,ijck->yxk", windows[:: self.stride, :: self.stride], kernel, optimize=True)

    def transpose(self, s: Array, kernel: Array, shape: tuple[int, ...]) -> Array:
        p, (kh, kw) = self.pad, kernel.shape[:2]
        padded = np.zeros((shape[0] + 2 * p, shape[1] + 2 * p, shape[2]))
        for i, j in np.ndindex(kh, kw):
            rows = slice(i, i + self.stride * s.shape[0], self.stride)
            columns = slice(j, j + self.stride * s.shape[1], self.stride)
            padded[rows, columns] += s @ kernel[i, j].T
        return padded[p : p + shape[0], p : p + shape[1]]

    def __call__(self, a: Array) -> Array:
        return self.forward(a, self.kernel) + self.bias


def epsilon(node: Convolution, a: Array, r: Array, eps: float = 1e-6) -> Array:
    return a * node.transpose(r / stab(node(a), eps), node.kernel, a.shape)


def alpha_beta(node: Convolution, a: Array, r: Array, alpha: float, beta: float) -> Array:
    w_up, w_down, a_up, a_down = positive(node.kernel), negative(node.kernel), positive(a), negative(a)
    up = node.forward(a_up, w_up) + node.forward(a_down, w_down) + positive(node.bias)
    s = divide(r, up)
    total = alpha * (a_up * node.transpose(s, w_up, a.shape) + a_down * node.transpose(s, w_down, a.shape))
    if beta:
        down = node.forward(a_up, w_down) + node.forward(a_down, w_up) + negative(node.bias)
        s = divide(r, down)
        total -= beta * (
            a_up * node.transpose(s, w_down, a.shape) + a_down * node.transpose(s, w_up, a.shape)
        )
    return total


def gamma(node: Convolution, a: Array, r: Array, gamma: float = 0.25, eps: float = 1e-6) -> Array:
    up = node(a) >= 0
    total = np.zeros_like(a)
    for sign, other, chosen in ((positive, negative, up), (negative, positive, ~up)):
        halves = [(positive(a), node.kernel + gamma * sign(node.kernel))]
        halves += [(negative(a), node.kernel + gamma * other(node.kernel))]
        z = sum(node.forward(half, kernel) for half, kernel in halves) + node.bias + gamma * sign(node.bias)
        s = np.where(chosen, r, 0) / stab(np.where(chosen, z, 1.0), eps)
        total += sum(half * node.transpose(s, kernel, a.shape) for half, kernel in halves)
    return total


def unrolled(rule: Callable[..., Array], **parameters: float) -> Rule:
    """A rule of ``tests.oracles`` on the unrolled matrix of a small convolution."""

    def apply(node: Convolution, a: Array, r: Array) -> Array:
        matrix = unroll(lambda v: np.array([node.forward(image, node.kernel) for image in v]), a.shape)
        bias = np.broadcast_to(node.bias, r.shape).reshape(-1)
        return rule(a.reshape(-1), matrix, bias, r.reshape(-1), **parameters).reshape(a.shape)

    return apply


@dataclass(frozen=True)
class Preset:
    """Rules of convolutions and of the first one; Epsilon's eps where dense layers and that rule use it."""

    conv: Rule
    first: Rule
    eps: float = 1e-6


PLUS, PLUS_MINUS = partial(alpha_beta, alpha=1.0, beta=0.0), partial(alpha_beta, alpha=2.0, beta=1.0)
LOW, HIGH = -6.0, 6.0
PRESETS = {
    "lrp.epsilon": Preset(epsilon, epsilon),
    "lrp.epsilon(eps=0.1)": Preset(partial(epsilon, eps=0.1), partial(epsilon, eps=0.1), eps=0.1),
    "lrp.preset_a": Preset(PLUS, PLUS),
    "lrp.preset_b": Preset(PLUS_MINUS, PLUS_MINUS),
    "lrp.preset_a_flat": Preset(PLUS, unrolled(oracles.flat)),
    "lrp.epsilon_gamma_box": Preset(gamma, unrolled(oracles.z_box, low=LOW, high=HIGH)),
}


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def max_pool(a: Array) -> tuple[Array, Array]:
    """3x3 windows, stride 2, no padding: values ``(h', w', c)`` and the flat index of each first winner."""
    windows = np.lib.stride_tricks.sliding_window_view(a, (3, 3), axis=(0, 1))[::2, ::2]
    flat = windows.reshape(*windows.shape[:3], 9)
    return flat.max(-1), flat.argmax(-1)


def max_pool_back(r: Array, winner: Array, shape: tuple[int, ...]) -> Array:
    out = np.zeros(shape)
    y, x, c = np.indices(r.shape)
    np.add.at(out, (2 * y + winner // 3, 2 * x + winner % 3, c), r)
    return out


def global_average_back(a: Array, r: Array, eps: float = 1e-6) -> Array:
    return a * (r / stab(a.sum((0, 1)), eps))


def dense_back(a: Array, w: Array, b: Array, r: Array, eps: float) -> Array:
    return a * (w @ (r / stab(a @ w + b, eps)))


# SqueezeNet 1.1


def squeezenet(weights: dict[str, list[Array]], x: Array, preset: Preset) -> tuple[Array, Array]:
    """Relevance ``(224, 224, 3)`` of the largest logit, and the logits ``(1000,)``."""

    def convolution(name: str, stride: int = 1, pad: int = 0) -> Convolution:
        kernel, bias = (np.asarray(v, dtype=np.float64) for v in weights[name])
        return Convolution(kernel, bias, stride, pad)

    back: list[Callable[[Array], Array]] = []

    def conv(a: Array, name: str, stride: int = 1) -> Array:
        node = convolution(name, stride)
        rule = preset.first if name == "conv1" else preset.conv
        back.append(lambda r: rule(node, a, r))
        return relu(node(a))

    def pool(a: Array) -> Array:
        values, winner = max_pool(a)
        back.append(lambda r: max_pool_back(r, winner, a.shape))
        return values

    def fire(a: Array, name: str) -> Array:
        a = conv(a, f"{name}_squeeze1x1")
        one, three = convolution(f"{name}_expand1x1"), convolution(f"{name}_expand3x3", pad=1)
        n = one.kernel.shape[-1]
        back.append(lambda r: preset.conv(one, a, r[..., :n]) + preset.conv(three, a, r[..., n:]))
        return np.concatenate([relu(one(a)), relu(three(a))], axis=-1)

    a = pool(conv(x, "conv1", stride=2))
    a = pool(fire(fire(a, "fire2"), "fire3"))
    a = pool(fire(fire(a, "fire4"), "fire5"))
    a = fire(fire(fire(fire(a, "fire6"), "fire7"), "fire8"), "fire9")
    a = conv(a, "conv10")
    logits = a.mean((0, 1))
    start = np.where(np.arange(1000) == logits.argmax(), logits, 0.0)
    r = global_average_back(a, start)
    for step in reversed(back):
        r = step(r)
    return r, logits


# A residual network with BatchNorm in every position: after a convolution (folded into it), before one
# without padding (folded into it), after Add and before a padded convolution (neither is exact to fold: a
# diagonal linear node with the dense rule; the convolution then has inputs of both signs).


def batch_norm(weights: list[Array], eps: float = 1e-3) -> tuple[Array, Array]:
    """Scale and shift."""
    scale, shift, mean, variance = (np.asarray(v, dtype=np.float64) for v in weights)
    scale = scale / np.sqrt(variance + eps)
    return scale, shift - scale * mean


def residual(weights: dict[str, list[Array]], x: Array, preset: Preset) -> tuple[Array, Array]:
    """Relevance of the largest logit and the logits ``(k,)`` of ``test_networks.residual_model``."""

    def conv_bn(name: str, pad: int) -> Convolution:
        kernel, bias = (np.asarray(v, dtype=np.float64) for v in weights[f"{name}_conv"])
        scale, shift = batch_norm(weights[f"{name}_bn"])
        return Convolution(kernel * scale, bias * scale + shift, pad=pad)

    def bn_conv(name: str) -> Convolution:
        kernel, bias = (np.asarray(v, dtype=np.float64) for v in weights[f"{name}_conv"])
        scale, shift = batch_norm(weights[f"{name}_bn"])
        return Convolution(kernel * scale[:, None], bias + np.einsum("c,ijck->k", shift, kernel))

    stem, first, second, side = conv_bn("stem", 1), conv_bn("a", 1), conv_bn("b", 1), conv_bn("side", 0)
    a0 = relu(stem(x))
    a1 = relu(first(a0))
    left, right = second(a1), side(a0)
    added = left + right
    scale, shift = batch_norm(weights["sum_bn"])
    normed = added * scale + shift
    a2 = relu(normed)
    last = bn_conv("last")
    a3 = relu(last(a2))
    padded_scale, padded_shift = batch_norm(weights["padded_bn"])
    a4 = a3 * padded_scale + padded_shift
    padded = Convolution(*(np.asarray(v, dtype=np.float64) for v in weights["padded_conv"]), pad=1)
    a5 = relu(padded(a4))
    pooled = a5.mean((0, 1))
    w, b = (np.asarray(v, dtype=np.float64) for v in weights["logits"])
    logits = pooled @ w + b

    r = np.where(np.arange(len(logits)) == logits.argmax(), logits, 0.0)
    r = preset.conv(padded, a4, global_average_back(a5, dense_back(pooled, w, b, r, preset.eps)))
    r = a3 * padded_scale * r / stab(a4, preset.eps)
    r = preset.conv(last, a2, r)
    r = added * scale * r / stab(normed, preset.eps)
    share = r / stab(added, 1e-6)
    r = preset.conv(first, a0, preset.conv(second, a1, left * share)) + preset.conv(side, a0, right * share)
    return preset.first(stem, x, r), logits
